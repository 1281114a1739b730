//! Domain logic over a port, tested with the port mocked: no database, no network.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use integrations::{
    id::IntegrationId,
    mapping::{Claimed, MappingStore, NewMapping},
    store::{StoreError, StoreErrorKind},
    value::{ExternalId, InternalId, InternalType},
};

/// Gives each ticket of the other system exactly one ticket of ours.
pub struct TicketImporter {
    mappings: Arc<dyn MappingStore>,
}

impl std::fmt::Debug for TicketImporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TicketImporter").finish_non_exhaustive()
    }
}

/// What became of a ticket.
#[derive(Debug, PartialEq, Eq)]
pub enum Import {
    /// The ticket we offered is the one.
    Created,
    /// There was one already; the one we offered is not needed.
    Existing(InternalId),
}

impl TicketImporter {
    /// An importer over a port.
    #[must_use]
    pub fn new(mappings: Arc<dyn MappingStore>) -> Self {
        Self { mappings }
    }

    /// Claims `theirs` for `ours`. Whoever claims first wins, also against other workers.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed or refused the claim.
    pub async fn import(
        &self,
        integration_id: IntegrationId,
        ticket: InternalType,
        theirs: ExternalId,
        ours: InternalId,
        now: DateTime<Utc>,
    ) -> Result<Import, StoreError> {
        let claim = NewMapping {
            integration_id,
            external_id: theirs,
            internal_type: ticket,
            internal_id: ours,
            source_version: None,
            content_hash: None,
            last_seen_run: None,
            now,
        };
        let answers = self.mappings.claim(&[claim]).await?;
        match answers.into_iter().next() {
            Some(Ok(Claimed::New(_) | Claimed::Same(_))) => Ok(Import::Created),
            Some(Ok(Claimed::Conflict { claimed_by, .. })) => Ok(Import::Existing(claimed_by)),
            Some(Err(rejected)) => Err(StoreError::new(
                StoreErrorKind::Constraint,
                rejected.to_string(),
            )),
            None => Err(StoreError::new(
                StoreErrorKind::Other,
                "the store did not answer",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use integrations::{id::MappingId, mock::MockMappingStore, store::Rejected};

    use super::*;

    async fn import(answer: Result<Claimed, Rejected>) -> Result<Import, StoreError> {
        let mut mappings = MockMappingStore::new();
        mappings
            .expect_claim()
            .withf(|claims| claims.len() == 1 && claims[0].external_id.as_str() == "T-1")
            .times(1)
            .return_once(move |_| Ok(vec![answer]));
        TicketImporter::new(Arc::new(mappings))
            .import(
                IntegrationId(1),
                InternalType::new("ticket").unwrap(),
                ExternalId::new("T-1").unwrap(),
                InternalId::new("42").unwrap(),
                DateTime::UNIX_EPOCH,
            )
            .await
    }

    #[tokio::test]
    async fn a_free_ticket_is_ours() {
        assert_eq!(
            import(Ok(Claimed::New(MappingId(1)))).await.unwrap(),
            Import::Created
        );
    }

    #[tokio::test]
    async fn somebody_elses_ticket_is_named() {
        let claimed_by = InternalId::new("7").unwrap();
        let conflict = Claimed::Conflict {
            id: MappingId(1),
            claimed_by: claimed_by.clone(),
        };
        assert_eq!(
            import(Ok(conflict)).await.unwrap(),
            Import::Existing(claimed_by)
        );
    }

    #[tokio::test]
    async fn a_refused_claim_is_an_error() {
        let error = import(Err(Rejected::MissingReference)).await.unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::Constraint);
    }
}
