//! Reading signatures, timestamps and headers, strictly.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::{DateTime, Utc};
use http::header::AsHeaderName;
use integrations_core::webhook::Inbound;

use super::Refusal;

/// Longer than any sender's, and short enough to be read by anybody.
const MAX_HEADER: usize = 8 * 1024;

/// Bytes of an HMAC-SHA256.
const TAG: usize = 32;

/// A header that must be there, once, as text.
pub(super) fn header<'a>(
    request: &Inbound<'a>,
    name: impl AsHeaderName,
) -> Result<&'a str, Refusal> {
    let mut values = request.headers.get_all(name).iter();
    let value = values.next().ok_or(Refusal::MissingHeader)?;
    if values.next().is_some() {
        return Err(Refusal::RepeatedHeader);
    }
    let text = value.to_str().map_err(|_| Refusal::MalformedHeader)?;
    if text.is_empty() || text.len() > MAX_HEADER {
        return Err(Refusal::MalformedHeader);
    }
    Ok(text)
}

/// An HMAC-SHA256 in lower-case hexadecimal.
pub(super) fn hex_tag(text: &str) -> Result<Vec<u8>, Refusal> {
    let is_lower = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if !is_lower || text.len() != 2 * TAG {
        return Err(Refusal::MalformedSignature);
    }
    hex::decode(text).map_err(|_| Refusal::MalformedSignature)
}

/// An HMAC-SHA256 in base64, padded and canonical.
pub(super) fn base64_tag(text: &str) -> Result<Vec<u8>, Refusal> {
    base64_bytes(text, TAG)
}

/// So many bytes in base64, padded and canonical.
pub(super) fn base64_bytes(text: &str, length: usize) -> Result<Vec<u8>, Refusal> {
    let bytes = STANDARD
        .decode(text)
        .map_err(|_| Refusal::MalformedSignature)?;
    (bytes.len() == length)
        .then_some(bytes)
        .ok_or(Refusal::MalformedSignature)
}

/// Whole seconds since 1970, in digits alone.
pub(super) fn seconds(text: &str) -> Result<DateTime<Utc>, Refusal> {
    let is_number = (1..=12).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    let at = is_number.then(|| text.parse().ok()).flatten();
    at.and_then(|seconds| DateTime::from_timestamp(seconds, 0))
        .ok_or(Refusal::MalformedTimestamp)
}

/// An instant in whole seconds as of RFC 3339.
pub(super) fn rfc3339(text: &str) -> Result<DateTime<Utc>, Refusal> {
    if text.contains(['.', ',']) {
        return Err(Refusal::MalformedTimestamp);
    }
    DateTime::parse_from_rfc3339(text)
        .map(|at| at.to_utc())
        .map_err(|_| Refusal::MalformedTimestamp)
}

/// `parts` one after the other.
pub(super) fn joined(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}
