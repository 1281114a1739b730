//! Cases of `RequestLog`.

use std::collections::BTreeMap;

use integrations_core::{
    id::{IntegrationId, RequestId},
    integration::{NewIntegration, Owner, Scope},
    request::{
        FailureClass, HitCount, NewRequest, OutcomeFilter, Related, RelatedId, Request,
        RequestFilter, RequestSummary, SummaryQuery,
    },
    store::PageRequest,
};

use super::{
    Subject,
    fixtures::{
        at, attempt, failed_attempt, key, neutral, new_integration, owner, read_all, scope, whole,
    },
};

const OPERATOR: Scope = Scope::Operator;

async fn record(
    subject: &Subject,
    attempts: impl IntoIterator<Item = NewRequest>,
) -> Vec<RequestId> {
    let batch: Vec<_> = attempts.into_iter().map(neutral).collect();
    let recorded = subject.ports.journal.record(&batch).await.unwrap();
    recorded
        .into_iter()
        .map(|recorded| recorded.unwrap().id.expect("a row was appended"))
        .collect()
}

async fn find(subject: &Subject, id: RequestId) -> Option<Request> {
    subject.ports.requests.find(id, &OPERATOR).await.unwrap()
}

async fn selected(subject: &Subject, filter: &RequestFilter, scope: &Scope) -> Vec<RequestId> {
    let log = &subject.ports.requests;
    let page = log.query(filter, scope, &whole()).await.unwrap();
    assert_eq!(page.next, None);
    let count = log.count(filter, scope).await.unwrap();
    assert_eq!(count, page.items.len() as u64, "count of {filter:?}");
    page.items.iter().map(|request| request.id).collect()
}

pub async fn rows_begin_without_hits(subject: &Subject) {
    let row = subject.integration().await;
    let id = record(subject, [attempt(row.id)]).await[0];
    let expected = Request {
        id,
        attempt: attempt(row.id),
        cache_hits: 0,
        stale_hits: 0,
    };
    assert_eq!(find(subject, id).await, Some(expected));
    assert_eq!(find(subject, RequestId(i64::MAX)).await, None);
}

pub async fn rows_of_another_owner_are_absent(subject: &Subject) {
    let theirs = subject.integration_of(1).await;
    let unowned = subject.integration().await;
    let ids = record(subject, [attempt(theirs.id), attempt(unowned.id)]).await;
    let log = &subject.ports.requests;
    let all = RequestFilter::default();
    let named = RequestFilter {
        integration_id: Some(theirs.id),
        ..all.clone()
    };
    for id in &ids {
        assert_eq!(log.find(*id, &scope(2)).await.unwrap(), None);
    }
    assert_eq!(selected(subject, &all, &scope(2)).await, []);
    assert_eq!(selected(subject, &named, &scope(2)).await, []);
    assert!(log.find(ids[0], &scope(1)).await.unwrap().is_some());
    assert_eq!(selected(subject, &all, &scope(1)).await, [ids[0]]);
    assert_eq!(selected(subject, &all, &OPERATOR).await, ids);
}

