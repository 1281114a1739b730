//! `sync`

use chrono::Duration as Span;
use integrations::{
    IntegrationClient,
    id::{IntegrationId, SyncRunId},
    integration::{Integration, IntegrationFilter},
    store::PageRequest,
    sync::{
        SyncRun,
        engine::{
            RoundReport, StreamOutcome, StreamReport, SyncEngine, SyncError, SyncRequest, WorkScope,
        },
    },
    value::StreamName,
    work::Stop,
};
use serde_json::{Value as Json, json};

use super::view;
use crate::{
    args::SyncArgs,
    context::{Context, no_such_integration},
    exit::{Exit, Failure, Outcome},
    output::{Row, table::Column},
    sinks::{Sink, SinkTarget},
    stop,
};

const COLUMNS: [Column; 7] = [
    Column::right("INTEGRATION"),
    Column::left("STREAM"),
    Column::right("RUN"),
    Column::left("ENUMERATION"),
    Column::right("ITEMS"),
    Column::right("DUPLICATES"),
    Column::left("STATE"),
];

/// How many integrations one call of `sync` without names enumerates at most.
const DUE: usize = 1_000;

pub(super) async fn run(context: &Context, args: SyncArgs) -> Outcome {
    let settings = context.settings()?;
    let client = context.client().await?;
    let sink = match &args.sink {
        Some(target) => {
            let clock = &client.ports().clock;
            Some(Sink::open(target, &settings.sink.resolve()?, clock)?)
        }
        None => None,
    };
    let has_sink = sink.is_some();
    let mut builder = SyncEngine::builder(&client).policy(settings.sync.clone());
    if let Some(sink) = sink {
        let at_once = sink.at_once(&settings.sync);
        builder = builder.concurrency(at_once).any_handler(sink);
    }
    let engine = builder
        .build()
        .map_err(|error| Failure::usage(error.to_string()))?;
    let stop = Stop::new();
    let work = Work {
        context,
        args: &args,
        client: &client,
        engine: &engine,
        stop: &stop,
        has_sink,
    };
    let exit = tokio::select! {
        exit = work.run() => exit,
        _ = stop::on_signals(&stop) => Err(Failure::failed("stopped at once")),
    };
    client.shutdown().await;
    exit
}

struct Work<'a> {
    context: &'a Context,
    args: &'a SyncArgs,
    client: &'a IntegrationClient,
    engine: &'a SyncEngine,
    stop: &'a Stop,
    has_sink: bool,
}

