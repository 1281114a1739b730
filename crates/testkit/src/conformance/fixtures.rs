//! What the cases make their rows of: fixed instants, unique uids, plain values.

use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, Duration, TimeZone, Utc};
use integrations_core::{
    cache::{CacheKey, CachedAnswer, NewCacheEntry},
    encryptor::Sealed,
    gate::{CircuitOutcome, CircuitPolicy, CircuitStrategy, CircuitVerdict},
    id::{IntegrationId, Uid},
    idempotency::{Completion, KeyedOutcome, NewReservation, ReservationRef},
    integration::{
        HealthPolicy, HealthVerdict, Integration, IntegrationFilter, IntegrationRef,
        NewIntegration, Owner, Removal, Scope,
    },
    mapping::NewMapping,
    operation_log::{Direction, NewOperation, OperationStatus},
    request::{CallOutcome, FailureClass, NewRequest},
    store::{Page, PageRequest},
    sync::{Checkpoint, NewItem, Payload},
    value::{
        ExternalId, HolderName, IdempotencyKey, InternalId, InternalType, ItemKind, ProviderKey,
    },
    webhook::{NewWebhook, OtherDigests, WebhookPayload},
};

use super::Subject;

/// So many seconds after the beginning of 2026, which is when every case begins.
#[must_use]
pub fn at(seconds: i64) -> DateTime<Utc> {
    let base = Utc.with_ymd_and_hms(2026, 1, 1, 0, 0, 0).unwrap();
    base + Duration::seconds(seconds)
}

/// The same with microseconds, the finest every store keeps.
#[must_use]
pub fn at_micros(seconds: i64, micros: i64) -> DateTime<Utc> {
    at(seconds) + Duration::microseconds(micros)
}

/// A uid no other call of this process got.
#[must_use]
pub fn uid() -> Uid {
    static LAST: AtomicU64 = AtomicU64::new(0);
    Uid::from_bits(u128::from(LAST.fetch_add(1, Ordering::Relaxed)) + 1)
}

/// A sealed value in the form of an envelope under key `k1`, which nothing opens.
#[must_use]
pub fn sealed(text: &str) -> Sealed {
    sealed_under("k1", text)
}

/// A sealed value in the form of an envelope under `key_id`.
#[must_use]
pub fn sealed_under(key_id: &str, text: &str) -> Sealed {
    Sealed::from_text(format!("v1.{key_id}.{text}"))
}

/// A provider key.
#[must_use]
pub fn provider(key: &str) -> ProviderKey {
    ProviderKey::new(key).unwrap()
}

/// A numbered owner of type `tenant`.
#[must_use]
pub fn owner(id: i64) -> Owner {
    Owner::new("tenant", id).unwrap()
}

/// The scope of [`owner`].
#[must_use]
pub fn scope(id: i64) -> Scope {
    Scope::Owner(owner(id))
}

/// A worker's name.
#[must_use]
pub fn holder(name: &str) -> HolderName {
    HolderName::new(name).unwrap()
}

/// An idempotency key.
#[must_use]
pub fn key(text: &str) -> IdempotencyKey {
    IdempotencyKey::new(text).unwrap()
}

/// An external id.
#[must_use]
pub fn external(id: &str) -> ExternalId {
    ExternalId::new(id).unwrap()
}

/// The type `ticket`.
#[must_use]
pub fn ticket() -> InternalType {
    InternalType::new("ticket").unwrap()
}

/// An internal id.
#[must_use]
pub fn internal(id: &str) -> InternalId {
    InternalId::new(id).unwrap()
}

/// A page that holds whatever a case makes.
#[must_use]
pub const fn whole() -> PageRequest {
    PageRequest::oldest(PageRequest::MAX_LIMIT)
}

/// Reads a whole list two rows at a time, asserting that no page is longer.
///
/// # Panics
///
/// Panics if a page is too long or empty although the one before announced it.
pub async fn read_all<T, F>(mut page: PageRequest, read: impl Fn(PageRequest) -> F) -> Vec<T>
where
    F: Future<Output = Page<T>>,
{
    page.limit = 2;
    let mut all = Vec::new();
    loop {
        let Page { items, next } = read(page).await;
        assert!(items.len() <= 2, "a page is longer than was asked for");
        assert!(
            page.after.is_none() || !items.is_empty(),
            "a page was announced that is empty"
        );
        all.extend(items);
        match next {
            Some(after) => page = page.after(Some(after)),
            None => return all,
        }
    }
}

