//! Whose delivery it is: whoever's secret verifies it.

use std::sync::Arc;

use integrations_core::{
    client::IntegrationClient,
    id::IntegrationId,
    integration::IntegrationRef,
    provider::{Account, Credentials},
    redact::Redactor,
    store::StoreError,
    webhook::{Inbound, SignatureScheme},
};

use super::{
    Inner, Route, Sender,
    accounts::{Look, NotOpened, Opened, Recipient},
};
use crate::schemes::{Refusal, Verified, Verifier, is_one_of};

/// A genuine delivery's owner.
pub(super) struct Identified<'a> {
    recipient: Option<Arc<Recipient>>,
    scheme: SignatureScheme,
    pub(super) verified: Verified<'a>,
}

impl Identified<'_> {
    pub(super) fn integration_id(&self) -> Option<IntegrationId> {
        self.recipient.as_ref().map(|recipient| recipient.id)
    }

    /// What stands between the delivery and the store: the account's redactor, or where it is
    /// nobody's the application's.
    pub(super) fn redactor(
        &self,
        client: &IntegrationClient,
        sender: &Sender<'_>,
    ) -> Arc<Redactor> {
        let of_account = self.recipient.as_ref().and_then(|known| known.redactor());
        of_account.cloned().unwrap_or_else(|| {
            let none = Credentials::new();
            let application = &sender.registered.settings.application;
            let account = Account::new(None, &none, application);
            Arc::new(client.redactor_for(sender.registered, &account))
        })
    }

    pub(super) fn is_switched_off(&self) -> bool {
        (self.recipient.as_ref()).is_some_and(|recipient| recipient.is_switched_off())
    }

    pub(super) fn is_paused(&self) -> bool {
        (self.recipient.as_ref()).is_some_and(|recipient| recipient.is_paused())
    }

    pub(super) fn scheme(&self) -> &SignatureScheme {
        &self.scheme
    }
}

/// Nobody's delivery, as far as is known.
#[derive(Debug)]
pub(super) enum NotIdentified {
    Refused(Refusal),
    /// Whose it is cannot be found out at the moment.
    ForNow(String),
}

impl From<Refusal> for NotIdentified {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<NotOpened> for NotIdentified {
    fn from(error: NotOpened) -> Self {
        match error {
            NotOpened::Refused(refusal) => Self::Refused(refusal),
            NotOpened::ForNow => Self::ForNow("credentials cannot be opened".to_owned()),
        }
    }
}

impl From<StoreError> for NotIdentified {
    fn from(error: StoreError) -> Self {
        Self::ForNow(error.to_string())
    }
}

impl Sender<'_> {
    /// What the application's own secret verifies with, where it has one.
    fn application(&self) -> Option<Opened> {
        let none = Credentials::new();
        let account = Account::new(None, &none, &self.registered.settings.application);
        let has_secret = self.source.secrets(&account).is_some();
        has_secret.then(|| Opened::new(self.source, &account, false))
    }
}

