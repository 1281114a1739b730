//! Cases of `OperationLog`.

use integrations_core::{
    id::{IntegrationId, LogId},
    integration::Scope,
    operation_log::{
        Direction, NewOperation, Operation, OperationEnd, OperationFilter, OperationStatus,
    },
    store::{PageRequest, Rejected},
};
use serde_json::json;

use super::{
    Subject,
    fixtures::{at, at_micros, operation, read_all, scope, whole},
};

const OPERATOR: Scope = Scope::Operator;

async fn append(subject: &Subject, entry: NewOperation) -> LogId {
    append_all(subject, &[entry]).await.remove(0)
}

async fn append_all(subject: &Subject, entries: &[NewOperation]) -> Vec<LogId> {
    let appended = subject.ports.operations.append(entries).await.unwrap();
    appended.into_iter().map(Result::unwrap).collect()
}

async fn tree(subject: &Subject, id: LogId) -> Vec<Operation> {
    subject.ports.operations.tree(id, &OPERATOR).await.unwrap()
}

/// Reads one operation without what is below it.
async fn find(subject: &Subject, id: LogId) -> Operation {
    let found = tree(subject, id).await;
    found.into_iter().next().expect("the operation is there")
}

pub async fn results_follow_the_order_of_the_entries(subject: &Subject) {
    let first = subject.integration().await;
    let second = subject.integration().await;
    let entries = [&second, &first, &second].map(|row| operation(row.id));
    let ids = append_all(subject, &entries).await;
    assert_eq!(ids.len(), entries.len());
    for (id, entry) in ids.into_iter().zip(entries) {
        let expected = Operation {
            id,
            updated_at: entry.now,
            entry,
        };
        assert_eq!(find(subject, id).await, expected);
    }
    let nothing = subject.ports.operations.append(&[]).await.unwrap();
    assert_eq!(nothing, []);
}

// LOG-11
pub async fn every_column_round_trips(subject: &Subject) {
    let row = subject.integration().await;
    let parent = append(subject, operation(row.id)).await;
    let full = NewOperation {
        integration_id: row.id,
        operation: "ü".repeat(255),
        direction: Direction::Inbound,
        status: OperationStatus::Unrecognised("waiting for a person".chars().take(32).collect()),
        summary: Some("\u{1f600}".repeat(16_384)),
        external_id: Some("é".repeat(500)),
        metadata: Some(json!({ "attempt": 1, "ünï": ["🧭", null, -0.5] })),
        result_data: Some(json!("text")),
        error: Some("line one\nline two".to_owned()),
        duration_ms: Some(i64::MAX),
        parent_id: Some(parent),
        now: at_micros(0, 1),
    };
    let id = append(subject, full.clone()).await;
    assert_eq!(find(subject, id).await.entry, full);
}

pub async fn a_bad_entry_fails_alone(subject: &Subject) {
    let row = subject.integration().await;
    let good = operation(row.id);
    let bad = [
        (
            NewOperation {
                integration_id: IntegrationId(i64::MAX),
                ..good.clone()
            },
            Rejected::MissingReference,
        ),
        (
            NewOperation {
                parent_id: Some(LogId(i64::MAX)),
                ..good.clone()
            },
            Rejected::MissingReference,
        ),
        (
            NewOperation {
                operation: "x".repeat(256),
                ..good.clone()
            },
            Rejected::DoesNotFit,
        ),
        (
            NewOperation {
                external_id: Some("x".repeat(501)),
                ..good.clone()
            },
            Rejected::DoesNotFit,
        ),
    ];
    let mut taken = 0;
    for (spoilt, reason) in bad {
        for position in 0..3 {
            let mut batch = vec![good.clone(); 3];
            batch[position] = spoilt.clone();
            let appended = subject.ports.operations.append(&batch).await.unwrap();
            assert_eq!(appended.len(), 3);
            for (n, appended) in appended.iter().enumerate() {
                let refused = appended.as_ref().err();
                let expected = (n == position).then_some(&reason);
                assert_eq!(refused, expected, "entry {n}, the bad one being {position}");
            }
            taken += 2;
        }
    }
    let log = &subject.ports.operations;
    let all = OperationFilter::default();
    let page = log.query(&all, &OPERATOR, &whole()).await.unwrap();
    assert_eq!(page.items.len(), taken, "no more than was taken is there");
}

