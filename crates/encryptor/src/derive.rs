//! From a root key to the key of one purpose, by HKDF-SHA256.

use integrations_core::encryptor::{DigestPurpose, SealedColumn};
use ring::{
    aead::{AES_256_GCM, LessSafeKey, UnboundKey},
    error::Unspecified,
    hkdf, hmac,
};

use crate::{envelope::SALT_LEN, key_ring::RootKey};

/// Separates the keys of this layer from any other use of the same root.
const SALT: &[u8] = b"integrations/root/v1";

/// What a key is derived for. The parts of its label are what tells two purposes apart.
#[derive(Clone, Copy)]
enum Purpose {
    Seal(SealedColumn),
    Digest(DigestPurpose),
    Check,
}

impl Purpose {
    /// The HKDF info: every part preceded by its length, so that no two purposes share one.
    fn info(self) -> Vec<u8> {
        let parts: &[&str] = match self {
            Self::Seal(column) => &["seal", column.table(), column.column()],
            Self::Digest(purpose) => &["digest", purpose.name()],
            Self::Check => &["check"],
        };
        let mut info = Vec::new();
        for part in parts {
            info.extend_from_slice(&(part.len() as u64).to_be_bytes());
            info.extend_from_slice(part.as_bytes());
        }
        info
    }
}

/// The key of one envelope: from the root to the column's key, and from that by the salt.
pub(crate) fn envelope_key(
    root: &RootKey,
    column: SealedColumn,
    salt: &[u8; SALT_LEN],
) -> Result<LessSafeKey, Unspecified> {
    let column_key: hkdf::Prk = purpose_key(root, Purpose::Seal(column), hkdf::HKDF_SHA256)?;
    let key: UnboundKey = column_key
        .expand(&[b"envelope", salt], &AES_256_GCM)?
        .into();
    Ok(LessSafeKey::new(key))
}

/// The key that digests of `purpose` are made with.
pub(crate) fn digest_key(root: &RootKey, purpose: DigestPurpose) -> Result<hmac::Key, Unspecified> {
    purpose_key(root, Purpose::Digest(purpose), hmac::HMAC_SHA256)
}

/// The key that a root's check value is made with.
pub(crate) fn check_key(root: &RootKey) -> Result<hmac::Key, Unspecified> {
    purpose_key(root, Purpose::Check, hmac::HMAC_SHA256)
}

fn purpose_key<A, K>(root: &RootKey, purpose: Purpose, algorithm: A) -> Result<K, Unspecified>
where
    A: hkdf::KeyType,
    K: for<'a> From<hkdf::Okm<'a, A>>,
{
    let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, SALT).extract(root.expose());
    let info = purpose.info();
    Ok(extracted.expand(&[&info], algorithm)?.into())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_purpose_has_an_info_of_its_own() {
        let digests = [
            DigestPurpose::Fingerprint,
            DigestPurpose::CacheKey,
            DigestPurpose::WebhookDedup,
            DigestPurpose::OneTimeToken,
            DigestPurpose::Content,
        ];
        let purposes = SealedColumn::ALL
            .map(Purpose::Seal)
            .into_iter()
            .chain(digests.map(Purpose::Digest))
            .chain([Purpose::Check]);
        let infos: Vec<_> = purposes.map(Purpose::info).collect();
        let distinct: HashSet<_> = infos.iter().collect();
        assert_eq!(distinct.len(), infos.len());
    }
}
