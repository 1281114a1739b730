//! Cases of `KeyRegistry`.

use chrono::{DateTime, Utc};
use integrations_core::{
    cache::{CachedAnswer, NewCacheEntry},
    encryptor::{KeyCheck, SealContext, Sealed, SealedColumn},
    id::Uid,
    idempotency::KeyedOutcome,
    integration::{Integration, NewIntegration},
    key_registry::{KeyRetired, KeyState, RegisteredKey, Reseal, SealedCell},
    token::{NewToken, TokenKind},
    value::KeyId,
    webhook::{NewWebhook, OtherDigests, WebhookPayload},
};

use super::{
    Subject,
    fixtures::{
        at, at_micros, cache_entry, new_integration, provider, reservation, sealed_under, uid,
    },
};

fn key_id(id: &str) -> KeyId {
    KeyId::new(id).unwrap()
}

fn check(id: &str, value: u8, primary: bool) -> KeyCheck {
    KeyCheck {
        key_id: key_id(id),
        check_value: [value; 32],
        primary,
    }
}

fn registered(id: &str, value: u8, state: KeyState, created_at: DateTime<Utc>) -> RegisteredKey {
    RegisteredKey {
        key_id: key_id(id),
        check_value: vec![value; 32],
        state,
        created_at,
    }
}

async fn register(subject: &Subject, keys: &[KeyCheck], now: DateTime<Utc>) -> Vec<RegisteredKey> {
    let keys = subject.ports.keys.register(keys, now).await.unwrap();
    assert_eq!(keys, subject.ports.keys.list().await.unwrap());
    keys
}

async fn states(subject: &Subject) -> Vec<(String, KeyState)> {
    let keys = subject.ports.keys.list().await.unwrap();
    let states = keys.into_iter().map(|key| (key.key_id.into(), key.state));
    states.collect()
}

pub async fn the_first_to_register_an_id_wins(subject: &Subject) {
    assert_eq!(subject.ports.keys.list().await.unwrap(), []);
    let ring = [check("k2", 2, true), check("k1", 1, false)];
    let first = register(subject, &ring, at_micros(1, 1)).await;
    let known = [
        registered("k2", 2, KeyState::Primary, at_micros(1, 1)),
        registered("k1", 1, KeyState::Accepted, at_micros(1, 1)),
    ];
    for key in &known {
        assert!(first.contains(key), "{key:?} among {first:?}");
    }
    assert_eq!(first.len(), 2);

    let other = [check("k1", 9, true), check("k2", 9, false)];
    let second = register(subject, &other, at(5)).await;
    assert_eq!(second, first, "known keys stay as they are");
}

pub async fn a_second_primary_is_accepted(subject: &Subject) {
    register(subject, &[check("k1", 1, true)], at(1)).await;
    let ring = [check("k2", 2, true), check("k1", 1, false)];
    let keys = register(subject, &ring, at(2)).await;
    let expected = [
        registered("k1", 1, KeyState::Primary, at(1)),
        registered("k2", 2, KeyState::Accepted, at(2)),
    ];
    assert_eq!(keys, expected, "the oldest first");
    assert_eq!(register(subject, &[], at(3)).await, expected);
}

pub async fn promoting_leaves_one_primary(subject: &Subject) {
    let ring = [check("k1", 1, true), check("k2", 2, false)];
    register(subject, &ring[..1], at(1)).await;
    register(subject, &ring[1..], at(2)).await;
    let keys = &subject.ports.keys;
    for _ in 0..2 {
        assert!(keys.promote(&key_id("k2"), at(3)).await.unwrap());
        let expected = [
            ("k1".to_owned(), KeyState::Accepted),
            ("k2".to_owned(), KeyState::Primary),
        ];
        assert_eq!(states(subject).await, expected);
    }
    let before = keys.list().await.unwrap();
    assert!(!keys.promote(&key_id("k9"), at(4)).await.unwrap());
    let retired = keys.retire(&key_id("k1"), at(5)).await.unwrap();
    assert_eq!(retired, KeyRetired::Done);
    assert!(!keys.promote(&key_id("k1"), at(6)).await.unwrap());
    let after = keys.list().await.unwrap();
    assert_eq!(after[1], before[1], "the primary one stays");
    assert_eq!(after[0].state, KeyState::Retired);
}

