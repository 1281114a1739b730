//! Rows of deliveries.

use chrono::{DateTime, Utc};
use integrations_core::{
    encryptor::Sealed,
    id::WebhookId,
    store::StoreError,
    sync::Payload,
    webhook::{NewWebhook, OtherDigests, Webhook, WebhookPayload, WebhookStatus, WebhookSummary},
};
use serde_json::Value as Json;

use super::payload;
use crate::{
    backend::Backend,
    checks::Fits,
    row::Row,
    statement::{InsertTemplate, RowValues},
    store::SqlStore,
};

/// What `payload_encoding` says of a sealed payload.
const SEALED: &str = "sealed";

/// When a parked delivery is due: never, within what both databases and RFC 3339 can hold.
pub(super) const PARKED: DateTime<Utc> = match DateTime::from_timestamp(253_402_214_400, 0) {
    Some(at) => at,
    None => DateTime::<Utc>::MAX_UTC,
};

/// The columns [`webhook`] reads, without an alias.
macro_rules! webhook_columns {
    () => {
        "id, uid, integration_id, provider, event_type, delivery_id, payload, headers, status, \
         processed_at, payload_encoding, method, path, query, remote_addr, dedup_key, \
         body_digest, duplicate_of, duplicate_reason, attempts, replayed, queued_at, available_at, lease_until, \
         ordering_key, error, created_at, updated_at"
    };
}
pub(super) use webhook_columns;

/// Duplicates are outside of the index, so they are never in conflict.
pub(super) const INSERT: InsertTemplate = InsertTemplate {
    head: "INSERT INTO {webhooks} (id, uid, integration_id, provider, event_type, delivery_id, \
        payload, payload_encoding, headers, status, method, path, query, remote_addr, dedup_key, \
        body_digest, duplicate_of, duplicate_reason, available_at, queued_at, ordering_key, \
        created_at, updated_at)",
    columns: 23,
    tail: "ON CONFLICT (provider, coalesce(integration_id, 0), dedup_key) \
        WHERE duplicate_of IS NULL AND dedup_key IS NOT NULL DO NOTHING RETURNING id",
};

