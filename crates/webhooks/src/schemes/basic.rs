//! HTTP basic authentication, RFC 7617.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use integrations_core::webhook::Inbound;

use super::{Refusal, parts::header};

/// `username:password` as the request shows them.
pub(super) fn credentials(request: &Inbound<'_>) -> Result<Vec<u8>, Refusal> {
    let value = header(request, http::header::AUTHORIZATION)?;
    let (scheme, text) = value.split_once(' ').ok_or(Refusal::MalformedHeader)?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(Refusal::MalformedHeader);
    }
    STANDARD
        .decode(text.trim())
        .map_err(|_| Refusal::MalformedSignature)
}
