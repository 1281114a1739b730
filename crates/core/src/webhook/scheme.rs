//! How senders sign what they deliver, as data: the adapter that has cryptography acts on it.

use http::HeaderName;

/// How a sender proves that a delivery is its own.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignatureScheme {
    /// `X-Hub-Signature-256: sha256=HEX` over the body.
    Github,
    /// `Stripe-Signature: t=SECONDS,v1=HEX,..` over `t.body`.
    Stripe,
    /// `X-Zendesk-Webhook-Signature: BASE64` over timestamp and body.
    Zendesk,
    /// `X-Slack-Signature: v0=HEX` over `v0:timestamp:body`.
    Slack,
    /// `X-Shopify-Hmac-Sha256: BASE64` over the body.
    Shopify,
    /// Standard Webhooks: `webhook-signature: v1,BASE64 v1a,BASE64` over `id.timestamp.body`.
    Standard,
    /// Svix: as [`Standard`](Self::Standard), under `svix-` names.
    Svix,
    /// HTTP basic authentication with `username:password` as the secret. Signs nothing.
    Basic,
    /// An HMAC-SHA256 that is put together from parts.
    Hmac(HmacScheme),
}

impl SignatureScheme {
    /// The names [`named`](Self::named) knows.
    pub const NAMES: [&'static str; 8] = [
        "github", "stripe", "zendesk", "slack", "shopify", "standard", "svix", "basic",
    ];

    /// A scheme without settings, by its name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "github" => Self::Github,
            "stripe" => Self::Stripe,
            "zendesk" => Self::Zendesk,
            "slack" => Self::Slack,
            "shopify" => Self::Shopify,
            "standard" => Self::Standard,
            "svix" => Self::Svix,
            "basic" => Self::Basic,
            _ => return None,
        })
    }

    /// Whether it bounds the age of a delivery by a signed timestamp.
    #[must_use]
    pub fn is_timestamped(&self) -> bool {
        match self {
            Self::Github | Self::Shopify | Self::Basic => false,
            Self::Stripe | Self::Zendesk | Self::Slack | Self::Standard | Self::Svix => true,
            Self::Hmac(hmac) => hmac.template.contains(&TemplatePart::Timestamp),
        }
    }
}

/// How the bytes of a signature are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureEncoding {
    /// Hexadecimal in lower case.
    Hex,
    /// Base64 with padding, in the standard alphabet.
    Base64,
}

/// A part of what is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplatePart {
    /// As it stands.
    Literal(String),
    /// The seconds in the timestamp's header, as they stand there.
    Timestamp,
    /// The delivery's id.
    Id,
    /// The body.
    Body,
}

/// A configurable HMAC-SHA256.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HmacScheme {
    /// Where the signature is.
    pub header: HeaderName,
    /// What stands before it, `sha256=` for instance.
    pub prefix: String,
    /// How it is written.
    pub encoding: SignatureEncoding,
    /// What is signed.
    pub template: Vec<TemplatePart>,
    /// Where the timestamp is, in seconds since 1970.
    pub timestamp_header: HeaderName,
    /// Where the delivery's id is.
    pub id_header: HeaderName,
    /// Where the event's type is; else it is the body's `type`.
    pub event_header: Option<HeaderName>,
}

/// Settings that make no scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidScheme {
    /// There is none of this name.
    #[error(
        "`scheme` must be one of standard, svix, slack, shopify, github, stripe, zendesk, basic, hmac"
    )]
    Name,
    /// The setting of this name is not the name of a header.
    #[error("`{0}` must be the name of a header")]
    Header(&'static str),
    /// The encoding is none.
    #[error("`encoding` must be `hex` or `base64`")]
    Encoding,
    /// Nobody's body would be signed.
    #[error("`template` must contain `{{body}}`: whatever it leaves out could be forged")]
    WithoutBody,
    /// What stands in braces is not known, or a part is there twice.
    #[error("`template` may hold `{{timestamp}}`, `{{id}}` and `{{body}}`, each once")]
    Template,
}

impl SignatureScheme {
    /// The scheme that settings describe: `scheme`, and for `hmac` also `header`, `prefix`,
    /// `encoding`, `template`, `timestamp_header`, `id_header` and `event_header`.
    ///
    /// # Errors
    ///
    /// Returns [`InvalidScheme`] naming the setting that is wrong.
    pub fn from_settings<'a>(
        setting: impl Fn(&str) -> Option<&'a str>,
    ) -> Result<Self, InvalidScheme> {
        match setting("scheme").unwrap_or_default() {
            "hmac" => HmacScheme::from_settings(setting).map(Self::Hmac),
            name => Self::named(name).ok_or(InvalidScheme::Name),
        }
    }
}

