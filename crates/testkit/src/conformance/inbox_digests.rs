//! Cases of the `WebhookInbox` port about duplicates by the digest of their bytes.

use integrations_core::{
    id::IntegrationId,
    webhook::{NewWebhook, OtherDigests, Received, WebhookStatus},
};

use super::{
    Subject,
    fixtures::{at, delivery},
    inbox::{is_duplicate_of, receive, receive_new},
    inbox_claims::find,
};

/// A delivery whose id is not signed.
fn digested(integration_id: IntegrationId, key: &str, digest: &[u8], now: i64) -> NewWebhook {
    NewWebhook {
        body_digest: Some(digest.to_vec()),
        digest_duplicate_since: Some(at(now - 100)),
        available_at: Some(at(now)),
        now: at(now),
        ..delivery(Some(integration_id), Some(key))
    }
}

pub async fn the_same_bytes_under_another_key_are_a_duplicate_within_the_window(subject: &Subject) {
    let integration = subject.integration().await;
    let first = receive_new(subject, &digested(integration.id, "one", b"same", 0)).await;

    let within = receive(subject, &[digested(integration.id, "two", b"same", 100)]).await;
    let other = receive(subject, &[digested(integration.id, "three", b"else", 100)]).await;
    let outside = receive(subject, &[digested(integration.id, "four", b"same", 201)]).await;

    assert!(is_duplicate_of(within[0], first), "{within:?}");
    let Received::Duplicate { id, .. } = within[0] else {
        unreachable!("it was just seen to be one");
    };
    let duplicate = find(subject, id, 100).await;
    assert_eq!(duplicate.duplicate_reason.as_deref(), Some("body_digest"));
    assert_eq!(duplicate.status, WebhookStatus::Processed);
    assert!(matches!(other[0], Received::New(_)), "{other:?}");
    assert!(matches!(outside[0], Received::New(_)), "{outside:?}");
}

pub async fn the_same_bytes_within_a_batch_are_a_duplicate(subject: &Subject) {
    let integration = subject.integration().await;

    let received = receive(
        subject,
        &[
            digested(integration.id, "one", b"same", 0),
            digested(integration.id, "two", b"same", 0),
        ],
    )
    .await;

    let Received::New(first) = received[0] else {
        panic!("the first should have been new: {received:?}");
    };
    assert!(is_duplicate_of(received[1], first), "{received:?}");
}

pub async fn the_same_bytes_count_only_where_asked_and_of_one_integration(subject: &Subject) {
    let one = subject.integration().await;
    let two = subject.integration().await;
    receive_new(subject, &digested(one.id, "one", b"same", 0)).await;
    let signed_id = NewWebhook {
        digest_duplicate_since: None,
        ..digested(one.id, "two", b"same", 1)
    };

    receive_new(subject, &signed_id).await;
    receive_new(subject, &digested(two.id, "one", b"same", 1)).await;
}

// A sender without ids: its bytes are compared with those on file, and never with each other.
pub async fn bytes_that_are_not_kept_are_compared_with_those_that_are(subject: &Subject) {
    let id = subject.integration().await.id;
    let nameless = |digest: &[u8]| NewWebhook {
        dedup_key: None,
        body_digest: None,
        other_digests: OtherDigests {
            body_digests: vec![digest.to_vec()],
            ..OtherDigests::default()
        },
        ..digested(id, "none", digest, 1)
    };
    let named = receive_new(subject, &digested(id, "one", b"named", 0)).await;

    let both = [nameless(b"other"), nameless(b"other"), nameless(b"named")];
    let received = subject.ports.inbox.receive(&both).await.unwrap();

    let received: Vec<_> = received.into_iter().map(Result::unwrap).collect();
    assert!(
        matches!(received[..2], [Received::New(_), Received::New(_)]),
        "{received:?}"
    );
    assert!(is_duplicate_of(received[2], named), "{received:?}");
    receive_new(subject, &nameless(b"other")).await;
}

/// The same signed bytes as a process digests them whose ring begins with `primary`.
fn under(integration_id: IntegrationId, id: &str, primary: &str, others: &[&str]) -> NewWebhook {
    let digest = |key: &str| format!("{key}\0 the mac").into_bytes();
    NewWebhook {
        other_digests: OtherDigests {
            dedup_keys: Vec::new(),
            body_digests: others.iter().map(|key| digest(key)).collect(),
        },
        ..digested(integration_id, id, &digest(primary), 0)
    }
}

/// The same without an id, where a digest is the dedup key.
fn keyed_under(integration_id: IntegrationId, primary: &str, others: &[&str]) -> NewWebhook {
    let key = |key: &str| format!("digest:{key}:the mac");
    NewWebhook {
        other_digests: OtherDigests {
            dedup_keys: others.iter().map(|other| key(other)).collect(),
            body_digests: Vec::new(),
        },
        ..delivery(Some(integration_id), Some(&key(primary)))
    }
}

pub async fn a_digest_under_any_key_of_the_ring_tells_a_duplicate(subject: &Subject) {
    let integration = subject.integration().await;
    let by_body = receive_new(subject, &under(integration.id, "d-1", "old", &[])).await;
    let by_key = receive_new(subject, &keyed_under(integration.id, "old", &[])).await;

    let promoted = receive(
        subject,
        &[
            under(integration.id, "d-2", "new", &["old"]),
            keyed_under(integration.id, "new", &["old"]),
        ],
    )
    .await;
    // A key that was dropped is no longer known, and proves nothing.
    let dropped = receive(
        subject,
        &[
            under(integration.id, "d-3", "new", &[]),
            keyed_under(integration.id, "new", &[]),
        ],
    )
    .await;

    assert!(is_duplicate_of(promoted[0], by_body), "{promoted:?}");
    assert!(is_duplicate_of(promoted[1], by_key), "{promoted:?}");
    let is_new = |received: &Received| matches!(received, Received::New(_));
    assert!(dropped.iter().all(is_new), "{dropped:?}");
}

pub async fn digests_under_two_keys_within_a_batch_are_a_duplicate(subject: &Subject) {
    let integration = subject.integration().await;

    let received = receive(
        subject,
        &[
            under(integration.id, "d-1", "old", &["new"]),
            under(integration.id, "d-2", "new", &["old"]),
            keyed_under(integration.id, "old", &["new"]),
            keyed_under(integration.id, "new", &["old"]),
        ],
    )
    .await;

    let (Received::New(by_body), Received::New(by_key)) = (received[0], received[2]) else {
        panic!("the first of each kind should have been new: {received:?}");
    };
    assert!(is_duplicate_of(received[1], by_body), "{received:?}");
    assert!(is_duplicate_of(received[3], by_key), "{received:?}");
}
