//! Cases of the `SyncStore` port about items: versions, duplicates, reading.

use chrono::{FixedOffset, TimeZone};
use integrations_core::{
    id::SyncItemId,
    integration::Scope,
    store::{PageRequest, Rejected},
    sync::{
        Checkpoint, ItemAdded, ItemFilter, ItemOutcome, ItemSettled, ItemStatus, NewItem, PageEnd,
        Payload, SyncItem,
    },
    value::ExternalId,
};

use super::{
    Subject,
    feed::{Feed, digested, kind, stored, version},
    fixtures::{at, external, read_all, scope, whole},
};

// SYN-42
pub async fn an_item_reads_back_as_it_was_enumerated(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let run = feed.open(0).await;

    let added = feed
        .add(run.id, vec![version("a", 7)], PageEnd::Complete, 3)
        .await;

    let id = stored(&added)[0];
    let checkpoint = Checkpoint::Number(7);
    assert_eq!(
        feed.item(id, 3).await,
        SyncItem {
            id,
            integration_id: feed.integration_id,
            run_id: run.id,
            sync_log_id: run.log_id,
            stream: feed.stream.clone(),
            kind: kind("issue"),
            external_id: Some(external("a")),
            checkpoint_value: Some(checkpoint.to_json()),
            checkpoint_order: Some(checkpoint.order()),
            payload: Some(Payload::Text("a@7".to_owned())),
            status: ItemStatus::Pending,
            attempts: 0,
            error: None,
            available_at: at(3),
            lease_until: None,
            completed_at: None,
            created_at: at(3),
            updated_at: at(3),
        }
    );
}

pub async fn payloads_and_names_of_any_form_round_trip(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let run = feed.open(0).await;
    let bytes: [&[u8]; 5] = [
        b"",
        b"{\"a\":1}\r\n",
        "Z\u{fc}rich \u{1f980} \u{202e}".as_bytes(),
        b"nul \0 within",
        &[0xff, 0xfe, 0x00, 0x80],
    ];
    let items = bytes.iter().enumerate().map(|(n, bytes)| NewItem {
        payload: Payload::from_bytes(bytes.to_vec()),
        ..version(&format!("'\u{e4}%_\u{1f980} {n}"), 1)
    });
    let items: Vec<_> = items.collect();

    let added = feed.add(run.id, items.clone(), PageEnd::Complete, 0).await;

    for (id, item) in stored(&added).into_iter().zip(items) {
        let read = feed.item(id, 0).await;
        assert_eq!(read.payload, Some(item.payload));
        assert_eq!(read.external_id, item.external_id);
    }
}

// W-SYN-9
pub async fn checkpoints_of_every_kind_round_trip(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let run = feed.open(0).await;
    let elsewhere = FixedOffset::east_opt(3600).unwrap();
    let instant = elsewhere.with_ymd_and_hms(2026, 1, 1, 0, 30, 0).unwrap();
    let checkpoints = [
        Checkpoint::Number(i64::MIN),
        Checkpoint::Instant(instant.to_utc()),
        Checkpoint::Text("b\u{fc}cher".to_owned()),
    ];
    let items = checkpoints.iter().map(|checkpoint| NewItem {
        checkpoint: Some(checkpoint.clone()),
        ..version("a", 0)
    });

    let added = feed
        .add(run.id, items.collect(), PageEnd::Complete, 0)
        .await;

    for (id, checkpoint) in stored(&added).into_iter().zip(checkpoints) {
        let read = feed.item(id, 0).await;
        assert_eq!(read.checkpoint_value, Some(checkpoint.to_json()));
        assert_eq!(read.checkpoint_order, Some(checkpoint.order()));
    }
}

