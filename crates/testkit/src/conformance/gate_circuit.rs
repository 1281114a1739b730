//! Cases of the `CallGate` port about the circuit and its override.

use integrations_core::{
    gate::{
        Admission, AdmitRequest, CircuitMode, CircuitOutcome, CircuitOverride, CircuitPhase,
        CircuitPolicy, CircuitReason, CircuitTransition, CircuitVerdict, GateReturn, Suppression,
    },
    id::{IntegrationId, Uid},
    integration::Scope,
    request::CallOutcome,
};

use super::{
    Subject,
    fixtures::{at, attempt, circuit_outage, neutral, opens_after, uid},
    gate::{admit, ask, is_admitted, request, view},
};

/// Tells the circuit what an attempt found out.
async fn tell(
    subject: &Subject,
    integration_id: IntegrationId,
    circuit: CircuitOutcome,
) -> Option<CircuitTransition> {
    let outcome = CallOutcome {
        circuit: Some(circuit),
        ..neutral(attempt(integration_id))
    };
    let recorded = subject.ports.journal.record(&[outcome]).await.unwrap();
    recorded.into_iter().next().unwrap().unwrap().circuit
}

/// Opens the circuit of [`opens_after(2)`](opens_after) at the beginning.
async fn open(subject: &Subject, integration_id: IntegrationId) {
    tell(subject, integration_id, circuit_outage(2, 0)).await;
    let moved = tell(subject, integration_id, circuit_outage(2, 0)).await;
    assert_eq!(
        moved,
        Some(CircuitTransition {
            from: CircuitPhase::Closed,
            to: CircuitPhase::Open,
            reason: CircuitReason::ThresholdReached,
        })
    );
}

/// Sends the probe once the cool-down is over; its epoch and token.
async fn probe(subject: &Subject, integration_id: IntegrationId, now: i64) -> (u64, Uid) {
    let request = request(integration_id, vec![], now);
    match ask(subject, &request).await.admission {
        Admission::Admitted {
            epoch,
            probe: Some(token),
            ..
        } => {
            assert_eq!(token, request.token);
            (epoch, token)
        }
        other => panic!("the call should have been the probe, not {other:?}"),
    }
}

fn probe_outcome((epoch, token): (u64, Uid), verdict: CircuitVerdict, now: i64) -> CircuitOutcome {
    CircuitOutcome {
        policy: opens_after(2),
        epoch,
        probe: Some(token),
        verdict,
        answered_before: 0,
        now: at(now),
    }
}

async fn force(
    subject: &Subject,
    integration_id: IntegrationId,
    mode: CircuitMode,
    until: Option<i64>,
) {
    let to = CircuitOverride {
        mode,
        until: until.map(at),
    };
    let gate = &subject.ports.gate;
    let set = gate.override_circuit(integration_id, &Scope::Operator, Some(to), at(0));
    assert!(set.await.unwrap());
}

// CB-02
pub async fn an_open_circuit_rejects_until_its_cooldown_is_over(subject: &Subject) {
    let integration = subject.integration().await;
    open(subject, integration.id).await;

    let rejected = admit(subject, integration.id, vec![], 59).await;

    assert_eq!(
        rejected,
        Admission::CircuitOpen {
            opened_at: at(0),
            retry_at: Some(at(60)),
            forced: false
        }
    );
    let view = view(subject, integration.id).await;
    assert_eq!(view.phase(at(59)), CircuitPhase::Open);
}

// CB-03, L-CB-3
pub async fn one_call_is_the_probe(subject: &Subject) {
    let integration = subject.integration().await;
    open(subject, integration.id).await;

    let first = ask(subject, &request(integration.id, vec![], 60)).await;
    let second = ask(subject, &request(integration.id, vec![], 61)).await;

    assert_eq!(
        first.transition,
        Some(CircuitTransition {
            from: CircuitPhase::Open,
            to: CircuitPhase::HalfOpen,
            reason: CircuitReason::CooldownOver,
        })
    );
    assert!(
        matches!(first.admission, Admission::Admitted { probe: Some(_), .. }),
        "{first:?}"
    );
    assert!(
        matches!(
            second.admission,
            Admission::CircuitOpen { forced: false, .. }
        ),
        "{second:?}"
    );
    assert_eq!(second.transition, None);
}

// CB-05, CB-06, W-CB-1, INV-02
pub async fn a_probe_decides_about_the_circuit(subject: &Subject) {
    let cases = [
        (CircuitVerdict::Success, CircuitPhase::Closed),
        (CircuitVerdict::Reachable, CircuitPhase::Closed),
        (CircuitVerdict::Outage, CircuitPhase::Open),
        (CircuitVerdict::Unknown, CircuitPhase::HalfOpen),
    ];
    for (verdict, phase) in cases {
        let integration = subject.integration().await;
        open(subject, integration.id).await;
        let sent = probe(subject, integration.id, 60).await;

        tell(subject, integration.id, probe_outcome(sent, verdict, 61)).await;

        let view = view(subject, integration.id).await;
        assert_eq!(view.phase(at(61)), phase, "after {verdict:?}");
        let next = admit(subject, integration.id, vec![], 62).await;
        let passes = verdict != CircuitVerdict::Outage;
        assert_eq!(is_admitted(&next), passes, "after {verdict:?}: {next:?}");
    }
}