pub async fn filters_select_by_each_field(subject: &Subject) {
    let row = subject.integration().await;
    let other = subject.integration().await;
    let related = |id| {
        Some(Related {
            related_type: "Ticket".to_owned(),
            id,
        })
    };
    let attempts = [
        attempt(row.id),
        NewRequest {
            endpoint: "/other".to_owned(),
            created_at: at(10),
            related: related(RelatedId::Number(7)),
            ..attempt(row.id)
        },
        NewRequest {
            method: "POST".to_owned(),
            created_at: at(20),
            idempotency_key: Some(key("k")),
            provider_request_id: Some("req-1".to_owned()),
            related: related(RelatedId::Text("7".to_owned())),
            ..attempt(row.id)
        },
        attempt(other.id),
    ];
    let ids = record(subject, attempts).await;
    let all = RequestFilter::default;
    let cases = [
        (
            RequestFilter {
                integration_id: Some(row.id),
                ..all()
            },
            &[0, 1, 2][..],
        ),
        (
            RequestFilter {
                since: Some(at(10)),
                ..all()
            },
            &[1, 2],
        ),
        (
            RequestFilter {
                until: Some(at(10)),
                ..all()
            },
            &[0, 3],
        ),
        (
            RequestFilter {
                since: Some(at(10)),
                until: Some(at(20)),
                ..all()
            },
            &[1],
        ),
        (
            RequestFilter {
                endpoint: Some("/other".to_owned()),
                ..all()
            },
            &[1],
        ),
        (
            RequestFilter {
                method: Some("POST".to_owned()),
                ..all()
            },
            &[2],
        ),
        (
            RequestFilter {
                idempotency_key: Some(key("k")),
                ..all()
            },
            &[2],
        ),
        (
            RequestFilter {
                provider_request_id: Some("req-1".to_owned()),
                ..all()
            },
            &[2],
        ),
        (
            RequestFilter {
                related_type: Some("Ticket".to_owned()),
                ..all()
            },
            &[1, 2],
        ),
        (
            RequestFilter {
                related_id: Some(7),
                ..all()
            },
            &[1],
        ),
        (
            RequestFilter {
                related_key: Some("7".to_owned()),
                ..all()
            },
            &[2],
        ),
        (
            RequestFilter {
                method: Some("POST".to_owned()),
                endpoint: Some("/other".to_owned()),
                ..all()
            },
            &[],
        ),
    ];
    for (filter, expected) in cases {
        let expected: Vec<_> = expected.iter().map(|n| ids[*n]).collect();
        assert_eq!(
            selected(subject, &filter, &OPERATOR).await,
            expected,
            "{filter:?}"
        );
    }
}

pub async fn filters_select_by_outcome(subject: &Subject) {
    let row = subject.integration().await;
    let failed = |status_code, class: &str| NewRequest {
        status_code,
        failure_class: Some(class.into()),
        ..attempt(row.id)
    };
    let attempts = [
        attempt(row.id),
        failed(Some(503), "upstream"),
        failed(Some(404), "client"),
        failed(None, "upstream"),
        failed(Some(402), "quota"),
        // 304 is an answer like any other.
        NewRequest {
            status_code: Some(304),
            ..attempt(row.id)
        },
    ];
    let ids = record(subject, attempts).await;
    let newer = FailureClass::Unrecognised("quota".to_owned());
    let cases = [
        (OutcomeFilter::Succeeded, &[0, 5][..]),
        (OutcomeFilter::Failed, &[1, 2, 3, 4]),
        (OutcomeFilter::Class(FailureClass::Upstream), &[1, 3]),
        (OutcomeFilter::Class(newer), &[4]),
        (OutcomeFilter::Status(404), &[2]),
        (OutcomeFilter::StatusGroup(2), &[0]),
        (OutcomeFilter::StatusGroup(3), &[5]),
        (OutcomeFilter::StatusGroup(4), &[2, 4]),
        (OutcomeFilter::StatusGroup(5), &[1]),
        (OutcomeFilter::StatusGroup(1), &[]),
    ];
    for (outcome, expected) in cases {
        let expected: Vec<_> = expected.iter().map(|n| ids[*n]).collect();
        let filter = RequestFilter {
            outcome: Some(outcome),
            ..RequestFilter::default()
        };
        assert_eq!(
            selected(subject, &filter, &OPERATOR).await,
            expected,
            "{filter:?}"
        );
    }
}

// REQ-30
pub async fn a_chain_is_the_first_attempt_and_its_retries(subject: &Subject) {
    let row = subject.integration().await;
    let firsts = record(subject, [attempt(row.id), attempt(row.id)]).await;
    let retry = |n| NewRequest {
        retry_of: Some(firsts[0]),
        attempt: n,
        ..attempt(row.id)
    };
    let retries = record(subject, [retry(2), retry(3)]).await;
    let chain = RequestFilter {
        chain: Some(firsts[0]),
        ..RequestFilter::default()
    };
    let expected = [firsts[0], retries[0], retries[1]];
    assert_eq!(selected(subject, &chain, &OPERATOR).await, expected);
}

