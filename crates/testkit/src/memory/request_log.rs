//! The `RequestLog` port.

use async_trait::async_trait;
use integrations_core::{
    id::RequestId,
    integration::Scope,
    request::{
        HitCount, OutcomeFilter, RelatedId, Request, RequestFilter, RequestLog, RequestSummary,
        SummaryQuery,
    },
    store::{Page, PageRequest, StoreError},
};

use super::{MemoryStore, state::State, summary};

#[async_trait]
impl RequestLog for MemoryStore {
    async fn find(&self, id: RequestId, scope: &Scope) -> Result<Option<Request>, StoreError> {
        let state = self.lock();
        let found = state.requests.get(id.0);
        Ok(found.filter(|row| is_within(&state, row, scope)).cloned())
    }

    async fn query(
        &self,
        filter: &RequestFilter,
        scope: &Scope,
        page: &PageRequest,
    ) -> Result<Page<Request>, StoreError> {
        let state = self.lock();
        let read = |row: &Request| {
            let selected = selects(filter, row) && is_within(&state, row, scope);
            selected.then(|| row.clone())
        };
        Ok(state.requests.page(page, read, |row| row.id.0))
    }

    async fn count(&self, filter: &RequestFilter, scope: &Scope) -> Result<u64, StoreError> {
        let state = self.lock();
        let selected = state
            .requests
            .values()
            .filter(|row| selects(filter, row) && is_within(&state, row, scope));
        Ok(selected.count() as u64)
    }

    async fn summarise(&self, query: &SummaryQuery) -> Result<Vec<RequestSummary>, StoreError> {
        let state = self.lock();
        Ok(query
            .integrations
            .iter()
            .map(|id| {
                let rows: Vec<_> = state
                    .requests
                    .values()
                    .filter(|row| row.attempt.integration_id == *id)
                    .filter(|row| row.attempt.created_at >= query.since)
                    .collect();
                summary::of(&rows)
            })
            .collect())
    }

    async fn add_hits(&self, hits: &[HitCount]) -> Result<(), StoreError> {
        let mut state = self.lock();
        let count = |hits: u32| i32::try_from(hits).unwrap_or(i32::MAX);
        for hit in hits {
            if let Some(row) = state.requests.get_mut(hit.request_id.0) {
                row.cache_hits = row.cache_hits.saturating_add(count(hit.fresh));
                row.stale_hits = row.stale_hits.saturating_add(count(hit.stale));
            }
        }
        Ok(())
    }
}

fn is_within(state: &State, row: &Request, scope: &Scope) -> bool {
    state.admits(row.attempt.integration_id, scope)
}

fn selects(filter: &RequestFilter, row: &Request) -> bool {
    let attempt = &row.attempt;
    let related = attempt.related.as_ref();
    let about = |id: RelatedId| related.is_some_and(|related| related.id == id);
    (filter.integration_id).is_none_or(|id| id == attempt.integration_id)
        && filter.since.is_none_or(|since| attempt.created_at >= since)
        && filter.until.is_none_or(|until| attempt.created_at < until)
        && (filter.outcome.as_ref()).is_none_or(|outcome| ended_as(outcome, row))
        && (filter.endpoint.as_ref()).is_none_or(|endpoint| *endpoint == attempt.endpoint)
        && (filter.method.as_ref()).is_none_or(|method| *method == attempt.method)
        && is_unset_or_equal(
            filter.idempotency_key.as_ref(),
            attempt.idempotency_key.as_ref(),
        )
        && is_unset_or_equal(
            filter.provider_request_id.as_deref(),
            attempt.provider_request_id.as_deref(),
        )
        && (filter.chain).is_none_or(|first| row.id == first || attempt.retry_of == Some(first))
        && (filter.related_type.as_ref())
            .is_none_or(|wanted| related.is_some_and(|related| related.related_type == *wanted))
        && (filter.related_id).is_none_or(|id| about(RelatedId::Number(id)))
        && (filter.related_key.as_ref()).is_none_or(|key| about(RelatedId::Text(key.clone())))
}

fn ended_as(outcome: &OutcomeFilter, row: &Request) -> bool {
    let attempt = &row.attempt;
    match outcome {
        OutcomeFilter::Succeeded => attempt.failure_class.is_none(),
        OutcomeFilter::Failed => attempt.failure_class.is_some(),
        OutcomeFilter::Class(class) => attempt.failure_class.as_ref() == Some(class),
        OutcomeFilter::Status(status) => attempt.status_code == Some(*status),
        OutcomeFilter::StatusGroup(hundred) => attempt
            .status_code
            .is_some_and(|status| status / 100 == u16::from(*hundred)),
    }
}

fn is_unset_or_equal<T: PartialEq + ?Sized>(wanted: Option<&T>, found: Option<&T>) -> bool {
    wanted.is_none() || wanted == found
}
