//! Receiving deliveries.
//!
//! Nearly all are the first of their kind: one insert, and the unique index has the last word.
//! Where the same bytes count as the same, they are looked up before; the rest only where a duplicate
//! shows.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use integrations_core::{
    id::{IntegrationId, WebhookId},
    store::{Batch, StoreError},
    webhook::{DuplicateReason, NewWebhook, Received},
};
use serde_json::{Value as Json, json};

use super::{
    inbox_rows::{DuplicateOf, INSERT, PARKED, fits},
    payload::hex,
};
use crate::{
    backend::{NumberLock, OwnCommit, Plans, Session},
    dialect::time_text,
    error::{SqlError, SqlErrorKind},
    row::Row,
    statement::Template,
    store::{SqlStore, bisect, left_over, retrying},
};

/// A delivery, and the id its row is to have.
type Entry<'a> = (WebhookId, &'a NewWebhook);

/// The row of the first of its kind.
const fn as_first<'a>((id, new): &Entry<'a>) -> (WebhookId, &'a NewWebhook, Option<DuplicateOf>) {
    (*id, *new, None)
}

/// A sender, and what its deliveries are compared by.
type Kind<T> = (String, Option<IntegrationId>, T);

fn kind_of<T>(new: &NewWebhook, value: T) -> Kind<T> {
    (new.provider.as_str().to_owned(), new.integration_id, value)
}

fn kind_of_row<T>(row: &Row, value: T) -> Result<Kind<T>, StoreError> {
    Ok((row.get("provider")?, row.get("integration_id")?, value))
}

/// When a delivery was received, and its row.
type Receipt = (DateTime<Utc>, WebhookId);

/// The first deliveries of each kind that are known.
#[derive(Default)]
struct Firsts {
    by_key: HashMap<Kind<String>, WebhookId>,
    by_digest: HashMap<Kind<Vec<u8>>, Vec<Receipt>>,
}

impl Firsts {
    fn first_of(&self, new: &NewWebhook) -> Option<DuplicateOf> {
        let of_key = |key: &str| self.by_key.get(&kind_of(new, key.to_owned()));
        if let Some(id) = new.dedup_keys().find_map(of_key) {
            return Some((*id, DuplicateReason::DedupKey.as_str()));
        }
        let since = new.digest_duplicate_since?;
        let of_digest = |digest: &[u8]| self.by_digest.get(&kind_of(new, digest.to_vec()));
        let known = new.body_digests().filter_map(of_digest).flatten();
        let recent = known.filter(|(at, _)| *at >= since);
        let first = recent.map(|(_, id)| *id).min()?;
        Some((first, DuplicateReason::BodyDigest.as_str()))
    }

    fn insert(&mut self, new: &NewWebhook, id: WebhookId) {
        if let Some(key) = &new.dedup_key {
            self.by_key.insert(kind_of(new, key.clone()), id);
        }
        if let Some(digest) = &new.body_digest {
            let known = self.by_digest.entry(kind_of(new, digest.clone()));
            known.or_default().push((new.now, id));
        }
    }
}

impl<B: OwnCommit> SqlStore<B> {
    pub(super) async fn receive_all(&self, deliveries: &[NewWebhook]) -> Batch<Received> {
        let count = deliveries.len();
        let ids = retrying!(
            (self.ids)
                .take(&self.backend, &self.statements, "webhooks", count)
                .await
        )?;
        let ids = ids.into_iter().map(WebhookId);
        let all: Vec<Entry<'_>> = ids.zip(deliveries).collect();
        let inserted = bisect(&all, |part| Box::pin(self.insert_firsts(part))).await?;
        let open: Vec<Entry<'_>> = all
            .iter()
            .zip(&inserted)
            .filter(|(_, inserted)| matches!(inserted, Ok(false)))
            .map(|(entry, _)| *entry)
            .collect();
        let rest = bisect(&open, |part| Box::pin(self.receive_with_duplicates(part))).await;
        let rest = match rest {
            // Those that are stored stay, and are answered so.
            Err(error) if inserted.contains(&Ok(true)) => left_over(&error, open.len()),
            rest => rest?,
        };
        let mut rest = rest.into_iter();
        let received = all
            .iter()
            .zip(inserted)
            .map(|((id, _), inserted)| match inserted {
                Ok(true) => Some(Ok(Received::New(*id))),
                Ok(false) => rest.next(),
                Err(rejected) => Some(Err(rejected)),
            });
        Ok(received.flatten().collect())
    }

