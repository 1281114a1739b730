//! [`KeyRing`]: the root keys, the primary first, and their text form.

use std::fmt;

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use integrations_core::{
    entropy::{Entropy, EntropyError, EntropyExt},
    value::KeyId,
};
use secrecy::SecretString;
use zeroize::Zeroizing;

/// Bytes of a root key.
const ROOT_LEN: usize = 32;

/// Written with padding, as other tools do; read with or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A root key and its id. Wiped when dropped; `Debug` shows the id only.
#[derive(Clone)]
pub(crate) struct RootKey {
    id: KeyId,
    bytes: Zeroizing<[u8; ROOT_LEN]>,
}

impl RootKey {
    fn generate(entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        // A random id, so that the keys of two databases are not taken for each other.
        let uid = entropy.uid()?;
        let id = KeyId::new(format!("k-{}", &uid.as_str()[16..])).map_err(|_| EntropyError)?;
        let mut bytes = Zeroizing::new([0; ROOT_LEN]);
        entropy.fill(&mut *bytes)?;
        Ok(Self { id, bytes })
    }

    pub(crate) fn id(&self) -> &KeyId {
        &self.id
    }

    pub(crate) fn expose(&self) -> &[u8; ROOT_LEN] {
        &self.bytes
    }
}

impl fmt::Debug for RootKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RootKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Why key text was refused. Says which entry, counted from 1, and never shows any of it: where
/// id and key were mixed up, the id would be the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyRingError {
    /// There is no key.
    #[error("no key given: expected `id:base64` of 32 random bytes")]
    Empty,
    /// An entry has no colon.
    #[error("key {entry} is not of the form `id:base64`")]
    NoId {
        /// The entry.
        entry: usize,
    },
    /// An id is not one.
    #[error("the id of key {entry} must be 1 to 32 letters, digits, `_` and `-`")]
    InvalidId {
        /// The entry.
        entry: usize,
    },
    /// Two entries have one id.
    #[error("key {entry} has the same id as an earlier key: give each key an id of its own")]
    DuplicateId {
        /// The later entry.
        entry: usize,
    },
    /// The part behind the colon is not base64.
    #[error("key {entry} is not valid base64")]
    InvalidBase64 {
        /// The entry.
        entry: usize,
    },
    /// A key is not 32 bytes long.
    #[error("key {entry} has {actual} bytes: expected 32")]
    WrongLength {
        /// The entry.
        entry: usize,
        /// Bytes it has.
        actual: usize,
    },
    /// A key that was to be promoted or removed is not in the ring.
    #[error("the key ring has no key `{0}`")]
    UnknownKey(KeyId),
    /// The primary was to be removed.
    #[error("key `{0}` is the primary: promote another key first")]
    IsPrimary(KeyId),
    /// No key could be made.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}

/// Root keys in order; the first is the primary, which new values are sealed with.
///
/// Never empty. Key material is wiped when dropped and never shown: `Debug` lists the ids.
#[derive(Clone)]
pub struct KeyRing {
    primary: RootKey,
    others: Vec<RootKey>,
}

impl KeyRing {
    /// A ring of one new key with a random id.
    ///
    /// # Errors
    ///
    /// Returns [`EntropyError`] when the generator failed.
    pub fn generate(entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        Ok(Self {
            primary: RootKey::generate(entropy)?,
            others: Vec::new(),
        })
    }

    /// Reads `id:base64` entries, separated by commas or line ends; the first is the primary.
    ///
    /// Blank entries are skipped, and so is everything from `#` to the end of a line.
    ///
    /// # Errors
    ///
    /// Returns [`KeyRingError`] naming the entry and what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, KeyRingError> {
        let entries = text
            .lines()
            .map(|line| line.split_once('#').map_or(line, |(entry, _comment)| entry))
            .flat_map(|line| line.split(','))
            .map(str::trim)
            .filter(|entry| !entry.is_empty());

        let mut keys: Vec<RootKey> = Vec::new();
        for (text, entry) in entries.zip(1..) {
            let key = parse_entry(text, entry)?;
            if keys.iter().any(|earlier| earlier.id == key.id) {
                return Err(KeyRingError::DuplicateId { entry });
            }
            keys.push(key);
        }

