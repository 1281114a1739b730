//! Cases of the `SyncStore` port about operators' words on items.

use integrations_core::{
    id::SyncItemId,
    integration::Scope,
    sync::{ItemDecided, ItemDecision, ItemOutcome, ItemStatus, ItemVerdict, PageEnd, RunState},
    value::ExternalId,
};

use super::{
    Subject,
    feed::{Feed, retry_at, stored, version},
    fixtures::{at, scope},
};

pub async fn an_operator_retries_failed_items_only(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let run = feed.open(0).await;
    let page = vec![version("a", 1), version("b", 1), version("c", 1)];
    let added = feed.add(run.id, page, PageEnd::Complete, 0).await;
    let [failing, done, waiting] = stored(&added)[..] else {
        panic!("three items should have been stored");
    };
    feed.work(0, |item| {
        match item.external_id.as_ref().map(ExternalId::as_str) {
            Some("a") => super::feed::failed(),
            Some("c") => retry_at(3600),
            _ => ItemOutcome::Succeeded,
        }
    })
    .await;

    assert_eq!(
        feed.retry(failing, 10).await,
        ItemDecided::Done {
            run_id: run.id,
            finalisable: false
        }
    );
    assert_eq!(
        feed.retry(done, 10).await,
        ItemDecided::NotPossible(ItemStatus::Success)
    );
    assert_eq!(
        feed.retry(waiting, 10).await,
        ItemDecided::NotPossible(ItemStatus::Pending)
    );
    let item = feed.item(failing, 10).await;
    assert_eq!((item.status, item.attempts), (ItemStatus::Pending, 0));
    let counts = feed.run(run.id).await.counts;
    assert_eq!((counts.open, counts.failed), (2, 0));
    let work = feed.claim(10, 10).await;
    assert_eq!(work.ids(), [failing], "it is due at once");
    assert_eq!(
        feed.retry(failing, 11).await,
        ItemDecided::NotPossible(ItemStatus::Processing)
    );
}

pub async fn an_operator_skips_failed_and_waiting_items(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let run = feed.open(0).await;
    let page = vec![version("a", 1), version("b", 1), version("c", 1)];
    let added = feed.add(run.id, page, PageEnd::Complete, 0).await;
    let [first, second, third] = stored(&added)[..] else {
        panic!("three items should have been stored");
    };
    let work = feed.claim(1, 0).await;
    let failed = super::feed::failed();
    feed.settle(first, work.token, failed, 0).await;
    let leased = feed.claim(1, 0).await;
    assert_eq!(leased.ids(), [second]);

    assert_eq!(
        feed.skip(second, 1).await,
        ItemDecided::NotPossible(ItemStatus::Processing)
    );
    let open = ItemDecided::Done {
        run_id: run.id,
        finalisable: false,
    };
    assert_eq!(feed.skip(first, 1).await, open);
    assert_eq!(feed.skip(third, 1).await, open);

    for id in [first, third] {
        let item = feed.item(id, 1).await;
        assert_eq!(item.status, ItemStatus::Skipped);
        assert_eq!(item.error.as_deref(), Some("let go"));
        assert_eq!(item.completed_at, Some(at(1)));
    }
    let counts = feed.run(run.id).await.counts;
    assert_eq!((counts.open, counts.failed, counts.skipped), (1, 0, 2));
    assert_eq!(
        feed.skip(first, 2).await,
        ItemDecided::NotPossible(ItemStatus::Skipped)
    );
}

pub async fn skipping_the_last_open_item_says_finalise(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let run = feed.open(0).await;
    let added = feed
        .add(run.id, vec![version("a", 1)], PageEnd::Complete, 0)
        .await;

    let decided = feed.skip(stored(&added)[0], 1).await;

    assert_eq!(
        decided,
        ItemDecided::Done {
            run_id: run.id,
            finalisable: true
        }
    );
    assert_eq!(feed.end(run.id, 1).await.run.state, RunState::Success);
}

pub async fn decisions_are_answered_in_order_and_within_scope(subject: &Subject) {
    let owned = subject.integration_of(1).await;
    let feed = Feed::of(subject, owned.id).await;
    let run = feed.open(0).await;
    let page = vec![version("a", 1), version("b", 1)];
    let added = feed.add(run.id, page, PageEnd::Complete, 0).await;
    let ids = stored(&added);
    let skip = |id, scope| ItemDecision {
        id,
        scope,
        verdict: ItemVerdict::Skip {
            reason: "not ours".to_owned(),
        },
        now: at(1),
    };

    let decided = subject
        .ports
        .syncs
        .decide_items(&[
            skip(ids[1], scope(1)),
            skip(ids[0], scope(2)),
            skip(SyncItemId(ids[1].0 + 1_000_000), Scope::Operator),
            skip(ids[1], scope(1)),
        ])
        .await
        .unwrap();

    assert_eq!(
        decided,
        [
            ItemDecided::Done {
                run_id: run.id,
                finalisable: false
            },
            ItemDecided::NotFound,
            ItemDecided::NotFound,
            ItemDecided::NotPossible(ItemStatus::Skipped),
        ]
    );
    assert_eq!(feed.item(ids[0], 1).await.status, ItemStatus::Pending);
}
