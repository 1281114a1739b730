//! Upserts: one entity and one mapping per record, whoever else is at it.

use std::error::Error;

use async_trait::async_trait;

use super::{Claimed, Mapping, MappingStore, NewMapping, Record, Remap, Remapped};
use crate::{
    id::IntegrationId,
    store::{Rejected, StoreError},
    value::InternalId,
};

/// How often an upsert that lost against others looks again.
const MAX_TRIES: u32 = 8;

/// The application's own rows, as an upsert needs them: one record's worth of them, usually over
/// the application's transaction.
#[async_trait]
pub trait Entities: Send {
    /// What can go wrong.
    type Error: Error + Send + Sync + 'static;

    /// The mappings, in the same transaction as the rows: `store.within(&mut tx)`.
    ///
    /// One of them is in use at a time, and never while a row is written.
    fn mappings(&mut self) -> Box<dyn MappingStore + '_>;

    /// Makes a row.
    ///
    /// # Errors
    ///
    /// Whatever it is, the upsert ends with it.
    async fn create(&mut self) -> Result<InternalId, Self::Error>;

    /// Brings a row up to date; `false` when there is none.
    ///
    /// # Errors
    ///
    /// Whatever it is, the upsert ends with it.
    async fn update(&mut self, entity: &InternalId) -> Result<bool, Self::Error>;

    /// Whether there is such a row.
    ///
    /// # Errors
    ///
    /// Whatever it is, the upsert ends with it.
    async fn exists(&mut self, entity: &InternalId) -> Result<bool, Self::Error>;

    /// Takes back a row that [`create`](Self::create) made: somebody else was faster.
    ///
    /// # Errors
    ///
    /// Whatever it is, the upsert ends with it.
    async fn discard(&mut self, entity: &InternalId) -> Result<(), Self::Error>;
}

/// What an upsert did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upserted {
    /// Made an entity.
    Created {
        /// The entity.
        entity: InternalId,
        /// The one the record was mapped to before, which is gone.
        replaced: Option<InternalId>,
    },
    /// Brought the entity up to date.
    Updated(InternalId),
    /// The entity shows this content already.
    Unchanged(InternalId),
    /// The entity shows a newer version, and stays so.
    Stale(InternalId),
}

impl Upserted {
    /// The entity, whatever was done.
    #[must_use]
    pub const fn entity(&self) -> &InternalId {
        match self {
            Self::Created { entity, .. }
            | Self::Updated(entity)
            | Self::Unchanged(entity)
            | Self::Stale(entity) => entity,
        }
    }
}

/// An upsert did not come to an end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpsertError<E: Error> {
    /// The application's rows failed.
    #[error("the entity could not be written")]
    Entity(#[source] E),
    /// The mapping does not fit the schema.
    #[error(transparent)]
    Rejected(Rejected),
    /// The store failed.
    #[error("the store failed: {0}")]
    Store(StoreError),
    /// Others kept changing the mapping.
    #[error("the mapping was changed by others at the same time; try again")]
    Contended,
}

/// A record to upsert, and the mapping it makes.
pub(super) struct Upsert<'r, F> {
    pub(super) integration_id: IntegrationId,
    pub(super) record: &'r Record,
    pub(super) mapping_to: F,
}

