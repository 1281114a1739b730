//! Cases of `MappingStore`.

use integrations_core::{
    id::{IntegrationId, MappingId, SyncRunId},
    mapping::{Claimed, Mapping, NewMapping, Remap, Remapped},
    store::{PageRequest, Rejected},
    value::{ExternalId, InternalId, InternalType},
};

use super::{
    Subject,
    fixtures::{at, at_micros, external, internal, mapping, read_all, ticket},
};

async fn claim(subject: &Subject, claim: NewMapping) -> Claimed {
    claim_all(subject, &[claim]).await.remove(0)
}

async fn claim_all(subject: &Subject, claims: &[NewMapping]) -> Vec<Claimed> {
    let claimed = subject.ports.mappings.claim(claims).await.unwrap();
    claimed.into_iter().map(Result::unwrap).collect()
}

async fn claim_new(subject: &Subject, new: NewMapping) -> MappingId {
    match claim(subject, new).await {
        Claimed::New(id) => id,
        other => panic!("the record was free, but: {other:?}"),
    }
}

async fn resolve(subject: &Subject, id: IntegrationId, record: &str) -> Option<Mapping> {
    let records = [external(record)];
    let resolved = subject
        .ports
        .mappings
        .resolve(id, &ticket(), &records)
        .await;
    resolved.unwrap().remove(0)
}

async fn entity(subject: &Subject, id: IntegrationId, record: &str) -> Option<InternalId> {
    let found = resolve(subject, id, record).await;
    found.map(|found| found.mapping.internal_id)
}

// MAP-02
pub async fn a_free_record_is_claimed(subject: &Subject) {
    let row = subject.integration().await;
    let new = mapping(row.id, "issue-1", "t-1");
    let id = claim_new(subject, new.clone()).await;
    let expected = Mapping {
        id,
        updated_at: new.now,
        mapping: new,
    };
    assert_eq!(resolve(subject, row.id, "issue-1").await, Some(expected));
}

// MAP-01, L-MAP-3
pub async fn every_column_round_trips(subject: &Subject) {
    let row = subject.integration().await;
    let full = NewMapping {
        integration_id: row.id,
        external_id: external(&"🧭".repeat(500)),
        internal_type: InternalType::new("ü".repeat(255)).unwrap(),
        internal_id: internal(&"é".repeat(255)),
        source_version: Some("\"W/v1\"".to_owned()),
        content_hash: Some((0..=255).collect()),
        last_seen_run: Some(SyncRunId(1 << 40)),
        now: at_micros(0, 1),
    };
    claim_new(subject, full.clone()).await;
    let records = std::slice::from_ref(&full.external_id);
    let mappings = &subject.ports.mappings;
    let resolved = mappings.resolve(row.id, &full.internal_type, records).await;
    let found = resolved.unwrap().remove(0).expect("it was claimed");
    assert_eq!(found.mapping, full);
}

// MAP-02, W-MAP-5
pub async fn the_same_claim_again_updates_what_it_gives(subject: &Subject) {
    let row = subject.integration().await;
    let first = NewMapping {
        source_version: Some("1".to_owned()),
        content_hash: Some(vec![1]),
        last_seen_run: Some(SyncRunId(1)),
        ..mapping(row.id, "issue-1", "t-1")
    };
    let id = claim_new(subject, first.clone()).await;
    let seen_again = NewMapping {
        now: at(5),
        ..mapping(row.id, "issue-1", "t-1")
    };
    assert_eq!(claim(subject, seen_again).await, Claimed::Same(id));
    let stored = resolve(subject, row.id, "issue-1").await.expect("mapped");
    assert_eq!(stored.mapping, first, "nothing was given");

    let newer = NewMapping {
        source_version: Some("2".to_owned()),
        content_hash: Some(vec![2, 0]),
        last_seen_run: Some(SyncRunId(2)),
        now: at(6),
        ..first.clone()
    };
    assert_eq!(claim(subject, newer.clone()).await, Claimed::Same(id));
    let stored = resolve(subject, row.id, "issue-1").await.expect("mapped");
    let expected = NewMapping {
        now: first.now,
        ..newer
    };
    assert_eq!(stored.mapping, expected, "`now` is when it was claimed");
    assert_eq!(stored.updated_at, at(6));
}

