//! Payloads as columns: text, or base64 of what is no text.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use integrations_core::sync::Payload;

/// What `payload_encoding` says of text.
pub(super) const UTF8: &str = "utf8";
/// What `payload_encoding` says of bytes.
pub(super) const BASE64: &str = "base64";

/// `payload_encoding` and `payload`.
pub(super) fn encode(payload: &Payload) -> (&'static str, Cow<'_, str>) {
    match payload {
        Payload::Text(text) => (UTF8, Cow::Borrowed(text)),
        Payload::Binary(bytes) => (BASE64, Cow::Owned(STANDARD.encode(bytes))),
    }
}

/// Reads what [`encode`] wrote; `None` for anything else.
pub(super) fn decode(encoding: &str, text: String) -> Option<Payload> {
    match encoding {
        UTF8 => Some(Payload::Text(text)),
        BASE64 => STANDARD.decode(text).ok().map(Payload::Binary),
        _ => None,
    }
}

/// Lower-case hex, the form in which bytes go into a list of entries.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;

    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_round_trip() {
        for bytes in [&b"{\"a\": 1}"[..], b"", b"\0", b"\xff\xfe"] {
            let payload = Payload::from_bytes(bytes.to_vec());
            let (encoding, text) = encode(&payload);
            assert!(!text.contains('\0'));
            assert_eq!(decode(encoding, text.into_owned()), Some(payload));
        }
    }

    #[test]
    fn an_encoding_of_a_newer_version_is_not_guessed() {
        assert_eq!(decode("zstd", "text".to_owned()), None);
    }

    #[test]
    fn hex_keeps_leading_zeros() {
        assert_eq!(hex(&[0, 0x0f, 0xa0]), "000fa0");
    }
}
