//! [`Mappings`]: the id mappings of one integration.

use std::{fmt, sync::Arc};

use super::{
    Claimed, Entities, Mapping, MappingStore, NewMapping, Remap, Remapped, UpsertError, Upserted,
    upsert::Upsert,
};
use crate::{
    id::{IntegrationId, MappingId, SyncRunId},
    store::{Page, PageRequest, Rejected, StoreError},
    sync::Checkpoint,
    time::Clock,
    value::{ExternalId, InternalId, InternalType},
};

/// A record of the other system, in a version of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// What it is an entity of.
    pub internal_type: InternalType,
    /// Its id at the other side.
    pub external_id: ExternalId,
    /// The version; one below what the entity shows is stale.
    pub version: Option<Checkpoint>,
    /// A digest of what the entity is to show; the same again changes nothing.
    pub content_hash: Option<Vec<u8>>,
    /// The run that brought it.
    pub run: Option<SyncRunId>,
}

impl Record {
    /// A record without a version.
    #[must_use]
    pub const fn new(internal_type: InternalType, external_id: ExternalId) -> Self {
        Self {
            internal_type,
            external_id,
            version: None,
            content_hash: None,
            run: None,
        }
    }

    /// The same in a version.
    #[must_use]
    pub fn version(mut self, version: Checkpoint) -> Self {
        self.version = Some(version);
        self
    }

    /// The same with a digest of its content.
    #[must_use]
    pub fn content_hash(mut self, hash: impl Into<Vec<u8>>) -> Self {
        self.content_hash = Some(hash.into());
        self
    }

    /// The same, brought by a run.
    #[must_use]
    pub const fn seen_by(mut self, run: SyncRunId) -> Self {
        self.run = Some(run);
        self
    }

    /// The version as the mapping keeps it: text whose byte order is that of versions.
    pub(super) fn source_version(&self) -> Option<String> {
        let order = self.version.as_ref().map(Checkpoint::order);
        order.map(|order| order.as_str().to_owned())
    }
}

/// A mapping could not be made or moved.
///
/// What it prints holds no external id, which may be personal; the fields do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MappingError {
    /// No such integration within the scope.
    #[error("there is no such integration")]
    NoIntegration,
    /// The record is another entity of that type already, and stays it (MAP-02).
    #[error(
        "this record of integration {integration_id} is another `{internal_type}` already: remap \
         it to move it"
    )]
    AlreadyClaimed {
        /// The integration.
        integration_id: IntegrationId,
        /// The record.
        external_id: ExternalId,
        /// The entities' type.
        internal_type: InternalType,
        /// The entity that has it.
        claimed_by: InternalId,
        /// The entity it was claimed for.
        requested_by: InternalId,
    },
    /// The claim does not fit the schema.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// The store failed.
    #[error("the store failed: {0}")]
    Store(#[from] StoreError),
}

enum Held<'s> {
    Own(Arc<dyn MappingStore>),
    Lent(&'s dyn MappingStore),
}

/// The id mappings of one integration: which of its records is which entity of the application.
///
/// Made by [`IntegrationHandle::mappings`](crate::client::IntegrationHandle::mappings), which
/// looks the integration up once; nothing here looks at it again, so it can be used while the
/// application holds its last connection.
pub struct Mappings<'s> {
    store: Held<'s>,
    clock: Arc<dyn Clock>,
    integration_id: IntegrationId,
}

impl fmt::Debug for Mappings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mappings")
            .field("integration_id", &self.integration_id)
            .finish_non_exhaustive()
    }
}