// MAP-02, L-MAP-1
pub async fn another_entity_learns_who_has_the_record(subject: &Subject) {
    let row = subject.integration().await;
    let id = claim_new(subject, mapping(row.id, "issue-1", "t-1")).await;
    let before = resolve(subject, row.id, "issue-1").await;
    let rival = NewMapping {
        source_version: Some("9".to_owned()),
        now: at(5),
        ..mapping(row.id, "issue-1", "t-2")
    };
    let expected = Claimed::Conflict {
        id,
        claimed_by: internal("t-1"),
    };
    assert_eq!(claim(subject, rival).await, expected);
    assert_eq!(resolve(subject, row.id, "issue-1").await, before);
}

// INV-13
pub async fn the_first_of_a_batch_wins(subject: &Subject) {
    let row = subject.integration().await;
    let batch = [
        mapping(row.id, "issue-1", "t-1"),
        mapping(row.id, "issue-1", "t-2"),
        mapping(row.id, "issue-2", "t-2"),
        mapping(row.id, "issue-1", "t-1"),
    ];
    let claimed = claim_all(subject, &batch).await;
    let Claimed::New(first) = claimed[0] else {
        panic!("the record was free, but: {:?}", claimed[0]);
    };
    let conflict = Claimed::Conflict {
        id: first,
        claimed_by: internal("t-1"),
    };
    assert_eq!(claimed[1], conflict);
    assert!(matches!(claimed[2], Claimed::New(id) if id != first));
    assert_eq!(claimed[3], Claimed::Same(first));
    assert_eq!(
        entity(subject, row.id, "issue-1").await,
        Some(internal("t-1"))
    );
    assert_eq!(claim_all(subject, &[]).await, []);
}

pub async fn a_bad_entry_fails_alone(subject: &Subject) {
    let row = subject.integration().await;
    for position in 0..3 {
        let mut batch = ["a", "b", "c"].map(|record| {
            let record = format!("{record}-{position}");
            mapping(row.id, &record, "t-1")
        });
        batch[position].integration_id = IntegrationId(i64::MAX);
        let claimed = subject.ports.mappings.claim(&batch).await.unwrap();
        assert_eq!(claimed.len(), 3);
        for (n, claimed) in claimed.iter().enumerate() {
            if n == position {
                assert_eq!(*claimed, Err(Rejected::MissingReference));
            } else {
                assert!(matches!(claimed, Ok(Claimed::New(_))), "{claimed:?}");
            }
        }
    }
}

// MAP-01
pub async fn types_and_integrations_are_independent(subject: &Subject) {
    let row = subject.integration().await;
    let other = subject.integration().await;
    let comment = InternalType::new("comment").unwrap();
    claim_new(subject, mapping(row.id, "1", "t-1")).await;
    claim_new(subject, mapping(other.id, "1", "t-2")).await;
    let as_comment = NewMapping {
        internal_type: comment.clone(),
        ..mapping(row.id, "1", "c-3")
    };
    claim_new(subject, as_comment).await;

    assert_eq!(entity(subject, row.id, "1").await, Some(internal("t-1")));
    assert_eq!(entity(subject, other.id, "1").await, Some(internal("t-2")));
    let mappings = &subject.ports.mappings;
    let comments = mappings.resolve(row.id, &comment, &[external("1")]).await;
    let found = comments.unwrap().remove(0).expect("it was claimed");
    assert_eq!(found.mapping.internal_id, internal("c-3"));

    let reversed = mappings.reverse(row.id, &ticket(), &internal("t-2")).await;
    assert_eq!(reversed.unwrap(), [], "of another integration");
    let released = mappings.release(row.id, &ticket(), &external("1")).await;
    assert!(released.unwrap());
    assert!(entity(subject, other.id, "1").await.is_some());
    let comments = mappings.resolve(row.id, &comment, &[external("1")]).await;
    assert!(comments.unwrap()[0].is_some());
}

pub async fn records_differ_by_every_character(subject: &Subject) {
    let row = subject.integration().await;
    let records = ["Straße", "STRASSE", "strasse", "strasse ", "e\u{301}", "é"];
    for record in records {
        claim_new(subject, mapping(row.id, record, record)).await;
    }
    for record in records {
        let found = entity(subject, row.id, record).await;
        assert_eq!(found, Some(internal(record)));
    }
}

