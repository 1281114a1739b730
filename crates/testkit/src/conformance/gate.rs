//! Cases of the `CallGate` port about budgets, pauses, scopes and standing.
//!
//! What a gate decides is core's; these cases hold that a store keeps the state it decides by.

use integrations_core::{
    gate::{
        Admission, AdmitRequest, Admitted, Budget, CircuitMode, CircuitOverride, CircuitPhase,
        GateReturn, GateState, GateView, Lane, RateOverride, Suppression,
    },
    id::IntegrationId,
    integration::{
        AuthorizationStatus, CredentialReplacement, HealthStatus, IntegrationChange, Scope,
    },
};

use super::{
    Subject,
    fixtures::{at, opens_after, scope, sealed, uid},
};

/// So many calls a minute.
fn per_minute(limit: u32) -> Budget {
    Budget::fixed("minute", limit, 60).unwrap()
}

pub(super) fn request(
    integration_id: IntegrationId,
    budgets: Vec<Budget>,
    now: i64,
) -> AdmitRequest {
    AdmitRequest {
        integration_id,
        scope: Scope::Operator,
        circuit: opens_after(2),
        budgets,
        permits: 1,
        ahead: 0,
        lane: Lane::Interactive,
        token: uid(),
        now: at(now),
    }
}

pub(super) async fn ask(subject: &Subject, request: &AdmitRequest) -> Admitted {
    let admitted = subject.ports.gate.admit(request).await.unwrap();
    admitted.expect("the integration is there")
}

/// Asks for one call.
pub(super) async fn admit(
    subject: &Subject,
    integration_id: IntegrationId,
    budgets: Vec<Budget>,
    now: i64,
) -> Admission {
    ask(subject, &request(integration_id, budgets, now))
        .await
        .admission
}

pub(super) fn is_admitted(admission: &Admission) -> bool {
    matches!(admission, Admission::Admitted { .. })
}

pub(super) async fn view(subject: &Subject, integration_id: IntegrationId) -> GateView {
    let view = subject.ports.gate.view(integration_id, &Scope::Operator);
    view.await.unwrap().expect("the integration is there")
}

pub async fn a_call_without_budgets_passes(subject: &Subject) {
    let integration = subject.integration().await;

    let admission = admit(subject, integration.id, vec![], 0).await;

    assert_eq!(
        admission,
        Admission::Admitted {
            permits: 1,
            window_end: None,
            budgets: vec![],
            epoch: 0,
            probe: None
        }
    );
}

pub async fn a_gate_nobody_used_is_closed_and_unspent(subject: &Subject) {
    let integration = subject.integration().await;

    let view = view(subject, integration.id).await;

    assert_eq!(view.state, GateState::default());
    assert_eq!(view.circuit_override, None);
    assert_eq!(view.rate_override, None);
    assert_eq!(view.phase(at(0)), CircuitPhase::Closed);
}

// INV-05
pub async fn a_budget_admits_exactly_its_limit_per_window(subject: &Subject) {
    let integration = subject.integration().await;
    let budgets = || vec![per_minute(3)];

    for n in 0..3 {
        let admission = admit(subject, integration.id, budgets(), n).await;
        assert!(is_admitted(&admission), "call {n}: {admission:?}");
    }
    let refused = admit(subject, integration.id, budgets(), 59).await;
    let next = admit(subject, integration.id, budgets(), 60).await;

    assert_eq!(
        refused,
        Admission::Limited {
            retry_at: at(60),
            budget: "minute".to_owned()
        }
    );
    assert!(is_admitted(&next), "a new window: {next:?}");
}

// RL-03
pub async fn a_sliding_budget_counts_the_window_before(subject: &Subject) {
    let integration = subject.integration().await;
    let budgets = || vec![per_minute(4).sliding()];
    for now in [50, 51, 52, 53] {
        assert!(is_admitted(
            &admit(subject, integration.id, budgets(), now).await
        ));
    }

    let at_the_boundary = admit(subject, integration.id, budgets(), 60).await;
    let half_way = admit(subject, integration.id, budgets(), 90).await;
    let second = admit(subject, integration.id, budgets(), 90).await;
    let third = admit(subject, integration.id, budgets(), 90).await;

    assert!(!is_admitted(&at_the_boundary), "{at_the_boundary:?}");
    assert!(is_admitted(&half_way), "{half_way:?}");
    assert!(is_admitted(&second), "{second:?}");
    assert!(!is_admitted(&third), "{third:?}");
}

// W-RL-9
pub async fn nothing_is_taken_unless_every_budget_agrees(subject: &Subject) {
    let integration = subject.integration().await;
    let hour = Budget::fixed("hour", 1, 3600).unwrap();
    let both = || vec![per_minute(3), hour.clone()];

    assert!(is_admitted(
        &admit(subject, integration.id, both(), 0).await
    ));
    let refused = admit(subject, integration.id, both(), 0).await;

    assert!(
        matches!(&refused, Admission::Limited { budget, .. } if budget == "hour"),
        "{refused:?}"
    );
    let used = &view(subject, integration.id).await.state.budgets;
    assert_eq!(used["minute/60"].used, 1, "the refusal took nothing");
}

