//! Cases of `SyncStore::finalise` about the end of a run: state, log, schedule, lease, streaks;
//! and of the sweep that reports overdue syncs.

use integrations_core::{
    integration::{IntegrationChange, NewIntegration, Scope},
    operation_log::OperationStatus,
    sync::{
        Finalise, Finalised, ItemDecided, ItemOutcome, PageEnd, RunEnd, RunState, StalenessChange,
        StuckRecord, SyncSchedule,
    },
};

use super::{
    Subject,
    feed::{Feed, INTERVAL_MINUTES, finalising, kind, minutes_after, skipped, stored, version},
    fixtures::{at, external, new_integration},
};

async fn status_of_the_operation(feed: &Feed<'_>, end: &RunEnd) -> OperationStatus {
    let log_id = end.run.log_id.expect("a run has an operation");
    let operations = &feed.subject.ports.operations;
    let tree = operations.tree(log_id, &Scope::Operator).await.unwrap();
    tree[0].entry.status.clone()
}

// SYN-31
pub async fn a_run_with_open_items_is_not_ready(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let run = feed.run_of(vec![version("a", 1), version("b", 2)], 0).await;

    assert_eq!(
        feed.finalise(run.id, 1).await,
        Finalised::NotReady { open: 2 }
    );

    let work = feed.claim(1, 1).await;
    assert_eq!(
        feed.finalise(run.id, 1).await,
        Finalised::NotReady { open: 2 }
    );
    let id = work.only().id;
    feed.settle(id, work.token, ItemOutcome::Succeeded, 2).await;
    assert_eq!(
        feed.finalise(run.id, 2).await,
        Finalised::NotReady { open: 1 }
    );
}

pub async fn a_run_that_enumerates_is_not_ready(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let run = feed.open(0).await;

    assert_eq!(
        feed.finalise(run.id, 1).await,
        Finalised::NotReady { open: 0 }
    );
}

// SYN-31
pub async fn a_run_ends_once(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let run = feed.run_of(vec![version("a", 1)], 0).await;
    feed.work_but(&[], 1).await;

    let end = feed.end(run.id, 2).await;
    let again = feed.finalise(run.id, 3).await;

    assert_eq!(end.run.ended_at, Some(at(2)));
    assert_eq!(
        again,
        Finalised::AlreadyEnded {
            cursor_moved: false
        }
    );
    assert_eq!(feed.run(run.id).await, end.run);
}

// SYN-35
pub async fn a_clean_run_is_a_success_and_schedules_the_next(subject: &Subject) {
    let mut feed = Feed::new(subject).await;
    feed.sync(vec![version("a", 1)], &["a"], 0).await;

    let end = feed
        .sync(vec![version("a", 1), version("b", 2)], &[], 7200)
        .await;

    assert_eq!(end.run.state, RunState::Success);
    assert!(end.synced);
    assert_eq!(end.run.counts.succeeded, 2);
    assert_eq!(end.run.counts.open, 0);
    assert_eq!(end.consecutive_sync_failures, 0);
    let next = minutes_after(7200, INTERVAL_MINUTES.into());
    assert_eq!(end.next_sync_at, Some(next));
    assert_eq!(
        status_of_the_operation(&feed, &end).await,
        OperationStatus::Success
    );
    let integration = feed.integration().await;
    assert_eq!(integration.last_synced_at, Some(at(7200)));
    assert_eq!(integration.next_sync_at, Some(next));
    assert_eq!(integration.consecutive_sync_failures, 0);
}