// MAP-05
pub async fn records_resolve_in_the_order_asked_for(subject: &Subject) {
    let row = subject.integration().await;
    claim_new(subject, mapping(row.id, "a", "t-a")).await;
    claim_new(subject, mapping(row.id, "b", "t-b")).await;
    let asked = ["b", "missing", "a", "b"].map(external);
    let mappings = &subject.ports.mappings;
    let resolved = mappings.resolve(row.id, &ticket(), &asked).await.unwrap();
    let entities: Vec<_> = resolved
        .iter()
        .map(|found| {
            found
                .as_ref()
                .map(|found| found.mapping.internal_id.as_str())
        })
        .collect();
    assert_eq!(entities, [Some("t-b"), None, Some("t-a"), Some("t-b")]);
    let nothing = mappings.resolve(row.id, &ticket(), &[]).await.unwrap();
    assert_eq!(nothing, []);
}

// W-MAP-4, MAP-05
pub async fn ten_thousand_records_resolve_at_once(subject: &Subject) {
    let row = subject.integration().await;
    let claims: Vec<_> = (0..10_000)
        .step_by(100)
        .map(|n| mapping(row.id, &format!("issue-{n}"), &format!("t-{n}")))
        .collect();
    claim_all(subject, &claims).await;
    let asked: Vec<_> = (0..10_000)
        .map(|n| external(&format!("issue-{n}")))
        .collect();
    let mappings = &subject.ports.mappings;
    let resolved = mappings.resolve(row.id, &ticket(), &asked).await.unwrap();
    assert_eq!(resolved.len(), asked.len());
    for (n, found) in resolved.iter().enumerate() {
        let found = found.as_ref().map(|found| &found.mapping.internal_id);
        let expected = (n % 100 == 0).then(|| internal(&format!("t-{n}")));
        assert_eq!(found, expected.as_ref(), "of record {n}");
    }
}

pub async fn a_record_to_be_changed_resolves_as_any(subject: &Subject) {
    let row = subject.integration().await;
    claim_new(subject, mapping(row.id, "issue-1", "t-1")).await;
    let mappings = &subject.ports.mappings;
    for record in ["issue-1", "issue-2"] {
        let (tickets, id) = (ticket(), external(record));
        let locked = mappings.resolve_locked(row.id, &tickets, &id).await;
        assert_eq!(locked.unwrap(), resolve(subject, row.id, record).await);
    }
}

// MAP-04, W-MAP-3
pub async fn an_entity_knows_its_records_oldest_first(subject: &Subject) {
    let row = subject.integration().await;
    for record in ["c", "a", "b"] {
        claim_new(subject, mapping(row.id, record, "t-1")).await;
    }
    claim_new(subject, mapping(row.id, "d", "t-2")).await;
    let mappings = &subject.ports.mappings;
    let found = mappings.reverse(row.id, &ticket(), &internal("t-1")).await;
    let found = found.unwrap();
    let records: Vec<_> = found
        .iter()
        .map(|found| found.mapping.external_id.as_str())
        .collect();
    assert_eq!(records, ["c", "a", "b"]);
    let nobody = mappings.reverse(row.id, &ticket(), &internal("t-9")).await;
    assert_eq!(nobody.unwrap(), []);
}

fn unconditional(to: NewMapping) -> Remap {
    Remap {
        mapping: to,
        expected: None,
    }
}

/// A move of a record from what it is expected to be; `None`: free.
fn expecting(current: Option<&str>, to: NewMapping) -> Remap {
    Remap {
        mapping: to,
        expected: Some(current.map(internal)),
    }
}

async fn remapped(subject: &Subject, remap: Remap) -> Remapped {
    subject.ports.mappings.remap(&remap).await.unwrap()
}

// MAP-03
pub async fn a_record_moves_whatever_it_is(subject: &Subject) {
    let row = subject.integration().await;
    let id = claim_new(subject, mapping(row.id, "issue-1", "t-1")).await;
    let moved = NewMapping {
        source_version: Some("2".to_owned()),
        now: at(5),
        ..mapping(row.id, "issue-1", "t-2")
    };
    let done = Remapped::Done {
        id,
        displaced: Some(internal("t-1")),
    };
    assert_eq!(remapped(subject, unconditional(moved)).await, done);
    let stored = resolve(subject, row.id, "issue-1").await.expect("mapped");
    assert_eq!(stored.mapping.internal_id, internal("t-2"));
    assert_eq!(stored.mapping.source_version.as_deref(), Some("2"));
    assert_eq!(stored.mapping.now, at(0), "when the record was claimed");
    assert_eq!(stored.updated_at, at(5));
    let mappings = &subject.ports.mappings;
    let before = mappings.reverse(row.id, &ticket(), &internal("t-1")).await;
    assert_eq!(before.unwrap(), [], "the displaced entity lost it");
}

