//! The text form of a sealed value: `v1.<key id>.<base64url of salt, nonce, ciphertext and tag>`.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use integrations_core::{
    encryptor::{EncryptionError, Sealed},
    value::KeyId,
};

/// Bytes of the salt that an envelope's key is derived with.
pub(crate) const SALT_LEN: usize = 32;
/// Bytes of the AES-GCM nonce.
pub(crate) const NONCE_LEN: usize = 12;
/// Bytes of the AES-GCM tag.
const TAG_LEN: usize = 16;

const VERSION: &str = "v1";

/// The parts of an envelope. None of them is secret.
pub(crate) struct Envelope {
    pub(crate) key_id: KeyId,
    pub(crate) salt: [u8; SALT_LEN],
    pub(crate) nonce: [u8; NONCE_LEN],
    /// Ends with the tag.
    pub(crate) ciphertext: Vec<u8>,
}

impl Envelope {
    pub(crate) fn to_sealed(&self) -> Sealed {
        let payload = [&self.salt[..], &self.nonce, &self.ciphertext].concat();
        let payload = URL_SAFE_NO_PAD.encode(payload);
        Sealed::from_text(format!("{VERSION}.{}.{payload}", self.key_id))
    }

    /// Takes an envelope apart.
    ///
    /// The engine refuses padding and stray trailing bits, so that each value has one text form.
    pub(crate) fn parse(sealed: &Sealed) -> Result<Self, EncryptionError> {
        Self::from_text(sealed.as_str()).ok_or(EncryptionError::Malformed)
    }

    fn from_text(text: &str) -> Option<Self> {
        let (version, rest) = text.split_once('.')?;
        let (key_id, payload) = rest.split_once('.')?;
        if version != VERSION {
            return None;
        }
        let key_id = KeyId::new(key_id).ok()?;
        let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
        let (salt, rest) = payload.split_first_chunk()?;
        let (nonce, ciphertext) = rest.split_first_chunk()?;
        let complete = ciphertext.len() >= TAG_LEN;
        complete.then(|| Self {
            key_id,
            salt: *salt,
            nonce: *nonce,
            ciphertext: ciphertext.to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope() -> Envelope {
        Envelope {
            key_id: KeyId::new("k1").unwrap(),
            salt: [1; SALT_LEN],
            nonce: [2; NONCE_LEN],
            ciphertext: vec![3; TAG_LEN + 1],
        }
    }

    #[test]
    fn text_round_trips() {
        let text = envelope().to_sealed();
        let parsed = Envelope::parse(&text).unwrap();
        assert_eq!(parsed.to_sealed(), text);
        assert_eq!(text.key_id(), Some(parsed.key_id));
    }

    #[test]
    fn what_is_no_envelope_is_malformed() {
        let good = envelope().to_sealed().as_str().to_owned();
        let short = URL_SAFE_NO_PAD.encode([0; SALT_LEN + NONCE_LEN + TAG_LEN - 1]);
        let cases = [
            String::new(),
            "v1".to_owned(),
            "v1.k1".to_owned(),
            "v1.k1.".to_owned(),
            format!("v1.k1.{short}"),
            good.replacen("v1", "v2", 1),
            good.replacen("k1", "", 1),
            good.replacen("k1", "k 1", 1),
            format!("{good}="),
            format!("{good}\n"),
            format!(" {good}"),
            good.replacen("v1.k1.", "v1.k1..", 1),
        ];
        for text in cases {
            let parsed = Envelope::parse(&Sealed::from_text(text.clone()));
            assert_eq!(parsed.err(), Some(EncryptionError::Malformed), "{text:?}");
        }
    }

    #[test]
    fn stray_trailing_bits_are_malformed() {
        // 61 bytes leave one byte in the last group: two characters whose last four bits are 0.
        let good = envelope().to_sealed().as_str().to_owned();
        let (head, last) = good.split_at(good.len() - 1);
        assert_eq!(last, "w", "0x03 ends in `Aw`");
        let stray = format!("{head}x");
        assert!(Envelope::parse(&Sealed::from_text(stray)).is_err());
    }
}
