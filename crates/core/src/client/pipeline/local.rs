//! What one process remembers of an integration between calls.
//!
//! All of it may be forgotten at any time. A copy of the row and a closed circuit are believed for
//! a second, and dropped at once when this process learns better.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{admission::Lines, ahead::Ahead, retry_budget::RetryBudget, tally::Tally};
use crate::{
    client::connection::Connection,
    gate::{GateReturn, Standing},
    id::{IntegrationId, Uid},
    integration::IntegrationRef,
};

/// How long what was read is believed.
pub(super) const BELIEVED: Duration = Duration::from_secs(1);

/// Integrations above which those nobody uses are forgotten.
const MANY: usize = 4096;

/// How long nobody may have used one of many.
const UNUSED: Duration = Duration::from_mins(1);

/// The integrations this process has called.
#[derive(Default)]
pub(in crate::client) struct Locals {
    known: Mutex<Known>,
    changes: AtomicU64,
}

#[derive(Default)]
struct Known {
    by_id: HashMap<IntegrationId, Arc<Local>>,
    swept_at: Duration,
    ids: HashMap<Uid, IntegrationId>,
}

/// One integration.
#[derive(Default)]
pub(in crate::client) struct Local(Mutex<Memory>);

/// What is remembered of it.
#[derive(Default)]
pub(super) struct Memory {
    copy: Option<Copy>,
    closed: Option<Closed>,
    pub(super) retries: RetryBudget,
    pub(super) lines: Lines,
    pub(super) ahead: Ahead,
    pub(super) tally: Tally,
    used_at: Duration,
}

struct Copy {
    connection: Arc<Connection>,
    read_at: Duration,
}

/// A closed circuit.
#[derive(Clone, Copy)]
struct Closed {
    epoch: u64,
    read_at: Duration,
}

impl Locals {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is remembered of an integration.
    pub(in crate::client) fn of(&self, id: IntegrationId, now: Duration) -> Arc<Local> {
        let mut known = self.known();
        let local = Arc::clone(known.by_id.entry(id).or_default());
        local.memory().used_at = now;
        if known.by_id.len() > MANY && now.saturating_sub(known.swept_at) > UNUSED {
            known.forget_unused(now);
        }
        local
    }

    /// A row that was read, or proved by an admission, within the last second.
    pub(in crate::client) fn connection(
        &self,
        reference: IntegrationRef,
        now: Duration,
    ) -> Option<Arc<Connection>> {
        let local = {
            let known = self.known();
            let id = match reference {
                IntegrationRef::Id(id) => id,
                IntegrationRef::Uid(uid) => *known.ids.get(&uid)?,
            };
            Arc::clone(known.by_id.get(&id)?)
        };
        let mut memory = local.memory();
        memory.used_at = now;
        let copy = memory.copy.as_ref()?;
        let is_fresh = now.saturating_sub(copy.read_at) < BELIEVED;
        is_fresh.then(|| Arc::clone(&copy.connection))
    }

    /// Remembers a row that was read at `read_at`.
    pub(in crate::client) fn remember(&self, connection: &Arc<Connection>, read_at: Duration) {
        let integration = &connection.integration;
        self.known().ids.insert(integration.uid, integration.id);
        self.of(integration.id, read_at).memory().copy = Some(Copy {
            connection: Arc::clone(connection),
            read_at,
        });
    }

    /// Forgets what was read of an integration, because its row was changed.
    pub(in crate::client) fn changed(&self, id: IntegrationId) {
        self.changes.fetch_add(1, Ordering::Release);
        self.forget(id);
    }

    /// Takes what was admitted in advance and not used, of all integrations.
    pub(in crate::client) fn take_rests(&self) -> Vec<GateReturn> {
        let known = self.known();
        let rests =
            |(id, local): (&IntegrationId, &Arc<Local>)| local.memory().ahead.take_rests(*id);
        known.by_id.iter().flat_map(rests).collect()
    }

    /// Forgets what was read of an integration, because something about it was changed.
    pub(in crate::client) fn forget(&self, id: IntegrationId) {
        let local = self.known().by_id.get(&id).cloned();
        if let Some(local) = local {
            local.forget();
        }
    }

    /// How often this process changed the row of an integration.
    pub(in crate::client) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }
}

impl Known {
    fn forget_unused(&mut self, now: Duration) {
        self.swept_at = now;
        self.by_id.retain(|_, local| {
            let used = || now.saturating_sub(local.memory().used_at) < UNUSED;
            Arc::strong_count(local) > 1 || used()
        });
        let Self { by_id, ids, .. } = self;
        ids.retain(|_, id| by_id.contains_key(id));
    }
}

impl Local {
    pub(super) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what was read.
    pub(in crate::client) fn forget(&self) {
        let mut memory = self.memory();
        memory.copy = None;
        memory.closed = None;
        memory.ahead.distrust();
    }

    /// The epoch of the circuit, where it was closed within the last second.
    pub(super) fn closed(&self, now: Duration) -> Option<u64> {
        let closed = self.memory().closed?;
        (now.saturating_sub(closed.read_at) < BELIEVED).then_some(closed.epoch)
    }

    /// Remembers that the circuit was closed.
    pub(super) fn remember_closed(&self, epoch: u64, read_at: Duration) {
        self.memory().closed = Some(Closed { epoch, read_at });
    }

    /// Compares the copy with how its row stands: it is as good as read anew, or forgotten.
    pub(super) fn compare(&self, standing: &Standing, read_at: Duration) {
        let mut memory = self.memory();
        let Some(copy) = &mut memory.copy else {
            return;
        };
        let integration = &copy.connection.integration;
        let same = integration.updated_at == standing.updated_at
            && integration.credentials_generation == standing.credentials_generation;
        if same {
            copy.read_at = read_at;
        } else {
            memory.copy = None;
        }
    }
}