    /// Inserts those that are the first of their kind as far as the index tells; whether it did.
    /// Where others have to be looked for, inserts all or none of them. When it fails, it has
    /// inserted none.
    async fn insert_firsts(&self, entries: &[Entry<'_>]) -> Result<Vec<bool>, SqlError> {
        for (_, new) in entries {
            fits(new).verdict()?;
        }
        if entries.iter().any(|(_, new)| looks_first(new)) {
            let deliveries: Vec<&NewWebhook> = entries.iter().map(|(_, new)| *new).collect();
            let is_done = may_all_be_first(&deliveries)
                && self.insert_unless_known(entries, &deliveries).await?;
            return Ok(vec![is_done; entries.len()]);
        }
        // More than one statement is a transaction.
        let mut session = if entries.len() > self.statements.rows_per_insert(INSERT.columns) {
            self.backend.begin_batch(Plans::Fresh, &[]).await?
        } else {
            self.backend.write().await?
        };
        let rows = entries.iter().map(as_first).collect();
        let inserted = self.insert_webhooks(&mut *session, rows).await?;
        session.commit().await?;
        Ok((entries.iter())
            .map(|(id, _)| inserted.contains(id))
            .collect())
    }

    /// Inserts deliveries where nothing is known that is the same; whether it did.
    async fn insert_unless_known(
        &self,
        entries: &[Entry<'_>],
        deliveries: &[&NewWebhook],
    ) -> Result<bool, SqlError> {
        let locks = digest_locks(deliveries);
        let mut session = self.backend.begin_batch(Plans::Fresh, &locks).await?;
        let others = deliveries.iter().copied().filter(|new| has_other_keys(new));
        let firsts = Firsts {
            by_key: self.find_keys(&mut *session, others).await?,
            by_digest: self.find_digests(&mut *session, deliveries).await?,
        };
        if deliveries.iter().any(|new| firsts.first_of(new).is_some()) {
            return Ok(false);
        }
        let rows = entries.iter().map(as_first).collect();
        let inserted = self.insert_webhooks(&mut *session, rows).await?;
        if inserted.len() < entries.len() {
            return Ok(false);
        }
        session.commit().await?;
        Ok(true)
    }

    /// Inserts rows, but those of a kind that is there; which it did.
    async fn insert_webhooks(
        &self,
        session: &mut dyn Session,
        mut rows: Vec<(WebhookId, &NewWebhook, Option<DuplicateOf>)>,
    ) -> Result<HashSet<WebhookId>, SqlError> {
        // A common order of writes keeps two batches with the same keys from deadlocking.
        rows.sort_unstable_by_key(|(id, new, _)| {
            (&new.provider, new.integration_id, &new.dedup_key, *id)
        });
        let mut inserted = HashSet::new();
        for part in rows.chunks(self.statements.rows_per_insert(INSERT.columns)) {
            let values = part
                .iter()
                .map(|(id, new, duplicate)| self.webhook_row(*id, new, *duplicate));
            let insert = self.insert(&INSERT, values.collect());
            for row in session.query(insert).await? {
                inserted.insert(row.get("id")?);
            }
        }
        Ok(inserted)
    }

    /// Receives all of `deliveries`, or none.
    async fn receive_with_duplicates(
        &self,
        entries: &[Entry<'_>],
    ) -> Result<Vec<Received>, SqlError> {
        let deliveries: Vec<&NewWebhook> = entries.iter().map(|(_, new)| *new).collect();
        let locks = digest_locks(&deliveries);
        let mut session = self.backend.begin_batch(Plans::Fresh, &locks).await?;
        let mut firsts = self.find_firsts(&mut *session, &deliveries).await?;
        let (mut originals, mut duplicates) = (Vec::new(), Vec::new());
        for (id, new) in entries.iter().copied() {
            if let Some(of) = firsts.first_of(new) {
                duplicates.push((id, new, Some(of)));
            } else {
                firsts.insert(new, id);
                originals.push((id, new, None));
            }
        }
        let expected = originals.len();
        if self.insert_webhooks(&mut *session, originals).await?.len() < expected {
            return Err(SqlError::new(
                SqlErrorKind::Transient,
                "somebody else received the same delivery at this moment",
            ));
        }
        let of: HashMap<WebhookId, WebhookId> = duplicates
            .iter()
            .filter_map(|(id, _, of)| Some((*id, (*of)?.0)))
            .collect();
        let mut requeued = self.requeue_failed(&mut *session, &duplicates).await?;
        self.insert_webhooks(&mut *session, duplicates).await?;
        session.commit().await?;
        let mut received = |id: &WebhookId| match of.get(id) {
            None => Received::New(*id),
            Some(of) => Received::Duplicate {
                id: *id,
                of: *of,
                // Told once: by the duplicate that queued it.
                requeued: requeued.remove(of),
            },
        };
        Ok(entries.iter().map(|(id, _)| received(id)).collect())
    }

    async fn find_firsts(
        &self,
        session: &mut dyn Session,
        deliveries: &[&NewWebhook],
    ) -> Result<Firsts, SqlError> {
        Ok(Firsts {
            by_key: self.find_keys(session, deliveries.iter().copied()).await?,
            by_digest: self.find_digests(session, deliveries).await?,
        })
    }

    async fn find_keys(
        &self,
        session: &mut dyn Session,
        deliveries: impl IntoIterator<Item = &NewWebhook> + Send,
    ) -> Result<HashMap<Kind<String>, WebhookId>, SqlError> {
        const BY_KEY: Template = Template::each(
            "SELECT w.id, w.provider, w.integration_id, w.dedup_key \
             FROM jsonb_to_recordset($1) AS e (provider text, integration bigint, key text) \
             CROSS JOIN LATERAL (SELECT * FROM {webhooks} AS w WHERE w.provider = e.provider \
             AND coalesce(w.integration_id, 0) = coalesce(e.integration, 0) \
             AND w.dedup_key = e.key AND w.duplicate_of IS NULL AND w.dedup_key IS NOT NULL \
             OFFSET 0) AS w",
            "SELECT w.id, w.provider, w.integration_id, w.dedup_key FROM json_each($1) AS e \
             CROSS JOIN {webhooks} AS w ON w.provider = e.value ->> 'provider' \
             AND coalesce(w.integration_id, 0) = coalesce(e.value ->> 'integration', 0) \
             AND w.dedup_key = e.value ->> 'key' \
             AND w.duplicate_of IS NULL AND w.dedup_key IS NOT NULL",
        );
        let keyed = deliveries.into_iter().flat_map(|new| {
            new.dedup_keys().map(|key| {
                json!({
                    "provider": new.provider, "integration": new.integration_id, "key": key,
                })
            })
        });
        let keyed: Vec<Json> = keyed.collect();
        let mut known = HashMap::new();
        if !keyed.is_empty() {
            let find = self.sql(&BY_KEY).bind(Json::from(keyed));
            for row in session.query(find).await? {
                let kind = kind_of_row(&row, row.get("dedup_key")?)?;
                known.insert(kind, row.get("id")?);
            }
        }
        Ok(known)
    }

    async fn find_digests(
        &self,
        session: &mut dyn Session,
        deliveries: &[&NewWebhook],
    ) -> Result<HashMap<Kind<Vec<u8>>, Vec<Receipt>>, SqlError> {
        const BY_DIGEST: Template = Template::each(
            "SELECT w.id, w.provider, w.integration_id, w.body_digest, w.created_at \
             FROM jsonb_to_recordset($1) AS e (digest text, since timestamptz) \
             CROSS JOIN LATERAL (SELECT * FROM {webhooks} AS w \
             WHERE w.body_digest = decode(e.digest, 'hex') AND w.body_digest IS NOT NULL \
             AND w.created_at >= e.since AND w.duplicate_of IS NULL OFFSET 0) AS w",
            "SELECT w.id, w.provider, w.integration_id, w.body_digest, w.created_at \
             FROM json_each($1) AS e \
             CROSS JOIN {webhooks} AS w ON w.body_digest = unhex(e.value ->> 'digest') \
             AND w.body_digest IS NOT NULL AND w.created_at >= e.value ->> 'since' \
             WHERE w.duplicate_of IS NULL",
        );
        let mut digests = Vec::new();
        for new in deliveries {
            if let Some(since) = new.digest_duplicate_since {
                let since = time_text(since);
                let known_as = new.body_digests().map(hex);
                digests.extend(known_as.map(|hex| json!({ "digest": hex, "since": since })));
            }
        }
        let mut known: HashMap<_, Vec<Receipt>> = HashMap::new();
        if !digests.is_empty() {
            let find = self.sql(&BY_DIGEST).bind(Json::from(digests));
            for row in session.query(find).await? {
                let kind = kind_of_row(&row, row.get("body_digest")?)?;
                let receipt = (row.get("created_at")?, row.get("id")?);
                known.entry(kind).or_default().push(receipt);
            }
        }
        Ok(known)
    }

    /// Queues originals that had failed again; those that were queued.
    async fn requeue_failed(
        &self,
        session: &mut dyn Session,
        duplicates: &[(WebhookId, &NewWebhook, Option<DuplicateOf>)],
    ) -> Result<HashSet<WebhookId>, SqlError> {
        const REQUEUE: Template = Template::each(
            "WITH locked AS (SELECT id FROM {webhooks} WHERE id IN \
             (SELECT id FROM jsonb_to_recordset($1) AS e (id bigint)) AND status = 'failed' \
             ORDER BY id FOR UPDATE) \
             UPDATE {webhooks} AS w SET status = 'pending', attempts = 0, \
             available_at = e.available_at, processed_at = NULL, queued_at = e.now, lease_until = NULL, \
             lease_token = NULL, updated_at = e.now \
             FROM locked JOIN jsonb_to_recordset($1) AS e \
             (id bigint, available_at timestamptz, now timestamptz) ON e.id = locked.id \
             WHERE w.id = locked.id RETURNING w.id",
            "UPDATE {webhooks} AS w SET status = 'pending', attempts = 0, \
             available_at = e.available_at, processed_at = NULL, queued_at = e.now, lease_until = NULL, \
             lease_token = NULL, updated_at = e.now \
             FROM (SELECT value ->> 'id' AS id, value ->> 'available_at' AS available_at, \
             value ->> 'now' AS now FROM json_each($1)) AS e \
             WHERE w.id = e.id AND w.status = 'failed' RETURNING id",
        );
        // The first duplicate of an original speaks for the others.
        let mut seen = HashSet::new();
        let entries = duplicates.iter().filter_map(|(_, new, of)| {
            let (of, _) = (*of)?;
            seen.insert(of).then(|| {
                json!({
                    "id": of,
                    "available_at": time_text(new.available_at.unwrap_or(PARKED)),
                    "now": time_text(new.now),
                })
            })
        });
        let entries: Vec<Json> = entries.collect();
        if entries.is_empty() {
            return Ok(HashSet::new());
        }
        let rows = session
            .query(self.sql(&REQUEUE).bind(Json::from(entries)))
            .await?;
        let ids: Result<HashSet<WebhookId>, StoreError> =
            rows.iter().map(|row| row.get("id")).collect();
        Ok(ids?)
    }
}

/// Whether the same signed bytes count as the same delivery.
fn compares_digests(new: &NewWebhook) -> bool {
    new.digest_duplicate_since.is_some() && new.body_digests().next().is_some()
}

/// Whether the first of its kind may be on file under a key the index does not see as the same.
fn has_other_keys(new: &NewWebhook) -> bool {
    !new.other_digests.dedup_keys.is_empty()
}

/// Whether the first of its kind is looked for before it is inserted.
fn looks_first(new: &NewWebhook) -> bool {
    compares_digests(new) || has_other_keys(new)
}

/// Keep receipts of the same bytes apart where no index tells the first of them: it sees no body
/// digests, and no two digests under different keys of the ring as one.
fn digest_locks(deliveries: &[&NewWebhook]) -> Vec<NumberLock> {
    let digests = (deliveries.iter())
        .filter(|new| compares_digests(new))
        .flat_map(|new| new.body_digests());
    let keys = (deliveries.iter())
        .filter(|new| has_other_keys(new))
        .flat_map(|new| new.dedup_keys())
        .map(str::as_bytes);
    // Digests begin with the name of their key, and differ at the end.
    let tails = digests.chain(keys).filter_map(<[u8]>::last_chunk);
    let locks = tails.map(|tail| NumberLock {
        number: i64::from_be_bytes(*tail),
        shared: false,
    });
    let mut locks: Vec<_> = locks.collect();
    // A common order keeps two batches with the same bytes from deadlocking.
    locks.sort_unstable();
    locks.dedup();
    locks
}

/// Whether none of them is a duplicate of another.
fn may_all_be_first(deliveries: &[&NewWebhook]) -> bool {
    let (mut keys, mut digests) = (HashSet::new(), HashSet::new());
    deliveries.iter().all(|new| {
        let sender = (&new.provider, new.integration_id);
        new.dedup_keys().all(|key| keys.insert((sender, key)))
            && (new.body_digests()).all(|digest| digests.insert((sender, digest)))
    })
}