fn end(status: OperationStatus) -> OperationEnd {
    OperationEnd {
        status,
        summary: None,
        result_data: None,
        error: None,
        duration_ms: Some(12),
        now: at(5),
    }
}

pub async fn an_operation_ends_once(subject: &Subject) {
    let log = &subject.ports.operations;
    let row = subject.integration().await;
    for status in [
        OperationStatus::Success,
        OperationStatus::Partial,
        OperationStatus::Failed,
    ] {
        let id = append(subject, operation(row.id)).await;
        assert!(log.finish(id, &end(status.clone())).await.unwrap());
        let ended = find(subject, id).await;
        assert_eq!(ended.entry.status, status);
        assert_eq!(ended.updated_at, at(5));
        for again in [OperationStatus::Failed, OperationStatus::Processing] {
            let late = OperationEnd {
                now: at(9),
                ..end(again)
            };
            assert!(!log.finish(id, &late).await.unwrap(), "after {status}");
        }
        assert_eq!(find(subject, id).await, ended);
    }
    let success = end(OperationStatus::Success);
    let missing = log.finish(LogId(i64::MAX), &success).await;
    assert!(!missing.unwrap());
}

pub async fn one_appended_as_ended_stays_so(subject: &Subject) {
    let row = subject.integration().await;
    let done = NewOperation {
        status: OperationStatus::Success,
        ..operation(row.id)
    };
    let id = append(subject, done).await;
    let late = end(OperationStatus::Failed);
    assert!(!subject.ports.operations.finish(id, &late).await.unwrap());
    let status = find(subject, id).await.entry.status;
    assert_eq!(status, OperationStatus::Success);
}

pub async fn whatever_has_not_ended_can_end(subject: &Subject) {
    let row = subject.integration().await;
    for status in ["pending", "processing", "deferred", "under review"] {
        let begun = NewOperation {
            status: status.into(),
            ..operation(row.id)
        };
        let id = append(subject, begun).await;
        let success = end(OperationStatus::Success);
        let ended = subject.ports.operations.finish(id, &success).await;
        assert!(ended.unwrap(), "from {status}");
        let status = find(subject, id).await.entry.status;
        assert_eq!(status, OperationStatus::Success);
    }
}

pub async fn an_end_replaces_what_it_gives(subject: &Subject) {
    let log = &subject.ports.operations;
    let row = subject.integration().await;
    let begun = NewOperation {
        summary: Some("begun".to_owned()),
        result_data: Some(json!(1)),
        metadata: Some(json!({ "kept": true })),
        ..operation(row.id)
    };
    let silent = append(subject, begun.clone()).await;
    let failed = OperationEnd {
        error: Some("it broke".to_owned()),
        ..end(OperationStatus::Failed)
    };
    assert!(log.finish(silent, &failed).await.unwrap());
    let expected = NewOperation {
        status: OperationStatus::Failed,
        error: Some("it broke".to_owned()),
        duration_ms: Some(12),
        ..begun.clone()
    };
    assert_eq!(find(subject, silent).await.entry, expected);

    let telling = append(subject, begun.clone()).await;
    let success = OperationEnd {
        summary: Some("done".to_owned()),
        result_data: Some(json!({ "count": 2 })),
        ..end(OperationStatus::Success)
    };
    assert!(log.finish(telling, &success).await.unwrap());
    let expected = NewOperation {
        status: OperationStatus::Success,
        summary: success.summary,
        result_data: success.result_data,
        duration_ms: Some(12),
        ..begun
    };
    assert_eq!(find(subject, telling).await.entry, expected);
}

