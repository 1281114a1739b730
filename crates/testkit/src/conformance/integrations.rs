//! Cases of `IntegrationStore`: rows, scopes, lists and changes.

use integrations_core::{
    id::IntegrationId,
    integration::{
        AuthorizationChange, AuthorizationStatus, CredentialReplacement, HealthState, HealthStatus,
        Integration, IntegrationChange, IntegrationFilter, IntegrationRef, NewIntegration, Owner,
        Removal, Replaced, Scope,
    },
    store::{Page, PageRequest},
};
use serde_json::json;

use super::{
    Subject,
    fixtures::{
        at, at_micros, new_integration, owner, provider, read_all, scope, sealed, uid, whole,
    },
};

const OPERATOR: Scope = Scope::Operator;

pub async fn new_ones_are_active_and_healthy(subject: &Subject) {
    let new = NewIntegration {
        owner: Some(owner(1)),
        metadata: Some(json!({ "repository": "acme/roadmap" })),
        sync_interval_minutes: Some(15),
        next_sync_at: Some(at(60)),
        ..new_integration()
    };
    let row = subject.create(&new).await;
    let expected = Integration {
        id: row.id,
        uid: new.uid,
        provider: new.provider,
        name: new.name,
        owner: new.owner,
        credentials: new.credentials,
        credentials_generation: 0,
        metadata: new.metadata,
        is_active: true,
        parks_webhooks: false,
        health: HealthState::healthy(),
        last_error_at: None,
        authorization_status: AuthorizationStatus::Ok,
        last_synced_at: None,
        next_sync_at: new.next_sync_at,
        sync_interval_minutes: new.sync_interval_minutes,
        sync_cursor: None,
        consecutive_sync_failures: 0,
        sync_fence: 0,
        sync_lease: None,
        sync_stale_at: None,
        circuit_override: None,
        rate_override: None,
        removed_at: None,
        created_at: new.now,
        updated_at: new.now,
    };
    assert_eq!(row, expected);
    assert_eq!(subject.read(row.id).await, expected);
}

// INT-03
pub async fn several_of_one_provider_owner_and_name_are_taken(subject: &Subject) {
    let first = subject.integration_of(1).await;
    let second = subject.integration_of(1).await;
    assert_ne!(first.id, second.id);
    assert_eq!(first.name, second.name);
    assert_eq!(subject.read(first.id).await, first);
    assert_eq!(subject.read(second.id).await, second);
}

pub async fn every_column_round_trips(subject: &Subject) {
    let plain = NewIntegration {
        credentials: None,
        ..new_integration()
    };
    let odd = NewIntegration {
        name: "ü".repeat(255).parse().unwrap(),
        owner: Some(Owner::new("Größe \u{1f9ed}", "🧭".repeat(191)).unwrap()),
        credentials: Some(sealed(&"x".repeat(65_536))),
        metadata: Some(json!({
            "": null,
            "nested": { "list": [1, -2, 1.5, "\u{1f600}", "a\"b\\c\n"] },
            "big": i64::MAX,
        })),
        sync_interval_minutes: Some(i32::MAX),
        next_sync_at: Some(at_micros(-1, 999_999)),
        now: at_micros(0, 1),
        ..new_integration()
    };
    for new in [plain, odd] {
        let created = subject.create(&new).await;
        let row = subject.read(created.id).await;
        assert_eq!(row, created, "what was returned is what is stored");
        assert_eq!(row.name, new.name);
        assert_eq!(row.owner, new.owner);
        assert_eq!(row.credentials, new.credentials);
        assert_eq!(row.metadata, new.metadata);
        assert_eq!(row.sync_interval_minutes, new.sync_interval_minutes);
        assert_eq!(row.next_sync_at, new.next_sync_at);
        assert_eq!(row.created_at, new.now);
    }
}

pub async fn are_found_by_number_and_by_uid(subject: &Subject) {
    let row = subject.integration().await;
    let store = &subject.ports.integrations;
    for name in [IntegrationRef::Id(row.id), IntegrationRef::Uid(row.uid)] {
        let found = store.find(name, &OPERATOR).await.unwrap();
        assert_eq!(found.as_ref(), Some(&row), "by {name}");
    }
    assert!(!subject.is_found(uid(), &OPERATOR).await);
    let missing = IntegrationId(row.id.0 + 1_000_000);
    assert!(!subject.is_found(missing, &OPERATOR).await);
}

