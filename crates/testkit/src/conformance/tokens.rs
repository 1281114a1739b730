//! Cases of the `OneTimeTokens` port.

use integrations_core::token::{NewToken, TokenKind};

use super::{
    Subject,
    fixtures::{at, provider, sealed, uid},
};

/// A ticket that runs out after a minute.
pub(super) fn ticket(digest: &[u8]) -> NewToken {
    NewToken {
        uid: uid(),
        digest: digest.to_vec(),
        kind: TokenKind::OAuthTicket,
        provider: provider("github"),
        integration_id: None,
        data: None,
        until: at(60),
        now: at(0),
    }
}

pub(super) async fn issue(subject: &Subject, token: &NewToken) {
    subject.ports.tokens.issue(token).await.unwrap();
}

pub(super) async fn consume(subject: &Subject, digests: &[&[u8]], now: i64) -> Option<NewToken> {
    let digests: Vec<_> = digests.iter().map(|digest| digest.to_vec()).collect();
    let tokens = &subject.ports.tokens;
    tokens
        .consume(&TokenKind::OAuthTicket, &digests, at(now))
        .await
        .unwrap()
}

// INV-14
pub async fn a_token_is_used_once_and_reads_back_as_issued(subject: &Subject) {
    let integration = subject.integration().await;
    let token = NewToken {
        integration_id: Some(integration.id),
        data: Some(sealed("bound to")),
        ..ticket(&[0, 1, 255])
    };
    issue(subject, &token).await;

    let used = consume(subject, &[&[0, 1, 255]], 1).await;
    let again = consume(subject, &[&[0, 1, 255]], 1).await;

    assert_eq!(used, Some(token));
    assert_eq!(again, None);
}

pub async fn a_token_is_found_under_any_of_the_digests(subject: &Subject) {
    let token = ticket(b"under the old key");
    issue(subject, &token).await;
    issue(subject, &ticket(b"another")).await;

    assert_eq!(consume(subject, &[], 0).await, None);
    assert_eq!(consume(subject, &[b"under the new key"], 0).await, None);
    let digests: [&[u8]; 2] = [b"under the new key", b"under the old key"];
    assert_eq!(consume(subject, &digests, 0).await, Some(token));
    assert!(consume(subject, &[b"another"], 0).await.is_some());
}

pub async fn a_token_that_ran_out_is_not_there(subject: &Subject) {
    issue(subject, &ticket(b"one")).await;
    issue(subject, &ticket(b"two")).await;

    assert!(consume(subject, &[b"one"], 59).await.is_some());
    assert_eq!(consume(subject, &[b"two"], 60).await, None);
}

pub async fn a_token_of_one_kind_never_passes_for_another(subject: &Subject) {
    let state = NewToken {
        kind: TokenKind::OAuthState,
        ..ticket(b"one")
    };
    issue(subject, &state).await;

    assert_eq!(consume(subject, &[b"one"], 0).await, None);
    let tokens = &subject.ports.tokens;
    let used = tokens
        .consume(&TokenKind::OAuthState, &[b"one".to_vec()], at(0))
        .await;
    assert_eq!(used.unwrap(), Some(state), "asking for another kept it");
}

pub async fn a_digest_is_issued_once(subject: &Subject) {
    let token = ticket(b"one");
    issue(subject, &token).await;

    let again = subject.ports.tokens.issue(&ticket(b"one")).await;

    assert!(again.is_err());
    assert_eq!(consume(subject, &[b"one"], 0).await, Some(token));
}