/// An integration of provider `github` without an owner, created at [`at(0)`](at).
#[must_use]
pub fn new_integration() -> NewIntegration {
    NewIntegration {
        uid: uid(),
        provider: provider("github"),
        name: "Fixture".parse().unwrap(),
        owner: None,
        credentials: Some(sealed("credentials")),
        metadata: None,
        sync_interval_minutes: None,
        next_sync_at: None,
        now: at(0),
    }
}

impl Subject {
    /// Stores [`new_integration`].
    pub async fn integration(&self) -> Integration {
        self.create(&new_integration()).await
    }

    /// Stores [`new_integration`] for [`owner`].
    pub async fn integration_of(&self, id: i64) -> Integration {
        self.create(&NewIntegration {
            owner: Some(owner(id)),
            ..new_integration()
        })
        .await
    }

    /// Stores an integration.
    pub async fn create(&self, new: &NewIntegration) -> Integration {
        self.ports.integrations.create(new).await.unwrap()
    }

    /// Reads an integration that is there.
    pub async fn read(&self, id: IntegrationId) -> Integration {
        let found = self.ports.integrations.find(id.into(), &Scope::Operator);
        found.await.unwrap().expect("the integration is there")
    }

    /// Reads an integration, a removed one too.
    pub async fn read_removed(&self, id: IntegrationId) -> Option<Integration> {
        let filter = IntegrationFilter {
            include_removed: true,
            ..IntegrationFilter::default()
        };
        let integrations = &self.ports.integrations;
        let page = integrations.list(&filter, &Scope::Operator, &whole()).await;
        page.unwrap().items.into_iter().find(|row| row.id == id)
    }

    /// Removes an integration that is there.
    pub async fn remove(&self, id: IntegrationId) {
        let integrations = &self.ports.integrations;
        let removal = integrations.remove(id, &Scope::Operator, true, at(0)).await;
        assert_eq!(removal.unwrap(), Removal::Removed);
    }

    /// Whether an integration is found within a scope.
    pub async fn is_found(&self, integration: impl Into<IntegrationRef>, scope: &Scope) -> bool {
        let found = self.ports.integrations.find(integration.into(), scope);
        found.await.unwrap().is_some()
    }
}

/// A first attempt that succeeded: `GET /items`, 200, at [`at(0)`](at).
#[must_use]
pub fn attempt(integration_id: IntegrationId) -> NewRequest {
    NewRequest {
        integration_id,
        endpoint: "/items".to_owned(),
        method: "GET".to_owned(),
        path: None,
        status_code: Some(200),
        request_data: None,
        response_data: None,
        headers: None,
        error: None,
        failure_class: None,
        idempotency_key: None,
        provider_request_id: None,
        duration_ms: None,
        retry_of: None,
        attempt: 1,
        related: None,
        sync_log_id: None,
        created_at: at(0),
    }
}

/// A first attempt that met a 503.
#[must_use]
pub fn failed_attempt(integration_id: IntegrationId) -> NewRequest {
    NewRequest {
        status_code: Some(503),
        failure_class: Some(FailureClass::Upstream),
        error: Some("unavailable".to_owned()),
        ..attempt(integration_id)
    }
}

/// An outcome that only appends `attempt`.
#[must_use]
pub fn neutral(attempt: NewRequest) -> CallOutcome {
    CallOutcome {
        attempt,
        logged: true,
        health: HealthVerdict::Neutral,
        health_policy: HealthPolicy::default(),
        authorization: None,
        circuit: None,
        completion: None,
    }
}

/// A success that heals.
#[must_use]
pub fn success(integration_id: IntegrationId) -> CallOutcome {
    CallOutcome {
        health: HealthVerdict::Success,
        ..neutral(attempt(integration_id))
    }
}

/// An outage that counts.
#[must_use]
pub fn outage(integration_id: IntegrationId) -> CallOutcome {
    CallOutcome {
        health: HealthVerdict::Outage,
        ..neutral(failed_attempt(integration_id))
    }
}