// SYN-07, L-SYN-5
pub async fn the_same_version_twice_in_a_run_is_dropped_and_counted(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let run = feed.open(0).await;
    let next = PageEnd::Continue(2.into());
    let page = vec![version("a", 1), version("a", 1), version("a", 2)];

    let first = feed.add(run.id, page, next, 0).await;
    let second = feed
        .add(run.id, vec![version("a", 2)], PageEnd::Complete, 1)
        .await;

    let [
        Ok(ItemAdded::Stored(one)),
        ref duplicate,
        Ok(ItemAdded::Stored(two)),
    ] = first[..]
    else {
        panic!("two versions should have been stored: {first:?}");
    };
    assert_eq!(duplicate, &Ok(ItemAdded::Duplicate(one)));
    assert_eq!(second, [Ok(ItemAdded::Duplicate(two))]);
    let counts = feed.run(run.id).await.counts;
    assert_eq!((counts.total, counts.open, counts.duplicates), (2, 2, 2));
}

pub async fn records_differ_by_stream_and_kind(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let comments = feed.other_stream("comments");
    let issues_run = feed.open(0).await;
    let comments_run = comments.open(0).await;
    let of_kind = NewItem {
        kind: kind("pull_request"),
        ..version("a", 1)
    };

    let page = vec![version("a", 1), of_kind];
    let issues = feed.add(issues_run.id, page, PageEnd::Complete, 0).await;
    let page = vec![version("a", 1)];
    let comments = comments
        .add(comments_run.id, page, PageEnd::Complete, 0)
        .await;

    assert_eq!(stored(&issues).len(), 2);
    assert_eq!(stored(&comments).len(), 1);
}

pub async fn items_without_an_external_id_are_never_duplicates(subject: &Subject) {
    let mut feed = Feed::new(subject).await;
    let nameless = NewItem {
        external_id: None,
        ..version("a", 1)
    };
    let page = vec![nameless.clone(), nameless];

    let first = feed.sync(page.clone(), &[], 0).await.run;
    let second = feed.sync(page, &[], 3600).await.run;

    assert_eq!(first.counts.succeeded, 2);
    assert_eq!(second.counts.succeeded, 2);
    assert_eq!(second.counts.duplicates, 0);
}

// W-SYN-3
pub async fn a_version_that_succeeded_before_is_dropped_and_counted(subject: &Subject) {
    let mut feed = Feed::new(subject).await;
    feed.sync(vec![version("a", 5)], &[], 0).await;
    feed.win_lease(3600).await;
    let run = feed.open(3600).await;

    let page = vec![version("a", 5), version("a", 4), version("a", 6)];
    let added = feed.add(run.id, page, PageEnd::Complete, 3600).await;

    assert_eq!(added[0], Ok(ItemAdded::AlreadyDone), "the same version");
    assert_eq!(added[1], Ok(ItemAdded::AlreadyDone), "an older version");
    assert!(matches!(added[2], Ok(ItemAdded::Stored(_))), "{added:?}");
    let counts = feed.run(run.id).await.counts;
    assert_eq!((counts.total, counts.duplicates), (1, 2));
}

pub async fn without_a_checkpoint_the_digest_is_the_version(subject: &Subject) {
    let mut feed = Feed::new(subject).await;
    feed.sync(vec![digested("a", b"one")], &[], 0).await;
    feed.win_lease(3600).await;
    let run = feed.open(3600).await;

    let page = vec![
        digested("a", b"one"),
        digested("a", b"two"),
        digested("b", b"one"),
        digested("b", b"one"),
    ];
    let added = feed.add(run.id, page, PageEnd::Complete, 3600).await;

    assert_eq!(added[0], Ok(ItemAdded::AlreadyDone));
    assert!(matches!(added[1], Ok(ItemAdded::Stored(_))), "{added:?}");
    let Ok(ItemAdded::Stored(id)) = added[2] else {
        panic!("a record of its own should have been stored: {added:?}");
    };
    assert_eq!(added[3], Ok(ItemAdded::Duplicate(id)));
}

