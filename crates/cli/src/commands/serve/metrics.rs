//! What the receiver counts, for `/metrics`.

use integrations::webhooks::{Held, Receiver};
use integrations_server::metrics::{Collect, Exposition, Family, Kind};

/// The counts of a receiver.
pub(super) struct Receipts(pub(super) Receiver);

#[async_trait::async_trait]
impl Collect for Receipts {
    async fn collect(&self, out: &mut Exposition) {
        let counts = self.0.metrics();
        let answers = [
            ("queued", counts.queued),
            ("parked", counts.parked),
            ("duplicate", counts.duplicates),
            ("challenge", counts.challenges),
            ("gone", counts.gone),
            ("too_large", counts.too_large),
            ("busy", counts.busy),
            ("unavailable", counts.unavailable),
            ("other", counts.other),
        ];
        let mut family = out.family(
            Kind::Counter,
            "integrations_webhooks_total",
            "Requests to webhooks' routes, by how they were answered.",
        );
        for (answer, count) in answers {
            family.count(&[("answer", answer)], count);
        }
        let mut family = out.family(
            Kind::Counter,
            "integrations_webhooks_refused_total",
            "Requests to webhooks' routes that proved not to be genuine, by reason.",
        );
        for (reason, count) in counts.refused {
            family.count(&[("reason", reason)], count);
        }
        out.family(
            Kind::Counter,
            "integrations_webhook_batches_total",
            "Commits that deliveries shared.",
        )
        .count(&[], counts.batches);
        out.family(
            Kind::Counter,
            "integrations_webhook_batched_total",
            "Deliveries in those commits.",
        )
        .count(&[], counts.in_batches);
        held(
            &mut out.family(
                Kind::Gauge,
                "integrations_webhook_held",
                "What the receiver holds in memory: bytes of bodies, and deliveries that are \
                 verified or wait to be written.",
            ),
            counts.held,
        );
        held(
            &mut out.family(
                Kind::Gauge,
                "integrations_webhook_bound",
                "What it holds at most; what is more is answered with 429 or 503.",
            ),
            counts.bounds,
        );
    }
}

fn held(family: &mut Family<'_>, held: Held) {
    family
        .count(&[("what", "bytes")], held.bytes)
        .count(&[("what", "unverified")], held.unverified)
        .count(&[("what", "waiting")], held.waiting);
}
