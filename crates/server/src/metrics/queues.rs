//! How long the queues in the database are.

use async_trait::async_trait;
use integrations_core::{
    integration::Scope,
    store::Ports,
    webhook::{WebhookFilter, WebhookStatus},
};

use super::{Collect, Exposition, Kind};

/// Webhooks by state, counted in the database when somebody asks.
#[derive(Clone, Debug)]
pub struct Queues(pub Ports);

/// `processed` ones are history, and counting history takes ever longer.
const COUNTED: [WebhookStatus; 3] = [
    WebhookStatus::Pending,
    WebhookStatus::Processing,
    WebhookStatus::Failed,
];

#[async_trait]
impl Collect for Queues {
    async fn collect(&self, out: &mut Exposition) {
        let now = self.0.clock.now();
        let mut counts = Vec::new();
        for status in COUNTED {
            let filter = WebhookFilter {
                status: Some(status.clone()),
                originals_only: true,
                ..WebhookFilter::default()
            };
            match self.0.inbox.count(&filter, &Scope::Operator, now).await {
                Ok(count) => counts.push((status, count)),
                Err(error) => {
                    tracing::warn!(%error, "the webhooks cannot be counted");
                    return;
                }
            }
        }
        let mut family = out.family(
            Kind::Gauge,
            "integrations_webhook_queue",
            "Webhooks that wait, are being processed, or are dead letters.",
        );
        for (status, count) in counts {
            family.count(&[("status", status.as_str())], count);
        }
    }
}
