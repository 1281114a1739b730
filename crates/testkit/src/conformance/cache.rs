//! Cases of `ResponseCache`.

use integrations_core::cache::{CacheEntry, CacheKey, CachedAnswer, NewCacheEntry};

use super::{
    Subject,
    fixtures::{at, at_micros, attempt, cache_entry, neutral, sealed, uid},
};

async fn put(subject: &Subject, entry: &NewCacheEntry) {
    subject.ports.cache.put(entry).await.unwrap();
}

async fn find(subject: &Subject, keys: &[CacheKey]) -> Option<NewCacheEntry> {
    let found = subject.ports.cache.find(keys).await.unwrap();
    found.map(|CacheEntry { entry }| entry)
}

async fn find_one(subject: &Subject, key: &CacheKey) -> Option<NewCacheEntry> {
    find(subject, std::slice::from_ref(key)).await
}

pub async fn every_column_round_trips(subject: &Subject) {
    let row = subject.integration().await;
    let outcomes = [neutral(attempt(row.id))];
    let recorded = subject.ports.journal.record(&outcomes).await.unwrap();
    let request_id = recorded[0].as_ref().unwrap().id;
    let bare = cache_entry(row.id, b"bare");
    let full = NewCacheEntry {
        method: "ü".repeat(10),
        endpoint: "🧭".repeat(255),
        request_id,
        status_code: 599,
        answer: CachedAnswer::Plain("\u{1f600}".repeat(16_384)),
        etag: Some("W/\"größe\"".to_owned()),
        last_modified: Some("Thu, 01 Jan 2026 00:00:00 GMT".to_owned()),
        expires_at: at_micros(60, 1),
        stale_until: Some(at_micros(90, 999_999)),
        now: at_micros(0, 2),
        ..cache_entry(row.id, &(0..=255).collect::<Vec<_>>())
    };
    let empty = NewCacheEntry {
        answer: CachedAnswer::Plain(String::new()),
        ..cache_entry(row.id, b"empty")
    };
    for entry in [bare, full, empty] {
        put(subject, &entry).await;
        assert_eq!(find_one(subject, &entry.key).await, Some(entry));
    }
}

pub async fn an_entry_is_found_under_any_of_the_keys(subject: &Subject) {
    let row = subject.integration().await;
    let entry = cache_entry(row.id, b"former key of the ring");
    put(subject, &entry).await;
    let other = |digest: &[u8]| cache_entry(row.id, digest).key;
    let keys = [other(b"primary"), entry.key.clone(), other(b"third")];
    assert_eq!(find(subject, &keys).await, Some(entry));
    assert_eq!(find(subject, &[other(b"primary")]).await, None);
    assert_eq!(find(subject, &[]).await, None);
}

// INV-11, W-RC-4
pub async fn generations_and_integrations_are_never_crossed(subject: &Subject) {
    let row = subject.integration().await;
    let other = subject.integration().await;
    let entry = cache_entry(row.id, b"digest");
    put(subject, &entry).await;
    for generation in [-1, 1, 2] {
        let key = CacheKey {
            credentials_generation: generation,
            ..entry.key.clone()
        };
        assert_eq!(find_one(subject, &key).await, None, "{generation}");
        let cache = &subject.ports.cache;
        let extended = cache.extend(&key, at(999), None, at(1)).await.unwrap();
        assert!(!extended, "generation {generation}");
    }
    let foreign = cache_entry(other.id, b"digest");
    assert_eq!(find_one(subject, &foreign.key).await, None);
    put(subject, &foreign).await;
    assert_eq!(find_one(subject, &foreign.key).await, Some(foreign));
    assert_eq!(find_one(subject, &entry.key).await, Some(entry));
}

// RC-06
pub async fn an_expired_entry_is_found(subject: &Subject) {
    let row = subject.integration().await;
    let expired = NewCacheEntry {
        expires_at: at(-2),
        stale_until: Some(at(-1)),
        ..cache_entry(row.id, b"digest")
    };
    put(subject, &expired).await;
    assert_eq!(find_one(subject, &expired.key).await, Some(expired));
}

pub async fn an_entry_takes_the_place_of_another(subject: &Subject) {
    let row = subject.integration().await;
    let old = NewCacheEntry {
        etag: Some("old".to_owned()),
        stale_until: Some(at(90)),
        ..cache_entry(row.id, b"digest")
    };
    put(subject, &old).await;
    let new = NewCacheEntry {
        uid: uid(),
        status_code: 203,
        answer: CachedAnswer::Sealed(sealed("newer")),
        expires_at: at(100),
        now: at(50),
        ..cache_entry(row.id, b"digest")
    };
    put(subject, &new).await;
    assert_eq!(find_one(subject, &new.key).await, Some(new.clone()));
    let plain = NewCacheEntry {
        answer: CachedAnswer::Plain("{}".to_owned()),
        ..new
    };
    put(subject, &plain).await;
    assert_eq!(find_one(subject, &plain.key).await, Some(plain.clone()));

    let next_generation = NewCacheEntry {
        key: CacheKey {
            credentials_generation: 1,
            ..plain.key.clone()
        },
        uid: uid(),
        ..plain.clone()
    };
    put(subject, &next_generation).await;
    let found = find_one(subject, &next_generation.key).await;
    assert_eq!(found, Some(next_generation));
    assert_eq!(find_one(subject, &plain.key).await, None, "it was replaced");
    assert_eq!(subject.ports.cache.clear(row.id).await.unwrap(), 1);
}

// W-RC-2
pub async fn a_validated_entry_lives_longer(subject: &Subject) {
    let row = subject.integration().await;
    let entry = NewCacheEntry {
        etag: Some("v1".to_owned()),
        stale_until: Some(at(90)),
        ..cache_entry(row.id, b"digest")
    };
    put(subject, &entry).await;
    let cache = &subject.ports.cache;
    for stale_until in [Some(at(300)), None] {
        let extended = cache.extend(&entry.key, at(200), stale_until, at(100));
        assert!(extended.await.unwrap());
        let expected = NewCacheEntry {
            expires_at: at(200),
            stale_until,
            now: at(100),
            ..entry.clone()
        };
        assert_eq!(find_one(subject, &entry.key).await, Some(expected));
    }
    let gone = cache_entry(row.id, b"gone").key;
    assert!(!cache.extend(&gone, at(200), None, at(100)).await.unwrap());
    assert_eq!(find_one(subject, &gone).await, None);
}

pub async fn an_integration_is_cleared_by_itself(subject: &Subject) {
    let row = subject.integration().await;
    let other = subject.integration().await;
    let entries = [
        cache_entry(row.id, b"one"),
        cache_entry(row.id, b"two"),
        cache_entry(other.id, b"one"),
    ];
    for entry in &entries {
        put(subject, entry).await;
    }
    let cache = &subject.ports.cache;
    assert_eq!(cache.clear(row.id).await.unwrap(), 2);
    assert_eq!(cache.clear(row.id).await.unwrap(), 0);
    for entry in &entries[..2] {
        assert_eq!(find_one(subject, &entry.key).await, None);
    }
    assert_eq!(
        find_one(subject, &entries[2].key).await.as_ref(),
        Some(&entries[2])
    );
}
