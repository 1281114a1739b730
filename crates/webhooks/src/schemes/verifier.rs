//! Verifying what a request presents, with the secrets of an account.

use std::{borrow::Cow, fmt, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::{DateTime, Utc};
use integrations_core::{
    time::{earlier, later},
    webhook::{Inbound, SignatureScheme, WebhookSecret, WebhookSecrets},
};
use ring::{hmac, signature};
use secrecy::ExposeSecret as _;

use super::{
    Refusal, basic,
    presented::{Presented, Signature},
};

/// How old a timestamp may be, and how far ahead, unless told otherwise.
pub const TIMESTAMP_TOLERANCE: Duration = Duration::from_mins(5);

/// A scheme with the secrets of an account.
///
/// `Debug` shows no secret.
pub struct Verifier {
    scheme: SignatureScheme,
    keys: Vec<Key>,
}

struct Key {
    kind: KeyKind,
    until: Option<DateTime<Utc>>,
}

enum KeyKind {
    HmacSha256(hmac::Key),
    Ed25519(Vec<u8>),
    /// Compares a secret that is shown as it is.
    Shown(ShownSecret),
}

/// A secret that senders show, compared in constant time by HMACs under itself.
pub(crate) struct ShownSecret {
    key: hmac::Key,
    tag: hmac::Tag,
}

impl ShownSecret {
    pub(crate) fn new(secret: &[u8]) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let tag = hmac::sign(&key, secret);
        Self { key, tag }
    }

    pub(crate) fn is(&self, shown: &[u8]) -> bool {
        hmac::verify(&self.key, shown, self.tag.as_ref()).is_ok()
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("scheme", &self.scheme)
            .field("secrets", &self.keys.len())
            .finish_non_exhaustive()
    }
}

/// A request whose signature is genuine.
#[derive(Debug)]
pub struct Verified<'a> {
    /// The exact bytes that are signed; the body where nothing is.
    pub signed: Cow<'a, [u8]>,
    /// When it was signed, where the signature covers that.
    pub at: Option<DateTime<Utc>>,
}

impl Verifier {
    /// A verifier for `scheme` with `secrets`.
    ///
    /// # Errors
    ///
    /// Returns [`Refusal::UnusableSecret`] where one of them is not of the scheme's form.
    pub fn new(scheme: SignatureScheme, secrets: &WebhookSecrets) -> Result<Self, Refusal> {
        let key = |secret: &WebhookSecret| {
            Ok(Key {
                kind: key_kind(&scheme, secret.value.expose_secret())?,
                until: secret.until,
            })
        };
        let keys = secrets.iter().map(key).collect::<Result<_, _>>()?;
        Ok(Self { scheme, keys })
    }

    /// The scheme.
    #[must_use]
    pub fn scheme(&self) -> &SignatureScheme {
        &self.scheme
    }

    /// Decides whether a request is genuine. A signed timestamp may be off by `tolerance`, usually
    /// [`TIMESTAMP_TOLERANCE`], on both sides.
    ///
    /// # Errors
    ///
    /// Returns the [`Refusal`].
    pub fn verify<'a>(
        &self,
        request: &Inbound<'a>,
        now: DateTime<Utc>,
        tolerance: Duration,
    ) -> Result<Verified<'a>, Refusal> {
        let mut keys = self.keys_at(now).peekable();
        if keys.peek().is_none() {
            return Err(Refusal::ExpiredSecret);
        }
        if self.scheme == SignatureScheme::Basic {
            let shown = basic::credentials(request)?;
            let fits = keys.any(|key| matches!(key, KeyKind::Shown(secret) if secret.is(&shown)));
            return fits
                .then_some(Verified {
                    signed: Cow::Borrowed(request.body),
                    at: None,
                })
                .ok_or(Refusal::Mismatch);
        }
        let presented = Presented::read(&self.scheme, request)?;
        if let Some(at) = presented.at {
            if at < earlier(now, tolerance) {
                return Err(Refusal::Stale);
            }
            if at > later(now, tolerance) {
                return Err(Refusal::Ahead);
            }
        }
        if keys.any(|key| key.verifies(&presented)) {
            Ok(Verified {
                signed: presented.signed,
                at: presented.at,
            })
        } else {
            Err(Refusal::Mismatch)
        }
    }

    fn keys_at(&self, now: DateTime<Utc>) -> impl Iterator<Item = &KeyKind> {
        let counts = move |key: &&Key| key.until.is_none_or(|until| now < until);
        self.keys.iter().filter(counts).map(|key| &key.kind)
    }
}

/// Whether `token` is one of the secrets, as handshakes show them.
pub(crate) fn is_one_of(secrets: &WebhookSecrets, token: &str, now: DateTime<Utc>) -> bool {
    let mut secrets = secrets.iter().filter(|secret| secret.counts_at(now));
    secrets.any(|secret| {
        ShownSecret::new(secret.value.expose_secret().as_bytes()).is(token.as_bytes())
    })
}

impl KeyKind {
    fn verifies(&self, presented: &Presented<'_>) -> bool {
        match self {
            Self::HmacSha256(key) => {
                let tags = presented.signatures.iter().filter_map(|s| match s {
                    Signature::HmacSha256(tag) => Some(tag),
                    Signature::Ed25519(_) => None,
                });
                // The bytes are hashed once, however many signatures there are.
                let mut expected = None;
                tags.into_iter().any(|tag| {
                    let expected = expected.get_or_insert_with(|| {
                        let tag = hmac::sign(key, &presented.signed);
                        ShownSecret::new(tag.as_ref())
                    });
                    expected.is(tag)
                })
            }
            Self::Ed25519(key) => presented.signatures.iter().any(|s| match s {
                Signature::Ed25519(tag) => {
                    let key = signature::UnparsedPublicKey::new(&signature::ED25519, key);
                    key.verify(&presented.signed, tag).is_ok()
                }
                Signature::HmacSha256(_) => false,
            }),
            Self::Shown(_) => false,
        }
    }
}

fn key_kind(scheme: &SignatureScheme, secret: &str) -> Result<KeyKind, Refusal> {
    let hmac_key = |bytes: &[u8]| KeyKind::HmacSha256(hmac::Key::new(hmac::HMAC_SHA256, bytes));
    match scheme {
        SignatureScheme::Basic => {
            // Without a name or without a password nothing would be proved.
            let (name, password) = secret.split_once(':').ok_or(Refusal::UnusableSecret)?;
            if name.is_empty() || password.is_empty() {
                return Err(Refusal::UnusableSecret);
            }
            Ok(KeyKind::Shown(ShownSecret::new(secret.as_bytes())))
        }
        SignatureScheme::Standard | SignatureScheme::Svix => {
            let decode = |text: &str| {
                let bytes = STANDARD.decode(text).map_err(|_| Refusal::UnusableSecret)?;
                (!bytes.is_empty())
                    .then_some(bytes)
                    .ok_or(Refusal::UnusableSecret)
            };
            if let Some(public) = secret.strip_prefix("whpk_") {
                let key = decode(public)?;
                return (key.len() == signature::ED25519_PUBLIC_KEY_LEN)
                    .then_some(KeyKind::Ed25519(key))
                    .ok_or(Refusal::UnusableSecret);
            }
            let text = secret.strip_prefix("whsec_").unwrap_or(secret);
            Ok(hmac_key(&decode(text)?))
        }
        _ => Ok(hmac_key(secret.as_bytes())),
    }
}