pub async fn one_of_another_owner_is_absent(subject: &Subject) {
    let row = subject.integration_of(1).await;
    let unowned = subject.integration().await;
    let foreign = [
        scope(2),
        Scope::Owner(Owner::new("team", 1).unwrap()),
        Scope::Owner(Owner::new("tenant", "1").unwrap()),
    ];
    for scope in &foreign {
        assert_touches_nothing(subject, row.id, scope).await;
        assert!(!subject.is_found(row.uid, scope).await, "{scope:?}");
    }
    assert_touches_nothing(subject, unowned.id, &scope(1)).await;
    assert_eq!(subject.read(row.id).await, row);
    assert_eq!(subject.read(unowned.id).await, unowned);
    assert!(subject.is_found(row.id, &scope(1)).await);
    assert!(subject.is_found(row.uid, &scope(1)).await);
}

pub async fn a_removed_one_is_absent(subject: &Subject) {
    let row = subject.integration_of(1).await;
    subject.remove(row.id).await;
    let store = &subject.ports.integrations;
    assert!(!subject.is_found(row.uid, &OPERATOR).await);
    for scope in [OPERATOR, scope(1)] {
        assert_touches_nothing(subject, row.id, &scope).await;
    }
    let news = AuthorizationChange {
        id: row.id,
        generation: row.credentials_generation,
        status: AuthorizationStatus::NeedsReauthorization,
        now: at(1),
    };
    assert!(!store.set_authorization(&news).await.unwrap());
    let kept = subject.read_removed(row.id).await.expect("it is listed");
    assert!(kept.removed_at.is_some());
    assert_eq!(kept.authorization_status, AuthorizationStatus::Ok);
}

/// Tries every scoped method on an integration that is not to be seen.
async fn assert_touches_nothing(subject: &Subject, id: IntegrationId, scope: &Scope) {
    let store = &subject.ports.integrations;
    let found = store.find(IntegrationRef::Id(id), scope).await.unwrap();
    assert_eq!(found, None, "find within {scope:?}");

    let all = IntegrationFilter::default();
    let listed = store.list(&all, scope, &whole()).await.unwrap();
    assert!(
        listed.items.iter().all(|row| row.id != id),
        "list within {scope:?}"
    );

    let change = IntegrationChange {
        is_active: Some(false),
        ..IntegrationChange::default()
    };
    let updated = store.update(id, scope, &change, at(9)).await.unwrap();
    assert_eq!(updated, None, "update within {scope:?}");

    let replacement = CredentialReplacement {
        scope: scope.clone(),
        ..replacement(id, 0)
    };
    let replaced = store.replace_credentials(&replacement).await.unwrap();
    assert_eq!(replaced, Replaced::NotFound, "replace within {scope:?}");

    let moved = store.move_health(id, scope, &HealthStatus::Disabled, at(9));
    assert_eq!(moved.await.unwrap(), None, "move_health within {scope:?}");

    let removal = store.remove(id, scope, true, at(9)).await.unwrap();
    assert_eq!(removal, Removal::NotFound, "remove within {scope:?}");
}

pub async fn lists_select_by_each_field(subject: &Subject) {
    let store = &subject.ports.integrations;
    let github = subject.integration_of(1).await;
    let stripe = subject
        .create(&NewIntegration {
            provider: provider("stripe"),
            name: "Payments".parse().unwrap(),
            ..new_integration()
        })
        .await;
    let failing = HealthStatus::Failing;
    let moved = store.move_health(stripe.id, &OPERATOR, &failing, at(1));
    moved.await.unwrap().expect("the status changed");
    let off = IntegrationChange {
        is_active: Some(false),
        ..IntegrationChange::default()
    };
    let updated = store.update(stripe.id, &OPERATOR, &off, at(1)).await;
    updated.unwrap().expect("it is there");

    let all = IntegrationFilter::default;
    let cases = [
        (all(), vec![github.id, stripe.id]),
        (
            IntegrationFilter {
                provider: Some(provider("stripe")),
                ..all()
            },
            vec![stripe.id],
        ),
        (
            IntegrationFilter {
                owner: Some(owner(1)),
                ..all()
            },
            vec![github.id],
        ),
        (
            IntegrationFilter {
                name: Some("Payments".parse().unwrap()),
                ..all()
            },
            vec![stripe.id],
        ),
        (
            IntegrationFilter {
                health: Some(failing),
                ..all()
            },
            vec![stripe.id],
        ),
        (
            IntegrationFilter {
                is_active: Some(true),
                ..all()
            },
            vec![github.id],
        ),
        (
            IntegrationFilter {
                provider: Some(provider("stripe")),
                is_active: Some(true),
                ..all()
            },
            vec![],
        ),
    ];
    for (filter, expected) in cases {
        let page = store.list(&filter, &OPERATOR, &whole()).await.unwrap();
        assert_eq!(ids(&page), expected, "{filter:?}");
    }
    let page = store.list(&all(), &scope(1), &whole()).await.unwrap();
    assert_eq!(ids(&page), [github.id], "within the scope of an owner");
}

