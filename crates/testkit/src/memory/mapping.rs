//! The `MappingStore` port.

use std::collections::HashMap;

use async_trait::async_trait;
use integrations_core::{
    id::{IntegrationId, MappingId},
    mapping::{Claimed, Mapping, MappingStore, NewMapping, Remap, Remapped},
    store::{Batch, Page, PageRequest, Rejected, StoreError},
    value::{ExternalId, InternalId, InternalType},
};

use super::{
    MemoryStore,
    columns::{Columns, refused},
    state::State,
};

#[async_trait]
impl MappingStore for MemoryStore {
    async fn claim(&self, claims: &[NewMapping]) -> Batch<Claimed> {
        let mut state = self.lock();
        Ok(claims.iter().map(|new| claim(&mut state, new)).collect())
    }

    async fn remap(&self, remap: &Remap) -> Result<Remapped, StoreError> {
        let new = &remap.mapping;
        columns(new).of_row()?;
        let mut state = self.lock();
        (state.references(new.integration_id)).map_err(|rejected| refused(&rejected))?;
        let row = find_mut(
            &mut state,
            new.integration_id,
            &new.internal_type,
            &new.external_id,
        );
        let current = row.as_ref().map(|row| row.mapping.internal_id.clone());
        if (remap.expected.as_ref()).is_some_and(|expected| *expected != current) {
            return Ok(Remapped::Unexpected { current });
        }
        let id = match row {
            Some(row) => {
                row.mapping = NewMapping {
                    now: row.mapping.now,
                    ..new.clone()
                };
                row.updated_at = new.now;
                row.id
            }
            None => insert(&mut state, new),
        };
        Ok(Remapped::Done {
            id,
            displaced: current,
        })
    }

    async fn resolve(
        &self,
        integration_id: IntegrationId,
        internal_type: &InternalType,
        external_ids: &[ExternalId],
    ) -> Result<Vec<Option<Mapping>>, StoreError> {
        let state = self.lock();
        let known: HashMap<_, _> = of_type(&state, integration_id, internal_type)
            .map(|row| (&row.mapping.external_id, row))
            .collect();
        Ok(external_ids
            .iter()
            .map(|id| known.get(id).map(|row| Mapping::clone(row)))
            .collect())
    }

    async fn resolve_locked(
        &self,
        integration_id: IntegrationId,
        internal_type: &InternalType,
        external_id: &ExternalId,
    ) -> Result<Option<Mapping>, StoreError> {
        let mut state = self.lock();
        let row = find_mut(&mut state, integration_id, internal_type, external_id);
        Ok(row.map(|row| row.clone()))
    }

    async fn reverse(
        &self,
        integration_id: IntegrationId,
        internal_type: &InternalType,
        internal_id: &InternalId,
    ) -> Result<Vec<Mapping>, StoreError> {
        let state = self.lock();
        Ok(of_type(&state, integration_id, internal_type)
            .filter(|row| row.mapping.internal_id == *internal_id)
            .cloned()
            .collect())
    }

    async fn list(
        &self,
        integration_id: IntegrationId,
        internal_type: &InternalType,
        page: &PageRequest,
    ) -> Result<Page<Mapping>, StoreError> {
        let read = |row: &Mapping| is_of(row, integration_id, internal_type).then(|| row.clone());
        Ok(self.lock().mappings.page(page, read, |row| row.id.0))
    }

    async fn release(
        &self,
        integration_id: IntegrationId,
        internal_type: &InternalType,
        external_id: &ExternalId,
    ) -> Result<bool, StoreError> {
        let freed = self.lock().mappings.delete_where(|row| {
            is_of(row, integration_id, internal_type) && row.mapping.external_id == *external_id
        });
        Ok(freed > 0)
    }
}

fn claim(state: &mut State, new: &NewMapping) -> Result<Claimed, Rejected> {
    columns(new).of_entry()?;
    state.references(new.integration_id)?;
    let taken = find_mut(
        state,
        new.integration_id,
        &new.internal_type,
        &new.external_id,
    );
    let Some(row) = taken else {
        return Ok(Claimed::New(insert(state, new)));
    };
    if row.mapping.internal_id != new.internal_id {
        return Ok(Claimed::Conflict {
            id: row.id,
            claimed_by: row.mapping.internal_id.clone(),
        });
    }
    if new.source_version.is_some() {
        (row.mapping.source_version).clone_from(&new.source_version);
    }
    if new.content_hash.is_some() {
        row.mapping.content_hash.clone_from(&new.content_hash);
    }
    if new.last_seen_run.is_some() {
        row.mapping.last_seen_run = new.last_seen_run;
    }
    row.updated_at = new.now;
    Ok(Claimed::Same(row.id))
}

/// The values whose types do not hold them to their columns.
fn columns(new: &NewMapping) -> Columns {
    Columns::check().text(new.source_version.as_deref())
}

fn insert(state: &mut State, new: &NewMapping) -> MappingId {
    MappingId(state.mappings.insert(|id| Mapping {
        id: MappingId(id),
        mapping: new.clone(),
        updated_at: new.now,
    }))
}

fn find_mut<'a>(
    state: &'a mut State,
    integration_id: IntegrationId,
    internal_type: &InternalType,
    external_id: &ExternalId,
) -> Option<&'a mut Mapping> {
    state.mappings.values_mut().find(|row| {
        is_of(row, integration_id, internal_type) && row.mapping.external_id == *external_id
    })
}

fn of_type<'a>(
    state: &'a State,
    integration_id: IntegrationId,
    internal_type: &'a InternalType,
) -> impl Iterator<Item = &'a Mapping> {
    let rows = state.mappings.values();
    rows.filter(move |row| is_of(row, integration_id, internal_type))
}

fn is_of(row: &Mapping, integration_id: IntegrationId, internal_type: &InternalType) -> bool {
    row.mapping.integration_id == integration_id && row.mapping.internal_type == *internal_type
}
