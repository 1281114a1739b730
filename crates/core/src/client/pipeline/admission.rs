//! Admission: circuit, pauses and budgets, asked for by all callers of a process together.
//!
//! Callers stand in line; one task per integration asks the gate for as many permits as there are
//! callers waiting, and hands them out. So under load one round trip admits many, and a caller that
//! went away gives its permit back. Where budgets are large, some permits are taken
//! [ahead](super::ahead).

use std::{collections::VecDeque, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use tokio::sync::oneshot;

use super::{ahead::Block, local::Local, permit::Permit};
use crate::{
    client::{CallError, CallErrorKind, Shared},
    entropy::EntropyExt as _,
    gate::{Admission, AdmitRequest, Budget, GateReturn, Lane, Standing},
    id::IntegrationId,
    integration::{HealthStatus, Refusal, Scope},
    store::StoreError,
    time::later,
};

/// What a call asks of the gate, for each of its attempts.
pub(super) struct Ask {
    pub(super) line: Line,
    pub(super) max_wait: Duration,
}

/// Callers who ask for the same.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    pub(super) scope: Scope,
    pub(super) lane: Lane,
    pub(super) budgets: Arc<[Budget]>,
}

/// Who waits for an answer of the gate.
#[derive(Default)]
pub(super) struct Lines {
    lines: VecDeque<(Line, VecDeque<Waiter>)>,
    /// Whether a task is asking for them.
    served: bool,
}

type Waiter = oneshot::Sender<Answer>;
type Answer = Result<Permit, Denied>;

/// Why there is no permit.
#[derive(Clone, Debug)]
enum Denied {
    /// Not now.
    Wait { until: DateTime<Utc>, what: String },
    /// The circuit is open.
    Open {
        retry_at: Option<DateTime<Utc>>,
        forced: bool,
    },
    /// The integration takes no calls.
    Refused(Refusal),
    /// It is not there, or not within the scope.
    NotFound,
    /// The store failed.
    Store(StoreError),
    /// There is no randomness to name a probe with.
    Entropy,
}

impl Lines {
    fn enter(&mut self, line: &Line, waiter: Waiter) {
        if let Some((_, waiters)) = self.lines.iter_mut().find(|(there, _)| there == line) {
            waiters.push_back(waiter);
            return;
        }
        let entry = (line.clone(), VecDeque::from([waiter]));
        match line.lane {
            // Before everything that can wait (W-RL-8).
            Lane::Interactive => self.lines.insert(self.urgent(), entry),
            Lane::Background => self.lines.push_back(entry),
        }
    }

    /// How many lines are of callers somebody waits for. They come first.
    fn urgent(&self) -> usize {
        let is_urgent = |(line, _): &&(Line, _)| line.lane == Lane::Interactive;
        self.lines.iter().take_while(is_urgent).count()
    }

    /// Everybody in the first line who is still waiting.
    fn take(&mut self) -> Option<(Line, VecDeque<Waiter>)> {
        while let Some((line, mut waiters)) = self.lines.pop_front() {
            waiters.retain(|waiter| !waiter.is_closed());
            if !waiters.is_empty() {
                return Some((line, waiters));
            }
        }
        None
    }

    /// Puts those back to the front of their line for whom it was not enough.
    fn put_back(&mut self, line: Line, mut waiters: VecDeque<Waiter>) {
        if waiters.is_empty() {
            return;
        }
        if let Some((_, behind)) = self.lines.iter_mut().find(|(there, _)| *there == line) {
            waiters.append(behind);
            *behind = waiters;
            return;
        }
        let before = match line.lane {
            Lane::Interactive => 0,
            Lane::Background => self.urgent(),
        };
        self.lines.insert(before, (line, waiters));
    }
}

/// The task that asks for an integration. However it ends, the next caller finds nobody asking.
struct Serving {
    local: Arc<Local>,
    ended: bool,
}

impl Serving {
    /// The next line, or the end of the service, in one step.
    fn next(&mut self) -> Option<(Line, VecDeque<Waiter>)> {
        let mut memory = self.local.memory();
        let next = memory.lines.take();
        if next.is_none() {
            memory.lines.served = false;
            self.ended = true;
        }
        next
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if !self.ended {
            // The store panicked. Whoever still waits is told by the dropped sender.
            self.local.memory().lines = Lines::default();
        }
    }
}