pub async fn pages_hold_each_row_once(subject: &Subject) {
    let row = subject.integration().await;
    let mut expected = record(subject, vec![attempt(row.id); 5]).await;
    let log = &subject.ports.requests;
    let filter = RequestFilter::default();
    let read = async |page: PageRequest| log.query(&filter, &OPERATOR, &page).await.unwrap();
    let oldest = read_all(PageRequest::oldest(2), read).await;
    let oldest: Vec<_> = oldest.iter().map(|request| request.id).collect();
    assert_eq!(oldest, expected);
    expected.reverse();
    let newest = read_all(PageRequest::newest(2), read).await;
    let newest: Vec<_> = newest.iter().map(|request| request.id).collect();
    assert_eq!(newest, expected);
}

pub async fn pages_neither_skip_nor_repeat_while_rows_are_added(subject: &Subject) {
    let row = subject.integration().await;
    let ids = record(subject, vec![attempt(row.id); 4]).await;
    let log = &subject.ports.requests;
    let filter = RequestFilter::default();
    let newest = PageRequest::newest(2);
    let first = log.query(&filter, &OPERATOR, &newest).await.unwrap();
    assert_eq!(first.next, Some(ids[2].0));
    record(subject, vec![attempt(row.id); 3]).await;
    let behind = newest.after(first.next);
    let second = log.query(&filter, &OPERATOR, &behind).await.unwrap();
    let second: Vec<_> = second.items.iter().map(|request| request.id).collect();
    assert_eq!(second, [ids[1], ids[0]]);
}

async fn summarise(subject: &Subject, integrations: Vec<IntegrationId>) -> Vec<RequestSummary> {
    let query = SummaryQuery {
        integrations,
        since: at(0),
    };
    subject.ports.requests.summarise(&query).await.unwrap()
}

// HLT-10, L-HLT-6
pub async fn a_summary_counts_exactly(subject: &Subject) {
    let row = subject.integration().await;
    let failed = |status_code, class: &str, error: &str, seconds| NewRequest {
        status_code,
        failure_class: Some(class.into()),
        error: Some(error.to_owned()),
        created_at: at(seconds),
        ..attempt(row.id)
    };
    let mut attempts = vec![
        NewRequest {
            created_at: at(-1),
            ..failed_attempt(row.id)
        },
        NewRequest {
            duration_ms: Some(10),
            ..attempt(row.id)
        },
        NewRequest {
            duration_ms: Some(31),
            endpoint: "/other".to_owned(),
            ..attempt(row.id)
        },
        failed(Some(500), "upstream", "b", 1),
        failed(Some(503), "upstream", "b", 2),
        failed(Some(404), "client", "a", 9),
        failed(Some(429), "throttle", "c", 3),
        failed(None, "upstream", "c", 4),
        failed(Some(302), "unknown", "c", 5),
        failed(None, "quota", "d", 6),
    ];
    attempts[3].duration_ms = Some(1_000);
    let ids = record(subject, attempts).await;
    let hits = [
        HitCount {
            request_id: ids[1],
            fresh: 3,
            stale: 1,
        },
        HitCount {
            request_id: ids[2],
            fresh: 4,
            stale: 0,
        },
    ];
    subject.ports.requests.add_hits(&hits).await.unwrap();

    let counts = |counts: &[(&str, u64)]| -> BTreeMap<String, u64> {
        let owned = counts
            .iter()
            .map(|(name, count)| ((*name).to_owned(), *count));
        owned.collect()
    };
    let expected = RequestSummary {
        total: 9,
        failed: 7,
        endpoints: 2,
        mean_duration_ms: Some(20.5),
        p50_ms: Some(31),
        p95_ms: Some(1_000),
        p99_ms: Some(1_000),
        by_class: counts(&[
            ("client", 1),
            ("quota", 1),
            ("throttle", 1),
            ("unknown", 1),
            ("upstream", 3),
        ]),
        by_status: counts(&[("429", 1), ("4xx", 1), ("5xx", 2), ("other", 3)]),
        top_errors: vec![
            ("c".to_owned(), 3),
            ("b".to_owned(), 2),
            ("a".to_owned(), 1),
        ],
        last_error: Some(("a".to_owned(), at(9))),
        cache_hits: 7,
        stale_hits: 1,
    };
    assert_eq!(summarise(subject, vec![row.id]).await, [expected]);
}

