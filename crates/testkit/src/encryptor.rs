//! [`PlaintextEncryptor`]: the `Encryptor` port without any encryption.

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use integrations_core::{
    encryptor::{
        DigestPurpose, EncryptionError, Encryptor, KeyCheck, KeyedDigest, SealContext, Sealed,
    },
    entropy::{Entropy, EntropyError},
    value::KeyId,
};
use secrecy::{ExposeSecret, SecretSlice};

use crate::entropy::SeededEntropy;

const VERSION: &str = "v1";
const KEY_ID: &str = "plain";

/// **Encrypts nothing. Never use this outside tests:** whoever reads an envelope reads the secret.
///
/// It binds to the [`SealContext`] all the same, so that a value sealed for one row does not open
/// on another. Envelopes are `v1.plain.<base64 of length, associated data, plaintext>`; digests
/// are FNV-1a, which anybody can forge.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlaintextEncryptor;

#[async_trait]
impl Encryptor for PlaintextEncryptor {
    async fn seal(
        &self,
        context: &SealContext,
        plaintext: &SecretSlice<u8>,
    ) -> Result<Sealed, EncryptionError> {
        let mut bytes = bound_to(context);
        bytes.extend_from_slice(plaintext.expose_secret());
        Ok(Sealed::from_text(format!(
            "{VERSION}.{KEY_ID}.{}",
            STANDARD_NO_PAD.encode(bytes)
        )))
    }

    async fn open(
        &self,
        context: &SealContext,
        sealed: &Sealed,
    ) -> Result<SecretSlice<u8>, EncryptionError> {
        let (version, rest) = sealed
            .as_str()
            .split_once('.')
            .ok_or(EncryptionError::Malformed)?;
        let key_id = sealed.key_id().ok_or(EncryptionError::Malformed)?;
        if version != VERSION {
            return Err(EncryptionError::Malformed);
        }
        if key_id.as_str() != KEY_ID {
            return Err(EncryptionError::UnknownKey(key_id));
        }
        let (_, base64) = rest.split_once('.').ok_or(EncryptionError::Malformed)?;
        let bytes = STANDARD_NO_PAD
            .decode(base64)
            .map_err(|_| EncryptionError::Malformed)?;
        bytes
            .strip_prefix(bound_to(context).as_slice())
            .map(|plaintext| SecretSlice::from(plaintext.to_vec()))
            .ok_or(EncryptionError::Rejected)
    }

    async fn digests(
        &self,
        purpose: DigestPurpose,
        data: &[u8],
    ) -> Result<Vec<KeyedDigest>, EncryptionError> {
        Ok(vec![KeyedDigest {
            key_id: key_id(),
            mac: fnv(purpose.name(), data),
        }])
    }

    async fn key_checks(&self) -> Result<Vec<KeyCheck>, EncryptionError> {
        Ok(vec![KeyCheck {
            key_id: key_id(),
            check_value: fnv("check", KEY_ID.as_bytes()),
            primary: true,
        }])
    }
}

/// **Not secure. Never use this outside tests:** [`PlaintextEncryptor`] and [`SeededEntropy`] in
/// one, for `Into<Keys>`.
#[derive(Debug, Default)]
pub struct TestKeys {
    encryptor: PlaintextEncryptor,
    entropy: SeededEntropy,
}

impl TestKeys {
    /// Keys whose uids and tokens follow from `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self {
            encryptor: PlaintextEncryptor,
            entropy: SeededEntropy::new(seed),
        }
    }
}

#[async_trait]
impl Encryptor for TestKeys {
    async fn seal(
        &self,
        context: &SealContext,
        plaintext: &SecretSlice<u8>,
    ) -> Result<Sealed, EncryptionError> {
        self.encryptor.seal(context, plaintext).await
    }

    async fn open(
        &self,
        context: &SealContext,
        sealed: &Sealed,
    ) -> Result<SecretSlice<u8>, EncryptionError> {
        self.encryptor.open(context, sealed).await
    }

    async fn digests(
        &self,
        purpose: DigestPurpose,
        data: &[u8],
    ) -> Result<Vec<KeyedDigest>, EncryptionError> {
        self.encryptor.digests(purpose, data).await
    }

    async fn key_checks(&self) -> Result<Vec<KeyCheck>, EncryptionError> {
        self.encryptor.key_checks().await
    }
}

impl Entropy for TestKeys {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        self.entropy.fill(bytes)
    }
}

#[expect(clippy::expect_used, reason = "five lower-case letters are a key id")]
fn key_id() -> KeyId {
    KeyId::new(KEY_ID).expect("a valid key id")
}

/// What every envelope of `context` begins with.
fn bound_to(context: &SealContext) -> Vec<u8> {
    let associated = context.associated_data();
    let mut bytes = (associated.len() as u64).to_be_bytes().to_vec();
    bytes.extend_from_slice(&associated);
    bytes
}

/// Four runs of 64-bit FNV-1a, each behind its number and the key.
fn fnv(key: &str, data: &[u8]) -> [u8; 32] {
    const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let mut digest = [0; 32];
    for (run, slot) in (0_u8..).zip(digest.chunks_exact_mut(8)) {
        let separated = [run].into_iter().chain(key.bytes()).chain([0]);
        let hash = separated
            .chain(data.iter().copied())
            .fold(OFFSET_BASIS, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(PRIME)
            });
        slot.copy_from_slice(&hash.to_be_bytes());
    }
    digest
}

#[cfg(test)]
mod tests {
    use integrations_core::{
        encryptor::{Keys, SealedColumn},
        id::Uid,
        value::ProviderKey,
    };

    use super::*;

    fn context(bits: u128) -> SealContext {
        SealContext {
            column: SealedColumn::Credentials,
            uid: Uid::from_bits(bits),
            provider: ProviderKey::new("github").unwrap(),
        }
    }

    // W-CRED-1
    #[tokio::test]
    async fn opens_in_its_own_place_only() {
        let keys = Keys::from(TestKeys::new(1));
        let secret = SecretSlice::from(b"token".to_vec());
        let sealed = keys.encryptor.seal(&context(1), &secret).await.unwrap();
        let opened = keys.encryptor.open(&context(1), &sealed).await.unwrap();
        assert_eq!(opened.expose_secret(), b"token");
        assert_eq!(
            keys.encryptor.open(&context(2), &sealed).await.unwrap_err(),
            EncryptionError::Rejected
        );
    }

    #[tokio::test]
    async fn says_why_foreign_text_does_not_open() {
        let refused = async |text: &str| {
            PlaintextEncryptor
                .open(&context(1), &Sealed::from_text(text))
                .await
                .unwrap_err()
        };
        for text in ["", "v1", "v1.plain", "v2.plain.AAAA", "v1.plain.*"] {
            assert_eq!(refused(text).await, EncryptionError::Malformed, "{text}");
        }
        assert_eq!(
            refused("v1.other.AAAA").await,
            EncryptionError::UnknownKey(KeyId::new("other").unwrap())
        );
    }

    #[tokio::test]
    async fn digests_differ_by_purpose_and_data() {
        let digest = async |purpose, data: &[u8]| {
            PlaintextEncryptor.digests(purpose, data).await.unwrap()[0].mac
        };
        let first = digest(DigestPurpose::Content, b"a").await;
        assert_eq!(first, digest(DigestPurpose::Content, b"a").await);
        assert_ne!(first, digest(DigestPurpose::Content, b"b").await);
        assert_ne!(first, digest(DigestPurpose::CacheKey, b"a").await);
    }
}
