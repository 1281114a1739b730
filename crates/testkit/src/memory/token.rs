//! The `OneTimeTokens` port.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use integrations_core::{
    encryptor::Sealed,
    store::{Rejected, StoreError},
    token::{NewToken, OneTimeTokens, TokenKind},
};

use super::{
    MemoryStore,
    columns::{Columns, refused},
};

#[async_trait]
impl OneTimeTokens for MemoryStore {
    async fn issue(&self, token: &NewToken) -> Result<(), StoreError> {
        Columns::check()
            .varchar(token.kind.as_str(), 32)
            .text(token.data.as_ref().map(Sealed::as_str))
            .of_row()?;
        let mut state = self.lock();
        if let Some(id) = token.integration_id {
            state
                .references(id)
                .map_err(|rejected| refused(&rejected))?;
        }
        let is_taken = |row: &NewToken| row.digest == token.digest || row.uid == token.uid;
        if state.tokens.values().any(is_taken) {
            return Err(refused(&Rejected::Constraint));
        }
        state.tokens.insert(|_| token.clone());
        Ok(())
    }

    async fn consume(
        &self,
        kind: &TokenKind,
        digests: &[Vec<u8>],
        now: DateTime<Utc>,
    ) -> Result<Option<NewToken>, StoreError> {
        let mut state = self.lock();
        let is_usable = |token: &NewToken| {
            token.kind == *kind && digests.contains(&token.digest) && now < token.until
        };
        let found = (state.tokens.iter()).find(|(_, token)| is_usable(token));
        let id = found.map(|(id, _)| id);
        Ok(id.and_then(|id| state.tokens.remove(id)))
    }
}