pub async fn permits_are_blocks_of_a_sixteenth_and_single_below_32(subject: &Subject) {
    let integration = subject.integration().await;
    let permits_of = |limit, asked| async move {
        let request = AdmitRequest {
            permits: asked,
            ..request(
                integration.id,
                vec![Budget::fixed(format!("of {limit}"), limit, 60).unwrap()],
                0,
            )
        };
        match ask(subject, &request).await.admission {
            Admission::Admitted {
                permits,
                window_end,
                ..
            } => {
                assert_eq!(window_end, Some(at(60)), "permits die with the window");
                permits
            }
            other => panic!("the call should have been admitted, not {other:?}"),
        }
    };

    assert_eq!(permits_of(160, 100).await, 10);
    assert_eq!(permits_of(161, 4).await, 4);
    assert_eq!(permits_of(32, 100).await, 2);
    assert_eq!(permits_of(31, 100).await, 1);
    let view = view(subject, integration.id).await;
    assert_eq!(
        view.state.budgets["of 160/60"].used, 10,
        "the block is taken"
    );
}

pub async fn the_background_lane_leaves_the_reserve(subject: &Subject) {
    let integration = subject.integration().await;
    let budget = Budget {
        interactive_reserve: 1,
        ..per_minute(2)
    };
    let in_lane = |lane| AdmitRequest {
        lane,
        ..request(integration.id, vec![budget.clone()], 0)
    };
    let (background, interactive) = (in_lane(Lane::Background), in_lane(Lane::Interactive));

    assert!(is_admitted(&ask(subject, &background).await.admission));
    assert!(!is_admitted(&ask(subject, &background).await.admission));
    assert!(is_admitted(&ask(subject, &interactive).await.admission));
    assert!(!is_admitted(&ask(subject, &interactive).await.admission));
}

pub async fn what_was_not_used_goes_back_to_its_window_only(subject: &Subject) {
    let integration = subject.integration().await;
    let budgets = || vec![per_minute(1)];
    let back = |admitted_at| GateReturn {
        integration_id: integration.id,
        budgets: budgets(),
        permits: 1,
        probe: None,
        admitted_at: at(admitted_at),
    };
    let gate = &subject.ports.gate;
    assert!(is_admitted(
        &admit(subject, integration.id, budgets(), 0).await
    ));

    gate.give_back(&[back(0)]).await.unwrap();
    assert!(is_admitted(
        &admit(subject, integration.id, budgets(), 1).await
    ));

    assert!(is_admitted(
        &admit(subject, integration.id, budgets(), 60).await
    ));
    gate.give_back(&[back(1)]).await.unwrap();
    assert!(!is_admitted(
        &admit(subject, integration.id, budgets(), 61).await
    ));
}

pub async fn a_return_for_an_integration_that_is_gone_is_passed_over(subject: &Subject) {
    let integration = subject.integration().await;
    let gone = IntegrationId(integration.id.0 + 1_000_000);
    let back = |integration_id| GateReturn {
        integration_id,
        budgets: vec![per_minute(1)],
        permits: 1,
        probe: None,
        admitted_at: at(0),
    };
    let budgets = || vec![per_minute(1)];
    assert!(is_admitted(
        &admit(subject, integration.id, budgets(), 0).await
    ));

    let returned = [back(gone), back(integration.id)];
    subject.ports.gate.give_back(&returned).await.unwrap();

    assert!(is_admitted(
        &admit(subject, integration.id, budgets(), 1).await
    ));
}

// INV-04, W-RL-4
pub async fn a_pause_holds_for_everybody_and_never_shrinks(subject: &Subject) {
    let integration = subject.integration().await;
    let other = subject.integration().await;
    let pause = |until| Suppression {
        integration_id: integration.id,
        until: at(until),
        now: at(0),
    };
    let gate = &subject.ports.gate;

    gate.suppress(&pause(100)).await.unwrap();
    gate.suppress(&pause(50)).await.unwrap();

    let suppressed = Admission::Suppressed { until: at(100) };
    assert_eq!(admit(subject, integration.id, vec![], 99).await, suppressed);
    assert!(is_admitted(
        &admit(subject, integration.id, vec![], 100).await
    ));
    assert!(is_admitted(&admit(subject, other.id, vec![], 50).await));
    gate.suppress(&pause(200)).await.unwrap();
    let suppressed = Admission::Suppressed { until: at(200) };
    assert_eq!(
        admit(subject, integration.id, vec![], 199).await,
        suppressed
    );
}

