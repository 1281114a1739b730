//! One-time tokens: handed out once, used once, known here by digest only.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::{
    encryptor::Sealed,
    id::{IntegrationId, Uid},
    state::define_state,
    store::StoreError,
    value::ProviderKey,
};

define_state! {
    /// What a token is for. A token of one kind never passes for another.
    TokenKind {
        /// Begins an OAuth flow.
        OAuthTicket = "oauth_ticket",
        /// The `state` of an OAuth flow.
        OAuthState = "oauth_state",
    }
}

/// A token to remember.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewToken {
    /// What the data is sealed for.
    pub uid: Uid,
    /// A keyed digest of the token.
    pub digest: Vec<u8>,
    /// What it is for.
    pub kind: TokenKind,
    /// The provider.
    pub provider: ProviderKey,
    /// The integration.
    pub integration_id: Option<IntegrationId>,
    /// What it is bound to, sealed.
    pub data: Option<Sealed>,
    /// When it runs out.
    pub until: DateTime<Utc>,
    /// Now.
    pub now: DateTime<Utc>,
}

/// One-time tokens.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
#[async_trait]
pub trait OneTimeTokens: Send + Sync {
    /// Remembers a token.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed, or has the digest already.
    async fn issue(&self, token: &NewToken) -> Result<(), StoreError>;

    /// Uses a token up, looked for under any of `digests`; `None` when there is none of that kind
    /// that has not run out. Of any number of calls at once at most one MUST get it.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`]; the token may then be used up.
    async fn consume(
        &self,
        kind: &TokenKind,
        digests: &[Vec<u8>],
        now: DateTime<Utc>,
    ) -> Result<Option<NewToken>, StoreError>;
}
