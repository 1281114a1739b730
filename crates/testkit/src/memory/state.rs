//! All tables, and what more than one port asks of them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use integrations_core::{
    cache::NewCacheEntry,
    gate::GateState,
    id::{IntegrationId, Uid},
    idempotency::{ReservationRecord, ReservationState},
    integration::{Integration, Scope},
    key_registry::RegisteredKey,
    mapping::Mapping,
    operation_log::Operation,
    request::Request,
    store::Rejected,
    sync::{
        SyncItem, SyncRun,
        protocol::{ItemLease, ItemState, RecordKey, RecordState},
    },
    token::NewToken,
    value::{HolderName, KeyId, LeaseName},
    webhook::{Webhook, WebhookStatus},
    worker::WorkerBeat,
};

use super::table::Table;

/// The rows of a [`MemoryStore`](super::MemoryStore).
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) integrations: Table<Integration>,
    pub(super) requests: Table<Request>,
    pub(super) operations: Table<Operation>,
    pub(super) mappings: Table<Mapping>,
    pub(super) reservations: Table<ReservationRow>,
    pub(super) runs: Table<SyncRun>,
    pub(super) items: Table<ItemRow>,
    pub(super) records: BTreeMap<RecordKey, RecordState>,
    pub(super) webhooks: Table<WebhookRow>,
    pub(super) cache: Table<NewCacheEntry>,
    pub(super) tokens: Table<NewToken>,
    pub(super) gates: BTreeMap<IntegrationId, GateState>,
    pub(super) leases: BTreeMap<LeaseName, LeaseRow>,
    pub(super) keys: BTreeMap<KeyId, RegisteredKey>,
    pub(super) workers: BTreeMap<HolderName, WorkerBeat>,
    /// The integration that was served last by a claim on items; the next claim begins behind it.
    pub(super) last_served: Option<IntegrationId>,
}

/// A row of the ledger.
#[derive(Debug)]
pub(super) struct ReservationRow {
    /// As stored: a reservation past its time is still `reserved`.
    pub(super) record: ReservationRecord,
    /// `None` once an operator's word made it void.
    pub(super) token: Option<Uid>,
}

impl ReservationRow {
    /// The row as it reads at `now`.
    pub(super) fn at(&self, now: DateTime<Utc>) -> ReservationRecord {
        let mut record = self.record.clone();
        if record.state == ReservationState::Reserved && record.reserved_until <= now {
            record.state = ReservationState::Unknown;
        }
        record
    }
}

/// A row of the items.
#[derive(Debug)]
pub(super) struct ItemRow {
    pub(super) item: SyncItem,
    pub(super) digest: Option<Vec<u8>>,
    /// The claim that has it.
    pub(super) token: Option<Uid>,
}

impl ItemRow {
    /// What the rules see of it.
    pub(super) fn state(&self) -> ItemState {
        let item = &self.item;
        let lease = item.lease_until.zip(self.token);
        ItemState {
            id: item.id,
            integration_id: item.integration_id,
            run_id: item.run_id,
            stream: item.stream.clone(),
            kind: item.kind.clone(),
            external_id: item.external_id.clone(),
            checkpoint: item.checkpoint_order.clone(),
            digest: self.digest.clone(),
            status: item.status.clone(),
            attempts: item.attempts,
            error: item.error.clone(),
            available_at: item.available_at,
            lease: lease.map(|(until, token)| ItemLease { token, until }),
            completed_at: item.completed_at,
            updated_at: item.updated_at,
        }
    }

    /// Writes what the rules made of it.
    pub(super) fn put(&mut self, state: ItemState) {
        let item = &mut self.item;
        item.run_id = state.run_id;
        item.status = state.status;
        item.attempts = state.attempts;
        item.error = state.error;
        item.available_at = state.available_at;
        item.lease_until = state.lease.map(|lease| lease.until);
        item.completed_at = state.completed_at;
        item.updated_at = state.updated_at;
        self.token = state.lease.map(|lease| lease.token);
    }

    /// Whether it holds back the cursor.
    pub(super) fn is_unresolved(&self) -> bool {
        !self.item.status.is_resolved()
    }

    /// The row as it reads at `now`.
    pub(super) fn at(&self, now: DateTime<Utc>) -> SyncItem {
        let mut item = self.item.clone();
        let state = self.state();
        item.status = state.shown(now);
        if state.is_unfinished() && !state.is_leased(now) {
            item.lease_until = None;
        }
        item
    }
}

/// A row of the webhooks.
#[derive(Debug)]
pub(super) struct WebhookRow {
    pub(super) webhook: Webhook,
    /// The claim that has it.
    pub(super) token: Option<Uid>,
}

impl WebhookRow {
    pub(super) fn is_unfinished(&self) -> bool {
        matches!(
            self.webhook.status,
            WebhookStatus::Pending | WebhookStatus::Processing
        )
    }

    pub(super) fn is_leased(&self, now: DateTime<Utc>) -> bool {
        self.is_unfinished() && self.webhook.lease_until.is_some_and(|until| now < until)
    }

    /// The row as it reads at `now`.
    pub(super) fn at(&self, now: DateTime<Utc>) -> Webhook {
        let mut webhook = self.webhook.clone();
        if self.is_unfinished() && !self.is_leased(now) {
            webhook.status = WebhookStatus::Pending;
            webhook.lease_until = None;
        }
        webhook
    }

    pub(super) fn end_lease(&mut self) {
        self.webhook.lease_until = None;
        self.token = None;
    }

    /// Makes it due at `at`, with all attempts.
    pub(super) fn queue_again(&mut self, at: Option<DateTime<Utc>>, now: DateTime<Utc>) {
        self.end_lease();
        self.webhook.status = WebhookStatus::Pending;
        self.webhook.attempts = 0;
        self.webhook.queued_at = now;
        self.webhook.delivery.available_at = at;
        self.webhook.processed_at = None;
        self.webhook.updated_at = now;
    }
}

/// A row of the leases. Released ones stay, so that fences only grow.
#[derive(Debug)]
pub(super) struct LeaseRow {
    pub(super) fence: i64,
    /// Who has it and until when; `None` once released.
    pub(super) held: Option<(HolderName, DateTime<Utc>)>,
}

impl State {
    /// An integration that was not removed and is within `scope`.
    pub(super) fn integration(&self, id: IntegrationId, scope: &Scope) -> Option<&Integration> {
        self.integrations
            .get(id.0)
            .filter(|row| row.removed_at.is_none() && scope.admits(row.owner.as_ref()))
    }

    /// The same, to be changed.
    pub(super) fn integration_mut(
        &mut self,
        id: IntegrationId,
        scope: &Scope,
    ) -> Option<&mut Integration> {
        self.integrations
            .get_mut(id.0)
            .filter(|row| row.removed_at.is_none() && scope.admits(row.owner.as_ref()))
    }

    /// Whether the rows of an integration, removed or not, are within `scope`.
    pub(super) fn admits(&self, id: IntegrationId, scope: &Scope) -> bool {
        self.integrations
            .get(id.0)
            .is_some_and(|row| scope.admits(row.owner.as_ref()))
    }

    /// What a foreign key to the integrations checks.
    pub(super) fn references(&self, id: IntegrationId) -> Result<(), Rejected> {
        if self.integrations.contains(id.0) {
            Ok(())
        } else {
            Err(Rejected::MissingReference)
        }
    }
}