// DESIGN: "a digest under any key still in the ring verifies"
pub async fn a_digest_under_another_key_is_the_same_version(subject: &Subject) {
    let mut feed = Feed::new(subject).await;
    let page = vec![digested("a", b"old a"), digested("b", b"old b")];
    feed.sync(page, &["b"], 0).await;
    feed.win_lease(3600).await;
    let run = feed.open(3600).await;
    let after_rotation = |name, content: &str| NewItem {
        other_digests: vec![format!("old {content}").into_bytes()],
        ..digested(name, format!("new {content}").as_bytes())
    };

    let page = vec![
        after_rotation("a", "a"),
        after_rotation("b", "b"),
        after_rotation("b", "b"),
        after_rotation("a", "c"),
    ];
    let added = feed.add(run.id, page, PageEnd::Complete, 3600).await;

    let [
        Ok(ItemAdded::AlreadyDone),
        Ok(ItemAdded::Requeued(failed)),
        Ok(ItemAdded::Duplicate(again)),
        Ok(ItemAdded::Stored(_)),
    ] = added[..]
    else {
        panic!("only other content should be news: {added:?}");
    };
    assert_eq!(failed, again);
}

// What was changed and changed back is to be handled again, or the other side's content and ours
// would differ.
pub async fn content_that_comes_back_is_a_new_version(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let run = feed.open(0).await;
    let next = || PageEnd::Continue(2.into());
    let (one, two) = (|| digested("a", b"one"), || digested("a", b"two"));

    let first = feed.add(run.id, vec![one(), one()], next(), 0).await;
    let changed = feed.add(run.id, vec![two(), one()], next(), 1).await;
    let again = feed.add(run.id, vec![one()], PageEnd::Complete, 2).await;

    assert!(matches!(first[1], Ok(ItemAdded::Duplicate(_))), "{first:?}");
    let latest = stored(&changed)[1];
    assert_eq!(again, [Ok(ItemAdded::Duplicate(latest))]);
    let mut handled = Vec::new();
    for now in 3..6 {
        let work = feed.claim(10, now).await;
        let id = work.only().id;
        feed.settle(id, work.token, ItemOutcome::Succeeded, now)
            .await;
        handled.push(id);
    }
    assert_eq!(
        handled.last(),
        Some(&latest),
        "what is there now comes last"
    );
}

pub async fn content_that_comes_back_behind_a_failure_is_a_new_version(subject: &Subject) {
    let mut feed = Feed::new(subject).await;
    feed.sync(vec![digested("a", b"one")], &[], 0).await;
    feed.sync(vec![digested("a", b"two")], &["a"], 3600).await;
    feed.win_lease(7200).await;
    let run = feed.open(7200).await;

    let page = vec![digested("a", b"one")];
    let added = feed.add(run.id, page, PageEnd::Complete, 7200).await;

    assert!(matches!(added[0], Ok(ItemAdded::Stored(_))), "{added:?}");
}

// Providers read from the cursor inclusively: what was let go comes again and again.
pub async fn a_version_that_was_let_go_is_not_stored_again(subject: &Subject) {
    let mut feed = Feed::new(subject).await;
    let run = feed.open(0).await;
    let page = vec![version("a", 1), digested("b", b"one")];
    let added = feed.add(run.id, page, PageEnd::Complete, 0).await;
    feed.work_but(&["a", "b"], 0).await;
    feed.end(run.id, 0).await;
    for id in stored(&added) {
        feed.skip(id, 1).await;
    }
    feed.win_lease(3600).await;
    let next = feed.open(3600).await;

    let page = vec![version("a", 1), digested("b", b"one"), version("a", 2)];
    let added = feed.add(next.id, page, PageEnd::Complete, 3600).await;

    assert_eq!(
        added[..2],
        [Ok(ItemAdded::AlreadyDone), Ok(ItemAdded::AlreadyDone)]
    );
    assert!(matches!(added[2], Ok(ItemAdded::Stored(_))), "{added:?}");
    assert_eq!(feed.run(next.id).await.counts.duplicates, 2);
}

pub async fn a_full_resync_takes_older_versions_but_not_the_same(subject: &Subject) {
    let mut feed = Feed::new(subject).await;
    feed.sync(vec![version("a", 5), version("b", 5)], &[], 0)
        .await;
    feed.win_lease(3600).await;
    let run = feed.open_full(3600).await;

    let page = vec![version("a", 4), version("b", 5)];
    let added = feed.add(run.id, page, PageEnd::Complete, 3600).await;

    assert!(matches!(added[0], Ok(ItemAdded::Stored(_))), "{added:?}");
    assert_eq!(added[1], Ok(ItemAdded::AlreadyDone));
}

