//! Which headers are kept.

use http::{HeaderMap, HeaderName};
use integrations_core::{redact::Redactor, webhook::SignatureScheme};

/// Kept by name.
const KEPT: [&str; 12] = [
    "accept",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "user-agent",
    "webhook-id",
    "webhook-timestamp",
    "svix-id",
    "svix-timestamp",
    "x-request-id",
    "traceparent",
];

/// Kept by how their names begin: what senders say of a delivery.
const KEPT_PREFIXES: [&str; 9] = [
    "ce-",
    "x-event-",
    "x-github-",
    "x-gitlab-",
    "x-postmark-",
    "x-shopify-",
    "x-slack-",
    "x-webhook-",
    "x-zendesk-",
];

/// Never kept, whatever else is said: what proves, and what gives access.
const SECRET_WORDS: [&str; 10] = [
    "authorization",
    "cookie",
    "credential",
    "hmac",
    "key",
    "password",
    "secret",
    "session",
    "signature",
    "token",
];

/// The headers to keep, in their order. What is a secret in their values is replaced.
pub(super) fn kept(
    headers: &HeaderMap,
    scheme: &SignatureScheme,
    also: &[HeaderName],
    redactor: &Redactor,
) -> Vec<(String, String)> {
    let of_scheme = |name: &HeaderName| match scheme {
        SignatureScheme::Hmac(hmac) => {
            *name == hmac.id_header
                || *name == hmac.timestamp_header
                || hmac.event_header.as_ref() == Some(name)
        }
        _ => false,
    };
    let is_kept = |name: &HeaderName| {
        let text = name.as_str();
        let wanted = KEPT.contains(&text)
            || KEPT_PREFIXES.iter().any(|prefix| text.starts_with(prefix))
            || of_scheme(name)
            || also.contains(name);
        wanted && !SECRET_WORDS.iter().any(|word| text.contains(word))
    };
    headers
        .iter()
        .filter(|(name, value)| is_kept(name) && !value.is_sensitive())
        .filter_map(|(name, value)| {
            let text = std::str::from_utf8(value.as_bytes()).ok()?;
            let redacted = redactor.header(name.as_str(), text);
            Some((name.as_str().to_owned(), redacted.into_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    // W-WH-7, W-WH-10
    #[test]
    fn what_proves_or_gives_access_is_never_kept() {
        let mut headers = HeaderMap::new();
        let mut add = |name: &'static str, value: &'static str| {
            headers.append(name, HeaderValue::from_static(value));
        };
        add("content-type", "application/json");
        add("x-github-event", "issues");
        add("x-event-part", "1");
        add("x-event-part", "2");
        add("x-event-note", "sent by a-canary, Bearer abcdefgh12345678");
        for secret in [
            "authorization",
            "cookie",
            "x-hub-signature-256",
            "x-gitlab-token",
            "x-shopify-hmac-sha256",
            "x-slack-signature",
            "x-zendesk-webhook-signature",
            "x-webhook-secret",
            "x-forwarded-for",
        ] {
            add(secret, "canary");
        }
        let also = [HeaderName::from_static("x-webhook-secret")];
        let redactor = Redactor::new(Vec::new(), &["a-canary".into()]);
        let kept = kept(&headers, &SignatureScheme::Github, &also, &redactor);
        assert!(kept.iter().all(|(_, value)| value != "canary"), "{kept:?}");
        let names: Vec<&str> = kept.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            [
                "content-type",
                "x-github-event",
                "x-event-part",
                "x-event-part",
                "x-event-note"
            ]
        );
        let (_, note) = &kept[4];
        assert_eq!(note, "sent by [REDACTED], Bearer [REDACTED]");
    }
}
