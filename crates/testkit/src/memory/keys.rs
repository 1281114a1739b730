//! The `KeyRegistry` port.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use integrations_core::{
    cache::CachedAnswer,
    encryptor::{KeyCheck, SealContext, Sealed, SealedColumn},
    id::{IntegrationId, Uid},
    integration::Integration,
    key_registry::{KeyRegistry, KeyRetired, KeyState, KeyUse, RegisteredKey, Reseal, SealedCell},
    store::StoreError,
    value::{KeyId, ProviderKey},
    webhook::WebhookPayload,
};

use super::{MemoryStore, columns::Columns, state::State};

#[async_trait]
impl KeyRegistry for MemoryStore {
    async fn list(&self) -> Result<Vec<RegisteredKey>, StoreError> {
        Ok(list(&self.lock()))
    }

    async fn register(
        &self,
        keys: &[KeyCheck],
        now: DateTime<Utc>,
    ) -> Result<Vec<RegisteredKey>, StoreError> {
        let mut state = self.lock();
        for key in keys {
            let mut known = state.keys.values();
            let has_primary = known.any(|known| known.state == KeyState::Primary);
            let role = if key.primary && !has_primary {
                KeyState::Primary
            } else {
                KeyState::Accepted
            };
            state
                .keys
                .entry(key.key_id.clone())
                .or_insert_with(|| RegisteredKey {
                    key_id: key.key_id.clone(),
                    check_value: key.check_value.to_vec(),
                    state: role,
                    created_at: now,
                });
        }
        Ok(list(&state))
    }

    async fn promote(&self, key_id: &KeyId, _now: DateTime<Utc>) -> Result<bool, StoreError> {
        let mut state = self.lock();
        let may_seal = state
            .keys
            .get(key_id)
            .is_some_and(|key| matches!(key.state, KeyState::Primary | KeyState::Accepted));
        if may_seal {
            for key in state.keys.values_mut() {
                if key.key_id == *key_id {
                    key.state = KeyState::Primary;
                } else if key.state == KeyState::Primary {
                    key.state = KeyState::Accepted;
                }
            }
        }
        Ok(may_seal)
    }

    async fn usage(&self) -> Result<Vec<KeyUse>, StoreError> {
        let state = self.lock();
        let mut uses = Vec::<KeyUse>::new();
        for column in SealedColumn::ALL {
            for key_id in cells(&state, column).filter_map(|cell| cell.sealed.key_id()) {
                match uses
                    .iter_mut()
                    .find(|u| u.column == column && u.key_id == key_id)
                {
                    Some(known) => known.values += 1,
                    None => uses.push(KeyUse {
                        key_id,
                        column,
                        values: 1,
                    }),
                }
            }
        }
        // Stable, so that the columns of a key stay in their order.
        uses.sort_by(|a, b| a.key_id.cmp(&b.key_id));
        Ok(uses)
    }

    async fn sealed_cells(
        &self,
        column: SealedColumn,
        not_under: &KeyId,
        after: i64,
        limit: u32,
    ) -> Result<Vec<SealedCell>, StoreError> {
        let state = self.lock();
        let cells = cells(&state, column)
            .filter(|cell| cell.row > after && cell.sealed.key_id().as_ref() != Some(not_under))
            .take(limit as usize)
            .collect();
        Ok(cells)
    }

    async fn reseal(&self, reseals: &[Reseal]) -> Result<u64, StoreError> {
        for reseal in reseals {
            Columns::check().text(reseal.to.as_str()).of_row()?;
        }
        let mut state = self.lock();
        let mut done = 0;
        for Reseal { cell, to } in reseals {
            let sealed = sealed_mut(&mut state, cell.context.column, cell.row);
            if let Some(sealed) = sealed.filter(|sealed| **sealed == cell.sealed) {
                *sealed = to.clone();
                done += 1;
            }
        }
        Ok(done)
    }

