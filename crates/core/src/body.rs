//! Bodies as the log keeps them: redacted, cut, and always text.

use sha2::{Digest as _, Sha256};

use crate::redact::Redactor;

/// How much of a body the log keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyCaps {
    /// Bytes of a request body (LOG-03).
    pub request: usize,
    /// Bytes of an answer's body.
    pub response: usize,
}

impl Default for BodyCaps {
    fn default() -> Self {
        Self {
            request: 65_530,
            response: 65_530,
        }
    }
}

/// The text to log of a body; `None` for an empty one.
///
/// What is not UTF-8 becomes a marker with length and SHA-256, what could not be redacted one with
/// its length;
/// what is longer than `cap` is cut so that it fits with its marker (LOG-06, LOG-08). Never fails.
#[must_use]
pub fn logged(
    body: &[u8],
    content_type: Option<&str>,
    redactor: &Redactor,
    cap: usize,
) -> Option<String> {
    if body.is_empty() {
        return None;
    }
    let text = match std::str::from_utf8(body) {
        Ok(text) if !text.contains('\0') => text,
        _ => return Some(binary(body)),
    };
    let Some(redacted) = redactor.body(text, content_type) else {
        // No digest: that of a short form with a password in it could be guessed.
        return Some(format!("[unredactable body: {} bytes]", body.len()));
    };
    Some(cut(&redacted, cap))
}

fn binary(body: &[u8]) -> String {
    use std::fmt::Write as _;
    let digest = Sha256::digest(body)
        .iter()
        .fold(String::with_capacity(64), |mut hex, byte| {
            // Writing to a String cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        });
    format!("[binary body: {} bytes, sha256 {digest}]", body.len())
}

fn cut(text: &str, cap: usize) -> String {
    if text.len() <= cap {
        return text.to_owned();
    }
    let marker = format!("[cut: {} bytes in all]", text.len());
    let end = text.floor_char_boundary(cap.saturating_sub(marker.len()));
    format!("{}{marker}", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::JsonPath;

    fn plain() -> Redactor {
        Redactor::new(Vec::new(), &[])
    }

    // LOG-06, L-REQ-1
    #[test]
    fn binary_bodies_become_a_marker() {
        let text = logged(b"\x89PNG\r\n\x1a\n", None, &plain(), 1000).unwrap();
        assert_eq!(
            text,
            "[binary body: 8 bytes, sha256 \
             4c4b6a3be1314ab86138bef4314dde022e600960d8689a2c8f8631802d20dab6]"
        );
        assert!(
            logged(b"a\0b", None, &plain(), 1000)
                .unwrap()
                .starts_with("[binary body: 3 bytes")
        );
    }

    // LOG-08
    #[test]
    fn long_bodies_are_cut_with_their_marker_inside_the_cap() {
        let body = "ä".repeat(100);
        let text = logged(body.as_bytes(), None, &plain(), 50).unwrap();
        assert!(
            text.len() <= 50 && text.ends_with("[cut: 200 bytes in all]"),
            "{text}"
        );
        assert_eq!(logged(body.as_bytes(), None, &plain(), 200).unwrap(), body);
    }

    // W-RED-1
    #[test]
    fn unredactable_bodies_are_not_kept() {
        let redactor = Redactor::new(vec![JsonPath::parse("$.a").unwrap()], &[]);
        let text = logged(b"<xml>secret</xml>", None, &redactor, 1000).unwrap();
        assert_eq!(text, "[unredactable body: 17 bytes]");
    }

    #[test]
    fn empty_bodies_are_none() {
        assert_eq!(logged(b"", None, &plain(), 10), None);
    }
}