impl Inner {
    /// Finds out whose a delivery is. What would be refused by what was read a moment ago is
    /// looked at once more: a secret that was just set counts.
    pub(super) async fn identify<'a>(
        &self,
        sender: &Sender<'_>,
        route: &Route,
        request: &Inbound<'a>,
    ) -> Result<Identified<'a>, NotIdentified> {
        match self.identify_by(sender, route, request, Look::Kept).await {
            Err(NotIdentified::Refused(_)) => {
                self.identify_by(sender, route, request, Look::Fresh).await
            }
            other => other,
        }
    }

    async fn identify_by<'a>(
        &self,
        sender: &Sender<'_>,
        route: &Route,
        request: &Inbound<'a>,
        look: Look,
    ) -> Result<Identified<'a>, NotIdentified> {
        match &route.integration {
            Some(reference) => self.of_integration(sender, reference, request, look).await,
            None => self.of_provider(sender, request, look).await,
        }
    }

    /// The recipient a route of its own names.
    async fn recipient(
        &self,
        sender: &Sender<'_>,
        reference: &str,
        look: Look,
    ) -> Result<Arc<Recipient>, NotIdentified> {
        let reference: IntegrationRef =
            reference.parse().map_err(|_| Refusal::UnknownIntegration)?;
        let found = self.accounts.named(sender.key, reference, look).await?;
        found.ok_or(Refusal::UnknownIntegration.into())
    }

    async fn of_integration<'a>(
        &self,
        sender: &Sender<'_>,
        reference: &str,
        request: &Inbound<'a>,
        look: Look,
    ) -> Result<Identified<'a>, NotIdentified> {
        let recipient = self.recipient(sender, reference, look).await?;
        let (scheme, verified) = {
            let opened = self.open(sender, &recipient).await?;
            self.verified_by(opened, request)?
        };
        Ok(Identified {
            recipient: Some(recipient),
            scheme,
            verified,
        })
    }

    /// On a provider's own route, the secrets of those the payload may be for are tried, and the
    /// application's. Several that fit are refused: nobody could say whose it is.
    async fn of_provider<'a>(
        &self,
        sender: &Sender<'_>,
        request: &Inbound<'a>,
        look: Look,
    ) -> Result<Identified<'a>, NotIdentified> {
        let candidates = self
            .accounts
            .candidates(sender.key, sender.source, look)
            .await?;
        let name = sender.source.recipient(request);
        let application = sender.application();
        let application = application
            .as_ref()
            .map(|opened| self.verified_by(opened, request));

        let mut refusal = match &application {
            Some(Err(refusal)) => *refusal,
            _ => Refusal::NoCandidate,
        };
        let mut fitting = Vec::new();
        let mut covered = Vec::new();
        for (recipient, is_named) in candidates.of(name.as_deref()).take(self.limits.candidates) {
            let opened = match self.open(sender, recipient).await {
                Ok(opened) => opened,
                Err(NotOpened::ForNow) => return Err(NotOpened::ForNow.into()),
                Err(NotOpened::Refused(reason)) => {
                    refusal = reason;
                    continue;
                }
            };
            if !opened.is_own {
                if is_named {
                    covered.push(Arc::clone(recipient));
                }
                continue;
            }
            match self.verified_by(opened, request) {
                Ok(verified) => fitting.push((Arc::clone(recipient), verified)),
                Err(reason) => refusal = reason,
            }
        }
        if fitting.len() > 1 {
            return Err(Refusal::Ambiguous.into());
        }
        if let Some((recipient, (scheme, verified))) = fitting.pop() {
            return Ok(Identified {
                recipient: Some(recipient),
                scheme,
                verified,
            });
        }
        let Some(Ok((scheme, verified))) = application else {
            return Err(refusal.into());
        };
        if covered.len() > 1 {
            return Err(Refusal::Ambiguous.into());
        }
        Ok(Identified {
            recipient: covered.pop(),
            scheme,
            verified,
        })
    }

    /// Whether a token that a handshake shows is a secret of whoever the route is for.
    pub(super) async fn shows_secret(
        &self,
        sender: &Sender<'_>,
        route: &Route,
        token: &str,
    ) -> Result<(), NotIdentified> {
        let now = self.client.ports().clock.now();
        let shows = |opened: &Opened| {
            let secrets = opened.secrets.as_ref().ok_or(Refusal::NoSecret)?;
            is_one_of(secrets, token, now)
                .then_some(())
                .ok_or(Refusal::Mismatch)
        };
        if let Some(reference) = &route.integration {
            let recipient = self.recipient(sender, reference, Look::Fresh).await?;
            let opened = self.open(sender, &recipient).await?;
            return Ok(shows(opened)?);
        }
        if sender
            .application()
            .is_some_and(|opened| shows(&opened).is_ok())
        {
            return Ok(());
        }
        let candidates = (self.accounts)
            .candidates(sender.key, sender.source, Look::Fresh)
            .await?;
        for (recipient, _) in candidates.of(None).take(self.limits.candidates) {
            if self
                .open(sender, recipient)
                .await
                .is_ok_and(|opened| shows(opened).is_ok())
            {
                return Ok(());
            }
        }
        Err(Refusal::Mismatch.into())
    }

    async fn open<'r>(
        &self,
        sender: &Sender<'_>,
        recipient: &'r Recipient,
    ) -> Result<&'r Opened, NotOpened> {
        recipient
            .opened(&self.client, sender.source, sender.registered)
            .await
    }

    fn verified_by<'a>(
        &self,
        opened: &Opened,
        request: &Inbound<'a>,
    ) -> Result<(SignatureScheme, Verified<'a>), Refusal> {
        let verifier: &Verifier = opened.verifier.as_ref().map_err(|refusal| *refusal)?;
        let now = self.client.ports().clock.now();
        let genuine = verifier.verify(request, now, self.limits.timestamp_tolerance)?;
        Ok((verifier.scheme().clone(), genuine))
    }
}