impl<F: Fn(&InternalId) -> NewMapping + Send + Sync> Upsert<'_, F> {
    pub(super) async fn run<E: Entities>(
        &self,
        entities: &mut E,
    ) -> Result<Upserted, UpsertError<E::Error>> {
        for _ in 0..MAX_TRIES {
            let done = match self.lock(entities).await? {
                None => self.create(entities, None).await?,
                Some(current) => self.bring_up(entities, current).await?,
            };
            if let Some(done) = done {
                return Ok(done);
            }
        }
        Err(UpsertError::Contended)
    }

    /// The mapping, which nobody else changes until the transaction ends.
    async fn lock<E: Entities>(
        &self,
        entities: &mut E,
    ) -> Result<Option<Mapping>, UpsertError<E::Error>> {
        let mappings = entities.mappings();
        let locked = mappings.resolve_locked(
            self.integration_id,
            &self.record.internal_type,
            &self.record.external_id,
        );
        locked.await.map_err(UpsertError::Store)
    }

    /// `None` when the mapping was moved meanwhile.
    async fn bring_up<E: Entities>(
        &self,
        entities: &mut E,
        current: Mapping,
    ) -> Result<Option<Upserted>, UpsertError<E::Error>> {
        let entity = current.mapping.internal_id.clone();
        if let Some(nothing_to_do) = self.nothing_to_do(&current) {
            let exists = entities.exists(&entity).await;
            if exists.map_err(UpsertError::Entity)? {
                let seen = matches!(nothing_to_do, Upserted::Stale(_))
                    || self.claim(entities, &entity).await?;
                return Ok(seen.then_some(nothing_to_do));
            }
        } else if entities
            .update(&entity)
            .await
            .map_err(UpsertError::Entity)?
        {
            let ours = self.claim(entities, &entity).await?;
            return Ok(ours.then_some(Upserted::Updated(entity)));
        }
        self.create(entities, Some(entity)).await
    }

    /// What the entity shows already makes this record old news.
    fn nothing_to_do(&self, current: &Mapping) -> Option<Upserted> {
        let shown = &current.mapping;
        let entity = || shown.internal_id.clone();
        let version = self.record.source_version();
        if let (Some(shown), Some(version)) = (&shown.source_version, &version)
            && version < shown
        {
            return Some(Upserted::Stale(entity()));
        }
        let same = match (&shown.content_hash, &self.record.content_hash) {
            (Some(shown), Some(hash)) => shown == hash,
            // Without a digest the same version is taken to be the same content.
            (None, None) => version.is_some() && shown.source_version == version,
            _ => false,
        };
        same.then(|| Upserted::Unchanged(entity()))
    }

    /// Makes an entity; `None`, and no entity, when somebody else was faster.
    async fn create<E: Entities>(
        &self,
        entities: &mut E,
        replaced: Option<InternalId>,
    ) -> Result<Option<Upserted>, UpsertError<E::Error>> {
        let entity = entities.create().await.map_err(UpsertError::Entity)?;
        let ours = match &replaced {
            None => self.claim(entities, &entity).await?,
            Some(gone) => self.remap(entities, gone, &entity).await?,
        };
        if ours {
            return Ok(Some(Upserted::Created { entity, replaced }));
        }
        let discarded = entities.discard(&entity).await;
        discarded.map_err(UpsertError::Entity)?;
        Ok(None)
    }

    /// Whether the record is this entity now.
    async fn claim<E: Entities>(
        &self,
        entities: &mut E,
        entity: &InternalId,
    ) -> Result<bool, UpsertError<E::Error>> {
        let claims = [(self.mapping_to)(entity)];
        let mappings = entities.mappings();
        let claimed = mappings.claim(&claims).await.map_err(UpsertError::Store)?;
        match claimed.into_iter().next() {
            Some(Ok(Claimed::New(_) | Claimed::Same(_))) => Ok(true),
            Some(Ok(Claimed::Conflict { .. })) | None => Ok(false),
            Some(Err(rejected)) => Err(UpsertError::Rejected(rejected)),
        }
    }

    /// Whether the record is this entity now, and no longer the one that is gone.
    async fn remap<E: Entities>(
        &self,
        entities: &mut E,
        gone: &InternalId,
        entity: &InternalId,
    ) -> Result<bool, UpsertError<E::Error>> {
        let remap = Remap {
            mapping: (self.mapping_to)(entity),
            expected: Some(Some(gone.clone())),
        };
        let mappings = entities.mappings();
        let remapped = mappings.remap(&remap).await.map_err(UpsertError::Store)?;
        Ok(matches!(remapped, Remapped::Done { .. }))
    }
}