/// Stores one value in each sealed column, for a uid of its own; in the order of
/// [`SealedColumn::ALL`].
async fn seal_everywhere(subject: &Subject, key: &str) -> (Integration, [SealContext; 5]) {
    let ports = &subject.ports;
    let value = |column: &str| sealed_under(key, column);
    let row = subject
        .create(&NewIntegration {
            credentials: Some(value("credentials")),
            ..new_integration()
        })
        .await;

    let claim = reservation(row.id, "charge-1");
    subject.acquire(&claim).await;
    let outcome = KeyedOutcome::Succeeded {
        status_code: Some(200),
        answer: Some(value("ledger")),
    };
    subject.complete(&claim, outcome).await;

    let entry = NewCacheEntry {
        answer: CachedAnswer::Sealed(value("cache")),
        ..cache_entry(row.id, b"digest")
    };
    ports.cache.put(&entry).await.unwrap();

    let webhook = NewWebhook {
        uid: uid(),
        integration_id: Some(row.id),
        provider: row.provider.clone(),
        event_type: None,
        delivery_id: None,
        dedup_key: None,
        body_digest: None,
        digest_duplicate_since: None,
        other_digests: OtherDigests::default(),
        payload: WebhookPayload::Sealed(value("webhook")),
        headers: Vec::new(),
        method: "POST".to_owned(),
        path: "/".to_owned(),
        query: None,
        remote_addr: None,
        ordering_key: None,
        available_at: Some(at(0)),
        now: at(0),
    };
    let received = ports.inbox.receive(std::slice::from_ref(&webhook)).await;
    received.unwrap().remove(0).unwrap();

    let token = NewToken {
        uid: uid(),
        digest: uid().as_str().as_bytes().to_vec(),
        kind: TokenKind::OAuthState,
        provider: row.provider.clone(),
        integration_id: Some(row.id),
        data: Some(value("token")),
        until: at(600),
        now: at(0),
    };
    ports.tokens.issue(&token).await.unwrap();

    let context = |column, uid: Uid| SealContext {
        column,
        uid,
        provider: provider("github"),
    };
    let contexts = [
        context(SealedColumn::Credentials, row.uid),
        context(SealedColumn::LedgerAnswer, claim.uid),
        context(SealedColumn::CachedAnswer, entry.uid),
        context(SealedColumn::WebhookPayload, webhook.uid),
        context(SealedColumn::TokenData, token.uid),
    ];
    (row, contexts)
}

// W-CRED-2
pub async fn usage_is_counted_by_key_and_column(subject: &Subject) {
    assert_eq!(subject.ports.keys.usage().await.unwrap(), []);
    seal_everywhere(subject, "k1").await;
    seal_everywhere(subject, "k2").await;
    seal_everywhere(subject, "k2").await;
    let bare = NewIntegration {
        credentials: None,
        ..new_integration()
    };
    subject.create(&bare).await;
    let used = subject.ports.keys.usage().await.unwrap();
    assert_eq!(used.len(), 10, "two keys, each in five columns: {used:?}");
    for column in SealedColumn::ALL {
        for (id, values) in [("k1", 1), ("k2", 2)] {
            let counted = used
                .iter()
                .find(|used| used.column == column && used.key_id == key_id(id));
            let counted = counted.map(|used| used.values);
            assert_eq!(counted, Some(values), "{column:?} under {id}");
        }
    }
}

async fn cells(
    subject: &Subject,
    column: SealedColumn,
    not_under: &str,
    after: i64,
    limit: u32,
) -> Vec<SealedCell> {
    let keys = &subject.ports.keys;
    let not_under = key_id(not_under);
    keys.sealed_cells(column, &not_under, after, limit)
        .await
        .unwrap()
}

pub async fn cells_come_with_their_place(subject: &Subject) {
    let (_, contexts) = seal_everywhere(subject, "k1").await;
    seal_everywhere(subject, "k2").await;
    for context in contexts {
        let column = context.column;
        let mut found = cells(subject, column, "k2", 0, 10).await;
        assert_eq!(found.len(), 1, "{column:?} holds one under another key");
        let cell = found.remove(0);
        assert_eq!(cell.context, context);
        assert_eq!(cell.sealed.key_id(), Some(key_id("k1")), "{column:?}");
        let behind = cells(subject, column, "k2", cell.row, 10).await;
        assert_eq!(behind, []);
    }
}