fn ids(page: &Page<Integration>) -> Vec<IntegrationId> {
    page.items.iter().map(|row| row.id).collect()
}

pub async fn removed_ones_are_listed_on_request(subject: &Subject) {
    let kept = subject.integration_of(1).await;
    let removed = subject.integration_of(1).await;
    subject.remove(removed.id).await;
    let store = &subject.ports.integrations;
    let mut filter = IntegrationFilter::default();
    let page = store.list(&filter, &scope(1), &whole()).await.unwrap();
    assert_eq!(ids(&page), [kept.id]);
    filter.include_removed = true;
    let page = store.list(&filter, &scope(1), &whole()).await.unwrap();
    assert_eq!(ids(&page), [kept.id, removed.id]);
    let page = store.list(&filter, &scope(2), &whole()).await.unwrap();
    assert_eq!(ids(&page), [], "those of another owner stay absent");
}

pub async fn pages_hold_each_row_once(subject: &Subject) {
    let mut expected = Vec::new();
    for _ in 0..5 {
        expected.push(subject.integration().await.id);
    }
    let store = &subject.ports.integrations;
    let filter = IntegrationFilter::default();
    let read = async |page: PageRequest| store.list(&filter, &OPERATOR, &page).await.unwrap();
    let oldest = read_all(PageRequest::oldest(2), read).await;
    let oldest: Vec<_> = oldest.iter().map(|row| row.id).collect();
    assert_eq!(oldest, expected);
    expected.reverse();
    let newest = read_all(PageRequest::newest(2), read).await;
    let newest: Vec<_> = newest.iter().map(|row| row.id).collect();
    assert_eq!(newest, expected);
}

type Apply = fn(&mut Integration);

pub async fn changes_touch_the_fields_they_name(subject: &Subject) {
    let store = &subject.ports.integrations;
    let mut expected = subject
        .create(&NewIntegration {
            metadata: Some(json!({ "old": true })),
            owner: Some(owner(1)),
            sync_interval_minutes: Some(5),
            next_sync_at: Some(at(5)),
            ..new_integration()
        })
        .await;
    let none = IntegrationChange::default;
    let steps: [(IntegrationChange, Apply); 10] = [
        (
            IntegrationChange {
                name: Some("Renamed".parse().unwrap()),
                ..none()
            },
            |row| row.name = "Renamed".parse().unwrap(),
        ),
        (
            IntegrationChange {
                metadata: Some(Some(json!([1]))),
                ..none()
            },
            |row| row.metadata = Some(json!([1])),
        ),
        (
            IntegrationChange {
                metadata: Some(None),
                ..none()
            },
            |row| row.metadata = None,
        ),
        (
            IntegrationChange {
                owner: Some(Some(Owner::new("team", "blue").unwrap())),
                ..none()
            },
            |row| row.owner = Some(Owner::new("team", "blue").unwrap()),
        ),
        (
            IntegrationChange {
                owner: Some(None),
                ..none()
            },
            |row| row.owner = None,
        ),
        (
            IntegrationChange {
                is_active: Some(false),
                ..none()
            },
            |row| row.is_active = false,
        ),
        (
            IntegrationChange {
                parks_webhooks: Some(true),
                ..none()
            },
            |row| row.parks_webhooks = true,
        ),
        (
            IntegrationChange {
                sync_interval_minutes: Some(None),
                ..none()
            },
            |row| row.sync_interval_minutes = None,
        ),
        (
            IntegrationChange {
                next_sync_at: Some(Some(at_micros(7, 7))),
                ..none()
            },
            |row| row.next_sync_at = Some(at_micros(7, 7)),
        ),
        (
            IntegrationChange {
                next_sync_at: Some(None),
                ..none()
            },
            |row| row.next_sync_at = None,
        ),
    ];
    for (seconds, (change, apply)) in (1..).zip(steps) {
        let changed = store.update(expected.id, &OPERATOR, &change, at(seconds));
        let changed = changed.await.unwrap().expect("it is there");
        apply(&mut expected);
        expected.updated_at = at(seconds);
        assert_eq!(changed, expected, "{change:?}");
        assert_eq!(subject.read(expected.id).await, expected, "{change:?}");
    }
}

