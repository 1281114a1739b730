//! Admission: budgets, pauses, the circuit.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use http::Method;
use integrations_core::{
    client::{CallErrorKind, RetryLimits},
    event::EventKind,
    gate::{
        Budget, CircuitMode, CircuitOverride, CircuitPhase, CircuitPolicy, CircuitReason,
        CircuitStrategy, GateView, RateBudget, RateOverride,
    },
    integration::{Integration, Refusal, Scope},
    provider::ProviderSettings,
    time::Clock as _,
    transport::{Reached, TransportErrorKind},
};
use integrations_testkit::{harness::Harness, transport::Reply};

use crate::acme::{Acme, install, installed};

async fn limited(budgets: Vec<RateBudget>) -> (Harness, Integration) {
    let settings = ProviderSettings {
        budgets: Some(budgets),
        ..ProviderSettings::default()
    };
    let harness = Harness::with(
        |ports| ports,
        |builder| builder.provider_with(Acme, settings),
    );
    let acme = install(&harness).await;
    (harness, acme)
}

/// A circuit that opens after so many outages in a row and cools down in a minute.
async fn breaking(threshold: u32) -> (Harness, Integration) {
    let policy = CircuitPolicy {
        strategy: CircuitStrategy::Count { threshold },
        ..CircuitPolicy::default()
    };
    let harness = Harness::with(
        |ports| ports,
        |builder| builder.provider(Acme).circuit_policy(policy),
    );
    let acme = install(&harness).await;
    (harness, acme)
}

async fn view(harness: &Harness, acme: &Integration) -> GateView {
    let gate = &harness.client.ports().gate;
    gate.view(acme.id, &Scope::Operator).await.unwrap().unwrap()
}

async fn used(harness: &Harness, acme: &Integration) -> u32 {
    let budgets = view(harness, acme).await.state.budgets;
    budgets.values().map(|budget| budget.used).sum()
}

async fn answered(harness: &Harness, acme: &Integration, reply: Reply) -> bool {
    harness.transport.reply(Method::GET, "/api/x", reply);
    let call = harness.handle(acme).get("/x").attempts(1);
    call.send().await.is_ok()
}

// RL-04, RL-05, RL-12, INV-05
#[tokio::test]
async fn a_spent_budget_refuses_saying_when() {
    let (harness, acme) = limited(vec![RateBudget::per_minute(3)]).await;
    harness
        .transport
        .reply_times(3, &Method::GET, "/api/x", &Reply::status(200));
    for _ in 0..3 {
        harness.handle(&acme).get("/x").send().await.unwrap();
    }
    let error = harness.handle(&acme).get("/x").send().await.unwrap_err();
    assert_eq!(error.kind(), &CallErrorKind::RateLimited);
    let boundary = harness.clock.now() + Duration::from_mins(1);
    assert_eq!(error.retry_at(), Some(boundary));
    let text = error.to_string();
    assert!(
        text.contains("the budget `calls` is spent; call again at 2026-01-01"),
        "{text}"
    );
    // REQ-28: no row, no event, nothing that hurts.
    assert_eq!(harness.requests().await.len(), 3);
}

// RL-05: a wait within `max_wait` is waited; RL-12: zero never waits
#[tokio::test]
async fn a_short_wait_is_waited() {
    let (harness, acme) = limited(vec![RateBudget::per_second(1)]).await;
    harness
        .transport
        .reply_times(3, &Method::GET, "/api/x", &Reply::status(200));
    let start = harness.clock.now();
    let calls = (0..3).map(|_| harness.handle(&acme).get("/x").send());
    let all = harness.clock.drive(join_all(calls)).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    assert_eq!((harness.clock.now() - start).num_seconds(), 2);
    let impatient = harness.handle(&acme).get("/x").max_wait(Duration::ZERO);
    let error = impatient.send().await.unwrap_err();
    assert_eq!(error.kind(), &CallErrorKind::RateLimited);
}

