//! What a store has to keep while many tasks use it at once, for stores with real connections.
//!
//! Every check runs its tasks together on several threads.
//! [`concurrency_suite!`](crate::concurrency_suite) stamps a test for each.

#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a check fails by panicking"
)]

mod batches;
mod claims;
mod clients;
mod engines;
mod winners;
mod writers;

use std::{collections::BTreeSet, future::Future, sync::Arc};

use futures::future::join_all;
use integrations_core::{
    gate::{AdmitRequest, Budget, Lane},
    id::{IntegrationId, SyncItemId, SyncRunId, Uid},
    integration::{Scope, SyncClaim, SyncSelection},
    store::Ports,
    sync::{
        Checkpoint, Finalise, ItemClaim, ItemOutcome, ItemSettlement, KindSelection, NewItem,
        OpenRun, PageAdded, PageEnd, Payload, RunOpened, RunPage, SyncRun, SyncSchedule,
    },
    value::{ItemKind, StreamName},
    webhook::{NewWebhook, WebhookClaim},
};

use crate::conformance::fixtures::{
    self, at, external, holder, opens_after, operation, provider, uid,
};

#[doc(inline)]
pub use self::{batches::*, claims::*, clients::*, engines::*, winners::*, writers::*};

/// Stamps a test for every check of [`concurrency`](crate::concurrency).
///
/// The expression is evaluated and awaited once for each check, and yields a fresh store: anything
/// that converts into a [`Subject`](crate::conformance::Subject). Tests run on tokio with four threads.
#[macro_export]
macro_rules! concurrency_suite {
    ($make:expr) => {
        #[cfg(test)]
        async fn concurrency_subject() -> $crate::conformance::Subject {
            ::core::convert::Into::into($make.await)
        }

        #[cfg(test)]
        mod concurrency {
            $crate::__concurrency_checks!(tests);
        }
    };
}

/// The list. `tests` stamps the checks, `names` names them.
#[doc(hidden)]
#[macro_export]
macro_rules! __concurrency_checks {
    (tests) => {
        $crate::__concurrency_checks!(list tests);
    };
    (names) => {
        $crate::__concurrency_checks!(list names)
    };
    (list $what:ident) => {
        $crate::__concurrency_checks! { @$what
            items_are_claimed_once
            webhooks_are_claimed_once
            deliveries_of_a_key_are_handled_one_at_a_time
            syncs_are_claimed_once
            one_sync_has_one_winner
            a_run_ends_once
            a_stream_has_one_unfinished_run
            a_delivery_is_new_once
            a_delivery_is_new_once_while_keys_are_promoted
            overlapping_batches_receive_each_delivery_once
            a_bad_entry_fails_alone
            calls_in_opposite_orders_are_all_recorded
            items_in_opposite_orders_are_settled_once
            webhooks_in_opposite_orders_are_settled_once
            mappings_in_opposite_orders_have_one_owner
            a_key_has_one_winner
            a_record_has_one_owner
            a_lease_has_one_winner_and_growing_fences
            a_token_is_used_once
            a_budget_is_never_exceeded
            a_circuit_sends_one_probe
            credentials_are_replaced_once_per_generation
            many_writers_meet_no_busy_error
            writers_survive_a_removal
            purging_leaves_other_writers_alone
            clients_never_exceed_a_budget
            clients_send_one_probe
            clients_send_one_call_per_key
            engines_sync_each_integration_one_at_a_time
        }
    };
    (@tests $($check:ident)*) => {
        $(
            #[::tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $check() {
                let subject = super::concurrency_subject().await;
                $crate::concurrency::$check(&subject).await;
            }
        )*
    };
    (@names $($check:ident)*) => {
        [$(stringify!($check)),*]
    };
}

/// Runs so many tasks at once and answers what they did, in their order.
async fn together<T, F>(tasks: usize, task: impl Fn(usize) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let start = Arc::new(tokio::sync::Barrier::new(tasks));
    let running = (0..tasks).map(|n| {
        let (start, work) = (Arc::clone(&start), task(n));
        tokio::spawn(async move {
            start.wait().await;
            work.await
        })
    });
    let ended = join_all(running.collect::<Vec<_>>()).await;
    ended.into_iter().map(Result::unwrap).collect()
}

fn count<T>(answers: &[T], is: impl Fn(&T) -> bool) -> usize {
    answers.iter().filter(|answer| is(answer)).count()
}

