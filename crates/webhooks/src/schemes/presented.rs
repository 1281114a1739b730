//! What a request presents as its signature, scheme by scheme.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use http::HeaderName;
use integrations_core::webhook::{
    HmacScheme, Inbound, SignatureEncoding, SignatureScheme, TemplatePart,
};

use super::{
    Refusal,
    parts::{base64_bytes, base64_tag, header, hex_tag, joined, rfc3339, seconds},
};

/// More than senders put into one header while they change keys.
const MAX_SIGNATURES: usize = 16;

/// Bytes of an Ed25519 signature.
const ED25519: usize = 64;

/// Signatures, and what they are said to be of.
#[derive(Debug)]
pub(super) struct Presented<'a> {
    /// The exact bytes that are signed.
    pub(super) signed: Cow<'a, [u8]>,
    /// One of these must verify.
    pub(super) signatures: Vec<Signature>,
    /// When it was signed, where the signature covers that.
    pub(super) at: Option<DateTime<Utc>>,
}

/// A signature in bytes.
#[derive(Debug)]
pub(super) enum Signature {
    HmacSha256(Vec<u8>),
    Ed25519(Vec<u8>),
}

impl<'a> Presented<'a> {
    fn body(request: &Inbound<'a>, tag: Vec<u8>) -> Self {
        Self {
            signed: Cow::Borrowed(request.body),
            signatures: vec![Signature::HmacSha256(tag)],
            at: None,
        }
    }

    fn timestamped(signed: Vec<u8>, tag: Vec<u8>, at: DateTime<Utc>) -> Self {
        Self {
            signed: Cow::Owned(signed),
            signatures: vec![Signature::HmacSha256(tag)],
            at: Some(at),
        }
    }

    /// Reads what `request` presents. [`SignatureScheme::Basic`] signs nothing and is not for here.
    pub(super) fn read(scheme: &SignatureScheme, request: &Inbound<'a>) -> Result<Self, Refusal> {
        match scheme {
            SignatureScheme::Github => github(request),
            SignatureScheme::Stripe => stripe(request),
            SignatureScheme::Zendesk => zendesk(request),
            SignatureScheme::Slack => slack(request),
            SignatureScheme::Shopify => shopify(request),
            SignatureScheme::Svix if request.headers.contains_key(&SVIX.signature) => {
                standard(request, &SVIX)
            }
            SignatureScheme::Standard | SignatureScheme::Svix => standard(request, &STANDARD),
            SignatureScheme::Hmac(parts) => hmac(request, parts),
            _ => Err(Refusal::NoScheme),
        }
    }
}

/// <https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries>
fn github<'a>(request: &Inbound<'a>) -> Result<Presented<'a>, Refusal> {
    let value = header(request, "x-hub-signature-256")?;
    let tag = value
        .strip_prefix("sha256=")
        .ok_or(Refusal::MalformedHeader)?;
    Ok(Presented::body(request, hex_tag(tag)?))
}

/// <https://shopify.dev/docs/apps/build/webhooks/subscribe/https#step-2-validate-the-origin-of-your-webhook-to-ensure-its-coming-from-shopify>
fn shopify<'a>(request: &Inbound<'a>) -> Result<Presented<'a>, Refusal> {
    let tag = base64_tag(header(request, "x-shopify-hmac-sha256")?)?;
    Ok(Presented::body(request, tag))
}

/// <https://docs.stripe.com/webhooks/signature>
fn stripe<'a>(request: &Inbound<'a>) -> Result<Presented<'a>, Refusal> {
    let value = header(request, "stripe-signature")?;
    let mut timestamp = None;
    let mut signatures = Vec::new();
    for part in value.split(',') {
        let (name, value) = part.split_once('=').ok_or(Refusal::MalformedHeader)?;
        match name.trim() {
            "t" if timestamp.is_some() => return Err(Refusal::RepeatedPart),
            "t" => timestamp = Some(value),
            "v1" if signatures.len() == MAX_SIGNATURES => return Err(Refusal::TooManySignatures),
            "v1" => signatures.push(Signature::HmacSha256(hex_tag(value)?)),
            // Schemes of Stripe's that are not meant for us, `v0` for instance.
            _ => {}
        }
    }
    let timestamp = timestamp.ok_or(Refusal::MalformedTimestamp)?;
    if signatures.is_empty() {
        return Err(Refusal::NoSignature);
    }
    Ok(Presented {
        signed: Cow::Owned(joined(&[timestamp.as_bytes(), b".", request.body])),
        signatures,
        at: Some(seconds(timestamp)?),
    })
}