// RL-06: every attempt takes its own; a deadline bounds the wait for it
#[tokio::test]
async fn attempts_count_and_waits_end_with_the_deadline() {
    let (harness, acme) = limited(vec![RateBudget::per_minute(2)]).await;
    harness
        .transport
        .reply_times(2, &Method::GET, "/api/x", &Reply::status(500));
    let call = harness
        .handle(&acme)
        .get("/x")
        .max_wait(Duration::from_hours(1))
        .deadline(Duration::from_secs(30));
    let error = harness.clock.drive(call.send()).await.unwrap_err();
    // REQ-29: the retry that was not admitted leaves the last answer, and says when.
    assert_eq!(error.answer().unwrap().status.as_u16(), 500);
    assert!(error.retry_at().unwrap() > harness.clock.now());
    assert_eq!(harness.transport.sent().len(), 2);
}

// W-RL-7, W-RL-9
#[tokio::test]
async fn groups_of_endpoints_have_budgets_of_their_own() {
    let search = RateBudget::per_minute(1).for_endpoints("search", ["GET:/search/*"]);
    let (harness, acme) = limited(vec![RateBudget::per_hour(100), search]).await;
    harness
        .transport
        .reply(Method::GET, "/api/search/code", Reply::status(200));
    harness
        .transport
        .reply(Method::GET, "/api/x", Reply::status(200));
    let code = || {
        harness
            .handle(&acme)
            .get("/search/{what}")
            .param("what", "code")
            .send()
    };
    code().await.unwrap();
    let error = code().await.unwrap_err();
    assert!(error.to_string().contains("`search`"), "{error}");
    harness.handle(&acme).get("/x").send().await.unwrap();
}

// INV-05: however many ask at once, and the background leaves the rest to those who wait
#[tokio::test]
async fn a_crowd_never_exceeds_a_budget() {
    let budget = RateBudget::per_minute(100).keeping_for_interactive(20);
    let (harness, acme) = limited(vec![budget]).await;
    harness
        .transport
        .reply_times(100, &Method::GET, "/api/x", &Reply::status(200));
    let background = (0..200).map(|_| harness.handle(&acme).get("/x").background().send());
    let done = join_all(background).await;
    assert_eq!(done.iter().filter(|one| one.is_ok()).count(), 80);
    let interactive = (0..200).map(|_| harness.handle(&acme).get("/x").send());
    let done = join_all(interactive).await;
    assert_eq!(done.iter().filter(|one| one.is_ok()).count(), 20);
    assert_eq!(
        (harness.transport.sent().len(), used(&harness, &acme).await),
        (100, 100)
    );
}

// RL-11
#[tokio::test]
async fn an_operators_budget_stands_in_for_the_providers() {
    let (harness, acme) = limited(vec![RateBudget::per_minute(1)]).await;
    let to = RateOverride {
        budget: Budget::fixed("operator", 3, 60).unwrap(),
        until: None,
    };
    let (gate, now) = (&harness.client.ports().gate, harness.clock.now());
    gate.override_rate(acme.id, &Scope::Operator, Some(to), now)
        .await
        .unwrap();
    let mut passed = 0;
    for _ in 0..3 {
        passed += usize::from(answered(&harness, &acme, Reply::status(200)).await);
    }
    assert_eq!(passed, 3);
    let error = harness.handle(&acme).get("/x").send().await.unwrap_err();
    assert!(error.to_string().contains("`operator`"), "{error}");
}

// RL-08, W-RL-2, INV-04: one throttled answer keeps everybody back, and never less than before
#[tokio::test]
async fn a_throttle_pauses_every_call() {
    for reply in [
        Reply::status(429).header("retry-after", "40"),
        Reply::status(503).header("retry-after", "40"),
        Reply::status(200)
            .header("x-ratelimit-remaining", "0")
            .header("x-ratelimit-reset", "40"),
        Reply::status(200).header("ratelimit", "\"default\";r=0;t=40"),
    ] {
        let (harness, acme) = installed().await;
        let until = harness.clock.now() + Duration::from_secs(40);
        answered(&harness, &acme, reply).await;
        let error = harness.handle(&acme).get("/x").send().await.unwrap_err();
        assert_eq!(
            (error.kind(), error.retry_at()),
            (&CallErrorKind::RateLimited, Some(until))
        );
        assert_eq!(harness.transport.sent().len(), 1);
        harness.clock.set(until);
        assert!(answered(&harness, &acme, Reply::status(200)).await);
    }
}