impl Work<'_> {
    async fn run(&self) -> Outcome {
        let rounds = self.rounds().await?;
        if self.has_sink {
            for round in &rounds {
                let scope = WorkScope::of(round.integration_id);
                self.engine.drain(&scope, self.stop).await;
            }
        }
        let ids: Vec<SyncRunId> = rounds
            .iter()
            .flat_map(|round| round.streams.iter().map(|stream| stream.run_id))
            .collect();
        let runs = if self.args.wait {
            self.engine.ended(&ids, self.stop).await?
        } else {
            self.found(&ids).await?
        };
        self.report(&rounds, &runs)
    }

    async fn rounds(&self) -> Outcome<Vec<RoundReport>> {
        let named = self.named().await?;
        if named.is_empty() && self.args.ids.is_empty() && !self.args.all {
            return Ok(self.engine.sync_due(DUE, self.stop).await?);
        }
        let mut rounds = Vec::with_capacity(named.len());
        for integration in named {
            let streams = self.streams(&integration)?;
            let request = SyncRequest {
                full: self.args.full,
                streams,
                ..SyncRequest::of(integration.id)
            };
            match self.engine.sync_now(&request, self.stop).await {
                Ok(round) => rounds.push(round),
                // Of all, those that take no sync are left out; a named one is an error.
                Err(
                    SyncError::Refused(_)
                    | SyncError::NotSyncable(_)
                    | SyncError::UnknownProvider(_),
                ) if self.args.all => {}
                Err(error) => return Err(refused(integration.id, &error)),
            }
        }
        Ok(rounds)
    }

    /// The integrations that were named, or all of them.
    async fn named(&self) -> Outcome<Vec<Integration>> {
        let operator = self.client.operator();
        let mut found = Vec::new();
        for id in &self.args.ids {
            let row = operator.integration(*id).find().await?;
            found.push(row.ok_or_else(|| no_such_integration(*id))?);
        }
        let mut page = PageRequest::oldest(PageRequest::MAX_LIMIT);
        if !self.args.all {
            return Ok(found);
        }
        loop {
            let rows = operator.list(&IntegrationFilter::default(), &page).await?;
            found.extend(rows.items);
            page = page.after(rows.next);
            if rows.next.is_none() {
                return Ok(found);
            }
        }
    }

    fn streams(&self, integration: &Integration) -> Outcome<Option<Vec<StreamName>>> {
        let Some(stream) = &self.args.stream else {
            return Ok(None);
        };
        let stream = StreamName::new(stream)?;
        if self.args.all && !self.engine.streams(&integration.provider).contains(&stream) {
            return Ok(Some(Vec::new()));
        }
        Ok(Some(vec![stream]))
    }

    async fn found(&self, ids: &[SyncRunId]) -> Outcome<Vec<SyncRun>> {
        let scope = integrations::Scope::Operator;
        let mut runs = Vec::with_capacity(ids.len());
        for id in ids {
            runs.extend(self.client.ports().syncs.find_run(*id, &scope).await?);
        }
        Ok(runs)
    }

    fn report(&self, rounds: &[RoundReport], runs: &[SyncRun]) -> Outcome {
        let mut rows = Vec::new();
        for round in rounds {
            for stream in &round.streams {
                let run = runs.iter().find(|run| run.id == stream.run_id);
                rows.push(row(round.integration_id, stream, run));
            }
        }
        // The sink's lines are the data there.
        if self.args.sink == Some(SinkTarget::Stdout) {
            self.context.output.note(&format!("runs: {}", rows.len()));
        } else {
            self.context.output.list(&COLUMNS, rows, "nothing is due")?;
        }
        let open: i64 = runs.iter().map(|run| run.counts.open).sum();
        if open > 0 && !self.has_sink {
            let note =
                format!("{open} items are left to the workers: `integrations worker --sink ..`");
            self.context.output.note(&note);
        } else if open > 0 {
            self.context
                .output
                .note(&format!("{open} items wait for another attempt"));
        }
        let mut failed = false;
        for round in rounds {
            let why = round
                .streams
                .iter()
                .filter_map(|stream| match &stream.outcome {
                    StreamOutcome::Failed(why) => Some(why),
                    _ => None,
                });
            for why in round.error.iter().chain(why) {
                failed = true;
                let id = round.integration_id;
                self.context
                    .output
                    .warn(&format!("integration {id}: {why}"));
            }
        }
        failed |= runs.iter().any(|run| run.counts.failed > 0);
        Ok(if failed { Exit::Failed } else { Exit::Done })
    }
}

fn refused(id: IntegrationId, error: &SyncError) -> Failure {
    let message = format!("integration {id}: {error}");
    match error {
        SyncError::NotFound => Failure::not_found(message),
        SyncError::Store(error) => error.clone().into(),
        _ => Failure::refused(message),
    }
}

fn row(id: IntegrationId, stream: &StreamReport, run: Option<&SyncRun>) -> Row {
    let state = run.map_or("gone".to_owned(), |run| run.state.to_string());
    let counts = run.map(|run| run.counts).unwrap_or_default();
    Row {
        cells: vec![
            id.to_string(),
            stream.stream.to_string(),
            stream.run_id.to_string(),
            enumeration(&stream.outcome).to_owned(),
            counts.total.to_string(),
            counts.duplicates.to_string(),
            state.clone(),
        ],
        json: json!({
            "integration_id": id,
            "stream": stream.stream.as_str(),
            "run_id": stream.run_id,
            "resumed": stream.resumed,
            "enumeration": enumeration(&stream.outcome),
            "error": error_of(&stream.outcome),
            "state": state,
            "items": counts.total,
            "open": counts.open,
            "succeeded": counts.succeeded,
            "failed": counts.failed,
            "skipped": counts.skipped,
            "duplicates": counts.duplicates,
            "started_at": run.map(|run| view::time(run.started_at)),
            "ended_at": run.and_then(|run| run.ended_at).map(view::time),
            "duration_ms": run.and_then(took).map(|span| span.num_milliseconds()),
        }),
    }
}

fn took(run: &SyncRun) -> Option<Span> {
    run.ended_at.map(|ended| ended - run.started_at)
}

const fn enumeration(outcome: &StreamOutcome) -> &'static str {
    match outcome {
        StreamOutcome::Enumerated => "complete",
        StreamOutcome::InFlight => "in flight",
        StreamOutcome::Failed(_) => "failed",
        StreamOutcome::Paused(_) => "paused",
        StreamOutcome::Interrupted => "stopped",
        StreamOutcome::LeaseLost => "taken over",
    }
}

fn error_of(outcome: &StreamOutcome) -> Json {
    match outcome {
        StreamOutcome::Failed(why) => Json::from(why.as_str()),
        _ => Json::Null,
    }
}