/// A policy that opens after so many outages in a row, for a minute.
#[must_use]
pub fn opens_after(threshold: u32) -> CircuitPolicy {
    CircuitPolicy {
        strategy: CircuitStrategy::Count { threshold },
        ..CircuitPolicy::default()
    }
}

/// What an outage of `epoch` says to a circuit that opens after so many.
#[must_use]
pub fn circuit_outage(threshold: u32, epoch: u64) -> CircuitOutcome {
    CircuitOutcome {
        policy: opens_after(threshold),
        epoch,
        probe: None,
        verdict: CircuitVerdict::Outage,
        answered_before: 0,
        now: at(0),
    }
}

/// A claim of `record` for the ticket `entity`.
#[must_use]
pub fn mapping(integration_id: IntegrationId, record: &str, entity: &str) -> NewMapping {
    NewMapping {
        integration_id,
        external_id: external(record),
        internal_type: ticket(),
        internal_id: internal(entity),
        source_version: None,
        content_hash: None,
        last_seen_run: None,
        now: at(0),
    }
}

/// A claim of a key at [`at(0)`](at) until [`at(60)`](at), not comparing requests.
#[must_use]
pub fn reservation(integration_id: IntegrationId, text: &str) -> NewReservation {
    NewReservation {
        uid: uid(),
        reservation: ReservationRef {
            integration_id,
            key: key(text),
            token: uid(),
        },
        fingerprints: Vec::new(),
        reserved_until: at(60),
        retry_unknown: false,
        now: at(0),
    }
}

/// The end of a reservation at [`at(1)`](at).
#[must_use]
pub fn completion(claim: &NewReservation, outcome: KeyedOutcome) -> Completion {
    Completion {
        reservation: claim.reservation.clone(),
        outcome,
        now: at(1),
    }
}

/// An outgoing operation that is under way since [`at(0)`](at).
#[must_use]
pub fn operation(integration_id: IntegrationId) -> NewOperation {
    NewOperation {
        integration_id,
        operation: "export".to_owned(),
        direction: Direction::Outbound,
        status: OperationStatus::Processing,
        summary: None,
        external_id: None,
        metadata: None,
        result_data: None,
        error: None,
        duration_ms: None,
        parent_id: None,
        now: at(0),
    }
}

/// A sealed answer to `GET /items` that expires at [`at(60)`](at).
#[must_use]
pub fn cache_entry(integration_id: IntegrationId, digest: &[u8]) -> NewCacheEntry {
    NewCacheEntry {
        uid: uid(),
        key: CacheKey {
            integration_id,
            credentials_generation: 0,
            digest: digest.to_vec(),
        },
        method: "GET".to_owned(),
        endpoint: "/items".to_owned(),
        request_id: None,
        status_code: 200,
        answer: CachedAnswer::Sealed(sealed("cached")),
        etag: None,
        last_modified: None,
        expires_at: at(60),
        stale_until: None,
        now: at(0),
    }
}

/// A version of a record, of the kind `issue`.
#[must_use]
pub fn version(name: &str, checkpoint: i64) -> NewItem {
    NewItem {
        kind: ItemKind::new("issue").unwrap(),
        external_id: Some(external(name)),
        checkpoint: Some(Checkpoint::Number(checkpoint)),
        payload: Payload::Text(format!("{name}@{checkpoint}")),
        digest: None,
        other_digests: Vec::new(),
        batch_id: None,
    }
}

/// A delivery of provider `github`, received and due at the beginning.
#[must_use]
pub fn delivery(integration_id: Option<IntegrationId>, key: Option<&str>) -> NewWebhook {
    NewWebhook {
        uid: uid(),
        integration_id,
        provider: provider("github"),
        event_type: None,
        delivery_id: None,
        dedup_key: key.map(str::to_owned),
        body_digest: None,
        digest_duplicate_since: None,
        other_digests: OtherDigests::default(),
        payload: WebhookPayload::Plain(Payload::Text("{}".to_owned())),
        headers: Vec::new(),
        method: "POST".to_owned(),
        path: "/webhook".to_owned(),
        query: None,
        remote_addr: None,
        ordering_key: None,
        available_at: Some(at(0)),
        now: at(0),
    }
}