        let mut keys = keys.into_iter();
        let primary = keys.next().ok_or(KeyRingError::Empty)?;
        Ok(Self {
            primary,
            others: keys.collect(),
        })
    }

    /// The text form that [`parse`](Self::parse) reads, one key a line.
    #[must_use]
    pub fn to_secret_text(&self) -> SecretString {
        // An id, a colon, 44 characters of base64, a line end: sized so that it is never moved.
        let mut text = String::with_capacity(self.iter().map(|k| k.id.as_str().len() + 46).sum());
        for key in self.iter() {
            let encoded = Zeroizing::new(BASE64.encode(key.expose()));
            text.push_str(key.id.as_str());
            text.push(':');
            text.push_str(&encoded);
            text.push('\n');
        }
        SecretString::from(text)
    }

    /// The ids, the primary's first.
    pub fn ids(&self) -> impl Iterator<Item = &KeyId> {
        self.iter().map(RootKey::id)
    }

    /// Adds a new key behind the others and returns its id. It seals nothing until it is
    /// promoted, so that every process can be given it beforehand.
    ///
    /// # Errors
    ///
    /// Returns [`KeyRingError::Entropy`] when the generator failed.
    pub fn add(&mut self, entropy: &dyn Entropy) -> Result<KeyId, KeyRingError> {
        let key = RootKey::generate(entropy)?;
        let id = key.id.clone();
        self.others.push(key);
        Ok(id)
    }

    /// Makes the key the primary; the former primary follows it.
    ///
    /// # Errors
    ///
    /// Returns [`KeyRingError::UnknownKey`] when it is not in the ring.
    pub fn promote(&mut self, id: &KeyId) -> Result<(), KeyRingError> {
        if self.primary.id == *id {
            return Ok(());
        }
        let promoted = self.others.remove(self.position(id)?);
        let former = std::mem::replace(&mut self.primary, promoted);
        self.others.insert(0, former);
        Ok(())
    }

    /// Takes a key out of the ring. What was sealed with it does not open any more.
    ///
    /// # Errors
    ///
    /// Returns [`KeyRingError`] when it is the primary or not in the ring.
    pub fn remove(&mut self, id: &KeyId) -> Result<(), KeyRingError> {
        if self.primary.id == *id {
            return Err(KeyRingError::IsPrimary(id.clone()));
        }
        self.others.remove(self.position(id)?);
        Ok(())
    }

    pub(crate) fn primary(&self) -> &RootKey {
        &self.primary
    }

    pub(crate) fn find(&self, id: &KeyId) -> Option<&RootKey> {
        self.iter().find(|key| key.id == *id)
    }

    /// All keys, the primary first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &RootKey> {
        std::iter::once(&self.primary).chain(&self.others)
    }

    fn position(&self, id: &KeyId) -> Result<usize, KeyRingError> {
        let position = self.others.iter().position(|key| key.id == *id);
        position.ok_or_else(|| KeyRingError::UnknownKey(id.clone()))
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

fn parse_entry(text: &str, entry: usize) -> Result<RootKey, KeyRingError> {
    let (id, encoded) = text.split_once(':').ok_or(KeyRingError::NoId { entry })?;
    let id = KeyId::new(id.trim()).map_err(|_| KeyRingError::InvalidId { entry })?;
    let decoded = BASE64
        .decode(encoded.trim())
        .map_err(|_| KeyRingError::InvalidBase64 { entry })?;
    let decoded = Zeroizing::new(decoded);
    let bytes =
        <[u8; ROOT_LEN]>::try_from(decoded.as_slice()).map_err(|_| KeyRingError::WrongLength {
            entry,
            actual: decoded.len(),
        })?;
    Ok(RootKey {
        id,
        bytes: Zeroizing::new(bytes),
    })
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;
    use crate::entropy::SystemEntropy;

    fn entry(id: &str, byte: u8) -> String {
        format!("{id}:{}", BASE64.encode([byte; ROOT_LEN]))
    }

    fn ids(ring: &KeyRing) -> Vec<&str> {
        ring.ids().map(KeyId::as_str).collect()
    }

    // W-CRED-2
    #[test]
    fn first_entry_is_the_primary() {
        let ring = KeyRing::parse(&format!("{},{}", entry("new", 1), entry("old", 2))).unwrap();
        assert_eq!(ids(&ring), ["new", "old"]);
        assert_eq!(ring.primary().expose(), &[1; ROOT_LEN]);
        assert_eq!(
            ring.find(&KeyId::new("old").unwrap()).unwrap().expose(),
            &[2; ROOT_LEN]
        );
    }

    #[test]
    fn lines_comments_and_blanks_are_understood() {
        let text = format!(
            "# keys of production\n\n  {} # since May\r\n{},\n,{}",
            entry("a", 1),
            entry("b", 2),
            entry("c", 3).trim_end_matches('='),
        );
        assert_eq!(ids(&KeyRing::parse(&text).unwrap()), ["a", "b", "c"]);
    }

    #[test]
    fn text_round_trips() {
        let mut ring = KeyRing::generate(&SystemEntropy::new()).unwrap();
        ring.add(&SystemEntropy::new()).unwrap();
        let text = ring.to_secret_text();
        let again = KeyRing::parse(text.expose_secret()).unwrap();
        assert_eq!(ids(&again), ids(&ring));
        assert!(
            ring.iter()
                .zip(again.iter())
                .all(|(a, b)| a.expose() == b.expose())
        );
    }

    #[test]
    fn refusals_name_the_entry_and_show_nothing_of_it() {
        const CANARY: &str = "CanaryCanaryCanaryCana"; // a valid key id, and base64 of 16 bytes
        let good = entry("a", 1);
        let cases = [
            ("", KeyRingError::Empty),
            (" , \n# only a comment", KeyRingError::Empty),
            (&format!("{good},{CANARY}"), KeyRingError::NoId { entry: 2 }),
            (&format!(":{CANARY}"), KeyRingError::InvalidId { entry: 1 }),
            (
                &format!("{CANARY}=:id"),
                KeyRingError::InvalidId { entry: 1 },
            ),
            (
                &format!("{good},{}", entry("a", 2)),
                KeyRingError::DuplicateId { entry: 2 },
            ),
            (
                &format!("a:{CANARY}!"),
                KeyRingError::InvalidBase64 { entry: 1 },
            ),
            (
                &format!("{good}\n{CANARY}:!"),
                KeyRingError::InvalidBase64 { entry: 2 },
            ),
            (
                &format!("a:{CANARY}w=="),
                KeyRingError::InvalidBase64 { entry: 1 },
            ),
            (
                "a:",
                KeyRingError::WrongLength {
                    entry: 1,
                    actual: 0,
                },
            ),
            (
                &format!("a:{}", &entry("", 7)[1..41]),
                KeyRingError::WrongLength {
                    entry: 1,
                    actual: 30,
                },
            ),
        ];
        for (text, expected) in cases {
            let error = KeyRing::parse(text).unwrap_err();
            assert_eq!(error, expected);
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("Canary"), "{shown}");
        }
    }

    #[test]
    fn promoting_moves_to_the_front_and_removing_spares_the_primary() {
        let [a, b, c] = ["a", "b", "c"].map(|id| KeyId::new(id).unwrap());
        let text = [entry("a", 1), entry("b", 2), entry("c", 3)].join(",");
        let mut ring = KeyRing::parse(&text).unwrap();
        ring.promote(&c).unwrap();
        assert_eq!(ids(&ring), ["c", "a", "b"]);
        assert_eq!(ring.remove(&c), Err(KeyRingError::IsPrimary(c)));
        ring.remove(&a).unwrap();
        assert_eq!(ring.promote(&a), Err(KeyRingError::UnknownKey(a)));
        ring.promote(&b).unwrap();
        assert_eq!(ids(&ring), ["b", "c"]);
    }

    // W-CRED-7
    #[test]
    fn debug_shows_ids_only() {
        let ring = KeyRing::parse(&entry("a", b'S')).unwrap();
        let shown = format!("{ring:?}");
        assert!(
            shown.contains('a') && !shown.contains("83") && !shown.contains("SSS"),
            "{shown}"
        );
        assert!(!shown.contains(&BASE64.encode([b'S'; ROOT_LEN])), "{shown}");
    }
}