// RL-11
pub async fn a_rate_override_stands_in_for_the_budgets(subject: &Subject) {
    let integration = subject.integration().await;
    let budgets = || vec![per_minute(2)];
    assert!(is_admitted(
        &admit(subject, integration.id, budgets(), 0).await
    ));
    let to = RateOverride {
        budget: Budget::fixed("operator", 1, 60).unwrap(),
        until: Some(at(30)),
    };
    let gate = &subject.ports.gate;
    let set = gate.override_rate(integration.id, &Scope::Operator, Some(to.clone()), at(0));
    assert!(set.await.unwrap());

    let allowed = admit(subject, integration.id, budgets(), 1).await;
    let refused = admit(subject, integration.id, budgets(), 2).await;

    assert!(is_admitted(&allowed), "{allowed:?}");
    assert!(
        matches!(&refused, Admission::Limited { budget, .. } if budget == "operator"),
        "{refused:?}"
    );
    let view = view(subject, integration.id).await;
    assert_eq!(view.rate_override, Some(to));
    assert_eq!(
        view.state.budgets["minute/60"].used, 1,
        "other budgets stay"
    );
    let expired = admit(subject, integration.id, budgets(), 30).await;
    assert!(is_admitted(&expired), "{expired:?}");
}

pub async fn clearing_the_rate_override_restores_the_budgets(subject: &Subject) {
    let integration = subject.integration().await;
    let to = RateOverride {
        budget: Budget::fixed("operator", 1, 3600).unwrap(),
        until: None,
    };
    let set = |to: Option<RateOverride>| async move {
        let gate = &subject.ports.gate;
        let set = gate.override_rate(integration.id, &Scope::Operator, to, at(0));
        assert!(set.await.unwrap());
    };
    set(Some(to)).await;
    let budgets = || vec![per_minute(1)];
    assert!(is_admitted(
        &admit(subject, integration.id, budgets(), 0).await
    ));
    assert!(!is_admitted(
        &admit(subject, integration.id, budgets(), 0).await
    ));

    set(None).await;

    assert!(is_admitted(
        &admit(subject, integration.id, budgets(), 0).await
    ));
    assert!(!is_admitted(
        &admit(subject, integration.id, budgets(), 0).await
    ));
}

pub async fn a_gate_is_reached_within_its_scope(subject: &Subject) {
    let owned = subject.integration_of(1).await;
    let gate = &subject.ports.gate;
    let circuit = CircuitOverride {
        mode: CircuitMode::ForcedOpen,
        until: None,
    };
    let rate = RateOverride {
        budget: per_minute(1),
        until: None,
    };
    let reached = |scope: Scope| {
        let (circuit, rate) = (circuit.clone(), rate.clone());
        async move {
            let request = AdmitRequest {
                scope: scope.clone(),
                ..request(owned.id, vec![], 0)
            };
            [
                gate.admit(&request).await.unwrap().is_some(),
                gate.view(owned.id, &scope).await.unwrap().is_some(),
                gate.override_circuit(owned.id, &scope, Some(circuit), at(0))
                    .await
                    .unwrap(),
                gate.override_rate(owned.id, &scope, Some(rate), at(0))
                    .await
                    .unwrap(),
            ]
        }
    };

    assert_eq!(reached(scope(2)).await, [false; 4]);
    let untouched = view(subject, owned.id).await;
    assert_eq!(untouched.circuit_override, None);
    assert_eq!(untouched.rate_override, None);
    assert_eq!(reached(scope(1)).await, [true; 4]);
}

pub async fn a_removed_integration_admits_nothing(subject: &Subject) {
    let integration = subject.integration().await;
    subject.remove(integration.id).await;

    let admitted = subject
        .ports
        .gate
        .admit(&request(integration.id, vec![], 0))
        .await;

    assert_eq!(admitted.unwrap(), None);
}

pub async fn the_answer_tells_how_the_integration_stands(subject: &Subject) {
    let integration = subject.integration().await;
    let standing = || async move {
        ask(subject, &request(integration.id, vec![], 10))
            .await
            .standing
    };
    let before = standing().await;
    assert_eq!(before.updated_at, integration.updated_at);
    let integrations = &subject.ports.integrations;
    let replacement = CredentialReplacement {
        id: integration.id,
        scope: Scope::Operator,
        expected_generation: 0,
        credentials: Some(sealed("other")),
        authorization_status: AuthorizationStatus::NeedsReauthorization,
        now: at(1),
    };
    integrations
        .replace_credentials(&replacement)
        .await
        .unwrap();
    let off = IntegrationChange {
        is_active: Some(false),
        ..IntegrationChange::default()
    };
    integrations
        .update(integration.id, &Scope::Operator, &off, at(2))
        .await
        .unwrap();
    integrations
        .move_health(
            integration.id,
            &Scope::Operator,
            &HealthStatus::Failing,
            at(3),
        )
        .await
        .unwrap();

    let after = standing().await;

    assert!(before.is_active && !after.is_active);
    assert_eq!(before.credentials_generation, 0);
    assert_eq!(after.credentials_generation, 1);
    assert_eq!(before.authorization_status, AuthorizationStatus::Ok);
    assert_eq!(
        after.authorization_status,
        AuthorizationStatus::NeedsReauthorization
    );
    assert_eq!(after.health_status, HealthStatus::Failing);
    assert_eq!(after.updated_at, at(3));
}