// SYN-36: whoever enumerated gives the lease back after the last worker ended the sync.
pub async fn a_lease_given_back_after_the_end_leaves_the_next_sync_put_off(subject: &Subject) {
    let mut feed = Feed::new(subject).await;
    for n in 0..2 {
        feed.sync(vec![version("a", 1)], &["a"], n * 36_000).await;
    }
    let put_off = feed.integration().await.next_sync_at;
    assert_eq!(
        put_off,
        Some(minutes_after(36_000, 2 * i64::from(INTERVAL_MINUTES)))
    );

    let integrations = &subject.ports.integrations;
    let soon = Some(at(36_001));
    let released = integrations.release_sync_lease(feed.integration_id, feed.fence, soon);

    assert!(!released.await.unwrap());
    assert_eq!(feed.integration().await.next_sync_at, put_off);
}

// SYN-09
pub async fn an_empty_run_is_a_success(subject: &Subject) {
    let mut feed = Feed::new(subject).await;

    let end = feed.sync(vec![], &[], 10).await;

    assert_eq!(end.run.state, RunState::Success);
    assert_eq!(feed.integration().await.last_synced_at, Some(at(10)));
}

pub async fn a_run_in_which_some_failed_is_partial(subject: &Subject) {
    let mut feed = Feed::new(subject).await;

    let end = feed
        .sync(vec![version("a", 1), version("b", 2)], &["b"], 0)
        .await;

    assert_eq!(end.run.state, RunState::Partial);
    assert_eq!((end.run.counts.succeeded, end.run.counts.failed), (1, 1));
    assert_eq!(
        status_of_the_operation(&feed, &end).await,
        OperationStatus::Partial
    );
    assert_eq!(feed.integration().await.last_synced_at, None);
}

pub async fn a_run_in_which_all_failed_is_failed(subject: &Subject) {
    let mut feed = Feed::new(subject).await;

    let items = vec![version("a", 1), version("b", 2)];
    let end = feed.sync(items, &["a", "b"], 0).await;

    assert_eq!(end.run.state, RunState::Failed);
    assert_eq!(
        status_of_the_operation(&feed, &end).await,
        OperationStatus::Failed
    );
}

pub async fn skipped_items_spare_a_run_from_failing(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let run = feed.run_of(vec![version("a", 1), version("b", 2)], 0).await;
    feed.work(1, |item| {
        if item.external_id == Some(external("a")) {
            skipped()
        } else {
            super::feed::failed()
        }
    })
    .await;

    let end = feed.end(run.id, 2).await;

    assert_eq!(end.run.state, RunState::Partial);
    assert_eq!((end.run.counts.skipped, end.run.counts.failed), (1, 1));
}

// INV-07, W-SYN-1
pub async fn a_run_whose_enumeration_failed_with_nothing_is_failed(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let run = feed.open(0).await;
    let error = PageEnd::Failed("no answer".to_owned());
    feed.add(run.id, vec![], error, 0).await;

    let end = feed.end(run.id, 0).await;

    assert_eq!(end.run.state, RunState::Failed);
    assert_eq!(end.consecutive_sync_failures, 1);
    let next = minutes_after(0, INTERVAL_MINUTES.into());
    assert_eq!(end.next_sync_at, Some(next));
    assert_eq!(feed.integration().await.next_sync_at, Some(next));
    assert_eq!(
        status_of_the_operation(&feed, &end).await,
        OperationStatus::Failed
    );
}

pub async fn a_run_whose_enumeration_failed_after_a_success_is_partial(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let run = feed.open(0).await;
    let error = PageEnd::Failed("no answer".to_owned());
    feed.add(run.id, vec![version("a", 1)], error, 0).await;
    feed.work_but(&[], 0).await;

    let end = feed.end(run.id, 0).await;

    assert_eq!(end.run.state, RunState::Partial);
    assert_eq!(end.consecutive_sync_failures, 1);
    assert_eq!(feed.integration().await.last_synced_at, None);
}

