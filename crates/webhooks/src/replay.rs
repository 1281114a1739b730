//! Having deliveries processed again: many at once, at a measured pace.

use std::time::Duration;

use integrations_core::{
    client::IntegrationClient,
    id::WebhookId,
    integration::Scope,
    store::{PageRequest, StoreError},
    time::later,
    wake::WakeChannel,
    webhook::WebhookFilter,
};

/// Deliveries queued by one statement, at most.
const BATCH: u32 = 500;

/// A replay of the deliveries that a filter selects.
#[derive(Clone, Debug)]
pub struct Replay {
    client: IntegrationClient,
    filter: WebhookFilter,
    scope: Scope,
    per_second: u32,
}

/// What a replay would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayPlan {
    /// Deliveries that the filter selects, without duplicates.
    pub deliveries: u64,
    /// How long it takes at the pace asked for.
    pub at_least: Duration,
}

/// What a replay did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayReport {
    /// Queued again.
    pub queued: u64,
    /// Passed over: under way, or gone meanwhile.
    pub passed_over: u64,
}

impl Replay {
    /// A replay of what `filter` selects within `scope`, 100 a second. Duplicates are left out:
    /// the first of their kind stands for them.
    #[must_use]
    pub fn new(client: &IntegrationClient, filter: WebhookFilter, scope: Scope) -> Self {
        Self {
            client: client.clone(),
            filter: WebhookFilter {
                originals_only: true,
                ..filter
            },
            scope,
            per_second: 100,
        }
    }

    /// Another pace, at least one a second.
    #[must_use]
    pub fn per_second(mut self, per_second: u32) -> Self {
        self.per_second = per_second.max(1);
        self
    }

    /// What it would do. Nothing is changed.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    pub async fn plan(&self) -> Result<ReplayPlan, StoreError> {
        let ports = self.client.ports();
        let now = ports.clock.now();
        let deliveries = ports.inbox.count(&self.filter, &self.scope, now).await?;
        let batches = deliveries.saturating_sub(1) / u64::from(self.batch());
        Ok(ReplayPlan {
            deliveries,
            at_least: Duration::from_secs(
                batches * u64::from(self.batch()) / u64::from(self.per_second),
            ),
        })
    }

    /// Queues them, oldest first, at the pace asked for, telling `progress` after every batch.
    ///
    /// Dropping the future leaves queued what was queued. What arrives meanwhile is left alone.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed; what was queued stays queued.
    pub async fn run(
        &self,
        mut progress: impl FnMut(&ReplayReport) + Send,
    ) -> Result<ReplayReport, StoreError> {
        let ports = self.client.ports();
        let begun = ports.clock.now();
        let mut report = ReplayReport::default();
        let mut page = PageRequest::oldest(self.batch());
        // What a replay queues no longer has the status it was selected by; pages follow the id.
        loop {
            let now = ports.clock.now();
            let read = ports
                .inbox
                .query(&self.filter, &self.scope, &page, now)
                .await?;
            let ids: Vec<WebhookId> = (read.items.iter())
                .filter(|webhook| webhook.delivery.now <= begun)
                .map(|webhook| webhook.id)
                .collect();
            if !ids.is_empty() {
                let queued = ports.inbox.replay(&ids, &self.scope, now).await?;
                ports.wake.ring(WakeChannel::Webhooks);
                report.queued += queued.len() as u64;
                report.passed_over += (ids.len() - queued.len()) as u64;
                progress(&report);
            }
            let Some(next) = read.next else {
                return Ok(report);
            };
            page = page.after(Some(next));
            let queued = u32::try_from(ids.len()).unwrap_or(u32::MAX);
            let pause = Duration::from_secs(1) * queued / self.per_second;
            ports.clock.sleep_until(later(now, pause)).await;
        }
    }

    /// About a second's worth, so that the pace is even.
    fn batch(&self) -> u32 {
        self.per_second.min(BATCH)
    }
}
