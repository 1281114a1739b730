//! [`RingEncryptor`]: the ports themselves.

use async_trait::async_trait;
use integrations_core::{
    encryptor::{
        DigestPurpose, EncryptionError, Encryptor, KeyCheck, KeyedDigest, SealContext, Sealed,
    },
    entropy::{Entropy, EntropyError},
    value::KeyId,
};
use ring::{
    aead::{Aad, Nonce},
    error::Unspecified,
    hmac,
};
use secrecy::{ExposeSecret, SecretSlice};
use zeroize::Zeroizing;

use crate::{
    derive,
    entropy::SystemEntropy,
    envelope::{Envelope, NONCE_LEN, SALT_LEN},
    key_ring::{KeyRing, RootKey},
};

/// Seals with AES-256-GCM under keys derived from a [`KeyRing`].
///
/// An envelope is bound to its [`SealContext`] and to the id of its key; salt and nonce are drawn
/// anew for each. Also the source of randomness for whoever needs both ports.
#[derive(Debug)]
pub struct RingEncryptor {
    keys: KeyRing,
    entropy: SystemEntropy,
}

impl RingEncryptor {
    /// An encryptor over `keys`.
    #[must_use]
    pub fn new(keys: KeyRing) -> Self {
        Self {
            keys,
            entropy: SystemEntropy::new(),
        }
    }

    /// The keys it works with.
    #[must_use]
    pub fn keys(&self) -> &KeyRing {
        &self.keys
    }

    fn random<const N: usize>(&self) -> Result<[u8; N], EncryptionError> {
        let mut bytes = [0; N];
        self.entropy
            .fill(&mut bytes)
            .map_err(|_| EncryptionError::Unavailable)?;
        Ok(bytes)
    }
}

#[async_trait]
impl Encryptor for RingEncryptor {
    async fn seal(
        &self,
        context: &SealContext,
        plaintext: &SecretSlice<u8>,
    ) -> Result<Sealed, EncryptionError> {
        let root = self.keys.primary();
        let salt = self.random::<SALT_LEN>()?;
        let nonce = self.random::<NONCE_LEN>()?;
        let key = derive::envelope_key(root, context.column, &salt).map_err(unavailable)?;

        // Encrypted in place, so that no copy of the plaintext stays behind.
        let mut buffer = plaintext.expose_secret().to_vec();
        let tag = key
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(associated_data(context, root.id())),
                &mut buffer,
            )
            .map_err(unavailable)?;
        buffer.extend_from_slice(tag.as_ref());

        Ok(Envelope {
            key_id: root.id().clone(),
            salt,
            nonce,
            ciphertext: buffer,
        }
        .to_sealed())
    }

    async fn open(
        &self,
        context: &SealContext,
        sealed: &Sealed,
    ) -> Result<SecretSlice<u8>, EncryptionError> {
        let envelope = Envelope::parse(sealed)?;
        let root = self
            .keys
            .find(&envelope.key_id)
            .ok_or_else(|| EncryptionError::UnknownKey(envelope.key_id.clone()))?;
        let key =
            derive::envelope_key(root, context.column, &envelope.salt).map_err(unavailable)?;

        let mut buffer = Zeroizing::new(envelope.ciphertext);
        let plaintext = key
            .open_in_place(
                Nonce::assume_unique_for_key(envelope.nonce),
                Aad::from(associated_data(context, root.id())),
                &mut buffer,
            )
            .map_err(|_| EncryptionError::Rejected)?;
        // A vector of exactly this length becomes a boxed slice without being moved.
        Ok(SecretSlice::from(plaintext.to_vec()))
    }

    async fn digests(
        &self,
        purpose: DigestPurpose,
        data: &[u8],
    ) -> Result<Vec<KeyedDigest>, EncryptionError> {
        self.keys
            .iter()
            .map(|root| {
                let key = derive::digest_key(root, purpose).map_err(unavailable)?;
                Ok(KeyedDigest {
                    key_id: root.id().clone(),
                    mac: mac(&key, data)?,
                })
            })
            .collect()
    }

    async fn key_checks(&self) -> Result<Vec<KeyCheck>, EncryptionError> {
        self.keys
            .iter()
            .map(|root| {
                Ok(KeyCheck {
                    key_id: root.id().clone(),
                    check_value: check_value(root)?,
                    primary: root.id() == self.keys.primary().id(),
                })
            })
            .collect()
    }
}

impl Entropy for RingEncryptor {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        self.entropy.fill(bytes)
    }
}

/// What an envelope is bound to: its place, and the id it names its key by.
fn associated_data(context: &SealContext, key_id: &KeyId) -> Vec<u8> {
    let key_id = key_id.as_str();
    let mut data = context.associated_data();
    data.extend_from_slice(&(key_id.len() as u64).to_be_bytes());
    data.extend_from_slice(key_id.as_bytes());
    data
}

fn check_value(root: &RootKey) -> Result<[u8; 32], EncryptionError> {
    let key = derive::check_key(root).map_err(unavailable)?;
    mac(&key, root.id().as_str().as_bytes())
}

fn mac(key: &hmac::Key, data: &[u8]) -> Result<[u8; 32], EncryptionError> {
    hmac::sign(key, data)
        .as_ref()
        .try_into()
        .map_err(|_| EncryptionError::Unavailable)
}

fn unavailable(_: Unspecified) -> EncryptionError {
    EncryptionError::Unavailable
}