// RL-09: 0 without a reset is ignored
#[tokio::test]
async fn nothing_left_without_a_time_is_no_pause() {
    let (harness, acme) = installed().await;
    let reply = || Reply::status(200).header("x-ratelimit-remaining", "0");
    assert!(answered(&harness, &acme, reply()).await && answered(&harness, &acme, reply()).await);
}

// CB-02, CB-08, CB-14, CB-09
#[tokio::test]
async fn outages_open_the_circuit_and_an_answer_after_the_cooldown_closes_it() {
    let (harness, acme) = breaking(3).await;
    let start = harness.clock.now();
    for _ in 0..3 {
        answered(&harness, &acme, Reply::status(503)).await;
    }
    let error = harness.handle(&acme).get("/x").send().await.unwrap_err();
    assert_eq!(error.kind(), &CallErrorKind::CircuitOpen { forced: false });
    assert_eq!(error.retry_at(), Some(start + Duration::from_mins(1)));
    assert_eq!(
        (
            harness.transport.sent().len(),
            harness.requests().await.len()
        ),
        (3, 3)
    );

    harness.clock.advance(Duration::from_mins(1));
    // W-CB-1: any answer means that it is reachable.
    answered(&harness, &acme, Reply::status(404)).await;
    assert!(answered(&harness, &acme, Reply::status(200)).await);
    harness.client.shutdown().await;
    let told: Vec<EventKind> = harness
        .events
        .kinds()
        .into_iter()
        .filter(|kind| {
            matches!(
                kind,
                EventKind::CircuitOpened { .. } | EventKind::CircuitClosed { .. }
            )
        })
        .collect();
    let opened = EventKind::CircuitOpened {
        reason: CircuitReason::ThresholdReached,
    };
    let closed = EventKind::CircuitClosed {
        reason: CircuitReason::ProbeSucceeded,
    };
    assert_eq!(told, [opened, closed]);
}

// CB-07: half of at least ten
#[tokio::test]
async fn the_default_is_a_share_of_outages() {
    let (harness, acme) = installed().await;
    for n in 0..10 {
        let status = if n % 2 == 0 { 200 } else { 500 };
        answered(&harness, &acme, Reply::status(status)).await;
    }
    let error = harness.handle(&acme).get("/x").send().await.unwrap_err();
    assert_eq!(error.kind(), &CallErrorKind::CircuitOpen { forced: false });
}

// RET-07, L-CB-2
#[tokio::test]
async fn refusals_and_throttles_never_open_it() {
    let (harness, acme) = breaking(1).await;
    for status in [400, 401, 404, 422, 429, 501] {
        answered(&harness, &acme, Reply::status(status)).await;
    }
    assert_eq!(
        view(&harness, &acme).await.state.circuit.phase,
        CircuitPhase::Closed
    );
}

// CB-03, CB-04: one probe of many
#[tokio::test]
async fn one_of_sixteen_is_the_probe() {
    let (harness, acme) = breaking(1).await;
    answered(&harness, &acme, Reply::status(503)).await;
    harness.clock.advance(Duration::from_mins(1));
    let (opens, closed) = tokio::sync::oneshot::channel::<()>();
    let closed = Arc::new(tokio::sync::Mutex::new(Some(closed)));
    let probe = |n: usize| {
        let (handle, closed) = (harness.handle(&acme), Arc::clone(&closed));
        async move {
            let work = |_| async {
                let waits = closed.lock().await.take();
                if let Some(waits) = waits {
                    let _ = waits.await;
                }
                Ok::<_, std::io::Error>(n)
            };
            handle.run("probe", work).await
        }
    };
    let mut calls: Vec<_> = (0..16).map(|n| Box::pin(probe(n))).collect();
    let rest = async {
        let mut open = 0;
        let first = calls.remove(0);
        let first = tokio::join!(first, async {
            for call in calls {
                let error = call.await.unwrap_err();
                assert_eq!(error.kind(), &CallErrorKind::CircuitOpen { forced: false });
                open += 1;
            }
            opens.send(()).unwrap();
        })
        .0;
        (first, open)
    };
    let (first, open) = rest.await;
    assert_eq!((first.unwrap(), open), (0, 15));
    assert!(answered(&harness, &acme, Reply::status(200)).await);
}