impl Mappings<'_> {
    /// Of an integration that is known to be there.
    #[must_use]
    pub fn new(
        store: Arc<dyn MappingStore>,
        clock: Arc<dyn Clock>,
        integration_id: IntegrationId,
    ) -> Self {
        Self {
            store: Held::Own(store),
            clock,
            integration_id,
        }
    }

    /// The same within a transaction of the caller: `store.within(&mut tx)`.
    #[must_use]
    pub fn within<'t>(&self, store: &'t dyn MappingStore) -> Mappings<'t> {
        Mappings {
            store: Held::Lent(store),
            clock: Arc::clone(&self.clock),
            integration_id: self.integration_id,
        }
    }

    fn store(&self) -> &dyn MappingStore {
        match &self.store {
            Held::Own(store) => &**store,
            Held::Lent(store) => *store,
        }
    }

    fn new_mapping(&self, record: &Record, entity: &InternalId) -> NewMapping {
        NewMapping {
            integration_id: self.integration_id,
            external_id: record.external_id.clone(),
            internal_type: record.internal_type.clone(),
            internal_id: entity.clone(),
            source_version: record.source_version(),
            content_hash: record.content_hash.clone(),
            last_seen_run: record.run,
            now: self.clock.now(),
        }
    }

    /// Claims a record for an entity; the same claim again changes nothing but the version.
    ///
    /// # Errors
    ///
    /// Returns [`MappingError::AlreadyClaimed`] when the record is another entity, and another
    /// [`MappingError`] when nothing is claimed.
    pub async fn claim(
        &self,
        record: &Record,
        entity: &InternalId,
    ) -> Result<MappingId, MappingError> {
        let claims = [(record, entity)];
        let mut claimed = self.claim_all(claims).await?;
        claimed.pop().ok_or_else(no_answer)?
    }

    /// Claims any number of records, one result each, in their order.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] when nothing is claimed.
    pub async fn claim_all<'r>(
        &self,
        claims: impl IntoIterator<Item = (&'r Record, &'r InternalId)> + Send,
    ) -> Result<Vec<Result<MappingId, MappingError>>, StoreError> {
        let claims: Vec<NewMapping> = claims
            .into_iter()
            .map(|(record, entity)| self.new_mapping(record, entity))
            .collect();
        let claimed = self.store().claim(&claims).await?;
        let answers = claims.into_iter().zip(claimed);
        Ok(answers
            .map(|(claim, answer)| match answer? {
                Claimed::New(id) | Claimed::Same(id) => Ok(id),
                Claimed::Conflict { claimed_by, .. } => Err(MappingError::AlreadyClaimed {
                    integration_id: claim.integration_id,
                    external_id: claim.external_id,
                    internal_type: claim.internal_type,
                    claimed_by,
                    requested_by: claim.internal_id,
                }),
            })
            .collect())
    }

    /// Moves a record to another entity, whatever it was; the entity it was before (MAP-03).
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`]; the mapping stays as it was then.
    pub async fn remap(
        &self,
        record: &Record,
        entity: &InternalId,
    ) -> Result<Option<InternalId>, StoreError> {
        let remap = Remap {
            mapping: self.new_mapping(record, entity),
            expected: None,
        };
        match self.store().remap(&remap).await? {
            Remapped::Done { displaced, .. } => Ok(displaced),
            Remapped::Unexpected { current } => Ok(current),
        }
    }

    /// Moves a record to another entity if it is what the caller takes it for (`None`: free).
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`]; the mapping stays as it was then.
    pub async fn remap_from(
        &self,
        record: &Record,
        from: Option<InternalId>,
        to: &InternalId,
    ) -> Result<Remapped, StoreError> {
        let remap = Remap {
            mapping: self.new_mapping(record, to),
            expected: Some(from),
        };
        self.store().remap(&remap).await
    }

    /// Which entity a record is; `None` when it is none.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    pub async fn resolve(
        &self,
        internal_type: &InternalType,
        external_id: &ExternalId,
    ) -> Result<Option<InternalId>, StoreError> {
        let ids = std::slice::from_ref(external_id);
        let mut found = self.resolve_all(internal_type, ids).await?;
        let found = found.pop().flatten();
        Ok(found.map(|mapping| mapping.mapping.internal_id))
    }

    /// The mappings of any number of records, in their order and in one round trip.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    pub async fn resolve_all(
        &self,
        internal_type: &InternalType,
        external_ids: &[ExternalId],
    ) -> Result<Vec<Option<Mapping>>, StoreError> {
        if external_ids.is_empty() {
            return Ok(Vec::new());
        }
        self.store()
            .resolve(self.integration_id, internal_type, external_ids)
            .await
    }

    /// Every record that an entity is, oldest first.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    pub async fn reverse(
        &self,
        internal_type: &InternalType,
        internal_id: &InternalId,
    ) -> Result<Vec<Mapping>, StoreError> {
        self.store()
            .reverse(self.integration_id, internal_type, internal_id)
            .await
    }

    /// A page of the mappings of a type, for comparing with the application's own rows.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    pub async fn list(
        &self,
        internal_type: &InternalType,
        page: &PageRequest,
    ) -> Result<Page<Mapping>, StoreError> {
        self.store()
            .list(self.integration_id, internal_type, page)
            .await
    }

    /// Frees a record; `false` when it was free.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    pub async fn release(
        &self,
        internal_type: &InternalType,
        external_id: &ExternalId,
    ) -> Result<bool, StoreError> {
        self.store()
            .release(self.integration_id, internal_type, external_id)
            .await
    }

    /// Makes the entity of a record, or brings it up to date, so that any number of upserts of one
    /// record at once leave one entity and one mapping. A mapping whose entity is gone is given a
    /// new one.
    ///
    /// Runs in whatever transaction [`Entities::mappings`] gives a store of; nothing is committed
    /// here, so publish what happened after the commit.
    ///
    /// # Errors
    ///
    /// Returns an [`UpsertError`]; roll the transaction back then.
    pub async fn upsert<E: Entities>(
        &self,
        entities: &mut E,
        record: &Record,
    ) -> Result<Upserted, UpsertError<E::Error>> {
        let upsert = Upsert {
            integration_id: self.integration_id,
            record,
            mapping_to: |entity: &InternalId| self.new_mapping(record, entity),
        };
        upsert.run(entities).await
    }
}

fn no_answer() -> MappingError {
    StoreError::corrupt("mappings", "external_id", None).into()
}
