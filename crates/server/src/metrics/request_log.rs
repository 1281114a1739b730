//! What became of the rows of calls.

use async_trait::async_trait;
use integrations_core::client::IntegrationClient;

use super::{Collect, Exposition, Kind};

/// The request log as this process writes it.
#[derive(Clone, Debug)]
pub struct RequestLog(pub IntegrationClient);

#[async_trait]
impl Collect for RequestLog {
    async fn collect(&self, out: &mut Exposition) {
        let counts = self.0.log_counts();
        out.family(
            Kind::Counter,
            "integrations_request_log_rows_total",
            "Attempts by what became of their rows; an unrecorded one may be written later.",
        )
        .count(&[("outcome", "written")], counts.written)
        .count(&[("outcome", "unrecorded")], counts.unrecorded)
        .count(&[("outcome", "refused")], counts.refused)
        .count(&[("outcome", "dropped")], counts.dropped);
        out.family(
            Kind::Counter,
            "integrations_request_log_batches_total",
            "Commits that rows of attempts shared.",
        )
        .count(&[], counts.batches);
        let held = |rows: usize| u64::try_from(rows).unwrap_or(u64::MAX);
        out.family(
            Kind::Gauge,
            "integrations_request_log_held_rows",
            "Rows in memory: waiting to be written, or kept until the database is back.",
        )
        .count(&[("why", "waiting")], held(counts.waiting))
        .count(&[("why", "kept")], held(counts.kept));
    }
}
