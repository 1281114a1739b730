//! What the receiver counts, for `/metrics`.

use integrations::webhooks::Receiver;
use integrations_server::metrics::{Collect, Exposition, Kind};

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
        let gauges = [
            (
                "integrations_webhook_bytes_under_way",
                "Bytes of bodies in memory.",
                counts.bytes_under_way,
            ),
            (
                "integrations_webhooks_unwritten",
                "Deliveries that wait to be written.",
                counts.waiting_for_writer,
            ),
        ];
        for (name, help, count) in gauges {
            out.family(Kind::Gauge, name, help).count(&[], count);
        }
    }
}
