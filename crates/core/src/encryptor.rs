//! Sealing: the [`Encryptor`] port, what a sealed value is bound to, and keyed digests.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretSlice};

use crate::{
    entropy::Entropy,
    id::Uid,
    value::{KeyId, ProviderKey},
};

/// A sealed value as it stands in a column: `v1.<key id>.<base64>`.
///
/// Not secret, but `Debug` keeps it short all the same.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Sealed(String);

impl Sealed {
    /// Takes text that was read from a column or made by an [`Encryptor`]; nothing is checked
    /// until it is opened.
    #[must_use]
    pub fn from_text(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text as stored.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id of the key that sealed this, where the envelope is well formed.
    #[must_use]
    pub fn key_id(&self) -> Option<KeyId> {
        let mut parts = self.0.splitn(3, '.');
        let _version = parts.next()?;
        let key_id = parts.next()?;
        parts.next()?;
        KeyId::new(key_id).ok()
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

/// A column that holds sealed values. Each has a key of its own, derived from the ring's root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SealedColumn {
    /// `{prefix}s.credentials`.
    Credentials,
    /// `{prefix}_idempotency_keys.sealed_answer`.
    LedgerAnswer,
    /// `{prefix}_response_cache.sealed_answer`.
    CachedAnswer,
    /// `{prefix}_webhooks.payload` where `payload_encoding` is `sealed`.
    WebhookPayload,
    /// `{prefix}_tokens.sealed_data`.
    TokenData,
}

impl SealedColumn {
    /// All of them, for walks over everything sealed.
    pub const ALL: [Self; 5] = [
        Self::Credentials,
        Self::LedgerAnswer,
        Self::CachedAnswer,
        Self::WebhookPayload,
        Self::TokenData,
    ];

    /// The logical table: no prefix, so that a renamed schema still opens.
    #[must_use]
    pub const fn table(self) -> &'static str {
        match self {
            Self::Credentials => "integrations",
            Self::LedgerAnswer => "idempotency_keys",
            Self::CachedAnswer => "response_cache",
            Self::WebhookPayload => "webhooks",
            Self::TokenData => "tokens",
        }
    }

    /// The column.
    #[must_use]
    pub const fn column(self) -> &'static str {
        match self {
            Self::Credentials => "credentials",
            Self::LedgerAnswer | Self::CachedAnswer => "sealed_answer",
            Self::WebhookPayload => "payload",
            Self::TokenData => "sealed_data",
        }
    }
}

/// The place a sealed value belongs to. It does not open anywhere else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealContext {
    /// The column it is stored in.
    pub column: SealedColumn,
    /// The uid of its row.
    pub uid: Uid,
    /// The provider of its row.
    pub provider: ProviderKey,
}

impl SealContext {
    /// The associated data: every part preceded by its length, so that no two places share it.
    #[must_use]
    pub fn associated_data(&self) -> Vec<u8> {
        let parts = [
            "v1",
            self.column.table(),
            self.column.column(),
            self.uid.as_str(),
            self.provider.as_str(),
        ];
        let mut data = Vec::with_capacity(parts.iter().map(|p| p.len() + 8).sum());
        for part in parts {
            data.extend_from_slice(&(part.len() as u64).to_be_bytes());
            data.extend_from_slice(part.as_bytes());
        }
        data
    }
}

/// What a keyed digest is for. Each purpose has a key of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DigestPurpose {
    /// The request body under an idempotency key.
    Fingerprint,
    /// The request a cached answer belongs to.
    CacheKey,
    /// The signed bytes of a webhook.
    WebhookDedup,
    /// A one-time token, which is stored as its digest only.
    OneTimeToken,
    /// The content of a synced or mapped record.
    Content,
}

impl DigestPurpose {
    /// The name its key is derived under. Changing one orphans every stored digest.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fingerprint => "fingerprint",
            Self::CacheKey => "cache_key",
            Self::WebhookDedup => "webhook_dedup",
            Self::OneTimeToken => "one_time_token",
            Self::Content => "content",
        }
    }
}

/// An HMAC under a purpose key, with the id of the root it was derived from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyedDigest {
    /// The root key.
    pub key_id: KeyId,
    /// HMAC-SHA256, 32 bytes.
    pub mac: [u8; 32],
}

