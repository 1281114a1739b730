//! Cases of `IntegrationStore::remove`.

use integrations_core::{
    cache::{CachedAnswer, NewCacheEntry},
    encryptor::SealedColumn,
    idempotency::{KeyedOutcome, NewReservation},
    integration::{NewIntegration, Removal, Scope},
};

use super::{
    Subject,
    fixtures::{at, cache_entry, key, new_integration, reservation, scope, sealed, uid},
};

const OPERATOR: Scope = Scope::Operator;

pub async fn secrets_are_wiped_at_once(subject: &Subject) {
    let row = subject.integration().await;
    let claim = reservation(row.id, "charge-1");
    subject.acquire(&claim).await;
    let outcome = KeyedOutcome::Succeeded {
        status_code: Some(201),
        answer: Some(sealed("answer")),
    };
    subject.complete(&claim, outcome).await;
    let cached = cache_entry(row.id, b"digest");
    subject.ports.cache.put(&cached).await.unwrap();
    let columns = [
        SealedColumn::Credentials,
        SealedColumn::LedgerAnswer,
        SealedColumn::CachedAnswer,
    ];
    let used = subject.ports.keys.usage().await.unwrap();
    for column in columns {
        assert!(used.iter().any(|used| used.column == column), "{column:?}");
    }

    let store = &subject.ports.integrations;
    let removal = store.remove(row.id, &OPERATOR, false, at(5)).await.unwrap();
    assert_eq!(removal, Removal::Removed);
    let kept = subject.read_removed(row.id).await.expect("it is listed");
    assert_eq!(kept.credentials, None);
    assert_eq!(kept.removed_at, Some(at(5)));
    assert_eq!(subject.ports.keys.usage().await.unwrap(), []);
    let found = subject.ports.cache.find(&[cached.key]).await.unwrap();
    assert_eq!(found, None);
}

pub async fn the_schedule_is_cleared_and_the_fence_moves(subject: &Subject) {
    let new = NewIntegration {
        next_sync_at: Some(at(0)),
        sync_interval_minutes: Some(5),
        ..new_integration()
    };
    let row = subject.create(&new).await;
    subject.remove(row.id).await;
    let kept = subject.read_removed(row.id).await.expect("it is listed");
    assert_eq!(kept.next_sync_at, None);
    assert!(kept.sync_fence > row.sync_fence);
}

pub async fn plain_answers_are_wiped_too(subject: &Subject) {
    let row = subject.integration().await;
    let entry = NewCacheEntry {
        answer: CachedAnswer::Plain("{}".to_owned()),
        ..cache_entry(row.id, b"digest")
    };
    subject.ports.cache.put(&entry).await.unwrap();
    subject.remove(row.id).await;
    let found = subject.ports.cache.find(&[entry.key]).await.unwrap();
    assert_eq!(found, None);
}

// W-IDM-3
pub async fn keys_of_unknown_outcome_keep_it_from_being_removed(subject: &Subject) {
    let row = subject.integration_of(1).await;
    let ports = &subject.ports;
    let unknown = reservation(row.id, "unknown");
    let expired = NewReservation {
        reserved_until: at(50),
        ..reservation(row.id, "expired")
    };
    let live = NewReservation {
        reserved_until: at(500),
        ..reservation(row.id, "live")
    };
    for claim in [&unknown, &expired, &live] {
        subject.acquire(claim).await;
    }
    let outcome = KeyedOutcome::Unknown {
        status_code: None,
        answer: None,
    };
    subject.complete(&unknown, outcome).await;

    let before = subject.read(row.id).await;
    let removal = ports.integrations.remove(row.id, &OPERATOR, false, at(100));
    assert_eq!(removal.await.unwrap(), Removal::UnknownKeys(2));
    assert_eq!(subject.read(row.id).await, before, "nothing is changed");
    let other = scope(2);
    let foreign = ports.integrations.remove(row.id, &other, false, at(100));
    assert_eq!(
        foreign.await.unwrap(),
        Removal::NotFound,
        "another owner learns nothing of its keys"
    );

    let forced = ports.integrations.remove(row.id, &OPERATOR, true, at(100));
    assert_eq!(forced.await.unwrap(), Removal::Removed);
    assert!(!subject.is_found(row.id, &OPERATOR).await);
}

pub async fn what_belongs_to_others_stays(subject: &Subject) {
    let gone = subject.integration().await;
    let stays = subject.integration().await;
    let ports = &subject.ports;
    let cached = cache_entry(stays.id, b"digest");
    ports.cache.put(&cached).await.unwrap();
    ports
        .ledger
        .reserve(&reservation(stays.id, "k"))
        .await
        .unwrap();
    subject.remove(gone.id).await;
    assert_eq!(subject.read(stays.id).await, stays);
    assert!(ports.cache.find(&[cached.key]).await.unwrap().is_some());
    let found = ports
        .ledger
        .find(stays.id, &key("k"), &OPERATOR, at(1))
        .await;
    assert!(found.unwrap().is_some());
    let removal = ports.integrations.remove(gone.id, &OPERATOR, true, at(1));
    assert_eq!(removal.await.unwrap(), Removal::NotFound, "it is gone");
    assert!(!subject.is_found(uid(), &OPERATOR).await);
}