// HLT-10
pub async fn percentiles_are_durations_that_occurred(subject: &Subject) {
    let cases: [(&[i32], [i32; 3]); 6] = [
        (&[7], [7, 7, 7]),
        (&[1, 2], [1, 2, 2]),
        (&[10, 20, 30, 40], [20, 40, 40]),
        (&(1..=13).collect::<Vec<_>>(), [7, 13, 13]),
        (&(1..=20).collect::<Vec<_>>(), [10, 19, 20]),
        (&(1..=100).collect::<Vec<_>>(), [50, 95, 99]),
    ];
    for (durations, [p50, p95, p99]) in cases {
        let row = subject.integration().await;
        // The longest first: rows need not come sorted.
        let timed = durations.iter().rev().map(|duration| NewRequest {
            duration_ms: Some(*duration),
            ..failed_attempt(row.id)
        });
        record(subject, timed).await;
        record(subject, [attempt(row.id)]).await;
        let summary = summarise(subject, vec![row.id]).await.remove(0);
        let found = (summary.p50_ms, summary.p95_ms, summary.p99_ms);
        assert_eq!(found, (Some(p50), Some(p95), Some(p99)), "of {durations:?}");
        assert_eq!(summary.mean_duration_ms, None, "of successes only");
    }
}

pub async fn summaries_follow_the_order_asked_for(subject: &Subject) {
    let first = subject.integration().await;
    let quiet = subject.integration().await;
    let last = subject.integration().await;
    record(
        subject,
        [attempt(first.id), attempt(last.id), attempt(last.id)],
    )
    .await;
    let asked = vec![last.id, quiet.id, first.id];
    let summaries = summarise(subject, asked).await;
    let totals: Vec<_> = summaries.iter().map(|summary| summary.total).collect();
    assert_eq!(totals, [2, 0, 1]);
    assert_eq!(summaries[1], RequestSummary::default());
    assert_eq!(summarise(subject, vec![]).await, []);
}

// LOG-02
pub async fn hits_add_up(subject: &Subject) {
    let row = subject.integration().await;
    let ids = record(subject, [attempt(row.id), attempt(row.id)]).await;
    let log = &subject.ports.requests;
    let hit = |request_id, fresh, stale| HitCount {
        request_id,
        fresh,
        stale,
    };
    let gone = RequestId(i64::MAX);
    let batch = [hit(ids[0], 1, 2), hit(gone, 5, 5), hit(ids[0], 10, 20)];
    log.add_hits(&batch).await.unwrap();
    log.add_hits(&[hit(ids[0], 100, 0)]).await.unwrap();
    log.add_hits(&[]).await.unwrap();
    let counted = find(subject, ids[0]).await.expect("the row is there");
    assert_eq!((counted.cache_hits, counted.stale_hits), (111, 22));
    let other = find(subject, ids[1]).await.expect("the row is there");
    assert_eq!((other.cache_hits, other.stale_hits), (0, 0));
}

pub async fn owners_are_told_apart_by_type_and_form(subject: &Subject) {
    let numbered = subject.integration_of(1).await;
    let named = subject
        .create(&NewIntegration {
            owner: Some(Owner::new("tenant", "1").unwrap()),
            ..new_integration()
        })
        .await;
    let ids = record(subject, [attempt(numbered.id), attempt(named.id)]).await;
    let all = RequestFilter::default();
    let by_number = Scope::Owner(owner(1));
    let by_name = Scope::Owner(Owner::new("tenant", "1").unwrap());
    assert_eq!(selected(subject, &all, &by_number).await, [ids[0]]);
    assert_eq!(selected(subject, &all, &by_name).await, [ids[1]]);
}