// W-SYN-11
pub async fn an_unresolved_version_of_an_earlier_run_is_queued_again(subject: &Subject) {
    let mut feed = Feed::new(subject).await;
    let run = feed.open(0).await;
    let added = feed
        .add(run.id, vec![version("a", 1)], PageEnd::Complete, 0)
        .await;
    let id = stored(&added)[0];
    feed.work_but(&["a"], 0).await;
    feed.end(run.id, 0).await;
    feed.win_lease(3600).await;
    let next = feed.open(3600).await;

    let added = feed
        .add(next.id, vec![version("a", 1)], PageEnd::Complete, 3600)
        .await;

    assert_eq!(added, [Ok(ItemAdded::Requeued(id))]);
    let item = feed.item(id, 3600).await;
    assert_eq!(item.run_id, next.id);
    assert_eq!(item.status, ItemStatus::Pending);
    assert_eq!(item.attempts, 0, "with all attempts");
    let counts = feed.run(next.id).await.counts;
    assert_eq!((counts.open, counts.total), (1, 1));
    let work = feed.claim(10, 3600).await;
    assert_eq!(work.ids(), [id]);
}

pub async fn a_version_under_a_lease_moves_to_the_run_and_stays_with_its_worker(subject: &Subject) {
    let mut feed = Feed::new(subject).await;
    let run = feed.open(0).await;
    let added = feed
        .add(run.id, vec![version("a", 1)], PageEnd::Complete, 0)
        .await;
    let id = stored(&added)[0];
    feed.work_but(&["a"], 0).await;
    feed.end(run.id, 0).await;
    feed.retry(id, 1).await;
    feed.win_lease(3600).await;
    let work = feed.claim(1, 3600).await;
    let next = feed.open(3600).await;

    let added = feed
        .add(next.id, vec![version("a", 1)], PageEnd::Complete, 3601)
        .await;

    assert_eq!(added, [Ok(ItemAdded::Requeued(id))]);
    assert_eq!(feed.claim(1, 3602).await.ids(), [], "its worker has it");
    let settled = feed.settle(id, work.token, ItemOutcome::Succeeded, 3603);
    assert_eq!(
        settled.await,
        ItemSettled::Done {
            run_id: next.id,
            open: 0,
            finalisable: true
        }
    );
}

// L-SYN-7: one bad record does not stop its page.
pub async fn an_entry_that_does_not_fit_fails_alone(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let run = feed.open(0).await;
    let too_long = NewItem {
        batch_id: Some("b".repeat(37)),
        ..version("b", 2)
    };
    let fitting = NewItem {
        batch_id: Some("\u{fc}".repeat(36)),
        ..version("c", 3)
    };

    let ordered = |length| NewItem {
        checkpoint: Some(Checkpoint::Text("\u{1f980}".repeat(length))),
        ..version("d", 0)
    };

    let page = vec![
        version("a", 1),
        too_long,
        fitting,
        ordered(511),
        ordered(512),
    ];
    let added = feed.add(run.id, page, PageEnd::Complete, 0).await;

    assert!(matches!(added[0], Ok(ItemAdded::Stored(_))), "{added:?}");
    assert_eq!(added[1], Err(Rejected::DoesNotFit));
    assert!(matches!(added[2], Ok(ItemAdded::Stored(_))), "{added:?}");
    assert!(matches!(added[3], Ok(ItemAdded::Stored(_))), "{added:?}");
    assert_eq!(added[4], Err(Rejected::DoesNotFit));
    let run = feed.run(run.id).await;
    assert_eq!((run.counts.open, run.counts.total), (3, 3));
    assert!(run.enumerated);
}