fn delivery(integration_id: IntegrationId, key: Option<String>) -> NewWebhook {
    NewWebhook {
        dedup_key: key.clone(),
        delivery_id: key,
        ..fixtures::delivery(Some(integration_id), None)
    }
}

fn claiming_webhooks(limit: u32) -> WebhookClaim {
    WebhookClaim {
        except: Vec::new(),
        per_integration: u32::MAX,
        providers: vec![provider("github")],
        limit,
        token: uid(),
        lease_until: at(60),
        now: at(0),
    }
}

fn item(name: &str) -> NewItem {
    NewItem {
        kind: ItemKind::new("issue").unwrap(),
        external_id: Some(external(name)),
        checkpoint: Some(Checkpoint::Number(1)),
        payload: Payload::Text("{}".to_owned()),
        digest: None,
        other_digests: Vec::new(),
        batch_id: None,
    }
}

fn claiming_items(limit: u32) -> ItemClaim {
    ItemClaim {
        kinds: KindSelection::All,
        limit,
        token: uid(),
        lease_until: at(60),
        integration_id: None,
        now: at(0),
    }
}

fn claiming_sync(selection: SyncSelection, by: usize) -> SyncClaim {
    SyncClaim {
        selection,
        holder: holder(&format!("worker-{by}")),
        lease_until: at(60),
        now: at(0),
    }
}

/// Opens a run of an integration whose sync nobody holds; the run and its fence.
async fn open_run(ports: &Ports, integration_id: IntegrationId) -> SyncRun {
    let claim = claiming_sync(SyncSelection::Named(integration_id), 0);
    let claimed = ports.integrations.claim_sync(&claim).await.unwrap();
    let opening = OpenRun {
        integration_id,
        stream: StreamName::default(),
        fence: claimed[0].fence,
        log: operation(integration_id),
        full_resync: false,
        sorted: false,
        now: at(0),
    };
    match ports.syncs.open_run(&opening).await.unwrap() {
        RunOpened::New(run) => run,
        other => panic!("a new run should have been opened, not {other:?}"),
    }
}

/// A run of so many records, completely enumerated.
async fn run_of(ports: &Ports, integration_id: IntegrationId, records: usize) -> SyncRun {
    let run = open_run(ports, integration_id).await;
    let page = RunPage {
        run_id: run.id,
        fence: run.fence,
        items: (0..records).map(|n| item(&format!("r{n}"))).collect(),
        next: PageEnd::Complete,
        cursor: None,
        now: at(0),
    };
    let added = ports.syncs.add_items(&page).await.unwrap();
    assert!(matches!(added, PageAdded::Done { .. }), "{added:?}");
    run
}

fn finalising(run_id: SyncRunId) -> Finalise {
    Finalise {
        run_id,
        schedule: SyncSchedule::default(),
        stuck_after_runs: 5,
        now: at(1),
    }
}

fn succeeded(id: SyncItemId, token: Uid) -> ItemSettlement {
    ItemSettlement {
        id,
        token,
        outcome: ItemOutcome::Succeeded,
        now: at(1),
    }
}

/// Asserts that the ids are `expected` different ones.
fn assert_all_once<T: Ord + std::fmt::Debug>(ids: Vec<T>, expected: usize) {
    let handed_out = ids.len();
    let different: BTreeSet<_> = ids.into_iter().collect();
    assert_eq!(
        handed_out,
        different.len(),
        "something was handed out twice"
    );
    assert_eq!(different.len(), expected, "something was lost");
}

fn asking(integration_id: IntegrationId, budgets: Vec<Budget>, now: i64) -> AdmitRequest {
    AdmitRequest {
        integration_id,
        scope: Scope::Operator,
        circuit: opens_after(1),
        budgets,
        permits: 1,
        ahead: 0,
        lane: Lane::Interactive,
        token: uid(),
        now: at(now),
    }
}

#[cfg(test)]
mod tests {
    // A check that nobody stamps would look like one that passes.
    #[test]
    fn every_check_is_listed() {
        let sources = [
            include_str!("claims.rs"),
            include_str!("batches.rs"),
            include_str!("winners.rs"),
            include_str!("writers.rs"),
            include_str!("clients.rs"),
            include_str!("engines.rs"),
        ];
        let written: Vec<_> = sources
            .iter()
            .flat_map(|source| source.lines())
            .filter_map(|line| line.strip_prefix("pub async fn "))
            .filter_map(|rest| rest.split('(').next())
            .collect();
        assert_eq!(written, crate::__concurrency_checks!(names));
    }
}