/// The first of a duplicate's kind, and why it is one.
pub(super) type DuplicateOf = (WebhookId, &'static str);

impl<B: Backend> SqlStore<B> {
    pub(super) fn webhook_row(
        &self,
        id: WebhookId,
        new: &NewWebhook,
        duplicate: Option<DuplicateOf>,
    ) -> RowValues {
        let (encoding, text) = match &new.payload {
            WebhookPayload::Plain(payload) => payload::encode(payload),
            WebhookPayload::Sealed(sealed) => (SEALED, sealed.as_str().into()),
        };
        let status = match duplicate {
            Some(_) => WebhookStatus::Processed,
            None => WebhookStatus::Pending,
        };
        let headers: Json = new
            .headers
            .iter()
            .map(|(k, v)| Json::from([k.as_str(), v]))
            .collect();
        self.row()
            .bind(id)
            .bind(&new.uid)
            .bind(new.integration_id)
            .bind(&new.provider)
            .bind(new.event_type.as_deref())
            .bind(new.delivery_id.as_deref())
            .bind(&*text)
            .bind(encoding)
            .bind(headers)
            .bind(status.as_str())
            .bind(&new.method)
            .bind(&new.path)
            .bind(new.query.as_deref())
            .bind(new.remote_addr.as_deref())
            .bind(new.dedup_key.as_deref())
            .bind(new.body_digest.as_deref())
            .bind(duplicate.map(|(of, _)| of))
            .bind(duplicate.map(|(_, reason)| reason))
            .bind(new.available_at.unwrap_or(PARKED))
            .bind(new.now)
            .bind(new.ordering_key.as_deref())
            .bind(new.now)
            .bind(new.now)
    }
}

pub(super) fn fits(new: &NewWebhook) -> Fits {
    let payload = match &new.payload {
        WebhookPayload::Plain(Payload::Text(text)) => Some(text.as_str()),
        WebhookPayload::Plain(Payload::Binary(_)) => None,
        WebhookPayload::Sealed(sealed) => Some(sealed.as_str()),
    };
    let columns = Fits::new()
        .varchar(new.event_type.as_deref(), 255)
        .varchar(new.delivery_id.as_deref(), 255)
        .varchar(new.dedup_key.as_deref(), 255)
        .text(payload)
        .varchar(new.method.as_str(), 10)
        .text(new.path.as_str())
        .text(new.query.as_deref())
        .varchar(new.remote_addr.as_deref(), 45)
        .varchar(new.ordering_key.as_deref(), 191);
    (new.headers.iter()).fold(columns, |fits, (name, value)| {
        fits.text(name.as_str()).text(value.as_str())
    })
}

/// A delivery as it is stored.
pub(super) fn webhook(row: &Row) -> Result<Webhook, StoreError> {
    let headers: Option<Json> = row.get("headers")?;
    let headers = headers.map_or_else(
        || Ok(Vec::new()),
        |json| serde_json::from_value(json).map_err(|_| row.corrupt("headers")),
    )?;
    Ok(Webhook {
        id: row.get("id")?,
        delivery: NewWebhook {
            uid: row.get("uid")?,
            integration_id: row.get("integration_id")?,
            provider: row.parse("provider")?,
            event_type: row.get("event_type")?,
            delivery_id: row.get("delivery_id")?,
            dedup_key: row.get("dedup_key")?,
            body_digest: row.get("body_digest")?,
            digest_duplicate_since: None,
            other_digests: OtherDigests::default(),
            payload: payload(row)?,
            headers,
            method: row.get("method")?,
            path: row.get("path")?,
            query: row.get("query")?,
            remote_addr: row.get("remote_addr")?,
            ordering_key: row.get("ordering_key")?,
            available_at: available_at(row)?,
            now: row.get("created_at")?,
        },
        status: WebhookStatus::from(row.get::<String>("status")?),
        duplicate_of: row.get("duplicate_of")?,
        duplicate_reason: row.get("duplicate_reason")?,
        attempts: row.get("attempts")?,
        replayed: row.get("replayed")?,
        queued_at: row.get("queued_at")?,
        error: row.get("error")?,
        lease_until: row.get("lease_until")?,
        processed_at: row.get("processed_at")?,
        updated_at: row.get("updated_at")?,
    })
}

fn payload(row: &Row) -> Result<WebhookPayload, StoreError> {
    let encoding: String = row.get("payload_encoding")?;
    let text: String = row.get("payload")?;
    if encoding == SEALED {
        return Ok(WebhookPayload::Sealed(Sealed::from_text(text)));
    }
    payload::decode(&encoding, text)
        .map(WebhookPayload::Plain)
        .ok_or_else(|| row.corrupt("payload_encoding"))
}

/// Whether a delivery waits: it is unfinished, and no lease on it is live at `now`.
fn waits(status: &WebhookStatus, lease_until: Option<DateTime<Utc>>, now: DateTime<Utc>) -> bool {
    let unfinished = matches!(status, WebhookStatus::Pending | WebhookStatus::Processing);
    unfinished && lease_until.is_none_or(|until| until <= now)
}

/// A delivery as it reads at `now`: one whose lease ran out waits.
pub(super) fn webhook_at(row: &Row, now: DateTime<Utc>) -> Result<Webhook, StoreError> {
    let mut webhook = webhook(row)?;
    if waits(&webhook.status, webhook.lease_until, now) {
        webhook.status = WebhookStatus::Pending;
        webhook.lease_until = None;
    }
    Ok(webhook)
}

/// The columns [`summary_at`] reads.
pub(super) const SUMMARY_COLUMNS: &str = "id, uid, integration_id, provider, event_type, \
    delivery_id, method, path, remote_addr, status, duplicate_of, duplicate_reason, attempts, \
    error, available_at, lease_until, created_at, processed_at";

/// What lists show of a delivery, as it reads at `now`.
pub(super) fn summary_at(row: &Row, now: DateTime<Utc>) -> Result<WebhookSummary, StoreError> {
    let status = WebhookStatus::from(row.get::<String>("status")?);
    let status = if waits(&status, row.get("lease_until")?, now) {
        WebhookStatus::Pending
    } else {
        status
    };
    Ok(WebhookSummary {
        id: row.get("id")?,
        uid: row.get("uid")?,
        integration_id: row.get("integration_id")?,
        provider: row.parse("provider")?,
        event_type: row.get("event_type")?,
        delivery_id: row.get("delivery_id")?,
        method: row.get("method")?,
        path: row.get("path")?,
        remote_addr: row.get("remote_addr")?,
        status,
        duplicate_of: row.get("duplicate_of")?,
        duplicate_reason: row.get("duplicate_reason")?,
        attempts: row.get("attempts")?,
        error: row.get("error")?,
        available_at: available_at(row)?,
        received_at: row.get("created_at")?,
        processed_at: row.get("processed_at")?,
    })
}

/// When a delivery is due; `None` where it is parked.
fn available_at(row: &Row) -> Result<Option<DateTime<Utc>>, StoreError> {
    let at: DateTime<Utc> = row.get("available_at")?;
    Ok((at < PARKED).then_some(at))
}
