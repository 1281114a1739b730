//! From a genuine request to the row that is stored.

use std::{net::IpAddr, time::Duration};

use http::HeaderName;
use integrations_core::{
    client::IntegrationClient,
    encryptor::{DigestPurpose, EncryptionError, KeyedDigest, SealContext, SealedColumn},
    entropy::{EntropyError, EntropyExt as _},
    id::IntegrationId,
    provider::WebhookSource,
    redact::Redactor,
    sync::Payload,
    time::earlier,
    value::ProviderKey,
    webhook::{Inbound, NewWebhook, OtherDigests, SignatureScheme, WebhookPayload},
};
use secrecy::SecretSlice;

use super::{builder::OrderBy, headers::kept};
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
    pub(super) redactor: &'a Redactor,
    pub(super) integration_id: Option<IntegrationId>,
    pub(super) request: Inbound<'a>,
    pub(super) verified: Verified<'a>,
    pub(super) remote_addr: Option<IpAddr>,
    pub(super) is_paused: bool,
    pub(super) order: Option<&'a OrderBy>,
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

        // Whoever replays a delivery may change an id that is not signed, or leave it out.
        let id_proves_nothing = !told.id_is_signed;
        let replay_shows_in_bytes = delivery_id.is_none() && self.verified.at.is_some();
        let same_body = delivery_id.is_none() && told.same_body_is_duplicate;
        let digests = if id_proves_nothing || replay_shows_in_bytes || same_body {
            let bytes = if same_body && !replay_shows_in_bytes {
                self.request.body
            } else {
                &self.verified.signed
            };
            digests(client, bytes).await?
        } else {
            Vec::new()
        };
        let dedup_keys = match &delivery_id {
            Some(id) if fits(id, MAX_ID) => vec![id.clone()],
            Some(id) => texts(&self::digests(client, id.as_bytes()).await?),
            None if replay_shows_in_bytes || same_body => texts(&digests),
            None => Vec::new(),
        };
        let mut body_digests: Vec<_> = if id_proves_nothing {
            digests.iter().map(KeyedDigest::to_bytes).collect()
        } else {
            Vec::new()
        };
        // The first is under the primary key, and the one to store.
        let (dedup_key, other_keys) = first_and_others(dedup_keys);
        // Senders without ids may mean the same bytes twice: theirs are compared with those that
        // came with an id, and not with each other.
        let may_repeat =
            delivery_id.is_none() && !replay_shows_in_bytes && !self.scheme.always_sends_ids();
        let body_digest = if may_repeat || body_digests.is_empty() {
            None
        } else {
            Some(body_digests.remove(0))
        };
        let ordering_key = self.order.and_then(|order| order(&self.request));
        let ordering_key = ordering_key.or(told.ordering_key).map(|key| {
            if fits(&key, MAX_ORDERING_KEY) {
                return key;
            }
            // Under no key: whichever is the primary, the order stays.
            format!("sha256:{}", hex::encode(sha256(key.as_bytes())))
        });
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
            body_digest,
            other_digests: OtherDigests {
                dedup_keys: other_keys,
                body_digests,
            },
            payload,
            headers: kept(self.request.headers, self.scheme, keep, self.redactor),
            method: self.request.method.as_str().to_owned(),
            path: self.request.path.to_owned(),
            query: (self.request.query).map(|query| self.redactor.query(query).into_owned()),
            remote_addr: self.remote_addr.map(|addr| addr.to_string()),
            ordering_key,
            available_at: (!self.is_paused).then_some(now),
            now,
        })
    }
}

/// The digests under every key of the ring, the primary's first; never none.
async fn digests(
    client: &IntegrationClient,
    bytes: &[u8],
) -> Result<Vec<KeyedDigest>, EncryptionError> {
    let encryptor = &client.keys().encryptor;
    let digests = encryptor
        .digests(DigestPurpose::WebhookDedup, bytes)
        .await?;
    if digests.is_empty() {
        return Err(EncryptionError::Unavailable);
    }
    Ok(digests)
}

fn texts(digests: &[KeyedDigest]) -> Vec<String> {
    let text = |digest: &KeyedDigest| {
        let mac = hex::encode(digest.mac);
        format!("digest:{}:{mac}", digest.key_id)
    };
    digests.iter().map(text).collect()
}

fn first_and_others<T>(all: Vec<T>) -> (Option<T>, Vec<T>) {
    let mut all = all.into_iter();
    (all.next(), all.collect())
}

/// Whether a key can be stored as it is.
fn fits(key: &str, max: usize) -> bool {
    key.chars().count() <= max && !key.contains('\0')
}

fn sha256(bytes: &[u8]) -> impl AsRef<[u8]> {
    ring::digest::digest(&ring::digest::SHA256, bytes)
}

/// Text for people: cut, and without NUL.
fn clean(text: &str, max: usize) -> String {
    let replaced = text.chars().map(|c| if c == '\0' { '\u{fffd}' } else { c });
    replaced.take(max).collect()
}
