//! `rate-limit`: what is used, and another budget in place of the provider's. Works without keys
//! and for rows of any provider.

use std::time::Duration;

use integrations::{
    gate::{Budget, GateView, RateOverride, WindowKind},
    integration::{Integration, Scope},
    store::Ports,
};
use serde_json::{Value as Json, json};

use super::view;
use crate::{
    args::{RateLimitAction, RateLimitArgs, RateLimitSet},
    context::{self, Context, no_such_integration},
    exit::{Exit, Failure, Outcome},
};

/// What an operator's budget is called.
const NAME: &str = "override";

pub(super) async fn run(context: &Context, args: RateLimitArgs) -> Outcome {
    let change = match args.action {
        RateLimitAction::Show => None,
        RateLimitAction::Set(set) => Some(Some(budget(&set)?)),
        RateLimitAction::Clear => Some(None),
    };
    let ports = context.ports().await?;
    let integration = context::integration(&ports, args.id).await?;
    if let Some(to) = change {
        let now = ports.clock.now();
        view::check_until(to.as_ref().and_then(|to| to.until), now)?;
        let changed = ports
            .gate
            .override_rate(integration.id, &Scope::Operator, to, now)
            .await?;
        if !changed {
            return Err(no_such_integration(args.id));
        }
    }
    let view = ports.gate.view(integration.id, &Scope::Operator).await?;
    let view = view.ok_or_else(|| no_such_integration(args.id))?;
    show(context, &ports, &integration, &view)
}

fn budget(set: &RateLimitSet) -> Outcome<RateOverride> {
    let window = u32::try_from(set.window.as_secs())
        .map_err(|_| Failure::usage("--window is too long: at most 136 years"))?;
    let budget = Budget::fixed(NAME, set.limit, window)?;
    Ok(RateOverride {
        budget: if set.sliding {
            budget.sliding()
        } else {
            budget
        },
        until: set.until,
    })
}

fn show(context: &Context, ports: &Ports, integration: &Integration, view: &GateView) -> Outcome {
    let now = ports.clock.now();
    let forced = view.rate_override.as_ref().filter(|o| o.holds(now));
    let paused = view.state.suppressed_until.filter(|until| now < *until);
    let used: Vec<(&String, u32, i64)> = view
        .state
        .budgets
        .iter()
        .filter(|(key, used)| {
            // What a window that ended used says nothing any more.
            let seconds = window_of(key);
            seconds.is_none_or(|seconds| used.window_start + seconds > now.timestamp())
        })
        .map(|(key, used)| (key, used.used, used.window_start))
        .collect();
    let fields = [
        ("integration", integration.id.to_string()),
        (
            "set by an operator",
            forced.map_or_else(|| "nothing".to_owned(), for_people),
        ),
        ("paused until", view::time_or_none(paused)),
        (
            "used in this window",
            if used.is_empty() {
                "nothing".to_owned()
            } else {
                let used = used.iter().map(|(key, used, _)| format!("{key} s: {used}"));
                used.collect::<Vec<_>>().join(", ")
            },
        ),
    ];
    let json = json!({
        "integration_id": integration.id,
        "override": forced.map(for_programs),
        "suppressed_until": paused.map(view::time),
        "budgets": used.iter().map(|(key, used, start)| json!({
            "name": key.rsplit_once('/').map_or(key.as_str(), |(name, _)| name),
            "window_seconds": window_of(key),
            "window_start": chrono::DateTime::from_timestamp(*start, 0).map(view::time),
            "used": used,
        })).collect::<Vec<_>>(),
    });
    context.output.record(&fields, &json)?;
    Ok(Exit::Done)
}

/// The window of a budget, from what its use is counted under.
fn window_of(key: &str) -> Option<i64> {
    key.rsplit_once('/')?.1.parse().ok()
}

fn kind(budget: &Budget) -> &'static str {
    match budget.kind {
        WindowKind::Fixed => "fixed",
        WindowKind::Sliding => "sliding",
    }
}

fn for_people(forced: &RateOverride) -> String {
    let budget = &forced.budget;
    let window = Duration::from_secs(u64::from(budget.window_seconds));
    let until = forced
        .until
        .map(|until| format!(", until {}", view::time(until)))
        .unwrap_or_default();
    format!(
        "{} calls per {} s ({}){until}",
        budget.limit,
        window.as_secs(),
        kind(budget)
    )
}

fn for_programs(forced: &RateOverride) -> Json {
    json!({
        "limit": forced.budget.limit,
        "window_seconds": forced.budget.window_seconds,
        "kind": kind(&forced.budget),
        "until": forced.until.map(view::time),
    })
}
