//! The `OneTimeTokens` port.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use integrations::{
    store::{StoreError, StoreErrorKind},
    token::{NewToken, OneTimeTokens, TokenKind},
};

use crate::TinyStore;

#[async_trait]
impl OneTimeTokens for TinyStore {
    async fn issue(&self, token: &NewToken) -> Result<(), StoreError> {
        let mut maps = self.lock();
        if maps.tokens.iter().any(|known| known.digest == token.digest) {
            return Err(StoreError::new(
                StoreErrorKind::Constraint,
                "there is such a token already",
            ));
        }
        maps.tokens.push(token.clone());
        Ok(())
    }

    async fn consume(
        &self,
        kind: &TokenKind,
        digests: &[Vec<u8>],
        now: DateTime<Utc>,
    ) -> Result<Option<NewToken>, StoreError> {
        let mut maps = self.lock();
        let found = maps.tokens.iter().position(|token| {
            token.kind == *kind && digests.contains(&token.digest) && token.until > now
        });
        Ok(found.map(|at| maps.tokens.swap_remove(at)))
    }
}
