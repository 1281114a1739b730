//! Having deliveries processed again: many at once, at a measured pace.

use std::{fmt, time::Duration};

use integrations_core::{
    client::IntegrationClient,
    integration::Scope,
    store::{PageRequest, Ports, StoreError},
    time::later,
    wake::WakeChannel,
    webhook::{WebhookFilter, WebhookGroup},
};

/// Deliveries queued by one statement, at most.
const BATCH: u32 = 500;

/// Kinds of deliveries that a plan lists, at most.
const LISTED: u32 = 20;

/// A replay of the deliveries that a filter selects.
#[derive(Clone)]
pub struct Replay {
    ports: Ports,
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
    /// What they are: the 20 most frequent kinds, the most frequent first.
    pub kinds: Vec<WebhookGroup>,
}

/// What a replay did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayReport {
    /// Queued again.
    pub queued: u64,
    /// Passed over: under way, or gone meanwhile.
    pub passed_over: u64,
}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay")
            .field("filter", &self.filter)
            .field("per_second", &self.per_second)
            .finish_non_exhaustive()
    }
}

impl Replay {
    /// A replay of what `filter` selects within `scope`, 100 a second. Duplicates are left out:
    /// the first of their kind stands for them.
    #[must_use]
    pub fn new(client: &IntegrationClient, filter: WebhookFilter, scope: Scope) -> Self {
        Self::over(client.ports().clone(), filter, scope)
    }

    /// The same without a client: it needs no keys.
    #[must_use]
    pub fn over(ports: Ports, filter: WebhookFilter, scope: Scope) -> Self {
        Self {
            ports,
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
        let Ports { inbox, clock, .. } = &self.ports;
        let now = clock.now();
        let deliveries = inbox.count(&self.filter, &self.scope, now).await?;
        let kinds = inbox
            .count_by_type(&self.filter, &self.scope, now, LISTED)
            .await?;
        let batches = deliveries.saturating_sub(1) / u64::from(self.batch());
        Ok(ReplayPlan {
            deliveries,
            at_least: Duration::from_secs(
                batches * u64::from(self.batch()) / u64::from(self.per_second),
            ),
            kinds,
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
        let ports = &self.ports;
        // What comes later is left alone; what came at this very moment is not.
        let begun = later(ports.clock.now(), Duration::from_micros(1));
        let filter = WebhookFilter {
            until: Some(self.filter.until.map_or(begun, |until| until.min(begun))),
            ..self.filter.clone()
        };
        let mut report = ReplayReport::default();
        let mut page = PageRequest::oldest(self.batch());
        // What a replay queues no longer has the status it was selected by; pages follow the id.
        loop {
            let now = ports.clock.now();
            let read = ports.inbox.ids(&filter, &self.scope, &page, now).await?;
            let ids = read.items;
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
