//! All tables, and what more than one port asks of them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use integrations_core::{
    cache::NewCacheEntry,
    gate::GateState,
    id::{IntegrationId, SyncRunId, Uid},
    idempotency::{ReservationRecord, ReservationState},
    integration::{Integration, Scope},
    key_registry::RegisteredKey,
    mapping::Mapping,
    operation_log::Operation,
    request::Request,
    store::Rejected,
    sync::{CheckpointOrder, ItemStatus, SyncItem, SyncRun},
    token::NewToken,
    value::{ExternalId, HolderName, ItemKind, KeyId, LeaseName, StreamName},
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
    pub(super) records: BTreeMap<RecordKey, RecordRow>,
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
    pub(super) fn is_unfinished(&self) -> bool {
        matches!(
            self.item.status,
            ItemStatus::Pending | ItemStatus::Processing
        )
    }

    /// Whether it holds back the cursor. A state of a newer version counts as holding it.
    pub(super) fn is_unresolved(&self) -> bool {
        !self.item.status.is_resolved()
    }

    pub(super) fn is_leased(&self, now: DateTime<Utc>) -> bool {
        self.is_unfinished() && self.item.lease_until.is_some_and(|until| now < until)
    }

    /// The row as it reads at `now`.
    pub(super) fn at(&self, now: DateTime<Utc>) -> SyncItem {
        let mut item = self.item.clone();
        if self.is_unfinished() && !self.is_leased(now) {
            item.status = ItemStatus::Pending;
            item.lease_until = None;
        }
        item
    }

    /// The record it is a version of.
    pub(super) fn record(&self) -> Option<RecordKey> {
        Some(RecordKey {
            integration_id: self.item.integration_id,
            stream: self.item.stream.clone(),
            kind: self.item.kind.clone(),
            external_id: self.item.external_id.clone()?,
        })
    }

    /// Its place among the versions of its record.
    pub(super) fn age(&self) -> (Option<CheckpointOrder>, i64) {
        (self.item.checkpoint_order.clone(), self.item.id.0)
    }

    pub(super) fn end_lease(&mut self) {
        self.item.lease_until = None;
        self.token = None;
    }

    /// Makes it due at `at`, with all attempts.
    pub(super) fn queue_again(&mut self, at: DateTime<Utc>) {
        self.end_lease();
        self.item.status = ItemStatus::Pending;
        self.item.attempts = 0;
        self.item.available_at = at;
        self.item.completed_at = None;
    }
}

/// The primary key of a record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RecordKey {
    pub(super) integration_id: IntegrationId,
    pub(super) stream: StreamName,
    pub(super) kind: ItemKind,
    pub(super) external_id: ExternalId,
}

/// What is known of a record over all its versions.
#[derive(Debug, Default)]
pub(super) struct RecordRow {
    pub(super) succeeded_order: Option<CheckpointOrder>,
    pub(super) succeeded_digest: Option<Vec<u8>>,
    pub(super) failing_runs: i16,
    pub(super) last_failed_run: Option<SyncRunId>,
    pub(super) last_seen_run: Option<SyncRunId>,
    pub(super) stuck_reported: bool,
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