impl HmacScheme {
    fn from_settings<'a>(setting: impl Fn(&str) -> Option<&'a str>) -> Result<Self, InvalidScheme> {
        let header = |name: &'static str| match setting(name).map(str::trim) {
            None | Some("") => Ok(None),
            Some(text) => HeaderName::try_from(text)
                .map(Some)
                .map_err(|_| InvalidScheme::Header(name)),
        };
        Ok(Self {
            header: header("header")?.ok_or(InvalidScheme::Header("header"))?,
            prefix: setting("prefix").unwrap_or_default().to_owned(),
            encoding: match setting("encoding").unwrap_or("hex") {
                "hex" => SignatureEncoding::Hex,
                "base64" => SignatureEncoding::Base64,
                _ => return Err(InvalidScheme::Encoding),
            },
            template: template(setting("template").unwrap_or("{body}"))?,
            timestamp_header: header("timestamp_header")?
                .unwrap_or(HeaderName::from_static("x-webhook-timestamp")),
            id_header: header("id_header")?.unwrap_or(HeaderName::from_static("x-webhook-id")),
            event_header: header("event_header")?,
        })
    }
}

/// Reads a template such as `{timestamp}.{body}`.
fn template(text: &str) -> Result<Vec<TemplatePart>, InvalidScheme> {
    let mut parts: Vec<TemplatePart> = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        let (literal, tail) = rest.split_at(open);
        let close = tail.find('}').ok_or(InvalidScheme::Template)?;
        let part = match &tail[1..close] {
            "timestamp" => TemplatePart::Timestamp,
            "id" => TemplatePart::Id,
            "body" => TemplatePart::Body,
            _ => return Err(InvalidScheme::Template),
        };
        if !literal.is_empty() {
            parts.push(TemplatePart::Literal(literal.to_owned()));
        }
        if parts.contains(&part) {
            return Err(InvalidScheme::Template);
        }
        parts.push(part);
        rest = &tail[close + 1..];
    }
    if !rest.is_empty() {
        parts.push(TemplatePart::Literal(rest.to_owned()));
    }
    if !parts.contains(&TemplatePart::Body) {
        return Err(InvalidScheme::WithoutBody);
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(settings: &[(&str, &'static str)]) -> Result<SignatureScheme, InvalidScheme> {
        SignatureScheme::from_settings(|name| {
            let found = settings.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| *value)
        })
    }

    #[test]
    fn every_name_is_a_scheme() {
        for name in SignatureScheme::NAMES {
            assert!(read(&[("scheme", name)]).is_ok(), "{name}");
        }
        assert_eq!(read(&[("scheme", "md5")]), Err(InvalidScheme::Name));
        assert_eq!(read(&[]), Err(InvalidScheme::Name));
    }

    #[test]
    fn an_hmac_is_put_together_from_its_settings() {
        let scheme = read(&[
            ("scheme", "hmac"),
            ("header", "X-Signature"),
            ("encoding", "base64"),
            ("template", "v1:{timestamp}.{body}"),
        ]);
        let Ok(SignatureScheme::Hmac(hmac)) = &scheme else {
            panic!("{scheme:?}");
        };
        let literal = |text: &str| TemplatePart::Literal(text.to_owned());
        assert_eq!(
            hmac.template,
            [
                literal("v1:"),
                TemplatePart::Timestamp,
                literal("."),
                TemplatePart::Body
            ]
        );
        assert_eq!(hmac.encoding, SignatureEncoding::Base64);
        assert!(scheme.unwrap().is_timestamped());
    }

    #[test]
    fn a_template_without_the_body_is_refused() {
        let hmac = |template: &'static str| {
            read(&[("scheme", "hmac"), ("header", "x"), ("template", template)]).unwrap_err()
        };
        assert_eq!(hmac("{timestamp}"), InvalidScheme::WithoutBody);
        assert_eq!(hmac("body"), InvalidScheme::WithoutBody);
        for wrong in ["{body}{body}", "{nonce}{body}", "{body", "{}{body}"] {
            assert_eq!(hmac(wrong), InvalidScheme::Template, "{wrong}");
        }
        let settings = [("scheme", "hmac"), ("header", "no header")];
        assert_eq!(read(&settings), Err(InvalidScheme::Header("header")));
    }
}