    async fn retire(&self, key_id: &KeyId, _now: DateTime<Utc>) -> Result<KeyRetired, StoreError> {
        let mut state = self.lock();
        let Some(key) = state.keys.get(key_id) else {
            return Ok(KeyRetired::NotFound);
        };
        if key.state == KeyState::Primary {
            return Ok(KeyRetired::Primary);
        }
        let values = SealedColumn::ALL
            .into_iter()
            .flat_map(|column| cells(&state, column))
            .filter(|cell| cell.sealed.key_id().as_ref() == Some(key_id))
            .count() as u64;
        if values > 0 {
            return Ok(KeyRetired::InUse(values));
        }
        if let Some(key) = state.keys.get_mut(key_id) {
            key.state = KeyState::Retired;
        }
        Ok(KeyRetired::Done)
    }
}

/// The oldest first; those of one instant by name.
fn list(state: &State) -> Vec<RegisteredKey> {
    let mut keys: Vec<_> = state.keys.values().cloned().collect();
    keys.sort_by_key(|key| key.created_at);
    keys
}

/// Every sealed value of a column, by ascending row.
fn cells(state: &State, column: SealedColumn) -> Box<dyn Iterator<Item = SealedCell> + '_> {
    let cell = move |row: i64, uid: Uid, provider: ProviderKey, sealed: &Sealed| SealedCell {
        row,
        context: SealContext {
            column,
            uid,
            provider,
        },
        sealed: sealed.clone(),
    };
    match column {
        SealedColumn::Credentials => {
            Box::new(state.integrations.iter().filter_map(move |(id, row)| {
                let sealed = row.credentials.as_ref()?;
                Some(cell(id, row.uid, row.provider.clone(), sealed))
            }))
        }
        SealedColumn::LedgerAnswer => {
            Box::new(state.reservations.iter().filter_map(move |(id, row)| {
                let sealed = row.record.sealed_answer.as_ref()?;
                let provider = provider(state, row.record.integration_id)?;
                Some(cell(id, row.record.uid, provider, sealed))
            }))
        }
        SealedColumn::CachedAnswer => Box::new(state.cache.iter().filter_map(move |(id, row)| {
            let CachedAnswer::Sealed(sealed) = &row.answer else {
                return None;
            };
            let provider = provider(state, row.key.integration_id)?;
            Some(cell(id, row.uid, provider, sealed))
        })),
        SealedColumn::WebhookPayload => {
            Box::new(state.webhooks.iter().filter_map(move |(id, row)| {
                let delivery = &row.webhook.delivery;
                let WebhookPayload::Sealed(sealed) = &delivery.payload else {
                    return None;
                };
                Some(cell(id, delivery.uid, delivery.provider.clone(), sealed))
            }))
        }
        SealedColumn::TokenData => Box::new(state.tokens.iter().filter_map(move |(id, row)| {
            let sealed = row.data.as_ref()?;
            Some(cell(id, row.uid, row.provider.clone(), sealed))
        })),
        // A column this version does not have holds nothing.
        _ => Box::new(std::iter::empty()),
    }
}

fn provider(state: &State, id: IntegrationId) -> Option<ProviderKey> {
    let row: Option<&Integration> = state.integrations.get(id.0);
    row.map(|row| row.provider.clone())
}

fn sealed_mut(state: &mut State, column: SealedColumn, row: i64) -> Option<&mut Sealed> {
    match column {
        SealedColumn::Credentials => state.integrations.get_mut(row)?.credentials.as_mut(),
        SealedColumn::LedgerAnswer => (state.reservations.get_mut(row)?.record)
            .sealed_answer
            .as_mut(),
        SealedColumn::CachedAnswer => match &mut state.cache.get_mut(row)?.answer {
            CachedAnswer::Sealed(sealed) => Some(sealed),
            CachedAnswer::Plain(_) => None,
        },
        SealedColumn::WebhookPayload => {
            match &mut state.webhooks.get_mut(row)?.webhook.delivery.payload {
                WebhookPayload::Sealed(sealed) => Some(sealed),
                WebhookPayload::Plain(_) => None,
            }
        }
        SealedColumn::TokenData => state.tokens.get_mut(row)?.data.as_mut(),
        _ => None,
    }
}