// INV-02: whatever becomes of a probe, the circuit stays usable
#[tokio::test]
async fn a_probe_always_resolves() {
    #[derive(Clone, Copy, Debug)]
    enum End {
        Dropped,
        Panicked,
        OwnError,
        Throttled,
        Deadline,
    }
    for end in [
        End::Dropped,
        End::Panicked,
        End::OwnError,
        End::Throttled,
        End::Deadline,
    ] {
        let (harness, acme) = breaking(1).await;
        answered(&harness, &acme, Reply::status(503)).await;
        harness.clock.advance(Duration::from_mins(1));
        let call = harness
            .handle(&acme)
            .sdk("probe")
            .deadline(Duration::from_secs(9));
        let call = call.run(|cx| async move {
            match end {
                End::Dropped | End::Deadline => std::future::pending().await,
                End::Panicked => panic!("own bug"),
                End::OwnError => Err(std::io::Error::other("own bug")),
                End::Throttled => {
                    cx.report(integrations_core::client::Reported {
                        status: Some(429),
                        ..Default::default()
                    });
                    Err(std::io::Error::other("slow down"))
                }
            }
        });
        let mut call = Box::pin(call);
        match end {
            End::Dropped => {
                let mut turns = 0;
                while view(&harness, &acme).await.state.circuit.probe.is_none() && turns < 1000 {
                    let _ = futures::poll!(&mut call);
                    tokio::task::yield_now().await;
                    turns += 1;
                }
                let _ = futures::poll!(&mut call);
                drop(call);
            }
            End::Panicked => {
                let outcome = futures::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(call));
                outcome.await.unwrap_err();
            }
            End::OwnError | End::Throttled => {
                let _: Result<(), _> = call.await;
            }
            End::Deadline => {
                let _: Result<(), _> = harness.clock.drive(call).await;
            }
        }
        harness.client.shutdown().await;
        assert_eq!(
            view(&harness, &acme).await.state.circuit.probe,
            None,
            "{end:?}"
        );
        assert!(
            answered(&harness, &acme, Reply::status(200)).await,
            "{end:?}"
        );
        let phase = view(&harness, &acme).await.state.circuit.phase;
        assert_eq!(phase, CircuitPhase::Closed, "{end:?}");
    }
}

// INV-02: a budget that refuses does not keep the probe
#[tokio::test]
async fn a_budget_that_refuses_keeps_no_probe() {
    let policy = CircuitPolicy {
        strategy: CircuitStrategy::Count { threshold: 1 },
        cooldown: Duration::from_secs(10),
        ..CircuitPolicy::default()
    };
    let settings = ProviderSettings {
        budgets: Some(vec![RateBudget::per_minute(1)]),
        ..ProviderSettings::default()
    };
    let harness = Harness::with(
        |ports| ports,
        |builder| builder.provider_with(Acme, settings).circuit_policy(policy),
    );
    let acme = install(&harness).await;
    answered(&harness, &acme, Reply::status(503)).await;
    harness.clock.advance(Duration::from_secs(20));
    let error = harness.handle(&acme).get("/x").send().await.unwrap_err();
    assert_eq!(error.kind(), &CallErrorKind::RateLimited);
    harness.clock.advance(Duration::from_secs(40));
    assert!(answered(&harness, &acme, Reply::status(200)).await);
}

// INV-03, W-CB-4: a success of before the circuit opened does not close it
#[tokio::test]
async fn what_began_before_a_transition_does_not_change_it() {
    let (harness, acme) = breaking(1).await;
    let (done, wait) = tokio::sync::oneshot::channel::<()>();
    let wait = std::sync::Mutex::new(Some(wait));
    let handle = harness.handle(&acme);
    let early = handle.run("early", |_| {
        let wait = wait.lock().unwrap().take().unwrap();
        async move {
            let _ = wait.await;
            Ok::<_, std::io::Error>(())
        }
    });
    let mut early = Box::pin(early);
    for _ in 0..50 {
        assert!(futures::poll!(&mut early).is_pending());
        tokio::task::yield_now().await;
    }
    answered(&harness, &acme, Reply::status(503)).await;
    done.send(()).unwrap();
    early.await.unwrap();
    assert_eq!(
        view(&harness, &acme).await.state.circuit.phase,
        CircuitPhase::Open
    );
}