// SYN-36
pub async fn failures_in_a_row_put_the_next_sync_off_up_to_sixteen_intervals(subject: &Subject) {
    let mut feed = Feed::new(subject).await;
    let day = 24 * 3600;

    for (n, multiplier) in (1..).zip([1, 2, 4, 8, 16, 16]) {
        let now = i64::from(n) * day;
        let end = feed.sync(vec![version("a", 1)], &["a"], now).await;
        assert_eq!(end.consecutive_sync_failures, n);
        let next = minutes_after(now, multiplier * i64::from(INTERVAL_MINUTES));
        assert_eq!(end.next_sync_at, Some(next), "after {n} failures");
        assert_eq!(feed.integration().await.next_sync_at, Some(next));
    }
}

// W-SYN-13
pub async fn the_schedule_of_the_call_decides_the_next_sync(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let run = feed.run_of(vec![], 0).await;
    let finalise = Finalise {
        schedule: SyncSchedule {
            jitter: std::time::Duration::from_secs(7),
            ..SyncSchedule::default()
        },
        ..finalising(run.id, 0)
    };

    let end = feed.end_as(&finalise).await;

    let interval = i64::from(INTERVAL_MINUTES) * 60;
    assert_eq!(end.next_sync_at, Some(at(interval + 7)));
}

pub async fn an_integration_without_an_interval_is_not_scheduled(subject: &Subject) {
    let integration = subject.create(&new_integration()).await;
    let mut feed = Feed::of(subject, integration.id).await;

    let clean = feed.sync(vec![version("a", 1)], &[], 0).await;
    let broken = feed.sync(vec![version("a", 2)], &["a"], 3600).await;

    assert_eq!(clean.next_sync_at, None);
    assert_eq!(broken.next_sync_at, None);
    assert_eq!(feed.integration().await.next_sync_at, None);
}

pub async fn the_end_of_the_last_run_releases_the_sync_lease(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let comments = feed.other_stream("comments");
    let first = feed.run_of(vec![], 0).await;
    let second = comments.run_of(vec![], 0).await;

    feed.end(first.id, 1).await;
    assert!(feed.integration().await.sync_lease.is_some());
    comments.end(second.id, 2).await;

    let integration = feed.integration().await;
    assert_eq!(integration.sync_lease, None);
    assert_eq!(
        integration.sync_fence, feed.fence,
        "late writes stay refused"
    );
}

// A crash while another stream enumerates must find the integration due.
pub async fn a_stream_that_ends_leaves_the_sync_to_the_others(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let comments = feed.other_stream("comments");
    let first = feed.run_of(vec![version("a", 1)], 0).await;
    let second = comments.open(0).await;
    feed.work_but(&["a"], 1).await;

    let early = feed.end(first.id, 1).await;

    assert!(!early.synced);
    assert_eq!(
        (early.next_sync_at, early.consecutive_sync_failures),
        (Some(at(0)), 0)
    );
    let integration = feed.integration().await;
    assert_eq!(integration.next_sync_at, Some(at(0)), "still due");
    assert!(integration.sync_lease.is_some());
    comments.add(second.id, vec![], PageEnd::Complete, 2).await;
    let end = comments.end(second.id, 2).await;
    assert_eq!(end.run.state, RunState::Success);
    assert!(!end.synced);
    assert_eq!(
        end.consecutive_sync_failures, 1,
        "one of its streams failed"
    );
    assert_eq!(
        end.next_sync_at,
        Some(minutes_after(2, INTERVAL_MINUTES.into()))
    );
    let integration = feed.integration().await;
    assert_eq!(integration.last_synced_at, None);
    assert_eq!(integration.sync_lease, None);
}

// SYN-35
pub async fn the_last_of_clean_streams_ends_a_clean_sync(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let comments = feed.other_stream("comments");
    let first = feed.run_of(vec![], 0).await;
    let second = comments.run_of(vec![], 0).await;

    let early = feed.end(first.id, 1).await;
    let last = comments.end(second.id, 2).await;

    assert_eq!((early.synced, last.synced), (false, true));
    assert_eq!(feed.integration().await.last_synced_at, Some(at(2)));
}

