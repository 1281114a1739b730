//! A writer: takes batches from the line until there are none.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures::FutureExt as _;

use super::{
    Inner, Left, Unrecorded, Waiter,
    line::{Entry, Work},
    report::Reporter,
};
use crate::{
    request::{CallOutcome, Recorded},
    store::{Batch, Rejected},
};

/// Counted in the line from its beginning to its end.
pub(super) struct Writer {
    inner: Arc<Inner>,
    /// How many outcomes it has in hand.
    in_hand: usize,
    ended: bool,
}

/// What became of a batch.
enum Attempted {
    Answered(Batch<Recorded>),
    Panicked,
}

impl Writer {
    /// A writer, where one is needed.
    pub(super) fn begin(inner: &Arc<Inner>) -> Option<Self> {
        inner.line.needs_writer().then(|| Self {
            inner: Arc::clone(inner),
            in_hand: 0,
            ended: false,
        })
    }

    /// Writes until there is nothing to write.
    pub(super) async fn run(mut self) {
        loop {
            match self.inner.line.next(self.inner.clock.now()) {
                None => {
                    self.ended = true;
                    return;
                }
                Some(Work::Pause(until)) => {
                    let pause = self.inner.clock.sleep_until(until);
                    self.inner.line.pause(pause).await;
                }
                Some(Work::Batch(batch)) => {
                    self.in_hand = batch.len();
                    self.write(batch).await;
                    self.in_hand = 0;
                }
            }
        }
    }

    async fn write(&self, batch: Vec<Entry>) {
        let (mut owners, mut outcomes) = (Vec::new(), Vec::with_capacity(batch.len()));
        for entry in batch {
            owners.push((entry.left.provider, entry.waiter));
            outcomes.push(*entry.left.outcome);
        }
        let attempted = self.attempt(&outcomes).await;
        let entries = owners.into_iter().zip(outcomes);
        let entries = entries.map(|((provider, waiter), outcome)| {
            let outcome = Box::new(outcome);
            (Left { provider, outcome }, waiter)
        });
        match attempted {
            Attempted::Answered(Ok(answers)) => self.inner.taken(entries, answers),
            Attempted::Answered(Err(error)) => self.inner.failed(entries, &error.to_string()),
            Attempted::Panicked => self.inner.gave_up(entries, "the store panicked"),
        }
    }

    async fn attempt(&self, outcomes: &[CallOutcome]) -> Attempted {
        // The call itself may panic too, before there is a future.
        let record = async { self.inner.journal.record(outcomes).await };
        match AssertUnwindSafe(record).catch_unwind().await {
            Ok(answers) => Attempted::Answered(answers),
            Err(_) => Attempted::Panicked,
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.ended {
            self.inner.line.broke_off(self.in_hand);
        }
    }
}

impl Inner {
    fn taken(
        &self,
        entries: impl ExactSizeIterator<Item = (Left, Option<Waiter>)>,
        answers: Vec<Result<Recorded, Rejected>>,
    ) {
        let all = entries.len();
        let count = |is: fn(&Result<Recorded, Rejected>) -> bool| {
            answers.iter().take(all).filter(|answer| is(answer)).count()
        };
        let written = count(Result::is_ok);
        let not_yet = count(|answer| *answer == Err(Rejected::Unavailable));
        self.line.taken(written, all - written - not_yet);
        let mut answers = answers.into_iter();
        let mut rest = Vec::with_capacity(not_yet);
        for (left, waiter) in entries {
            let answer = match answers.next() {
                Some(Ok(recorded)) => {
                    self.reporter.recorded(&left, &recorded);
                    Ok(recorded)
                }
                Some(Err(Rejected::Unavailable)) => {
                    rest.push((left, waiter));
                    continue;
                }
                Some(Err(rejected)) => Err(rejected.to_string()),
                None => Err("the store did not answer for the row".to_owned()),
            };
            self.answer(&left, waiter, answer);
        }
        if !rest.is_empty() {
            self.failed(rest.into_iter(), &Rejected::Unavailable.to_string());
        }
    }

    /// Keeps a batch that the store failed, and whoever is in line behind it.
    fn failed(&self, entries: impl ExactSizeIterator<Item = (Left, Option<Waiter>)>, reason: &str) {
        let behind = self.line.failed(entries.len(), reason, self.clock.now());
        let behind = behind.into_iter().map(|entry| (entry.left, entry.waiter));
        let entries: Vec<_> = entries.chain(behind).collect();
        for (left, waiter) in entries {
            if let Some(waiter) = waiter {
                self.answer(&left, Some(waiter), Err(reason.to_owned()));
            }
            self.keep(left);
        }
    }

    fn gave_up(
        &self,
        entries: impl ExactSizeIterator<Item = (Left, Option<Waiter>)>,
        reason: &str,
    ) {
        self.line.gave_up(entries.len());
        for (left, waiter) in entries {
            self.answer(&left, waiter, Err(reason.to_owned()));
        }
    }

    /// Keeps an outcome until the store is back, or says that it is lost.
    fn keep(&self, left: Left) {
        if let Err(lost) = self.line.keep(left) {
            Reporter::dropped(&lost);
        }
    }

    /// Keeps an outcome that came while the store is away, and says so.
    pub(super) fn turn_away(&self, left: Left, reason: &str) {
        self.line.unrecorded();
        self.reporter.unrecorded(&left, reason);
        self.keep(left);
    }

    fn answer(&self, left: &Left, waiter: Option<Waiter>, answer: Result<Recorded, String>) {
        let answer = answer.map_err(|reason| {
            self.line.unrecorded();
            self.reporter.unrecorded(left, &reason);
            Unrecorded { reason }
        });
        if let Some(waiter) = waiter {
            // Whoever is gone does not mind.
            let _ = waiter.send(answer);
        }
    }
}