// CB-10, CB-13: an operator decides, whatever the policy says
#[tokio::test]
async fn an_operators_word_on_the_circuit_holds() {
    let (harness, acme) = installed().await;
    let until = harness.clock.now() + Duration::from_mins(5);
    let to = CircuitOverride {
        mode: CircuitMode::ForcedOpen,
        until: Some(until),
    };
    let (gate, now) = (&harness.client.ports().gate, harness.clock.now());
    gate.override_circuit(acme.id, &Scope::Operator, Some(to), now)
        .await
        .unwrap();
    let error = harness.handle(&acme).get("/x").send().await.unwrap_err();
    assert_eq!(error.kind(), &CallErrorKind::CircuitOpen { forced: true });
    assert_eq!(error.retry_at(), Some(until));
    harness.clock.set(until);
    assert!(answered(&harness, &acme, Reply::status(200)).await);
}

// DESIGN: a closed circuit is known for a second at most; so is a switch somebody else moved
#[tokio::test]
async fn what_another_process_changed_holds_within_a_second() {
    let (harness, acme) = installed().await;
    assert!(answered(&harness, &acme, Reply::status(200)).await);
    let other = Harness::with(|_| harness.client.ports().clone(), |b| b.provider(Acme));
    other.handle(&acme).disable().await.unwrap();
    harness.clock.advance(Duration::from_secs(1));
    let error = harness.handle(&acme).get("/x").send().await.unwrap_err();
    assert_eq!(error.kind(), &CallErrorKind::Refused(Refusal::Operator));
}

// DESIGN: a call costs at most two round trips, and one where the circuit is known
#[tokio::test]
async fn calls_of_a_second_share_what_was_read() {
    use integrations_core::mock::MockCallGate;
    let counting = |mut ports: integrations_core::store::Ports| {
        let real = Arc::clone(&ports.gate);
        let mut gate = MockCallGate::new();
        gate.expect_admit().times(2).returning(move |request| {
            futures::FutureExt::now_or_never(real.admit(request)).unwrap()
        });
        ports.gate = Arc::new(gate);
        ports
    };
    let harness = Harness::with(counting, |builder| builder.provider(Acme));
    let acme = install(&harness).await;
    for _ in 0..10 {
        assert!(answered(&harness, &acme, Reply::status(200)).await);
    }
    harness.clock.advance(Duration::from_secs(1));
    assert!(answered(&harness, &acme, Reply::status(200)).await);
}

// RL, INV: what a caller that goes away was admitted for is given back
#[tokio::test]
async fn a_caller_that_goes_away_leaks_no_permit() {
    let (harness, acme) = limited(vec![RateBudget::per_minute(5)]).await;
    let mut call = Box::pin(harness.handle(&acme).get("/x").send());
    // It stands in line, and leaves.
    let mut turns = 0;
    while used(&harness, &acme).await == 0 && turns < 1000 {
        if turns == 0 {
            let _ = futures::poll!(&mut call);
        }
        tokio::task::yield_now().await;
        turns += 1;
    }
    drop(call);
    harness.client.shutdown().await;
    assert_eq!(used(&harness, &acme).await, 0);
    assert!(harness.requests().await.is_empty());
}

// W-RET-5, REQ-29: a circuit that opens ends the attempts of calls under way
#[tokio::test]
async fn a_circuit_that_opens_cuts_retries_short() {
    let policy = CircuitPolicy {
        strategy: CircuitStrategy::Count { threshold: 2 },
        ..CircuitPolicy::default()
    };
    let harness = Harness::with(
        |ports| ports,
        |builder| {
            builder
                .provider(Acme)
                .circuit_policy(policy)
                .retry_limits(RetryLimits {
                    read_attempts: 9,
                    ..RetryLimits::default()
                })
        },
    );
    let acme = install(&harness).await;
    let down = Reply::failure(TransportErrorKind::Connect, Reached::NotSent);
    harness
        .transport
        .reply_times(9, &Method::GET, "/api/x", &down);
    let call = harness.handle(&acme).get("/x").send();
    let error = harness.clock.drive(call).await.unwrap_err();
    assert!(
        matches!(error.kind(), CallErrorKind::Transport { .. }),
        "{error:?}"
    );
    assert!(error.retry_at().is_some());
    assert_eq!(harness.transport.sent().len(), 2);
}