// SYN-37, W-SYN-8
pub async fn a_record_that_fails_run_after_run_is_reported_stuck_once(subject: &Subject) {
    let mut feed = Feed::new(subject).await;
    let mut reported = Vec::new();

    for n in 1..=4 {
        feed.win_lease(n * 7200).await;
        let run = feed.run_of(vec![version("a", 1)], n * 7200).await;
        feed.work_but(&["a"], n * 7200).await;
        let finalise = Finalise {
            stuck_after_runs: 2,
            ..finalising(run.id, n * 7200)
        };
        reported.push(feed.end_as(&finalise).await.stuck);
    }

    let stuck = StuckRecord {
        kind: kind("issue"),
        external_id: external("a"),
        runs: 2,
    };
    assert_eq!(reported, [vec![], vec![stuck], vec![], vec![]]);
}

pub async fn several_failed_versions_in_a_run_count_once_for_their_record(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let run = feed.run_of(vec![version("a", 1), version("a", 2)], 0).await;
    feed.work_but(&["a"], 0).await;
    let finalise = Finalise {
        stuck_after_runs: 2,
        ..finalising(run.id, 0)
    };

    let end = feed.end_as(&finalise).await;

    assert_eq!(end.run.counts.failed, 2);
    assert_eq!(end.stuck, []);
}

pub async fn a_success_begins_the_streak_anew(subject: &Subject) {
    let mut feed = Feed::new(subject).await;
    let failing = [(1, true), (2, false), (3, true)];

    for (n, fails) in failing {
        feed.win_lease(n * 7200).await;
        let run = feed.run_of(vec![version("a", n)], n * 7200).await;
        let names: &[&str] = if fails { &["a"] } else { &[] };
        feed.work_but(names, n * 7200).await;
        let finalise = Finalise {
            stuck_after_runs: 2,
            ..finalising(run.id, n * 7200)
        };
        assert_eq!(feed.end_as(&finalise).await.stuck, [], "run {n}");
    }
}

// INV-07: an operator's retry does not undo the end of a run.
pub async fn a_retry_after_the_end_leaves_the_run_ended(subject: &Subject) {
    let mut feed = Feed::new(subject).await;
    feed.win_lease(7200).await;
    let run = feed.open(7200).await;
    let added = feed
        .add(run.id, vec![version("a", 1)], PageEnd::Complete, 7200)
        .await;
    let id = stored(&added)[0];
    feed.work_but(&["a"], 7200).await;
    let ended = feed.end(run.id, 7200).await.run;

    let decided = feed.retry(id, 7300).await;

    assert_eq!(
        decided,
        ItemDecided::Done {
            run_id: run.id,
            finalisable: false
        }
    );
    let retried = feed.run(run.id).await;
    assert_eq!((retried.counts.open, retried.counts.failed), (1, 0));
    assert_eq!(retried.state, ended.state);
    assert_eq!(retried.ended_at, ended.ended_at);
}

// W-SYN-6
pub async fn a_run_whose_failures_were_resolved_is_mended(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let run = feed.open(0).await;
    let page = vec![version("a", 1), version("b", 2), version("c", 3)];
    let added = feed.add(run.id, page, PageEnd::Complete, 0).await;
    feed.work_but(&["a", "b"], 0).await;
    let end = feed.end(run.id, 10).await;
    assert_eq!(end.run.state, RunState::Partial);
    let put_off = feed.integration().await.next_sync_at;
    let ids = stored(&added);

    feed.skip(ids[0], 20).await;
    feed.finalise(run.id, 20).await;
    assert_eq!(feed.run(run.id).await.state, RunState::Partial);
    feed.retry(ids[1], 30).await;
    feed.finalise(run.id, 30).await;
    assert_eq!(
        feed.run(run.id).await.state,
        RunState::Partial,
        "it is open"
    );
    feed.work_but(&[], 40).await;
    feed.finalise(run.id, 50).await;

    let mended = feed.run(run.id).await;
    assert_eq!(mended.state, RunState::Success);
    assert_eq!(mended.ended_at, Some(at(10)), "it ended once");
    assert_eq!(
        status_of_the_operation(&feed, &end).await,
        OperationStatus::Success
    );
    let integration = feed.integration().await;
    assert_eq!(integration.last_synced_at, Some(at(50)));
    assert_eq!(integration.consecutive_sync_failures, 0);
    assert_eq!(integration.next_sync_at, put_off);
}