pub async fn a_tree_lists_parents_before_children(subject: &Subject) {
    let row = subject.integration_of(1).await;
    let under = |parent| NewOperation {
        parent_id: Some(parent),
        ..operation(row.id)
    };
    let root = append(subject, operation(row.id)).await;
    let left = append(subject, under(root)).await;
    let right = append(subject, under(root)).await;
    let below_right = append(subject, under(right)).await;
    let below_left = append(subject, under(left)).await;
    let later_left = append(subject, under(left)).await;
    append(subject, operation(row.id)).await;

    let operations = tree(subject, root).await;
    let ids: Vec<_> = operations.iter().map(|operation| operation.id).collect();
    let position = |id| ids.iter().position(|listed| *listed == id);
    assert_eq!(ids.len(), 6, "the operation and all below it: {ids:?}");
    for operation in &operations {
        if let Some(parent) = operation.entry.parent_id {
            assert!(position(parent) < position(operation.id), "{ids:?}");
        }
    }
    for (older, younger) in [(left, right), (below_left, later_left)] {
        assert!(position(older) < position(younger), "siblings: {ids:?}");
    }

    let subtree: Vec<_> = tree(subject, right).await;
    let subtree: Vec<_> = subtree.iter().map(|operation| operation.id).collect();
    assert_eq!(subtree, [right, below_right]);
}

pub async fn operations_of_another_owner_are_absent(subject: &Subject) {
    let row = subject.integration_of(1).await;
    let id = append(subject, operation(row.id)).await;
    let log = &subject.ports.operations;
    let all = OperationFilter::default();
    assert_eq!(log.tree(id, &scope(2)).await.unwrap(), []);
    let page = log.query(&all, &scope(2), &whole()).await.unwrap();
    assert_eq!(page.items, []);
    assert_eq!(log.tree(id, &scope(1)).await.unwrap().len(), 1);
    let page = log.query(&all, &scope(1), &whole()).await.unwrap();
    assert_eq!(page.items.len(), 1);
    assert_eq!(tree(subject, LogId(i64::MAX)).await, []);
}

pub async fn filters_select_by_each_field(subject: &Subject) {
    let row = subject.integration().await;
    let other = subject.integration().await;
    let root = append(subject, operation(row.id)).await;
    let entries = [
        NewOperation {
            operation: "import".to_owned(),
            parent_id: Some(root),
            now: at(10),
            ..operation(row.id)
        },
        NewOperation {
            status: OperationStatus::Failed,
            external_id: Some("issue-1".to_owned()),
            now: at(20),
            ..operation(row.id)
        },
        operation(other.id),
    ];
    let mut ids = vec![root];
    ids.extend(append_all(subject, &entries).await);
    let all = OperationFilter::default;
    let cases = [
        (all(), &[0, 1, 2, 3][..]),
        (
            OperationFilter {
                integration_id: Some(row.id),
                ..all()
            },
            &[0, 1, 2],
        ),
        (
            OperationFilter {
                operation: Some("import".to_owned()),
                ..all()
            },
            &[1],
        ),
        (
            OperationFilter {
                status: Some(OperationStatus::Failed),
                ..all()
            },
            &[2],
        ),
        (
            OperationFilter {
                since: Some(at(10)),
                ..all()
            },
            &[1, 2],
        ),
        (
            OperationFilter {
                external_id: Some("issue-1".to_owned()),
                ..all()
            },
            &[2],
        ),
        (
            OperationFilter {
                roots_only: true,
                ..all()
            },
            &[0, 2, 3],
        ),
        (
            OperationFilter {
                operation: Some("import".to_owned()),
                roots_only: true,
                ..all()
            },
            &[],
        ),
    ];
    let log = &subject.ports.operations;
    for (filter, expected) in cases {
        let page = log.query(&filter, &OPERATOR, &whole()).await.unwrap();
        let found: Vec<_> = page.items.iter().map(|row| row.id).collect();
        let expected: Vec<_> = expected.iter().map(|n| ids[*n]).collect();
        assert_eq!(found, expected, "{filter:?}");
    }
}

pub async fn pages_hold_each_row_once(subject: &Subject) {
    let row = subject.integration().await;
    let mut expected = append_all(subject, &vec![operation(row.id); 5]).await;
    let log = &subject.ports.operations;
    let filter = OperationFilter::default();
    let read = async |page: PageRequest| log.query(&filter, &OPERATOR, &page).await.unwrap();
    let oldest = read_all(PageRequest::oldest(2), read).await;
    let oldest: Vec<_> = oldest.iter().map(|row| row.id).collect();
    assert_eq!(oldest, expected);
    expected.reverse();
    let newest = read_all(PageRequest::newest(2), read).await;
    let newest: Vec<_> = newest.iter().map(|row| row.id).collect();
    assert_eq!(newest, expected);
}
