//! An account as a provider sees it: settings and opened credentials.

use std::{collections::BTreeMap, fmt};

use secrecy::{ExposeSecret, SecretSlice, SecretString};
use serde_json::Value as Json;

use crate::integration::Integration;

/// Opened credentials: named secret texts.
///
/// `Debug` shows names only, and there is no way to serialise them but
/// [`to_secret_json`](Self::to_secret_json), whose result is a secret again.
#[derive(Clone, Default)]
pub struct Credentials(BTreeMap<String, SecretString>);

/// What was sealed is not an object of texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the opened credentials are not an object of texts")]
pub struct CredentialsFormatError;

impl Credentials {
    /// No credentials.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a credential in place of one of that name.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<SecretString>) {
        self.0.insert(name.into(), value.into());
    }

    /// The same with one more credential.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<SecretString>) -> Self {
        self.set(name, value);
        self
    }

    /// Forgets a credential.
    pub fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// A credential that is there and not blank.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&SecretString> {
        self.0
            .get(name)
            .filter(|value| !value.expose_secret().trim().is_empty())
    }

    /// The names of all of them.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Every value, for the redactor.
    pub fn values(&self) -> impl Iterator<Item = &SecretString> {
        self.0.values()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The JSON object to seal.
    #[must_use]
    pub fn to_secret_json(&self) -> SecretSlice<u8> {
        let plain: BTreeMap<&str, &str> = self
            .0
            .iter()
            .map(|(name, value)| (name.as_str(), value.expose_secret()))
            .collect();
        // A map of texts always serialises.
        SecretSlice::from(serde_json::to_vec(&plain).unwrap_or_default())
    }

    /// Reads what was sealed.
    ///
    /// # Errors
    ///
    /// Returns [`CredentialsFormatError`] when it is anything but an object of texts.
    pub fn from_secret_json(json: &SecretSlice<u8>) -> Result<Self, CredentialsFormatError> {
        serde_json::from_slice::<BTreeMap<String, SecretString>>(json.expose_secret())
            .map(Self)
            .map_err(|_| CredentialsFormatError)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for name in self.0.keys() {
            map.entry(name, &"[redacted]");
        }
        map.finish()
    }
}

/// What a provider is given to work with.
#[derive(Clone, Copy, Debug)]
pub struct Account<'a> {
    metadata: Option<&'a Json>,
    credentials: &'a Credentials,
    application: &'a Credentials,
}

impl<'a> Account<'a> {
    /// The account of an integration, with the application's credentials behind its own.
    #[must_use]
    pub const fn new(
        metadata: Option<&'a Json>,
        credentials: &'a Credentials,
        application: &'a Credentials,
    ) -> Self {
        Self {
            metadata,
            credentials,
            application,
        }
    }

    /// The account of a stored integration.
    #[must_use]
    pub fn of(
        integration: &'a Integration,
        credentials: &'a Credentials,
        application: &'a Credentials,
    ) -> Self {
        Self::new(integration.metadata.as_ref(), credentials, application)
    }

    /// A credential: the integration's own, else the application's.
    #[must_use]
    pub fn credential(&self, name: &str) -> Option<&'a SecretString> {
        self.credentials
            .get(name)
            .or_else(|| self.application.get(name))
    }

    /// A setting that is text.
    #[must_use]
    pub fn setting(&self, name: &str) -> Option<&'a str> {
        self.metadata?.get(name)?.as_str()
    }

    /// The settings.
    #[must_use]
    pub const fn metadata(&self) -> Option<&'a Json> {
        self.metadata
    }

    /// Every credential, for the redactor.
    pub fn secrets(&self) -> impl Iterator<Item = &'a SecretString> {
        self.credentials.values().chain(self.application.values())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // W-CRED-7
    #[test]
    fn debug_shows_names_only() {
        let credentials = Credentials::new().with("token", "canary-5f2b");
        let text = format!(
            "{credentials:?} {:#?}",
            Account::new(None, &credentials, &credentials)
        );
        assert!(text.contains("token") && !text.contains("canary"), "{text}");
    }

    // L-CRED-2
    #[test]
    fn anything_but_texts_is_refused() {
        for json in ["null", "[]", "{\"a\":1}", "{\"a\":null}", "x"] {
            let sealed = SecretSlice::from(json.as_bytes().to_vec());
            assert_eq!(
                Credentials::from_secret_json(&sealed).unwrap_err(),
                CredentialsFormatError
            );
        }
    }

    #[test]
    fn json_round_trips() {
        let credentials = Credentials::new().with("token", "a\"b").with("other", "ü");
        let read = Credentials::from_secret_json(&credentials.to_secret_json()).unwrap();
        assert_eq!(read.get("token").unwrap().expose_secret(), "a\"b");
        assert_eq!(read.names().collect::<Vec<_>>(), ["other", "token"]);
    }
}