pub async fn a_mended_run_of_an_earlier_sync_makes_no_later_one_clean(subject: &Subject) {
    let mut feed = Feed::new(subject).await;
    let run = feed.open(0).await;
    let page = vec![version("a", 1)];
    let added = feed.add(run.id, page, PageEnd::Complete, 0).await;
    feed.work_but(&["a"], 0).await;
    feed.end(run.id, 0).await;
    feed.sync(vec![version("b", 2)], &["b"], 3600).await;

    feed.skip(stored(&added)[0], 3601).await;
    feed.finalise(run.id, 3601).await;

    assert_eq!(feed.run(run.id).await.state, RunState::Success);
    let integration = feed.integration().await;
    assert_eq!(integration.last_synced_at, None);
    assert_eq!(integration.consecutive_sync_failures, 2);
}

// HLT-14
pub async fn overdue_syncs_are_reported_when_that_begins_and_ends(subject: &Subject) {
    let mut feed = Feed::new(subject).await;
    let sweep = |now: i64| async move {
        let changes = subject.ports.syncs.sweep_staleness(2, 100, at(now)).await;
        changes.unwrap()
    };
    let interval = i64::from(INTERVAL_MINUTES) * 60;
    let change = |stale, last_synced_at| StalenessChange {
        integration_id: feed.integration_id,
        stale,
        last_synced_at,
    };
    let (began, ended) = (
        change(true, None),
        change(false, Some(at(2 * interval + 2))),
    );

    assert_eq!(sweep(2 * interval).await, [], "not more than two intervals");
    assert_eq!(sweep(2 * interval + 1).await, [began]);
    assert_eq!(sweep(2 * interval + 1).await, [], "reported once");
    assert_eq!(
        feed.integration().await.sync_stale_at,
        Some(at(2 * interval + 1))
    );

    feed.sync(vec![], &[], 2 * interval + 2).await;
    assert_eq!(sweep(2 * interval + 3).await, [ended]);
    assert_eq!(feed.integration().await.sync_stale_at, None);
    assert_eq!(sweep(2 * interval + 4).await, []);
}

pub async fn only_scheduled_active_integrations_are_overdue(subject: &Subject) {
    let unscheduled = subject.create(&new_integration()).await;
    let new = || NewIntegration {
        sync_interval_minutes: Some(1),
        ..new_integration()
    };
    let switched_off = subject.create(&new()).await;
    let removed = subject.create(&new()).await;
    subject.remove(removed.id).await;
    let off = IntegrationChange {
        is_active: Some(false),
        ..IntegrationChange::default()
    };
    let integrations = &subject.ports.integrations;
    integrations
        .update(switched_off.id, &Scope::Operator, &off, at(0))
        .await
        .unwrap();
    let overdue = subject.create(&new()).await;
    let late = subject.create(&new()).await;

    let first = subject.ports.syncs.sweep_staleness(3, 1, at(3600)).await;
    let second = subject.ports.syncs.sweep_staleness(3, 1, at(3600)).await;
    let third = subject.ports.syncs.sweep_staleness(3, 1, at(3600)).await;

    let mut found: Vec<_> = [first, second, third]
        .into_iter()
        .flat_map(Result::unwrap)
        .map(|change| change.integration_id)
        .collect();
    found.sort_unstable();
    assert_eq!(found, [overdue.id, late.id]);
    assert!(!found.contains(&unscheduled.id));
}