/// <https://docs.slack.dev/authentication/verifying-requests-from-slack>
fn slack<'a>(request: &Inbound<'a>) -> Result<Presented<'a>, Refusal> {
    let timestamp = header(request, "x-slack-request-timestamp")?;
    let value = header(request, "x-slack-signature")?;
    let tag = value.strip_prefix("v0=").ok_or(Refusal::NoSignature)?;
    let signed = joined(&[b"v0:", timestamp.as_bytes(), b":", request.body]);
    let (tag, at) = (hex_tag(tag)?, seconds(timestamp)?);
    Ok(Presented::timestamped(signed, tag, at))
}

/// <https://developer.zendesk.com/documentation/webhooks/verifying/>
fn zendesk<'a>(request: &Inbound<'a>) -> Result<Presented<'a>, Refusal> {
    let timestamp = header(request, "x-zendesk-webhook-signature-timestamp")?;
    let tag = base64_tag(header(request, "x-zendesk-webhook-signature")?)?;
    let signed = joined(&[timestamp.as_bytes(), request.body]);
    Ok(Presented::timestamped(signed, tag, rfc3339(timestamp)?))
}

/// The headers of Standard Webhooks under their names.
struct StandardHeaders {
    id: HeaderName,
    timestamp: HeaderName,
    signature: HeaderName,
}

/// <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>
const STANDARD: StandardHeaders = StandardHeaders {
    id: HeaderName::from_static("webhook-id"),
    timestamp: HeaderName::from_static("webhook-timestamp"),
    signature: HeaderName::from_static("webhook-signature"),
};

/// <https://docs.svix.com/receiving/verifying-payloads/how-manual>
const SVIX: StandardHeaders = StandardHeaders {
    id: HeaderName::from_static("svix-id"),
    timestamp: HeaderName::from_static("svix-timestamp"),
    signature: HeaderName::from_static("svix-signature"),
};

fn standard<'a>(request: &Inbound<'a>, names: &StandardHeaders) -> Result<Presented<'a>, Refusal> {
    let id = header(request, &names.id)?;
    let timestamp = header(request, &names.timestamp)?;
    let value = header(request, &names.signature)?;
    // A full stop separates what is signed: within an id it could move the boundary.
    if id.contains('.') {
        return Err(Refusal::MalformedHeader);
    }
    let mut signatures = Vec::new();
    for part in value.split(' ').filter(|part| !part.is_empty()) {
        let (version, text) = part.split_once(',').ok_or(Refusal::MalformedHeader)?;
        if signatures.len() == MAX_SIGNATURES {
            return Err(Refusal::TooManySignatures);
        }
        match version {
            "v1" => signatures.push(Signature::HmacSha256(base64_tag(text)?)),
            "v1a" => signatures.push(Signature::Ed25519(base64_bytes(text, ED25519)?)),
            // Versions to come may stand beside those we know.
            _ => {}
        }
    }
    if signatures.is_empty() {
        return Err(Refusal::NoSignature);
    }
    let parts: [&[u8]; 5] = [
        id.as_bytes(),
        b".",
        timestamp.as_bytes(),
        b".",
        request.body,
    ];
    Ok(Presented {
        signed: Cow::Owned(joined(&parts)),
        signatures,
        at: Some(seconds(timestamp)?),
    })
}

fn hmac<'a>(request: &Inbound<'a>, scheme: &HmacScheme) -> Result<Presented<'a>, Refusal> {
    let value = header(request, &scheme.header)?;
    let text = value
        .strip_prefix(scheme.prefix.as_str())
        .ok_or(Refusal::MalformedHeader)?;
    let tag = match scheme.encoding {
        SignatureEncoding::Hex => hex_tag(text)?,
        SignatureEncoding::Base64 => base64_tag(text)?,
    };
    if scheme.template == [TemplatePart::Body] {
        return Ok(Presented::body(request, tag));
    }
    let mut at = None;
    let mut parts: Vec<&[u8]> = Vec::with_capacity(scheme.template.len());
    for part in &scheme.template {
        parts.push(match part {
            TemplatePart::Literal(text) => text.as_bytes(),
            TemplatePart::Body => request.body,
            TemplatePart::Id => header(request, &scheme.id_header)?.as_bytes(),
            TemplatePart::Timestamp => {
                let text = header(request, &scheme.timestamp_header)?;
                at = Some(seconds(text)?);
                text.as_bytes()
            }
        });
    }
    Ok(Presented {
        signed: Cow::Owned(joined(&parts)),
        signatures: vec![Signature::HmacSha256(tag)],
        at,
    })
}
