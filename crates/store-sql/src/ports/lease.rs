//! [`Leases`] over SQL.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use integrations_core::{
    lease::{Lease, LeaseAnswer, LeaseRequest, Leases},
    store::StoreError,
    value::HolderName,
};

use crate::{
    backend::OwnCommit,
    error::{SqlError, SqlErrorKind},
    statement::Template,
    store::{SqlStore, retrying},
};

impl<B: OwnCommit> SqlStore<B> {
    async fn acquire_once(&self, request: &LeaseRequest) -> Result<LeaseAnswer, SqlError> {
        // The row stays when a lease is given back, so that its fence only grows.
        const ACQUIRE: Template = Template::both(
            "INSERT INTO {leases} AS l (name, holder, until, fence, created_at, updated_at) \
             VALUES ($1, $2, $3, 1, $4, $4) \
             ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until, \
             fence = l.fence + 1, updated_at = excluded.updated_at \
             WHERE l.until IS NULL OR l.until <= excluded.updated_at RETURNING fence",
        );
        const HELD: Template = Template::both(
            "SELECT holder, until FROM {leases} \
             WHERE name = $1 AND holder IS NOT NULL AND until > $2",
        );
        let acquire = self
            .sql(&ACQUIRE)
            .bind(&request.name)
            .bind(&request.holder)
            .bind(request.until)
            .bind(request.now);
        let mut session = self.backend.write_apart().await?;
        if let Some(row) = session.query(acquire).await?.first() {
            return Ok(LeaseAnswer::Acquired(Lease {
                name: request.name.clone(),
                holder: request.holder.clone(),
                fence: row.get("fence")?,
                until: request.until,
            }));
        }
        let held = self.sql(&HELD).bind(&request.name).bind(request.now);
        match session.query(held).await?.first() {
            Some(row) => Ok(LeaseAnswer::Held {
                by: row.parse::<HolderName>("holder")?,
                until: row.get("until")?,
            }),
            None => Err(SqlError::new(
                SqlErrorKind::Transient,
                "the lease was given back just now",
            )),
        }
    }
}

#[async_trait]
impl<B: OwnCommit> Leases for SqlStore<B> {
    async fn acquire(&self, request: &LeaseRequest) -> Result<LeaseAnswer, StoreError> {
        retrying!(self.acquire_once(request).await)
    }

    async fn renew(
        &self,
        lease: &Lease,
        until: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        const RENEW: Template = Template::both(
            "UPDATE {leases} SET until = $3, updated_at = $4 \
             WHERE name = $1 AND fence = $2 AND holder IS NOT NULL AND until > $4",
        );
        let renew = self
            .sql(&RENEW)
            .bind(&lease.name)
            .bind(lease.fence)
            .bind(until)
            .bind(now);
        Ok(self.backend.write_apart().await?.execute(renew).await? > 0)
    }

    async fn release(&self, lease: &Lease, now: DateTime<Utc>) -> Result<bool, StoreError> {
        const RELEASE: Template = Template::both(
            "UPDATE {leases} SET holder = NULL, until = NULL, updated_at = $3 \
             WHERE name = $1 AND fence = $2 AND holder IS NOT NULL",
        );
        let release = self
            .sql(&RELEASE)
            .bind(&lease.name)
            .bind(lease.fence)
            .bind(now);
        Ok(self.backend.write_apart().await?.execute(release).await? > 0)
    }
}
