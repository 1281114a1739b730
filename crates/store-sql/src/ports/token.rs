//! [`OneTimeTokens`] over SQL.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use integrations_core::{
    encryptor::Sealed,
    store::StoreError,
    token::{NewToken, OneTimeTokens, TokenKind},
};

use super::payload::hex;
use crate::{
    backend::OwnCommit,
    checks::Fits,
    error::SqlError,
    row::Row,
    statement::Template,
    store::{SqlStore, retrying},
};

impl<B: OwnCommit> SqlStore<B> {
    async fn consume_once(
        &self,
        kind: &TokenKind,
        digests: &[String],
        now: DateTime<Utc>,
    ) -> Result<Option<NewToken>, SqlError> {
        const CONSUME: Template = Template::each(
            "DELETE FROM {tokens} WHERE kind = $1 AND until > $2 \
             AND digest IN (SELECT decode(d, 'hex') FROM unnest($3) AS d) \
             RETURNING id, uid, digest, kind, provider, integration_id, sealed_data, until, \
             created_at",
            "DELETE FROM {tokens} WHERE kind = $1 AND until > $2 \
             AND digest IN (SELECT unhex(value) FROM json_each($3)) \
             RETURNING id, uid, digest, kind, provider, integration_id, sealed_data, until, \
             created_at",
        );
        let consume = self
            .sql(&CONSUME)
            .bind(kind.as_str())
            .bind(now)
            .bind_texts(digests);
        let rows = self.backend.write_apart().await?.query(consume).await?;
        Ok(rows.first().map(token).transpose()?)
    }
}

#[async_trait]
impl<B: OwnCommit> OneTimeTokens for SqlStore<B> {
    async fn issue(&self, new: &NewToken) -> Result<(), StoreError> {
        const ISSUE: Template = Template::both(
            "INSERT INTO {tokens} (uid, digest, kind, provider, integration_id, sealed_data, \
             until, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)",
        );
        Fits::new()
            .varchar(new.kind.as_str(), 32)
            .text(new.data.as_ref().map(Sealed::as_str))
            .verdict()?;
        let issue = self
            .sql(&ISSUE)
            .bind(&new.uid)
            .bind(new.digest.as_slice())
            .bind(new.kind.as_str())
            .bind(&new.provider)
            .bind(new.integration_id)
            .bind(new.data.as_ref())
            .bind(new.until)
            .bind(new.now);
        self.backend.write_apart().await?.execute(issue).await?;
        Ok(())
    }

    async fn consume(
        &self,
        kind: &TokenKind,
        digests: &[Vec<u8>],
        now: DateTime<Utc>,
    ) -> Result<Option<NewToken>, StoreError> {
        let digests: Vec<String> = digests.iter().map(|digest| hex(digest)).collect();
        retrying!(self.consume_once(kind, &digests, now).await)
    }
}

fn token(row: &Row) -> Result<NewToken, StoreError> {
    Ok(NewToken {
        uid: row.get("uid")?,
        digest: row.get("digest")?,
        kind: TokenKind::from(row.get::<String>("kind")?),
        provider: row.parse("provider")?,
        integration_id: row.get("integration_id")?,
        data: row.get("sealed_data")?,
        until: row.get("until")?,
        now: row.get("created_at")?,
    })
}
