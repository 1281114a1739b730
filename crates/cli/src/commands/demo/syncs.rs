//! A sync, a change at the other side, and a sync that brings only that.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use integrations::{
    client::IntegrationClient,
    id::IntegrationId,
    sync::engine::{Handled, SyncEngine, SyncRequest, WorkScope, handler_fn},
    value::ItemKind,
    work::Stop,
};
use integrations_testkit::twin::github::GithubTwin;

use crate::exit::{Failure, Outcome};

/// How many items of each kind were handled.
type Handling = Arc<Mutex<BTreeMap<ItemKind, usize>>>;

/// Makes the syncs; a line about each.
pub(super) async fn make(
    client: &IntegrationClient,
    id: IntegrationId,
    twin: &GithubTwin,
) -> Outcome<Vec<String>> {
    let handled = Handling::default();
    let counting = Arc::clone(&handled);
    let counter = handler_fn(move |attempt| {
        let counting = Arc::clone(&counting);
        async move {
            let mut counts = counting.lock().unwrap_or_else(PoisonError::into_inner);
            *counts.entry(attempt.kind().clone()).or_default() += 1;
            Ok(Handled::Done)
        }
    });
    let engine = SyncEngine::builder(client).any_handler(counter).build();
    let engine = engine.map_err(|error| Failure::failed(error.to_string()))?;
    let first = sync(&engine, id, &handled).await?;
    let number = twin.add_issue("Found while the demo ran");
    let second = sync(&engine, id, &handled).await?;
    Ok(vec![
        format!("first sync: {first}"),
        format!("issue {number} is opened at GitHub"),
        format!("second sync: {second}"),
    ])
}

async fn sync(engine: &SyncEngine, id: IntegrationId, handled: &Handling) -> Outcome<String> {
    let stop = Stop::new();
    let round = engine.sync_now(&SyncRequest::of(id), &stop).await;
    let round = round.map_err(|error| Failure::failed(error.to_string()))?;
    engine.drain(&WorkScope::of(id), &stop).await;
    let counts = std::mem::take(&mut *handled.lock().unwrap_or_else(PoisonError::into_inner));
    let handled: Vec<String> = counts
        .iter()
        .map(|(kind, count)| format!("{count} × {kind}"))
        .collect();
    let known: u64 = round.streams.iter().map(|s| s.counts.duplicates).sum();
    let handled = if handled.is_empty() {
        "nothing".to_owned()
    } else {
        handled.join(", ")
    };
    Ok(format!("handled {handled}; {known} were known already"))
}
