//! `circuit`: how it stands, and holding it open or closed. Works without keys and for rows of
//! any provider.

use integrations::{
    gate::{CircuitMode, CircuitOverride, CircuitPhase, GateView},
    integration::{Integration, Scope},
    store::Ports,
};
use serde_json::json;

use super::view;
use crate::{
    args::{CircuitAction, CircuitArgs},
    context::{self, Context, no_such_integration},
    exit::{Exit, Outcome},
};

pub(super) async fn run(context: &Context, args: CircuitArgs) -> Outcome {
    let ports = context.ports().await?;
    let integration = context::integration(&ports, args.id).await?;
    let change = match args.action {
        CircuitAction::Status => None,
        CircuitAction::Open(until) => Some(Some((CircuitMode::ForcedOpen, until.until))),
        CircuitAction::Close(until) => Some(Some((CircuitMode::ForcedClosed, until.until))),
        CircuitAction::Auto => Some(None),
    };
    if let Some(to) = change {
        let now = ports.clock.now();
        let to = to.map(|(mode, until)| CircuitOverride { mode, until });
        view::check_until(to.as_ref().and_then(|to| to.until), now)?;
        let changed = ports
            .gate
            .override_circuit(integration.id, &Scope::Operator, to, now)
            .await?;
        if !changed {
            return Err(no_such_integration(args.id));
        }
    }
    let view = ports.gate.view(integration.id, &Scope::Operator).await?;
    let view = view.ok_or_else(|| no_such_integration(args.id))?;
    show(context, &ports, &integration, &view)
}

fn show(context: &Context, ports: &Ports, integration: &Integration, view: &GateView) -> Outcome {
    let now = ports.clock.now();
    let phase = match view.phase(now) {
        CircuitPhase::Closed => "closed",
        CircuitPhase::Open => "open",
        CircuitPhase::HalfOpen => "half_open",
    };
    let forced = view.circuit_override.as_ref().filter(|o| o.holds(now));
    let state = &view.state.circuit;
    let rate = state.failure_rate();
    let fields = [
        ("integration", integration.id.to_string()),
        ("circuit", phase.replace('_', " ")),
        (
            "held by an operator",
            forced.map_or_else(
                || "no".to_owned(),
                |forced| match forced.until {
                    Some(until) => format!("{} until {}", forced.mode, view::time(until)),
                    None => format!("{} until `circuit .. auto`", forced.mode),
                },
            ),
        ),
        ("opened", view::time_or_none(state.opened_at)),
        ("failure rate", view::percent(rate.map(|rate| rate / 100.0))),
        ("outages in a row", state.consecutive.to_string()),
    ];
    let json = json!({
        "integration_id": integration.id,
        "phase": phase,
        "override": forced.map(|forced| json!({
            "mode": forced.mode.as_str(),
            "until": forced.until.map(view::time),
        })),
        "opened_at": state.opened_at.map(view::time),
        "failure_rate": rate.map(|rate| rate / 100.0),
        "outages_in_a_row": state.consecutive,
        "probe_until": state.probe.map(|probe| view::time(probe.until)),
    });
    context.output.record(&fields, &json)?;
    Ok(Exit::Done)
}