pub async fn items_are_found_within_their_scope(subject: &Subject) {
    let owned = subject.integration_of(1).await;
    let feed = Feed::of(subject, owned.id).await;
    let run = feed.open(0).await;
    let added = feed
        .add(run.id, vec![version("a", 1)], PageEnd::Complete, 0)
        .await;
    let id = stored(&added)[0];
    let found = |id, scope| async move {
        let item = subject.ports.syncs.find_item(id, &scope, at(0)).await;
        item.unwrap().is_some()
    };

    assert!(found(id, scope(1)).await);
    assert!(found(id, Scope::Operator).await);
    assert!(!found(id, scope(2)).await);
    assert!(!found(SyncItemId(id.0 + 1_000_000), Scope::Operator).await);
}

pub async fn items_are_listed_by_every_field_of_the_filter(subject: &Subject) {
    let owned = subject.integration_of(1).await;
    let feed = Feed::of(subject, owned.id).await;
    let comments = feed.other_stream("comments");
    let other = Feed::new(subject).await;
    let run = feed.run_of(vec![version("a", 1), version("b", 2)], 0).await;
    let commented = NewItem {
        kind: kind("comment"),
        ..version("c", 3)
    };
    comments.run_of(vec![commented], 50).await;
    other.run_of(vec![version("d", 4)], 0).await;
    let list = |filter: ItemFilter, scope| async move {
        let syncs = &subject.ports.syncs;
        let page = syncs.list_items(&filter, &scope, &whole(), at(60)).await;
        let items = page.unwrap().items.into_iter();
        let names = items.filter_map(|item| item.external_id.map(String::from));
        names.collect::<Vec<_>>().concat()
    };
    feed.claim(1, 30).await;
    let any = ItemFilter::default;

    assert_eq!(list(any(), Scope::Operator).await, "abcd");
    assert_eq!(list(any(), scope(1)).await, "abc");
    assert_eq!(list(any(), scope(2)).await, "");
    let cases = [
        (
            ItemFilter {
                integration_id: Some(other.integration_id),
                ..any()
            },
            "d",
        ),
        (
            ItemFilter {
                run_id: Some(run.id),
                ..any()
            },
            "ab",
        ),
        (
            ItemFilter {
                stream: Some(comments.stream.clone()),
                ..any()
            },
            "c",
        ),
        (
            ItemFilter {
                kind: Some(kind("comment")),
                ..any()
            },
            "c",
        ),
        (
            ItemFilter {
                since: Some(at(50)),
                ..any()
            },
            "c",
        ),
        (
            ItemFilter {
                status: Some(ItemStatus::Processing),
                ..any()
            },
            "a",
        ),
        (
            ItemFilter {
                status: Some(ItemStatus::Pending),
                ..any()
            },
            "bcd",
        ),
    ];
    for (filter, names) in cases {
        assert_eq!(
            list(filter.clone(), Scope::Operator).await,
            names,
            "{filter:?}"
        );
    }
}

pub async fn items_are_listed_page_by_page(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let names = ["a", "b", "c", "d", "e"];
    let items = names.map(|name| version(name, 1)).to_vec();
    feed.run_of(items, 0).await;
    let filter = ItemFilter::default();
    let syncs = &subject.ports.syncs;
    let filter = &filter;

    let read = |page| async move {
        let page = syncs
            .list_items(filter, &Scope::Operator, &page, at(0))
            .await;
        page.unwrap()
    };
    let newest = read_all(PageRequest::newest(2), read).await;

    let listed = newest.iter().filter_map(|item| item.external_id.as_ref());
    let listed: Vec<_> = listed.map(ExternalId::as_str).collect();
    assert_eq!(listed, ["e", "d", "c", "b", "a"]);
}

pub async fn waiting_kinds_count_what_waits(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let of_kind = |name| NewItem {
        kind: kind("event"),
        ..version(name, 1)
    };
    feed.run_of(vec![version("a", 1), of_kind("b"), of_kind("c")], 0)
        .await;

    let waiting = subject.ports.syncs.waiting_kinds().await.unwrap();
    feed.work(0, |_| ItemOutcome::Succeeded).await;
    let afterwards = subject.ports.syncs.waiting_kinds().await.unwrap();

    let mut waiting = waiting;
    waiting.sort();
    assert_eq!(waiting, [(kind("event"), 2), (kind("issue"), 1)]);
    assert_eq!(afterwards, []);
}
