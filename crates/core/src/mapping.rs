//! Which record of the other system is which entity of the application.

mod service;
mod upsert;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::{
    id::{IntegrationId, MappingId, SyncRunId},
    store::{Batch, Page, PageRequest, StoreError},
    value::{ExternalId, InternalId, InternalType},
};

pub use self::{
    service::{MappingError, Mappings, Record},
    upsert::{Entities, UpsertError, Upserted},
};

/// A claim: this external record is this entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMapping {
    /// The integration.
    pub integration_id: IntegrationId,
    /// The record.
    pub external_id: ExternalId,
    /// The entity's type; one record may be an entity of several types.
    pub internal_type: InternalType,
    /// The entity.
    pub internal_id: InternalId,
    /// The version of the record the entity shows.
    pub source_version: Option<String>,
    /// A digest of what the entity shows.
    pub content_hash: Option<Vec<u8>>,
    /// The run that saw it.
    pub last_seen_run: Option<SyncRunId>,
    /// Now.
    pub now: DateTime<Utc>,
}

/// A row of `{prefix}_mappings`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Its number.
    pub id: MappingId,
    /// What is mapped; `now` is when it was claimed.
    pub mapping: NewMapping,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

/// What came of a claim (MAP-02).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// The record was free and is this entity now.
    New(MappingId),
    /// It was this entity before; version, hash and run are updated where given.
    Same(MappingId),
    /// It is another entity of that type, and stays it.
    Conflict {
        /// The row.
        id: MappingId,
        /// The entity that has it.
        claimed_by: InternalId,
    },
}

/// A move of a record to another entity (MAP-03).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remap {
    /// The record and the entity it shall be.
    pub mapping: NewMapping,
    /// Only while it is this entity, or free when `None` is inside; `None` moves it whatever it
    /// is. This is how a mapping whose entity is gone is healed without a race (W-MAP-1).
    pub expected: Option<Option<InternalId>>,
}

/// What came of a move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remapped {
    /// The record is the entity now.
    Done {
        /// The row.
        id: MappingId,
        /// The entity it was before.
        displaced: Option<InternalId>,
    },
    /// It is not what was expected, and stays so.
    Unexpected {
        /// The entity it is; `None`: it is free.
        current: Option<InternalId>,
    },
}

/// Id mappings. Available within a caller's transaction too.
///
/// Rows are unique by integration, external id and type.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
#[async_trait]
pub trait MappingStore: Send + Sync {
    /// Claims records for entities.
    ///
    /// MUST decide by the unique index, so that of two claims at once exactly one wins and the
    /// other learns who did. MUST NOT abort a caller's transaction on a conflict. Within one batch
    /// the first claim of a record wins.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] when nothing of the batch is stored.
    async fn claim(&self, claims: &[NewMapping]) -> Batch<Claimed>;

    /// Moves a record to another entity, comparing and writing in one step.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`]; the mapping stays as it was then.
    async fn remap(&self, remap: &Remap) -> Result<Remapped, StoreError>;

    /// The mappings of these records, in their order, `None` where there is none (MAP-05).
    ///
    /// MUST take 10,000 ids in one call.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    async fn resolve(
        &self,
        integration_id: IntegrationId,
        internal_type: &InternalType,
        external_ids: &[ExternalId],
    ) -> Result<Vec<Option<Mapping>>, StoreError>;

    /// The mapping of a record as it is when nobody else is changing it.
    ///
    /// Within a caller's transaction it MUST stay so until the transaction ends.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    async fn resolve_locked(
        &self,
        integration_id: IntegrationId,
        internal_type: &InternalType,
        external_id: &ExternalId,
    ) -> Result<Option<Mapping>, StoreError>;

    /// Every record that is this entity, oldest first (MAP-04, W-MAP-3).
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    async fn reverse(
        &self,
        integration_id: IntegrationId,
        internal_type: &InternalType,
        internal_id: &InternalId,
    ) -> Result<Vec<Mapping>, StoreError>;

    /// A page of the mappings of one type, for comparing with the application's own rows.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    async fn list(
        &self,
        integration_id: IntegrationId,
        internal_type: &InternalType,
        page: &PageRequest,
    ) -> Result<Page<Mapping>, StoreError>;

    /// Frees a record; `false` when it was free.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    async fn release(
        &self,
        integration_id: IntegrationId,
        internal_type: &InternalType,
        external_id: &ExternalId,
    ) -> Result<bool, StoreError>;
}