impl Shared {
    /// Lets one attempt pass, waiting for budgets and pauses as long as the call may.
    pub(super) async fn admit(
        self: &Arc<Self>,
        id: IntegrationId,
        local: &Arc<Local>,
        ask: &Ask,
        give_up_at: DateTime<Utc>,
    ) -> Result<Permit, CallError> {
        let clock = &self.ports.clock;
        let wait_until = later(clock.now(), ask.max_wait);
        loop {
            let (until, what) = match self.ask_gate(id, local, &ask.line).await {
                Ok(permit) => return Ok(permit),
                Err(Denied::Wait { until, what }) => (until, what),
                Err(denied) => return Err(denied.into_error(id)),
            };
            if ask.max_wait.is_zero() || until > wait_until || until >= give_up_at {
                return Err(Denied::Wait { until, what }.into_error(id));
            }
            clock.sleep_until(until).await;
        }
    }

    async fn ask_gate(
        self: &Arc<Self>,
        id: IntegrationId,
        local: &Arc<Local>,
        line: &Line,
    ) -> Answer {
        if line.budgets.is_empty()
            && let Some(epoch) = local.closed(self.ports.clock.monotonic())
        {
            let (none, now) = (Arc::clone(&line.budgets), self.ports.clock.now());
            return Ok(Permit::new(self, id, none, epoch, None, now));
        }
        let (now, read_now) = (self.ports.clock.now(), self.ports.clock.monotonic());
        let (answer, waiting) = oneshot::channel();
        let begin = {
            let mut memory = local.memory();
            if let Some(block) = memory.ahead.take(line, now, read_now) {
                return Ok(self.permit_of(id, block));
            }
            memory.lines.enter(line, answer);
            !std::mem::replace(&mut memory.lines.served, true)
        };
        if begin {
            let serving = Serving {
                local: Arc::clone(local),
                ended: false,
            };
            self.background.spawn(Arc::clone(self).serve(id, serving));
        }
        waiting.await.unwrap_or_else(|_| {
            let error = StoreError::new(
                crate::store::StoreErrorKind::Other,
                "the gate was not answered for",
            );
            Err(Denied::Store(error))
        })
    }

    /// Asks for everybody in line, until nobody is.
    async fn serve(self: Arc<Self>, id: IntegrationId, mut serving: Serving) {
        while let Some((line, waiters)) = serving.next() {
            let rest = self.ask_for(id, &serving.local, &line, waiters).await;
            serving.local.memory().lines.put_back(line, rest);
        }
    }

    /// A permit of those taken in advance.
    fn permit_of(self: &Arc<Self>, id: IntegrationId, block: &Block) -> Permit {
        let budgets = Arc::clone(&block.budgets);
        Permit::new(self, id, budgets, block.epoch, None, block.admitted_at)
    }

    /// Hands out what was taken in advance to those who came while it was asked for.
    fn serve_ahead(
        self: &Arc<Self>,
        id: IntegrationId,
        local: &Local,
        line: &Line,
        waiters: &mut VecDeque<Waiter>,
    ) {
        let (now, read_now) = (self.ports.clock.now(), self.ports.clock.monotonic());
        while !waiters.is_empty() {
            let mut memory = local.memory();
            let Some(block) = memory.ahead.take(line, now, read_now) else {
                return;
            };
            let permit = self.permit_of(id, block);
            drop(memory);
            if let Some(waiter) = waiters.pop_front() {
                // Whoever left gives the permit back by dropping it.
                let _ = waiter.send(Ok(permit));
            }
        }
    }

    /// Gives back what was admitted in advance and not used.
    pub(in crate::client) async fn give_back(&self, rests: &[GateReturn]) {
        if rests.is_empty() {
            return;
        }
        if let Err(error) = self.ports.gate.give_back(rests).await {
            tracing::warn!(%error, "permits that were not used could not be given back");
        }
    }