// INV-02
pub async fn a_probe_that_was_given_back_makes_the_next_call_the_probe(subject: &Subject) {
    let integration = subject.integration().await;
    open(subject, integration.id).await;
    let (_, token) = probe(subject, integration.id, 60).await;
    let back = |probe| GateReturn {
        integration_id: integration.id,
        budgets: vec![],
        permits: 1,
        probe: Some(probe),
        admitted_at: at(60),
    };
    let gate = &subject.ports.gate;

    gate.give_back(&[back(uid())]).await.unwrap();
    let stranger = admit(subject, integration.id, vec![], 61).await;
    gate.give_back(&[back(token)]).await.unwrap();

    assert!(!is_admitted(&stranger), "{stranger:?}");
    probe(subject, integration.id, 62).await;
}

// INV-02
pub async fn a_refused_call_holds_no_probe(subject: &Subject) {
    let integration = subject.integration().await;
    open(subject, integration.id).await;
    let pause = Suppression {
        integration_id: integration.id,
        until: at(70),
        now: at(0),
    };
    subject.ports.gate.suppress(&pause).await.unwrap();

    let refused = admit(subject, integration.id, vec![], 65).await;

    assert_eq!(refused, Admission::Suppressed { until: at(70) });
    probe(subject, integration.id, 70).await;
}

pub async fn a_probe_that_never_reports_is_replaced(subject: &Subject) {
    let integration = subject.integration().await;
    open(subject, integration.id).await;
    let lost = probe(subject, integration.id, 60).await;
    let rejected = admit(subject, integration.id, vec![], 179).await;

    let present = probe(subject, integration.id, 180).await;

    assert!(!is_admitted(&rejected), "{rejected:?}");
    let late = probe_outcome(lost, CircuitVerdict::Success, 181);
    assert_eq!(tell(subject, integration.id, late).await, None);
    let outcome = probe_outcome(present, CircuitVerdict::Success, 182);
    assert!(tell(subject, integration.id, outcome).await.is_some());
}

// INV-03, W-CB-4
pub async fn an_outcome_from_before_a_transition_changes_nothing(subject: &Subject) {
    let integration = subject.integration().await;
    open(subject, integration.id).await;
    let opened = view(subject, integration.id).await;
    let late = CircuitOutcome {
        verdict: CircuitVerdict::Success,
        ..circuit_outage(2, 0)
    };

    let moved = tell(subject, integration.id, late).await;

    assert_eq!(moved, None);
    assert_eq!(view(subject, integration.id).await, opened);
}

// CB-13
pub async fn a_policy_that_is_off_neither_counts_nor_rejects(subject: &Subject) {
    let integration = subject.integration().await;
    open(subject, integration.id).await;
    let request = AdmitRequest {
        circuit: CircuitPolicy {
            enabled: false,
            ..opens_after(2)
        },
        ..request(integration.id, vec![], 1)
    };

    assert!(is_admitted(&ask(subject, &request).await.admission));
}

// CB-10, CB-11
pub async fn a_forced_open_circuit_rejects_until_the_override_runs_out(subject: &Subject) {
    let integration = subject.integration().await;
    force(subject, integration.id, CircuitMode::ForcedOpen, Some(100)).await;

    let rejected = admit(subject, integration.id, vec![], 99).await;
    let outage = circuit_outage(2, 0);
    tell(subject, integration.id, outage).await;
    tell(subject, integration.id, outage).await;

    assert_eq!(
        rejected,
        Admission::CircuitOpen {
            opened_at: at(99),
            retry_at: Some(at(100)),
            forced: true
        }
    );
    let view = view(subject, integration.id).await;
    assert_eq!(view.phase(at(99)), CircuitPhase::Open);
    assert_eq!(view.phase(at(100)), CircuitPhase::Closed, "nothing counted");
    let after = admit(subject, integration.id, vec![], 100).await;
    assert!(is_admitted(&after), "{after:?}");
}

// CB-12
pub async fn a_forced_closed_circuit_lets_every_call_pass(subject: &Subject) {
    let integration = subject.integration().await;
    open(subject, integration.id).await;
    force(subject, integration.id, CircuitMode::ForcedClosed, Some(30)).await;

    let passed = admit(subject, integration.id, vec![], 29).await;
    let expired = admit(subject, integration.id, vec![], 30).await;

    assert!(is_admitted(&passed), "{passed:?}");
    assert!(!is_admitted(&expired), "{expired:?}");
}

// CB-10
pub async fn clearing_the_circuit_override_closes_the_circuit(subject: &Subject) {
    let integration = subject.integration().await;
    open(subject, integration.id).await;
    let before = view(subject, integration.id).await.state.circuit.epoch;
    force(subject, integration.id, CircuitMode::ForcedOpen, None).await;

    let gate = &subject.ports.gate;
    let cleared = gate.override_circuit(integration.id, &Scope::Operator, None, at(1));

    assert!(cleared.await.unwrap());
    let view = view(subject, integration.id).await;
    assert_eq!(view.circuit_override, None);
    assert_eq!(view.phase(at(1)), CircuitPhase::Closed);
    assert!(
        view.state.circuit.epoch > before,
        "late outcomes are ignored"
    );
    let passed = admit(subject, integration.id, vec![], 1).await;
    assert!(is_admitted(&passed), "{passed:?}");
}
