//! Handling one item: within the time limit, and whatever the handler does.

use std::{panic::AssertUnwindSafe, time::Duration};

use chrono::{DateTime, Utc};
use futures::FutureExt as _;

use super::{
    Worker,
    settler::{Ended, Outcome},
};
use crate::{
    id::Uid,
    integration::Scope,
    provider::Pause,
    sync::engine::handler::{Handled, HandlerError, Handling, ItemAttempt, Refusal},
    sync::{ItemOutcome, SyncItem},
    time::later,
};

/// The least an item is put off, so that one that is always put off does not spin.
const LEAST_PAUSE: Duration = Duration::from_secs(1);

impl Worker {
    /// Handles an item once there is a hand free; given back where there is a stop before.
    pub(super) async fn attend(&self, item: SyncItem, token: Uid) -> Ended {
        let hand = tokio::select! {
            hand = self.hands.acquire() => hand.ok(),
            () = self.stop.stopped() => None,
        };
        let clock = &self.engine.client.ports().clock;
        if hand.is_none() || self.stop.is_stopped() {
            return Ended::given_back(item.id, token, clock.now());
        }
        let began = clock.monotonic();
        let outcome = self.handle(&item, token).await;
        self.pace.note(clock.monotonic().saturating_sub(began));
        Ended {
            id: item.id,
            token,
            outcome,
            about: Some((item.integration_id, item.kind)),
        }
    }

    async fn handle(&self, item: &SyncItem, token: Uid) -> Outcome {
        let policy = &self.engine.policy;
        if item.attempts > policy.max_attempts {
            // An attempt is counted when it is claimed. One that nobody ended was its worker's end.
            let error = "given up: no worker lived to the end of an attempt".to_owned();
            return Outcome::Settle(ItemOutcome::Failed { error });
        }
        let handler = match self.engine.handlers.of(&item.kind) {
            Some(Handling::By(handler)) => handler,
            Some(Handling::Ignored) => return skipped("this kind is ignored".to_owned()),
            // Only kinds that are handled are claimed.
            None => return Outcome::Settle(ItemOutcome::PutBack { at: self.now() }),
        };
        let client = self.engine.client.clone();
        let attempt = ItemAttempt::new(item.clone(), token, policy.max_attempts, client);
        let work = AssertUnwindSafe(async { handler.handle(attempt).await }).catch_unwind();
        let clock = &self.engine.client.ports().clock;
        let limit = later(clock.now(), policy.item_time_limit);
        let ended = tokio::select! {
            ended = work => ended.unwrap_or_else(|_panic| {
                Err(HandlerError::failed("the handler panicked"))
            }),
            () = clock.sleep_until(limit) => {
                let seconds = policy.item_time_limit.as_secs();
                Err(HandlerError::failed(format!("the handler took longer than {seconds} s")))
            }
        };
        match ended {
            Ok(Handled::Done) => Outcome::Settle(ItemOutcome::Succeeded),
            Ok(Handled::Skipped { reason }) => skipped(self.redacted(item, &reason).await),
            Ok(Handled::AlreadySettled) => Outcome::AlreadySettled,
            Err(HandlerError(refusal)) => Outcome::Settle(self.refused(item, refusal).await),
        }
    }

    async fn refused(&self, item: &SyncItem, refusal: Refusal) -> ItemOutcome {
        match refusal {
            Refusal::Hopeless(error) => ItemOutcome::Failed {
                error: self.redacted(item, &error).await,
            },
            Refusal::Failed(error) => {
                let error = self.redacted(item, &error).await;
                self.failed(item, error, None)
            }
            Refusal::Later(pause) => {
                let at = self.until(pause);
                if self.may_be_put_back(item).await {
                    ItemOutcome::PutBack { at }
                } else {
                    self.failed(item, "put off for too long".to_owned(), Some(at))
                }
            }
        }
    }

    /// Another attempt, if there is one left; not before `earliest`.
    fn failed(
        &self,
        item: &SyncItem,
        error: String,
        earliest: Option<DateTime<Utc>>,
    ) -> ItemOutcome {
        let policy = &self.engine.policy;
        if item.attempts >= policy.max_attempts {
            return ItemOutcome::Failed { error };
        }
        let at = later(self.now(), policy.backoff_after(item.attempts));
        let at = earliest.map_or(at, |earliest| at.max(earliest));
        ItemOutcome::Retry { at, error }
    }

    fn until(&self, pause: Pause) -> DateTime<Utc> {
        let policy = &self.engine.policy;
        let now = self.now();
        let until = pause
            .until
            .unwrap_or_else(|| later(now, policy.default_pause));
        until.clamp(
            later(now, LEAST_PAUSE),
            later(now, policy.put_back_window.max(LEAST_PAUSE)),
        )
    }

    /// Whether an item is still within the time in which putting it off costs no attempt. It
    /// begins anew when a later run queues the item again.
    async fn may_be_put_back(&self, item: &SyncItem) -> bool {
        let window = self.engine.policy.put_back_window;
        let now = self.now();
        if now < later(item.created_at, window) {
            return true;
        }
        let syncs = &self.engine.client.ports().syncs;
        match syncs.find_run(item.run_id, &Scope::Operator).await {
            Ok(Some(run)) => now < later(run.started_at, window),
            Ok(None) | Err(_) => false,
        }
    }

    /// What a handler said of an item, as it may be kept.
    async fn redacted(&self, item: &SyncItem, text: &str) -> String {
        self.engine.redacted(item.integration_id, text).await
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        self.engine.now()
    }
}

fn skipped(reason: String) -> Outcome {
    Outcome::Settle(ItemOutcome::Skipped { reason })
}
