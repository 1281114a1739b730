//! What a provider says of its webhooks.

use secrecy::SecretString;

use super::{Account, ProviderError};
use crate::webhook::{
    Challenge, Description, Handshake, Inbound, InvalidSecret, SignatureScheme, WebhookSecrets,
    slack_challenge,
};

/// Sends webhooks.
///
/// Only [`scheme`](Self::scheme) has to be answered. The rest is what most senders of that scheme
/// do, and a provider answers it where its own differ.
pub trait WebhookSource: Send + Sync {
    /// How deliveries to this account are signed.
    ///
    /// # Errors
    ///
    /// Returns [`ProviderError::Metadata`] where the settings make no scheme.
    fn scheme(&self, account: &Account<'_>) -> Result<SignatureScheme, ProviderError>;

    /// The secrets deliveries to this account are signed with: the credential `webhook_secret`,
    /// unless the provider answers otherwise. With `None`, nothing is accepted.
    ///
    /// # Errors
    ///
    /// Returns [`InvalidSecret`] where they cannot be read; nothing is accepted then.
    fn secrets(&self, account: &Account<'_>) -> Option<Result<WebhookSecrets, InvalidSecret>> {
        let configured: &SecretString = account.credential("webhook_secret")?;
        Some(WebhookSecrets::parse(configured))
    }

    /// What a genuine delivery is.
    fn describe(&self, scheme: &SignatureScheme, delivery: &Inbound<'_>) -> Description {
        scheme.describe(delivery)
    }

    /// A handshake that comes without a signature. Looks at method and query alone: nothing of
    /// the body is read before it is known to be genuine.
    fn handshake(&self, _request: &Inbound<'_>) -> Option<Handshake> {
        None
    }

    /// The answer to a handshake that is signed as deliveries are: Slack's, unless the provider
    /// answers otherwise.
    fn challenge(&self, scheme: &SignatureScheme, delivery: &Inbound<'_>) -> Option<Challenge> {
        (*scheme == SignatureScheme::Slack)
            .then(|| slack_challenge(delivery))
            .flatten()
    }

    /// Which of its accounts an account is, `octo/hello` for instance, in the words of
    /// [`recipient`](Self::recipient).
    fn recipient_of(&self, _account: &Account<'_>) -> Option<String> {
        None
    }

    /// Which of its accounts a delivery to the provider's own route is for. Read from a body that
    /// nobody verified: it only narrows down whose secrets are tried.
    fn recipient(&self, _delivery: &Inbound<'_>) -> Option<String> {
        None
    }

    /// Whether bodies are stored sealed.
    fn seals_bodies(&self) -> bool {
        false
    }
}
