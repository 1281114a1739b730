//! `webhooks replay --filter`

use chrono::{DateTime, Utc};
use integrations::{
    integration::Scope,
    store::Ports,
    webhook::WebhookFilter,
    webhooks::{Replay, ReplayPlan, ReplayReport},
};
use serde_json::{Value as Json, json};

use crate::{
    args::{BulkArgs, Condition},
    commands::view,
    context::{self, Context},
    exit::{Exit, Failure, Outcome},
    output::table::Column,
};

const COLUMNS: [Column; 4] = [
    Column::right("DELIVERIES"),
    Column::right("OF"),
    Column::left("PROVIDER"),
    Column::left("EVENT"),
];

/// Shows what would be queued, makes sure that it is meant, and queues it at a measured pace.
pub(super) async fn replay(context: &Context, args: BulkArgs) -> Outcome {
    let ports = context.ports().await?;
    let now = ports.clock.now();
    let mut filter = WebhookFilter::default();
    for condition in args.filter {
        narrow(&mut filter, condition, &ports, now).await?;
    }
    // What comes while somebody reads the plan is no part of it.
    filter.until.get_or_insert(now);
    let replay = Replay::over(ports, filter, Scope::Operator).per_second(args.per_second);
    let plan = replay.plan().await?;
    if args.dry_run {
        return show(context, &plan);
    }
    if plan.deliveries > 0 && !args.yes && !is_meant(context, &plan)? {
        context.output.note("nothing was queued");
        return Ok(Exit::Done);
    }
    let told = |so_far: &ReplayReport| {
        let done = so_far.queued + so_far.passed_over;
        let text = format!("{done} of {} deliveries", plan.deliveries);
        context.output.note(&text);
    };
    report(context, &plan, replay.run(told).await?)
}

/// Adds a condition; a second one of its kind is refused, because nothing fits both.
async fn narrow(
    filter: &mut WebhookFilter,
    condition: Condition,
    ports: &Ports,
    now: DateTime<Utc>,
) -> Outcome<()> {
    fn set<T>(name: &str, field: &mut Option<T>, value: T) -> Outcome<()> {
        match field.replace(value) {
            None => Ok(()),
            Some(_) => Err(Failure::usage(format!("`--filter {name}=` is given twice"))),
        }
    }
    match condition {
        Condition::Integration(id) => {
            let id = context::integration(ports, id).await?.id;
            set("integration", &mut filter.integration_id, id)
        }
        Condition::Provider(provider) => set("provider", &mut filter.provider, provider),
        Condition::Status(status) => set("status", &mut filter.status, status),
        Condition::Event(event_type) => set("event", &mut filter.event_type, event_type),
        Condition::Delivery(id) => set("delivery", &mut filter.delivery_id, id),
        Condition::Since(moment) => set("since", &mut filter.since, moment.before(now)),
        Condition::Until(moment) => set("until", &mut filter.until, moment.before(now)),
    }
}

fn is_meant(context: &Context, plan: &ReplayPlan) -> Outcome<bool> {
    let deliveries = plan.deliveries;
    for line in lines(plan) {
        context.output.note(&line);
    }
    let question = format!("have {deliveries} deliveries processed again?");
    let answer = context.terminal.confirm(&question, false)?;
    answer.ok_or_else(|| {
        Failure::refused(format!(
            "{deliveries} deliveries would be processed again; `--yes` does it"
        ))
    })
}

/// The plan for people.
fn lines(plan: &ReplayPlan) -> Vec<String> {
    let kinds = plan.kinds.iter().map(|kind| {
        format!(
            "{} of {}, integration {}, event {}",
            kind.count,
            kind.provider,
            view::or_none(kind.integration_id),
            view::or_none(kind.event_type.as_ref()),
        )
    });
    let mut lines: Vec<String> = kinds.collect();
    let others = others(plan);
    if others > 0 {
        lines.push(format!("{others} of other kinds"));
    }
    lines.push(format!("it takes {} s or more", plan.at_least.as_secs()));
    lines
}

/// How many deliveries the plan does not list by kind.
fn others(plan: &ReplayPlan) -> u64 {
    let listed: u64 = plan.kinds.iter().map(|kind| kind.count).sum();
    plan.deliveries.saturating_sub(listed)
}

fn show(context: &Context, plan: &ReplayPlan) -> Outcome {
    let rows = plan.kinds.iter().map(|kind| {
        vec![
            kind.count.to_string(),
            view::or_none(kind.integration_id),
            kind.provider.to_string(),
            view::or_none(kind.event_type.as_ref()),
        ]
    });
    let rows: Vec<_> = rows.collect();
    context.output.tree(&COLUMNS, &rows, &json(plan))?;
    context.output.note(&format!(
        "{} deliveries, {} of them of kinds that are not listed; queueing them takes {} s or more",
        plan.deliveries,
        others(plan),
        plan.at_least.as_secs()
    ));
    Ok(Exit::Done)
}

fn json(plan: &ReplayPlan) -> Json {
    let kinds = plan.kinds.iter().map(|kind| {
        json!({
            "provider": kind.provider.as_str(),
            "integration_id": kind.integration_id,
            "event_type": kind.event_type,
            "deliveries": kind.count,
        })
    });
    json!({
        "deliveries": plan.deliveries,
        "seconds": plan.at_least.as_secs(),
        "kinds": kinds.collect::<Json>(),
        "other_kinds": others(plan),
    })
}

fn report(context: &Context, plan: &ReplayPlan, report: ReplayReport) -> Outcome {
    let fields = [
        ("planned", plan.deliveries.to_string()),
        ("queued", report.queued.to_string()),
        ("passed over", report.passed_over.to_string()),
    ];
    let json = json!({
        "plan": json(plan),
        "queued": report.queued,
        "passed_over": report.passed_over,
    });
    context.output.record(&fields, &json)?;
    Ok(Exit::Done)
}