pub async fn cells_are_walked_by_ascending_row(subject: &Subject) {
    let mut expected = Vec::new();
    for n in 0..5 {
        let new = NewIntegration {
            credentials: Some(sealed_under("k1", &n.to_string())),
            ..new_integration()
        };
        expected.push(subject.create(&new).await.id.0);
        let current = NewIntegration {
            credentials: Some(sealed_under("k10", &n.to_string())),
            ..new_integration()
        };
        subject.create(&current).await;
    }
    let mut walked = Vec::new();
    let mut after = 0;
    loop {
        let found = cells(subject, SealedColumn::Credentials, "k10", after, 2).await;
        let Some(last) = found.last() else { break };
        assert!(found.len() <= 2);
        after = last.row;
        walked.extend(found.iter().map(|cell| cell.row));
    }
    assert_eq!(walked, expected);
}

// W-CRED-2
pub async fn a_value_is_resealed_in_its_place(subject: &Subject) {
    let (row, contexts) = seal_everywhere(subject, "k1").await;
    let mut reseals = Vec::new();
    for context in &contexts {
        let cell = cells(subject, context.column, "k2", 0, 10).await.remove(0);
        let to = sealed_under("k2", context.uid.as_str());
        reseals.push(Reseal { cell, to });
    }
    let keys = &subject.ports.keys;
    assert_eq!(keys.reseal(&reseals).await.unwrap(), 5);
    for (context, reseal) in contexts.iter().zip(&reseals) {
        let found = cells(subject, context.column, "k9", 0, 10).await;
        let expected = SealedCell {
            sealed: reseal.to.clone(),
            ..reseal.cell.clone()
        };
        assert_eq!(found, [expected]);
    }
    let expected = Integration {
        credentials: Some(reseals[0].to.clone()),
        ..row.clone()
    };
    assert_eq!(subject.read(row.id).await, expected, "and nothing else");
    assert_eq!(keys.reseal(&[]).await.unwrap(), 0);
}

// W-CRED-4
pub async fn a_value_that_was_replaced_is_not_resealed(subject: &Subject) {
    let stale = subject.integration().await;
    let fresh = subject.integration().await;
    let mut found = cells(subject, SealedColumn::Credentials, "k2", 0, 10).await;
    let position = found.iter().position(|cell| cell.row == stale.id.0);
    found[position.expect("its cell is listed")].sealed = Sealed::from_text("v1.k1.before");
    let to = sealed_under("k2", "resealed");
    let reseals: Vec<_> = found
        .into_iter()
        .map(|cell| Reseal {
            cell,
            to: to.clone(),
        })
        .collect();
    assert_eq!(subject.ports.keys.reseal(&reseals).await.unwrap(), 1);
    assert_eq!(subject.read(stale.id).await, stale);
    assert_eq!(subject.read(fresh.id).await.credentials, Some(to));
}

pub async fn a_key_is_retired_once_nothing_needs_it(subject: &Subject) {
    let keys = &subject.ports.keys;
    let missing = keys.retire(&key_id("k1"), at(0)).await.unwrap();
    assert_eq!(missing, KeyRetired::NotFound);
    let ring = [check("k2", 2, true), check("k1", 1, false)];
    register(subject, &ring, at(1)).await;
    seal_everywhere(subject, "k1").await;
    let primary = keys.retire(&key_id("k2"), at(2)).await.unwrap();
    assert_eq!(primary, KeyRetired::Primary);
    let used = keys.retire(&key_id("k1"), at(2)).await.unwrap();
    assert_eq!(used, KeyRetired::InUse(5));

    for column in SealedColumn::ALL {
        let cell = cells(subject, column, "k2", 0, 10).await.remove(0);
        let to = sealed_under("k2", "resealed");
        keys.reseal(&[Reseal { cell, to }]).await.unwrap();
    }
    let done = keys.retire(&key_id("k1"), at(3)).await.unwrap();
    assert_eq!(done, KeyRetired::Done);
    let after = register(subject, &ring, at(4)).await;
    let retired = after.iter().find(|key| key.key_id == key_id("k1"));
    let expected = registered("k1", 1, KeyState::Retired, at(1));
    assert_eq!(retired, Some(&expected), "its id is not given away");
}
