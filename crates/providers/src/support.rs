//! What the providers do alike.

use integrations_core::value::ProviderKey;

#[cfg(any(
    feature = "github",
    feature = "stripe",
    feature = "zendesk",
    feature = "postmark"
))]
pub(crate) use credential::{required, secret_header};

/// The key a provider is registered under.
#[expect(
    clippy::expect_used,
    reason = "the providers' own literals are valid keys, as their tests show"
)]
pub(crate) fn key(literal: &'static str) -> ProviderKey {
    ProviderKey::new(literal).expect("a literal that is a provider key")
}

/// For providers that have an API.
#[cfg(any(
    feature = "github",
    feature = "stripe",
    feature = "zendesk",
    feature = "postmark"
))]
mod credential {
    use http::HeaderValue;
    use integrations_core::provider::{Account, ProviderError};
    use secrecy::{ExposeSecret as _, SecretString};

    /// A credential that has to be there.
    pub(crate) fn required<'a>(
        account: &Account<'a>,
        name: &'static str,
    ) -> Result<&'a SecretString, ProviderError> {
        account
            .credential(name)
            .ok_or(ProviderError::MissingCredential(name))
    }

    /// A header that holds a credential, behind `scheme`. Blanks around it are nobody's token.
    pub(crate) fn secret_header(
        scheme: &str,
        credential: &SecretString,
        name: &'static str,
    ) -> Result<HeaderValue, ProviderError> {
        let text = format!("{scheme}{}", credential.expose_secret().trim());
        let value = HeaderValue::try_from(text);
        let mut value = value.map_err(|_| ProviderError::UnusableCredential(name))?;
        value.set_sensitive(true);
        Ok(value)
    }
}
