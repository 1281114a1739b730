//! From a genuine request to the row that is stored.

use std::{net::IpAddr, time::Duration};

use http::HeaderName;
use integrations_core::{
    client::IntegrationClient,
    encryptor::{DigestPurpose, EncryptionError, KeyedDigest, SealContext, SealedColumn},
    entropy::{EntropyError, EntropyExt as _},
    id::IntegrationId,
    provider::WebhookSource,
    sync::Payload,
    time::earlier,
    value::ProviderKey,
    webhook::{Inbound, NewWebhook, SignatureScheme, WebhookPayload},
};
use secrecy::SecretSlice;

use super::headers::kept;
use crate::schemes::Verified;

/// How long the same signed bytes under a new unsigned id are a duplicate.
const SAME_BYTES: Duration = Duration::from_hours(24);

/// Characters of `event_type`, `delivery_id` and `dedup_key`.
const MAX_ID: usize = 255;

/// Characters of `ordering_key`.
const MAX_ORDERING_KEY: usize = 191;

/// A genuine delivery, and what is known of it.
pub(super) struct Genuine<'a> {
    pub(super) provider: &'a ProviderKey,
    pub(super) source: &'a dyn WebhookSource,
    pub(super) scheme: &'a SignatureScheme,
    pub(super) integration_id: Option<IntegrationId>,
    pub(super) request: Inbound<'a>,
    pub(super) verified: Verified<'a>,
    pub(super) remote_addr: Option<IpAddr>,
    pub(super) is_paused: bool,
}

/// A genuine delivery cannot be prepared at the moment.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotPrepared {
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    #[error(transparent)]
    Encryption(#[from] EncryptionError),
}

impl Genuine<'_> {
    /// The row to store.
    pub(super) async fn prepare(
        self,
        client: &IntegrationClient,
        keep: &[HeaderName],
    ) -> Result<NewWebhook, NotPrepared> {
        let keys = client.keys();
        let now = client.ports().clock.now();
        let uid = keys.entropy.uid()?;
        let told = self.source.describe(self.scheme, &self.request);
        let delivery_id = told.delivery_id.filter(|id| !id.is_empty());

        let id_proves_nothing = delivery_id.is_some() && !told.id_is_signed;
        let replay_shows_in_bytes = delivery_id.is_none() && self.verified.at.is_some();
        let same_body = delivery_id.is_none() && told.same_body_is_duplicate;
        let digest = if id_proves_nothing || replay_shows_in_bytes || same_body {
            let bytes = if same_body && !replay_shows_in_bytes {
                self.request.body
            } else {
                &self.verified.signed
            };
            Some(digest(client, bytes).await?)
        } else {
            None
        };
        let dedup_key = match (&delivery_id, &digest) {
            (Some(id), _) => Some(fitting(client, id, MAX_ID).await?),
            (None, digest) => digest.as_ref().map(digest_text),
        };
        let ordering_key = match &told.ordering_key {
            Some(key) => Some(fitting(client, key, MAX_ORDERING_KEY).await?),
            None => None,
        };
        let payload = if self.source.seals_bodies() {
            let context = SealContext {
                column: SealedColumn::WebhookPayload,
                uid,
                provider: self.provider.clone(),
            };
            let body = SecretSlice::from(self.request.body.to_vec());
            WebhookPayload::Sealed(keys.encryptor.seal(&context, &body).await?)
        } else {
            WebhookPayload::Plain(Payload::from_bytes(self.request.body.to_vec()))
        };
        Ok(NewWebhook {
            uid,
            integration_id: self.integration_id,
            provider: self.provider.clone(),
            event_type: told.event_type.map(|text| clean(&text, MAX_ID)),
            delivery_id: delivery_id.map(|text| clean(&text, MAX_ID)),
            dedup_key,
            digest_duplicate_since: id_proves_nothing.then(|| earlier(now, SAME_BYTES)),
            body_digest: digest
                .filter(|_| id_proves_nothing)
                .map(|digest| digest.to_bytes()),
            payload,
            headers: kept(self.request.headers, self.scheme, keep),
            method: self.request.method.as_str().to_owned(),
            path: self.request.path.to_owned(),
            query: self.request.query.map(str::to_owned),
            remote_addr: self.remote_addr.map(|addr| addr.to_string()),
            ordering_key,
            available_at: (!self.is_paused).then_some(now),
            now,
        })
    }
}

async fn digest(client: &IntegrationClient, bytes: &[u8]) -> Result<KeyedDigest, EncryptionError> {
    let encryptor = &client.keys().encryptor;
    let digests = encryptor
        .digests(DigestPurpose::WebhookDedup, bytes)
        .await?;
    // The first is the one to store.
    digests
        .into_iter()
        .next()
        .ok_or(EncryptionError::Unavailable)
}

fn digest_text(digest: &KeyedDigest) -> String {
    format!("digest:{}:{}", digest.key_id, hex::encode(digest.mac))
}

/// A key as it is, or its digest where it is too long or no database would take it.
async fn fitting(
    client: &IntegrationClient,
    key: &str,
    max: usize,
) -> Result<String, EncryptionError> {
    if key.chars().count() <= max && !key.contains('\0') {
        return Ok(key.to_owned());
    }
    Ok(digest_text(&digest(client, key.as_bytes()).await?))
}

/// Text for people: cut, and without NUL.
fn clean(text: &str, max: usize) -> String {
    let replaced = text.chars().map(|c| if c == '\0' { '\u{fffd}' } else { c });
    replaced.take(max).collect()
}
