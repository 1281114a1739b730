//! Who is asking.

use http::{HeaderMap, header};
use ring::digest;

/// A digest that lets tokens be compared without keeping them.
pub(super) type TokenDigest = [u8; digest::SHA256_OUTPUT_LEN];

/// Who a request is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// No credentials were sent.
    Anonymous,
    /// A token the twin accepts.
    Known,
    /// Credentials the twin does not accept.
    Unknown,
}

/// The tokens that are accepted.
#[derive(Debug)]
pub(super) struct Tokens(Vec<TokenDigest>);

impl Tokens {
    pub(super) fn new(tokens: &[String]) -> Self {
        Self(tokens.iter().map(|token| token_digest(token)).collect())
    }

    pub(super) fn accept(&mut self, token: &str) {
        self.0.push(token_digest(token));
    }

    pub(super) fn revoke(&mut self, token: &str) {
        let revoked = token_digest(token);
        self.0.retain(|accepted| *accepted != revoked);
    }

    pub(super) fn identify(&self, headers: &HeaderMap) -> Caller {
        if !headers.contains_key(header::AUTHORIZATION) {
            return Caller::Anonymous;
        }
        match sent_token(headers) {
            Some(token) if self.0.contains(&token) => Caller::Known,
            _ => Caller::Unknown,
        }
    }
}

/// The digest of the token sent as `Bearer x` or `token x`.
pub(super) fn sent_token(headers: &HeaderMap) -> Option<TokenDigest> {
    let (scheme, token) = headers
        .get(header::AUTHORIZATION)?
        .to_str()
        .ok()?
        .split_once(' ')?;
    let known = ["bearer", "token"]
        .iter()
        .any(|name| scheme.eq_ignore_ascii_case(name));
    known.then(|| token_digest(token.trim()))
}

pub(super) fn token_digest(token: &str) -> TokenDigest {
    let mut bytes = TokenDigest::default();
    bytes.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
    bytes
}