    /// Asks the gate once and hands out what it gave; those for whom it was not enough.
    async fn ask_for(
        self: &Arc<Self>,
        id: IntegrationId,
        local: &Arc<Local>,
        line: &Line,
        mut waiters: VecDeque<Waiter>,
    ) -> VecDeque<Waiter> {
        let clock = &self.ports.clock;
        let (now, read_at) = (clock.now(), clock.monotonic());
        self.serve_ahead(id, local, line, &mut waiters);
        if waiters.is_empty() {
            return waiters;
        }
        let Ok(token) = self.keys.entropy.uid() else {
            return answer_all(waiters, &Denied::Entropy);
        };
        let (ahead, rests, distrusted) = {
            let mut memory = local.memory();
            let (ahead, rests) = memory.ahead.ask(id, line, now, read_at);
            (ahead, rests, memory.ahead.distrusted())
        };
        self.give_back(&rests).await;
        let request = AdmitRequest {
            integration_id: id,
            scope: line.scope.clone(),
            circuit: self.circuit,
            budgets: line.budgets.to_vec(),
            permits: u32::try_from(waiters.len()).unwrap_or(u32::MAX),
            ahead,
            lane: line.lane,
            token,
            now,
        };
        let admitted = match self.ports.gate.admit(&request).await {
            Ok(Some(admitted)) => admitted,
            Ok(None) => {
                local.forget();
                return answer_all(waiters, &Denied::NotFound);
            }
            Err(error) => return answer_all(waiters, &Denied::Store(error)),
        };
        local.compare(&admitted.standing, read_at);
        let refusal = refusal(&admitted.standing);
        match admitted.admission {
            Admission::Admitted {
                permits,
                window_end,
                budgets,
                epoch,
                probe,
            } => {
                if budgets.is_empty() && probe.is_none() && refusal.is_none() {
                    local.remember_closed(epoch, read_at);
                }
                let budgets: Arc<[Budget]> = budgets.into();
                let now_served = waiters.len().min(permits as usize);
                for waiter in waiters.drain(..now_served) {
                    let permit = Permit::new(self, id, Arc::clone(&budgets), epoch, probe, now);
                    // Whoever left, or is refused, gives the permit back by dropping it.
                    let answer = refusal.map_or(Ok(permit), |why| Err(Denied::Refused(why)));
                    let _ = waiter.send(answer);
                }
                let block = Block {
                    line: line.clone(),
                    budgets,
                    epoch,
                    admitted_at: now,
                    window_end,
                    read_at: refusal.is_none().then_some(read_at),
                    given: permits,
                    left: permits.saturating_sub(u32::try_from(now_served).unwrap_or(u32::MAX)),
                };
                local.memory().ahead.keep(block, distrusted);
                waiters
            }
            Admission::Limited { retry_at, budget } => {
                let what = format!("the budget `{budget}` is spent");
                let denied = Denied::Wait {
                    until: retry_at,
                    what,
                };
                answer_all(waiters, &denied)
            }
            Admission::Suppressed { until } => {
                let what = "the other side asked for a pause".to_owned();
                answer_all(waiters, &Denied::Wait { until, what })
            }
            Admission::CircuitOpen {
                retry_at, forced, ..
            } => answer_all(waiters, &Denied::Open { retry_at, forced }),
        }
    }
}

fn answer_all(waiters: VecDeque<Waiter>, denied: &Denied) -> VecDeque<Waiter> {
    for waiter in waiters {
        let _ = waiter.send(Err(denied.clone()));
    }
    VecDeque::new()
}

/// Why an integration that stands like this takes no calls.
fn refusal(standing: &Standing) -> Option<Refusal> {
    if !standing.is_active {
        Some(Refusal::Operator)
    } else if standing.health_status == HealthStatus::Disabled {
        Some(Refusal::Health)
    } else {
        None
    }
}

impl Denied {
    fn into_error(self, id: IntegrationId) -> CallError {
        match self {
            Self::Wait { until, what } => {
                let message = format!("integration {id}: {what}; call again at {until}");
                CallError::new(CallErrorKind::RateLimited, message).with_retry_at(Some(until))
            }
            Self::Open { retry_at, forced } => {
                let who = if forced {
                    "an operator opened the circuit"
                } else {
                    "the circuit is open after too many outages"
                };
                let when = retry_at.map_or_else(String::new, |at| format!("; call again at {at}"));
                let message = format!("integration {id}: {who}{when}");
                CallError::new(CallErrorKind::CircuitOpen { forced }, message)
                    .with_retry_at(retry_at)
            }
            Self::Refused(refusal) => CallError::refused(id, refusal),
            Self::NotFound => {
                let message = format!("there is no integration {id}");
                CallError::new(CallErrorKind::NotFound, message)
            }
            Self::Store(error) => {
                let message = format!("the call could not be admitted: {error}");
                CallError::new(CallErrorKind::Store, message).with_source(error)
            }
            Self::Entropy => CallError::new(
                CallErrorKind::Entropy,
                "the system gave no random numbers; nothing was sent",
            ),
        }
    }
}