pub async fn an_owner_changes_what_is_theirs(subject: &Subject) {
    let row = subject.integration_of(1).await;
    let store = &subject.ports.integrations;
    let change = IntegrationChange {
        name: Some("Mine".parse().unwrap()),
        ..IntegrationChange::default()
    };
    let changed = store.update(row.id, &scope(1), &change, at(1)).await;
    assert_eq!(
        changed.unwrap().expect("it is theirs").name.as_str(),
        "Mine"
    );
    let removal = store.remove(row.id, &scope(1), false, at(2)).await;
    assert_eq!(removal.unwrap(), Removal::Removed);
}

// W-CRED-4
pub async fn credentials_are_replaced_by_generation(subject: &Subject) {
    let store = &subject.ports.integrations;
    let row = subject.integration_of(1).await;
    let first = CredentialReplacement {
        authorization_status: AuthorizationStatus::NeedsReauthorization,
        scope: scope(1),
        ..replacement(row.id, 0)
    };
    let done = store.replace_credentials(&first).await.unwrap();
    assert_eq!(done, Replaced::Done { generation: 1 });
    let stored = subject.read(row.id).await;
    assert_eq!(stored.credentials, first.credentials);
    assert_eq!(stored.credentials_generation, 1);
    assert_eq!(stored.authorization_status, first.authorization_status);

    for expected_generation in [0, 2] {
        let stale = CredentialReplacement {
            credentials: Some(sealed("late")),
            ..replacement(row.id, expected_generation)
        };
        let answer = store.replace_credentials(&stale).await.unwrap();
        assert_eq!(answer, Replaced::Stale { generation: 1 });
        assert_eq!(subject.read(row.id).await, stored, "the old ones stand");
    }

    let wipe = CredentialReplacement {
        credentials: None,
        ..replacement(row.id, 1)
    };
    let done = store.replace_credentials(&wipe).await.unwrap();
    assert_eq!(done, Replaced::Done { generation: 2 });
    let stored = subject.read(row.id).await;
    assert_eq!(stored.credentials, None);
    assert_eq!(stored.authorization_status, AuthorizationStatus::Ok);
}

fn replacement(id: IntegrationId, expected_generation: i64) -> CredentialReplacement {
    CredentialReplacement {
        id,
        scope: OPERATOR,
        expected_generation,
        credentials: Some(sealed("replaced")),
        authorization_status: AuthorizationStatus::Ok,
        now: at(1),
    }
}

// W-HLT-3
pub async fn authorization_changes_for_the_present_generation(subject: &Subject) {
    let store = &subject.ports.integrations;
    let row = subject.integration().await;
    let refused = AuthorizationChange {
        id: row.id,
        generation: 0,
        status: AuthorizationStatus::NeedsReauthorization,
        now: at(1),
    };
    let other = AuthorizationChange {
        generation: 1,
        ..refused.clone()
    };
    assert!(!store.set_authorization(&other).await.unwrap());
    assert_eq!(subject.read(row.id).await, row, "another generation");
    assert!(store.set_authorization(&refused).await.unwrap(), "news");
    assert!(!store.set_authorization(&refused).await.unwrap(), "no news");
    let stored = subject.read(row.id).await;
    assert_eq!(stored.authorization_status, refused.status);
    assert_eq!(stored.credentials_generation, 0);

    store
        .replace_credentials(&replacement(row.id, 0))
        .await
        .unwrap();
    assert!(!store.set_authorization(&refused).await.unwrap());
    let stored = subject.read(row.id).await;
    assert_eq!(stored.authorization_status, AuthorizationStatus::Ok);
}