impl KeyedDigest {
    /// The stored form: `<key id> 0x00 <mac>`.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.key_id.as_str().len() + 1 + self.mac.len());
        bytes.extend_from_slice(self.key_id.as_str().as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(&self.mac);
        bytes
    }
}

/// What the database remembers of a key, to refuse a process whose key of that id is another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyCheck {
    /// The key.
    pub key_id: KeyId,
    /// An HMAC under the key's own check purpose; tells nothing about the key.
    pub check_value: [u8; 32],
    /// Whether it is the one new values are sealed with.
    pub primary: bool,
}

/// Why a value could not be sealed or opened. Never carries any of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncryptionError {
    /// The text is not an envelope of a version this build knows.
    #[error("the sealed value is malformed, or of a format this version does not know")]
    Malformed,
    /// The envelope names a key that is not in the ring.
    #[error("the sealed value needs key `{0}`, which is not in the key ring")]
    UnknownKey(KeyId),
    /// The value was changed, cut, moved to another row, or sealed under another key of that id.
    #[error("the sealed value does not open: it was altered, or belongs to another row or key")]
    Rejected,
    /// The key service or the random number generator failed; nothing was sealed or opened.
    #[error("sealing is not available at the moment")]
    Unavailable,
}

/// Seals values for the database and opens them again.
///
/// Asynchronous, so that a key management service fits behind it.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
#[async_trait]
pub trait Encryptor: Send + Sync {
    /// Seals `plaintext` for `context` under the primary key.
    ///
    /// Implementations MUST authenticate `context.associated_data()`, MUST name the key in the
    /// envelope, and MUST NOT repeat a nonce under one key.
    ///
    /// # Errors
    ///
    /// Returns [`EncryptionError::Unavailable`] when the key service or entropy failed.
    async fn seal(
        &self,
        context: &SealContext,
        plaintext: &SecretSlice<u8>,
    ) -> Result<Sealed, EncryptionError>;

    /// Opens what [`seal`](Self::seal) made for the same `context`.
    ///
    /// Implementations MUST fail, never panic, on anything else: another context, another key,
    /// any changed or missing byte.
    ///
    /// # Errors
    ///
    /// Returns [`EncryptionError`] saying why it did not open.
    async fn open(
        &self,
        context: &SealContext,
        sealed: &Sealed,
    ) -> Result<SecretSlice<u8>, EncryptionError>;

    /// The digests of `data` for `purpose` under every key of the ring, the primary's first.
    ///
    /// The first is what gets stored; any of them may be what was stored earlier.
    ///
    /// # Errors
    ///
    /// Returns [`EncryptionError::Unavailable`] when the key service failed.
    async fn digests(
        &self,
        purpose: DigestPurpose,
        data: &[u8],
    ) -> Result<Vec<KeyedDigest>, EncryptionError>;

    /// A check value for every key of the ring, the primary's first.
    ///
    /// # Errors
    ///
    /// Returns [`EncryptionError::Unavailable`] when the key service failed.
    async fn key_checks(&self) -> Result<Vec<KeyCheck>, EncryptionError>;
}

/// What a service needs of cryptography: an [`Encryptor`] and [`Entropy`].
#[derive(Clone)]
pub struct Keys {
    /// Seals and opens.
    pub encryptor: Arc<dyn Encryptor>,
    /// Random bytes for uids and tokens.
    pub entropy: Arc<dyn Entropy>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

impl<T: Encryptor + Entropy + 'static> From<Arc<T>> for Keys {
    fn from(both: Arc<T>) -> Self {
        Self {
            encryptor: Arc::<T>::clone(&both),
            entropy: both,
        }
    }
}

impl<T: Encryptor + Entropy + 'static> From<T> for Keys {
    fn from(both: T) -> Self {
        Arc::new(both).into()
    }
}

/// The bytes of a text secret, for [`Encryptor::seal`].
#[must_use]
pub fn secret_bytes(secret: &secrecy::SecretString) -> SecretSlice<u8> {
    SecretSlice::from(secret.expose_secret().as_bytes().to_vec())
}
