//! Settling attempts: those that end at the same time share a write.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use integrations_core::{
    batch::WriteBatch,
    event::{Event, EventKind},
    id::LogId,
    operation_log::{NewOperation, OperationEnd, OperationLog, OperationStatus},
    store::StoreError,
    time::later,
    webhook::{WebhookOutcome, WebhookSettled, WebhookSettlement, WebhookSettlements},
};

use super::{Delivery, Shared, attempt::Ended};

/// How often a settlement is tried while the store is away.
const TRIES: u32 = 6;

/// An attempt to settle and to log.
#[derive(Clone)]
pub(super) struct Settling {
    /// `None`: the handler settled it.
    settlement: Option<WebhookSettlement>,
    log: Option<Logging>,
}

#[derive(Clone)]
enum Logging {
    Append(NewOperation),
    Finish(LogId, OperationEnd),
}

/// Settles, then logs what stands.
pub(super) struct SettlementWriter {
    pub(super) settlements: Arc<dyn WebhookSettlements>,
    pub(super) operations: Arc<dyn OperationLog>,
}

/// What settling came to: whether it stands, and what it was logged as.
pub(super) type Settled = Result<(WebhookSettled, Option<LogId>), StoreError>;

#[async_trait]
impl WriteBatch<Settling, Settled> for SettlementWriter {
    async fn write(&self, batch: Vec<Settling>) -> Vec<Settled> {
        let settlements: Vec<_> = batch
            .iter()
            .filter_map(|one| one.settlement.clone())
            .collect();
        let settled = match self.settlements.settle(&settlements).await {
            Ok(settled) => settled,
            Err(error) => return batch.iter().map(|_| Err(error.clone())).collect(),
        };
        let mut settled = settled.into_iter();
        let settled: Vec<WebhookSettled> = batch
            .iter()
            .map(|one| match one.settlement {
                Some(_) => settled.next().unwrap_or(WebhookSettled::LeaseLost),
                None => WebhookSettled::Done,
            })
            .collect();
        let logged = self.log(&batch, &settled).await;
        settled.into_iter().zip(logged).map(Ok).collect()
    }
}

impl SettlementWriter {
    /// Logs the attempts that stand. Settled is settled: a log that fails changes nothing of it.
    async fn log(&self, batch: &[Settling], settled: &[WebhookSettled]) -> Vec<Option<LogId>> {
        let mut logged = vec![None; batch.len()];
        let (mut places, mut entries) = (Vec::new(), Vec::new());
        for (place, (one, settled)) in batch.iter().zip(settled).enumerate() {
            match &one.log {
                Some(Logging::Append(new)) if *settled == WebhookSettled::Done => {
                    places.push(place);
                    entries.push(new.clone());
                }
                Some(Logging::Finish(id, end)) => {
                    logged[place] = Some(*id);
                    if let Err(error) = self.operations.finish(*id, end).await {
                        tracing::warn!(%error, "a webhook's operation was not ended in the log");
                    }
                }
                _ => {}
            }
        }
        if entries.is_empty() {
            return logged;
        }
        match self.operations.append(&entries).await {
            Ok(ids) => {
                for (place, id) in places.into_iter().zip(ids) {
                    logged[place] = id.ok();
                }
            }
            Err(error) => tracing::warn!(%error, "webhooks were processed and not logged"),
        }
        logged
    }
}

impl Shared {
    /// Settles an attempt, and tells what came of it.
    pub(super) async fn settle(&self, delivery: &Delivery, ended: Ended) {
        let now = self.client.ports().clock.now();
        let duration_ms = i64::try_from(ended.took.as_millis()).ok();
        let log = match delivery.begun_operation() {
            Some(id) => Some(Logging::Finish(
                id,
                OperationEnd {
                    status: ended.status.clone(),
                    summary: None,
                    result_data: None,
                    error: ended.error.clone(),
                    duration_ms,
                    now,
                },
            )),
            None => delivery.new_operation(ended.status.clone()).map(|new| {
                Logging::Append(NewOperation {
                    error: ended.error.clone(),
                    duration_ms,
                    ..new
                })
            }),
        };
        let settlement = ended.outcome.clone().map(|outcome| WebhookSettlement {
            outcome,
            ..delivery.settlement(now)
        });
        let Some((settled, log_id)) = self.write(delivery, Settling { settlement, log }).await
        else {
            return;
        };
        if settled == WebhookSettled::LeaseLost {
            tracing::warn!(
                webhook = %delivery.id(),
                "a webhook took longer than its lease, and another worker has it now"
            );
            return;
        }
        self.tell(delivery, &ended, log_id);
    }

    /// Writes until the store takes it; `None` when it did not for long, or for good. The lease
    /// runs out then, and the delivery is handled again.
    async fn write(
        &self,
        delivery: &Delivery,
        settling: Settling,
    ) -> Option<(WebhookSettled, Option<LogId>)> {
        let clock = &self.client.ports().clock;
        let mut wait = Duration::from_millis(250);
        for _ in 0..TRIES {
            let error = match self.settlements.write(settling.clone()).await {
                Ok(Ok(settled)) => return Some(settled),
                Ok(Err(error)) if !error.is_retryable() => {
                    tracing::error!(webhook = %delivery.id(), %error, "a webhook was not settled");
                    return None;
                }
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            };
            tracing::warn!(webhook = %delivery.id(), error, "a webhook could not be settled yet");
            clock.sleep_until(later(clock.now(), wait)).await;
            wait *= 2;
        }
        None
    }

    fn tell(&self, delivery: &Delivery, ended: &Ended, log_id: Option<LogId>) {
        let emit = |kind| {
            self.client.emit(Event {
                at: self.client.ports().clock.now(),
                integration_id: delivery.integration_id(),
                kind,
            });
        };
        let will_retry = matches!(ended.outcome, Some(WebhookOutcome::Retry { .. }));
        if let Some(log_id) = log_id {
            let operation = "webhook".to_owned();
            match ended.status {
                OperationStatus::Success => {
                    emit(EventKind::OperationCompleted { log_id, operation });
                }
                OperationStatus::Failed => {
                    let attempts = (delivery.attempt(), self.policy.max_attempts);
                    emit(EventKind::OperationFailed {
                        log_id,
                        operation,
                        attempt: will_retry.then_some(attempts),
                    });
                }
                _ => {}
            }
        }
        if matches!(ended.outcome, Some(WebhookOutcome::Failed { .. })) {
            emit(EventKind::WebhookFailed {
                webhook_id: delivery.id(),
                event_type: delivery.event_type().map(str::to_owned),
            });
        }
    }
}