// MAP-03
pub async fn a_free_record_is_moved_to(subject: &Subject) {
    let row = subject.integration().await;
    let moves = [
        unconditional(mapping(row.id, "any", "t-1")),
        expecting(None, mapping(row.id, "free", "t-1")),
    ];
    for to in moves {
        let record = to.mapping.external_id.as_str().to_owned();
        let answer = remapped(subject, to).await;
        let Remapped::Done {
            id,
            displaced: None,
        } = answer
        else {
            panic!("the record was free, but: {answer:?}");
        };
        let stored = resolve(subject, row.id, &record).await.expect("mapped");
        assert_eq!(stored.id, id);
        assert_eq!(stored.mapping.internal_id, internal("t-1"));
    }
}

// MAP-03, W-MAP-1
pub async fn a_record_moves_only_from_what_is_expected(subject: &Subject) {
    let row = subject.integration().await;
    let id = claim_new(subject, mapping(row.id, "issue-1", "gone")).await;
    let to = |entity| mapping(row.id, "issue-1", entity);
    for expected in [Some("other"), None] {
        let answer = remapped(subject, expecting(expected, to("t-1"))).await;
        let unexpected = Remapped::Unexpected {
            current: Some(internal("gone")),
        };
        assert_eq!(answer, unexpected, "expecting {expected:?}");
        let stays = entity(subject, row.id, "issue-1").await;
        assert_eq!(stays, Some(internal("gone")));
    }
    let healed = remapped(subject, expecting(Some("gone"), to("t-1"))).await;
    let done = Remapped::Done {
        id,
        displaced: Some(internal("gone")),
    };
    assert_eq!(healed, done);
    let second = remapped(subject, expecting(Some("gone"), to("t-2"))).await;
    let unexpected = Remapped::Unexpected {
        current: Some(internal("t-1")),
    };
    assert_eq!(second, unexpected, "of two healers one wins");

    let free = mapping(row.id, "never-seen", "t-1");
    let answer = remapped(subject, expecting(Some("gone"), free)).await;
    assert_eq!(answer, Remapped::Unexpected { current: None });
    assert_eq!(resolve(subject, row.id, "never-seen").await, None);
}

pub async fn a_released_record_is_free(subject: &Subject) {
    let row = subject.integration().await;
    claim_new(subject, mapping(row.id, "issue-1", "t-1")).await;
    let mappings = &subject.ports.mappings;
    let record = external("issue-1");
    let released = mappings.release(row.id, &ticket(), &record).await;
    assert!(released.unwrap());
    assert_eq!(resolve(subject, row.id, "issue-1").await, None);
    let again = mappings.release(row.id, &ticket(), &record).await;
    assert!(!again.unwrap(), "it was free");
    claim_new(subject, mapping(row.id, "issue-1", "t-2")).await;
}

// L-MAP-4, MAP-08
pub async fn pages_hold_each_row_once(subject: &Subject) {
    let row = subject.integration().await;
    let other = subject.integration().await;
    let mut expected: Vec<ExternalId> = Vec::new();
    for record in ["c", "a", "e", "b", "d"] {
        claim_new(subject, mapping(row.id, record, "t-1")).await;
        claim_new(subject, mapping(other.id, record, "t-1")).await;
        expected.push(external(record));
    }
    let mappings = &subject.ports.mappings;
    let tickets = ticket();
    let read = async |page: PageRequest| mappings.list(row.id, &tickets, &page).await.unwrap();
    let oldest = read_all(PageRequest::oldest(2), read).await;
    let oldest: Vec<_> = oldest
        .into_iter()
        .map(|row| row.mapping.external_id)
        .collect();
    assert_eq!(oldest, expected);
    expected.reverse();
    let newest = read_all(PageRequest::newest(2), read).await;
    let newest: Vec<_> = newest
        .into_iter()
        .map(|row| row.mapping.external_id)
        .collect();
    assert_eq!(newest, expected);
}
