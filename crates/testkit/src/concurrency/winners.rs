//! Races with one winner: keys, records, leases, tokens, admissions, generations.

use integrations_core::{
    gate::{Admission, Budget, CircuitOutcome},
    id::IntegrationId,
    idempotency::Reservation,
    integration::{AuthorizationStatus, CredentialReplacement, Replaced, Scope},
    lease::{LeaseAnswer, LeaseRequest},
    mapping::Claimed,
    request::CallOutcome,
    token::{NewToken, TokenKind},
    value::LeaseName,
};

use crate::conformance::{
    Subject,
    fixtures::{
        at, attempt, circuit_outage, holder, internal, mapping, neutral, opens_after, provider,
        reservation, sealed, uid,
    },
};

use super::{asking, count, together};

/// Forty tasks reserve one key: exactly one acquires it (INV-12).
pub async fn a_key_has_one_winner(subject: &Subject) {
    let integration = subject.integration().await;

    let answers = together(40, |_| {
        let ports = subject.ports.clone();
        async move {
            let claim = reservation(integration.id, "charge-7");
            ports.ledger.reserve(&claim).await.unwrap()
        }
    })
    .await;

    let acquired = count(&answers, |a| matches!(a, Reservation::Acquired(_)));
    let held = count(&answers, |a| matches!(a, Reservation::Held { .. }));
    assert_eq!((acquired, held), (1, 39));
}

/// Twenty tasks claim one record for different entities: one wins, the others learn who (INV-13).
pub async fn a_record_has_one_owner(subject: &Subject) {
    let integration = subject.integration().await;

    let answers = together(20, |n| {
        let ports = subject.ports.clone();
        async move {
            let claim = mapping(integration.id, "ext-1", &format!("ticket-{n}"));
            let claimed = ports.mappings.claim(&[claim]).await.unwrap();
            claimed.into_iter().next().unwrap().unwrap()
        }
    })
    .await;

    let winner = answers
        .iter()
        .position(|answer| matches!(answer, Claimed::New(_)))
        .unwrap();
    let winner = internal(&format!("ticket-{winner}"));
    assert_eq!(count(&answers, |a| matches!(a, Claimed::New(_))), 1);
    let named = count(
        &answers,
        |a| matches!(a, Claimed::Conflict { claimed_by, .. } if *claimed_by == winner),
    );
    assert_eq!(named, 19);
}

/// Twenty tasks ask for one lease, again and again: one wins each time, with a growing fence.
pub async fn a_lease_has_one_winner_and_growing_fences(subject: &Subject) {
    let mut last = i64::MIN;
    for round in 0..5 {
        let answers = together(20, |n| {
            let ports = subject.ports.clone();
            async move {
                let request = LeaseRequest {
                    name: LeaseName::new("prune").unwrap(),
                    holder: holder(&format!("worker-{n}")),
                    until: at((round + 1) * 60),
                    now: at(round * 60),
                };
                ports.leases.acquire(&request).await.unwrap()
            }
        })
        .await;

        let won: Vec<_> = answers
            .iter()
            .filter_map(|answer| match answer {
                LeaseAnswer::Acquired(lease) => Some(lease.fence),
                LeaseAnswer::Held { .. } => None,
            })
            .collect();
        assert_eq!(won.len(), 1, "round {round}: {answers:?}");
        assert!(won[0] > last, "fence {} after {last}", won[0]);
        last = won[0];
    }
}

/// Twenty tasks use one token: one gets it (INV-14).
pub async fn a_token_is_used_once(subject: &Subject) {
    let token = NewToken {
        uid: uid(),
        digest: b"digest".to_vec(),
        kind: TokenKind::OAuthState,
        provider: provider("github"),
        integration_id: None,
        data: None,
        until: at(60),
        now: at(0),
    };
    subject.ports.tokens.issue(&token).await.unwrap();

    let used = together(20, |_| {
        let ports = subject.ports.clone();
        async move {
            let digests = [b"digest".to_vec()];
            let tokens = &ports.tokens;
            tokens
                .consume(&TokenKind::OAuthState, &digests, at(0))
                .await
                .unwrap()
        }
    })
    .await;

    assert_eq!(count(&used, Option::is_some), 1);
}

async fn admissions(
    subject: &Subject,
    tasks: usize,
    integration_id: IntegrationId,
    budgets: Vec<Budget>,
    now: i64,
) -> Vec<Admission> {
    together(tasks, |_| {
        let ports = subject.ports.clone();
        let request = asking(integration_id, budgets.clone(), now);
        async move {
            let admitted = ports.gate.admit(&request).await.unwrap();
            admitted.unwrap().admission
        }
    })
    .await
}

/// Sixty-four tasks against ten a minute: exactly ten pass (INV-05).
pub async fn a_budget_is_never_exceeded(subject: &Subject) {
    let integration = subject.integration().await;
    let budget = Budget::fixed("minute", 10, 60).unwrap();

    let admissions = admissions(subject, 64, integration.id, vec![budget], 0).await;

    let admitted = count(&admissions, |a| matches!(a, Admission::Admitted { .. }));
    assert_eq!(admitted, 10);
}

/// Thirty-two tasks once the cool-down of a circuit is over: exactly one is the probe (INV-02).
pub async fn a_circuit_sends_one_probe(subject: &Subject) {
    let integration = subject.integration().await;
    let opening = CallOutcome {
        circuit: Some(CircuitOutcome {
            policy: opens_after(1),
            ..circuit_outage(1, 0)
        }),
        ..neutral(attempt(integration.id))
    };
    subject.ports.journal.record(&[opening]).await.unwrap();

    let admissions = admissions(subject, 32, integration.id, vec![], 60).await;

    let probes = count(&admissions, |a| {
        matches!(a, Admission::Admitted { probe: Some(_), .. })
    });
    let rejected = count(&admissions, |a| matches!(a, Admission::CircuitOpen { .. }));
    assert_eq!((probes, rejected), (1, 31));
}

/// Twenty tasks replace credentials of each generation: one succeeds, the others are stale.
pub async fn credentials_are_replaced_once_per_generation(subject: &Subject) {
    let integration = subject.integration().await;

    for generation in 0..5 {
        let answers = together(20, |n| {
            let ports = subject.ports.clone();
            async move {
                let replacement = CredentialReplacement {
                    id: integration.id,
                    scope: Scope::Operator,
                    expected_generation: generation,
                    credentials: Some(sealed(&format!("{generation}-{n}"))),
                    authorization_status: AuthorizationStatus::Ok,
                    now: at(1),
                };
                let integrations = &ports.integrations;
                integrations
                    .replace_credentials(&replacement)
                    .await
                    .unwrap()
            }
        })
        .await;

        let generation = generation + 1;
        let done = count(&answers, |a| *a == Replaced::Done { generation });
        let stale = count(&answers, |a| *a == Replaced::Stale { generation });
        assert_eq!((done, stale), (1, 19));
        let winner = answers
            .iter()
            .position(|a| *a == Replaced::Done { generation });
        let stored = subject.read(integration.id).await;
        assert_eq!(stored.credentials_generation, generation);
        let expected = format!("{}-{}", generation - 1, winner.unwrap());
        assert_eq!(stored.credentials, Some(sealed(&expected)));
    }
}
