//! Cases that take random steps with the store and with the one in memory, and compare all rows.

use chrono::{DateTime, Utc};
use integrations_core::{
    id::{IntegrationId, SyncItemId, SyncRunId, Uid},
    integration::{NewIntegration, Scope, SyncClaim, SyncLease, SyncSelection},
    store::{PageRequest, Ports},
    sync::{
        Finalise, Finalised, ItemAdded, ItemClaim, ItemDecided, ItemDecision, ItemFilter,
        ItemOutcome, ItemSettled, ItemSettlement, ItemVerdict, KindSelection, NewItem, OpenRun,
        PageAdded, PageEnd, RunOpened, RunPage, RunState, Sweep, Swept, SyncItem, SyncRun,
        SyncSchedule,
    },
};
use serde_json::Value as Json;

use super::{
    Subject,
    feed::{digested, stream, version},
    fixtures::{at, holder, new_integration, operation, uid},
};
use crate::memory::MemoryStore;

const STREAMS: [&str; 2] = ["issues", "comments"];

/// Seconds a claim lasts.
const LEASE: i64 = 60;

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        // Marsaglia's xorshift.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// One step, said so that either store can take it: rows by their place.
#[derive(Clone, Debug)]
enum Step {
    Lease(usize),
    Open {
        of: usize,
        stream: usize,
        full: bool,
        sorted: bool,
        late: bool,
    },
    Page {
        run: usize,
        items: Vec<NewItem>,
        next: PageEnd,
        cursor: Option<Json>,
        late: bool,
    },
    Claim {
        limit: u32,
        of: Option<usize>,
        token: Uid,
    },
    Settle(Vec<(usize, Uid, ItemOutcome)>),
    Renew(Uid, Vec<usize>),
    Reclaim,
    Decide(Vec<(usize, ItemVerdict)>),
    Sweep {
        run: usize,
        limit: u32,
    },
    Finalise(usize),
    Advance(usize),
    SetCursor(usize, usize, Json),
}

/// What syncs write of an integration.
#[derive(Debug, PartialEq)]
struct Syncing {
    cursor: Option<Json>,
    next_sync_at: Option<DateTime<Utc>>,
    last_synced_at: Option<DateTime<Utc>>,
    failures: i32,
    lease: Option<SyncLease>,
    fence: i64,
}

/// All rows, with places in place of ids.
#[derive(Debug, PartialEq)]
struct Rows {
    integrations: Vec<Syncing>,
    runs: Vec<SyncRun>,
    items: Vec<SyncItem>,
}

/// A store, and the ids it gave.
struct Side {
    ports: Ports,
    integrations: Vec<IntegrationId>,
    runs: Vec<SyncRunId>,
    items: Vec<SyncItemId>,
    fences: Vec<i64>,
}

fn place<T: PartialEq>(ids: &[T], id: &T) -> i64 {
    let place = ids.iter().position(|known| known == id);
    i64::try_from(place.expect("a known id")).unwrap()
}

impl Side {
    async fn new(ports: Ports) -> Self {
        let mut side = Self {
            ports,
            integrations: Vec::new(),
            runs: Vec::new(),
            items: Vec::new(),
            fences: vec![0; 2],
        };
        for minutes in [Some(60), None] {
            let new = NewIntegration {
                sync_interval_minutes: minutes,
                next_sync_at: minutes.map(|_| at(0)),
                ..new_integration()
            };
            let created = side.ports.integrations.create(&new).await.unwrap();
            side.integrations.push(created.id);
        }
        side
    }

    /// Takes a step; what the store answered, with places in place of ids.
    async fn take(&mut self, step: &Step, now: i64) -> String {
        let syncs = &self.ports.syncs;
        match step {
            Step::Lease(of) => {
                let claim = SyncClaim {
                    selection: SyncSelection::Named(self.integrations[*of]),
                    holder: holder("scheduler"),
                    lease_until: at(now + 600),
                    now: at(now),
                };
                let claimed = self.ports.integrations.claim_sync(&claim).await.unwrap();
                if let Some(claimed) = claimed.first() {
                    self.fences[*of] = claimed.fence;
                }
                claimed.len().to_string()
            }
            Step::Open {
                of,
                stream: name,
                full,
                sorted,
                late,
            } => {
                let id = self.integrations[*of];
                let open = OpenRun {
                    integration_id: id,
                    stream: stream(STREAMS[*name]),
                    fence: self.fences[*of] - i64::from(*late),
                    log: operation(id),
                    full_resync: *full,
                    sorted: *sorted,
                    now: at(now),
                };
                match syncs.open_run(&open).await.unwrap() {
                    RunOpened::New(run) => {
                        self.runs.push(run.id);
                        "new".to_owned()
                    }
                    RunOpened::Resumed(run) => format!("resumed {}", place(&self.runs, &run.id)),
                    RunOpened::FenceLost => "lost".to_owned(),
                }
            }
            Step::Page {
                run,
                items,
                next,
                cursor,
                late,
            } => {
                let id = self.runs[*run];
                let found = syncs.find_run(id, &Scope::Operator).await.unwrap().unwrap();
                let of = place(&self.integrations, &found.integration_id);
                let page = RunPage {
                    run_id: id,
                    fence: self.fences[usize::try_from(of).unwrap()] - i64::from(*late),
                    items: items.clone(),
                    next: next.clone(),
                    cursor: cursor.clone(),
                    now: at(now),
                };
                match syncs.add_items(&page).await.unwrap() {
                    PageAdded::FenceLost => "lost".to_owned(),
                    PageAdded::Done {
                        items,
                        open,
                        finalisable,
                        sorted,
                    } => {
                        let answers: Vec<String> = items
                            .into_iter()
                            .map(|item| self.added(item.unwrap()))
                            .collect();
                        format!("{answers:?} {open} {finalisable} {sorted}")
                    }
                }
            }
            Step::Claim { limit, of, token } => {
                let claim = ItemClaim {
                    kinds: KindSelection::All,
                    limit: *limit,
                    token: *token,
                    lease_until: at(now + LEASE),
                    integration_id: of.map(|of| self.integrations[of]),
                    now: at(now),
                };
                let claimed = syncs.claim_items(&claim).await.unwrap();
                let places: Vec<i64> = claimed
                    .iter()
                    .map(|item| place(&self.items, &item.id))
                    .collect();
                format!("{places:?}")
            }
            Step::Settle(outcomes) => {
                let settlements: Vec<_> = outcomes
                    .iter()
                    .map(|(item, token, outcome)| ItemSettlement {
                        id: self.items[*item],
                        token: *token,
                        outcome: outcome.clone(),
                        now: at(now),
                    })
                    .collect();
                let settled = self.ports.sync_settlement.settle_items(&settlements).await;
                let answer = |settled| match settled {
                    ItemSettled::LeaseLost => "lost".to_owned(),
                    ItemSettled::Done {
                        run_id,
                        open,
                        finalisable,
                    } => format!("{} {open} {finalisable}", place(&self.runs, &run_id)),
                };
                let answers: Vec<_> = settled.unwrap().into_iter().map(answer).collect();
                format!("{answers:?}")
            }
            Step::Renew(token, items) => {
                let ids: Vec<_> = items.iter().map(|item| self.items[*item]).collect();
                let lost = syncs
                    .renew_items(*token, &ids, at(now + LEASE))
                    .await
                    .unwrap();
                let lost: Vec<_> = lost.iter().map(|id| place(&self.items, id)).collect();
                format!("{lost:?}")
            }
            Step::Reclaim => syncs.reclaim_items(at(now), 100).await.unwrap().to_string(),
            Step::Decide(verdicts) => {
                let decisions: Vec<_> = verdicts
                    .iter()
                    .map(|(item, verdict)| ItemDecision {
                        id: self.items[*item],
                        scope: Scope::Operator,
                        verdict: verdict.clone(),
                        now: at(now),
                    })
                    .collect();
                let answer = |decided| match decided {
                    ItemDecided::Done {
                        run_id,
                        finalisable,
                    } => format!("{} {finalisable}", place(&self.runs, &run_id)),
                    other => format!("{other:?}"),
                };
                let decided = syncs.decide_items(&decisions).await.unwrap();
                format!("{:?}", decided.into_iter().map(answer).collect::<Vec<_>>())
            }
            Step::Sweep { run, limit } => {
                let id = self.runs[*run];
                let found = syncs.find_run(id, &Scope::Operator).await.unwrap().unwrap();
                let of = place(&self.integrations, &found.integration_id);
                let sweep = Sweep {
                    run_id: id,
                    fence: self.fences[usize::try_from(of).unwrap()],
                    after: None,
                    limit: *limit,
                    now: at(now),
                };
                match syncs.sweep_records(&sweep).await.unwrap() {
                    Swept::FenceLost => "lost".to_owned(),
                    Swept::Done {
                        items,
                        last,
                        open,
                        finalisable,
                    } => {
                        let items: Vec<_> =
                            items.into_iter().map(|item| self.added(item)).collect();
                        format!("{items:?} {last:?} {open} {finalisable}")
                    }
                }
            }
            Step::Finalise(run) => {
                let finalise = Finalise {
                    run_id: self.runs[*run],
                    schedule: SyncSchedule::default(),
                    stuck_after_runs: 2,
                    now: at(now),
                };
                match syncs.finalise(&finalise).await.unwrap() {
                    Finalised::Ended(end) => format!(
                        "{:?} {:?} {} {} {:?}",
                        end.cursor,
                        end.next_sync_at,
                        end.consecutive_sync_failures,
                        end.synced,
                        end.stuck
                    ),
                    other => format!("{other:?}"),
                }
            }
            Step::Advance(run) => {
                let id = self.runs[*run];
                let found = syncs.find_run(id, &Scope::Operator).await.unwrap().unwrap();
                let of = place(&self.integrations, &found.integration_id);
                let fence = self.fences[usize::try_from(of).unwrap()];
                format!(
                    "{:?}",
                    syncs.advance_cursor(id, fence, at(now)).await.unwrap()
                )
            }
            Step::SetCursor(of, name, cursor) => {
                let (of, name) = (self.integrations[*of], stream(STREAMS[*name]));
                let set = syncs.set_cursor(of, &Scope::Operator, &name, cursor, at(now));
                set.await.unwrap().to_string()
            }
        }
    }

    fn added(&mut self, added: ItemAdded) -> String {
        match added {
            ItemAdded::Stored(id) => {
                self.items.push(id);
                "stored".to_owned()
            }
            ItemAdded::Requeued(id) => format!("requeued {}", place(&self.items, &id)),
            ItemAdded::Duplicate(id) => format!("duplicate {}", place(&self.items, &id)),
            ItemAdded::AlreadyDone => "done".to_owned(),
        }
    }

    async fn rows(&self, now: i64) -> Rows {
        let mut rows = Rows {
            integrations: Vec::new(),
            runs: Vec::new(),
            items: Vec::new(),
        };
        let syncs = &self.ports.syncs;
        for id in &self.integrations {
            let row = self.ports.integrations.find((*id).into(), &Scope::Operator);
            let row = row.await.unwrap().unwrap();
            rows.integrations.push(Syncing {
                cursor: row.sync_cursor,
                next_sync_at: row.next_sync_at,
                last_synced_at: row.last_synced_at,
                failures: row.consecutive_sync_failures,
                lease: row.sync_lease,
                fence: row.sync_fence,
            });
            let runs = syncs.list_runs(*id, &PageRequest::oldest(500)).await;
            for run in runs.unwrap().items {
                rows.runs.push(SyncRun {
                    id: SyncRunId(place(&self.runs, &run.id)),
                    integration_id: IntegrationId(place(&self.integrations, id)),
                    log_id: None,
                    ..run
                });
            }
            let filter = ItemFilter {
                integration_id: Some(*id),
                ..ItemFilter::default()
            };
            let page = PageRequest::oldest(500);
            let items = syncs.list_items(&filter, &Scope::Operator, &page, at(now));
            for item in items.await.unwrap().items {
                rows.items.push(SyncItem {
                    id: SyncItemId(place(&self.items, &item.id)),
                    run_id: SyncRunId(place(&self.runs, &item.run_id)),
                    integration_id: IntegrationId(place(&self.integrations, id)),
                    sync_log_id: None,
                    ..item
                });
            }
        }
        rows
    }
}

/// The next step, by what there is.
fn next_step(dice: &mut Dice, rows: &Rows, tokens: &mut Vec<Uid>) -> Step {
    let running = |run: &&SyncRun| run.state == RunState::Running;
    let runs: Vec<_> = rows.runs.iter().filter(running).collect();
    let a_run = |dice: &mut Dice, runs: &[&SyncRun]| {
        usize::try_from(runs[dice.below(runs.len())].id.0).unwrap()
    };
    let items = rows.items.len();
    match dice.below(20) {
        0 => Step::Lease(dice.below(2)),
        1 | 2 => Step::Open {
            of: dice.below(2),
            stream: dice.below(2),
            full: dice.one_in(4),
            sorted: dice.one_in(3),
            late: dice.one_in(10),
        },
        3..=6 if !runs.is_empty() => {
            let entry = |dice: &mut Dice| {
                let name = ["a", "b", "c"][dice.below(3)];
                match dice.below(5) {
                    0 => digested("d", &[u8::try_from(dice.below(3)).unwrap()]),
                    1 => NewItem {
                        external_id: None,
                        ..version(name, 1)
                    },
                    _ => version(name, i64::try_from(dice.below(6)).unwrap()),
                }
            };
            Step::Page {
                run: a_run(dice, &runs),
                items: (0..dice.below(4)).map(|_| entry(dice)).collect(),
                next: match dice.below(4) {
                    0 | 1 => PageEnd::Continue(dice.below(9).into()),
                    2 => PageEnd::Complete,
                    _ => PageEnd::Failed("cut off".to_owned()),
                },
                cursor: dice.one_in(8).then(|| dice.below(9).into()),
                late: dice.one_in(10),
            }
        }
        7..=9 => {
            let token = uid();
            tokens.push(token);
            Step::Claim {
                limit: u32::try_from(1 + dice.below(4)).unwrap(),
                of: dice.one_in(2).then(|| dice.below(2)),
                token,
            }
        }
        10..=14 if items > 0 && !tokens.is_empty() => {
            let outcome = |dice: &mut Dice| match dice.below(6) {
                0 => super::feed::failed(),
                1 => super::feed::skipped(),
                2 => ItemOutcome::PutBack { at: at(0) },
                _ => ItemOutcome::Succeeded,
            };
            let token =
                |dice: &mut Dice| tokens[tokens.len() - 1 - dice.below(tokens.len().min(3))];
            let settled = (0..items).filter(|_| !dice.one_in(3)).collect::<Vec<_>>();
            Step::Settle(
                settled
                    .into_iter()
                    .map(|item| (item, token(dice), outcome(dice)))
                    .collect(),
            )
        }
        15 if items > 0 && !tokens.is_empty() => {
            let token = tokens[dice.below(tokens.len())];
            Step::Renew(token, vec![dice.below(items), dice.below(items)])
        }
        16 if !runs.is_empty() => Step::Sweep {
            run: a_run(dice, &runs),
            limit: u32::try_from(1 + dice.below(6)).unwrap(),
        },
        17 if items > 0 => {
            let verdict = |dice: &mut Dice| {
                if dice.one_in(3) {
                    let reason = "let go".to_owned();
                    ItemVerdict::Skip { reason }
                } else {
                    ItemVerdict::Retry
                }
            };
            let decisions = (0..3).map(|_| (dice.below(items), verdict(dice)));
            Step::Decide(decisions.collect())
        }
        18 if !rows.runs.is_empty() && dice.one_in(4) => {
            let cursor = i64::try_from(dice.below(4)).unwrap();
            Step::SetCursor(dice.below(2), dice.below(2), cursor.into())
        }
        18 if !runs.is_empty() => Step::Advance(a_run(dice, &runs)),
        _ if !rows.runs.is_empty() => Step::Finalise(dice.below(rows.runs.len())),
        _ => Step::Reclaim,
    }
}

async fn mirror(subject: &Subject, seed: u64, steps: usize) {
    let mut dice = Dice(seed);
    let mut store = Side::new(subject.ports.clone()).await;
    let mut memory = Side::new(MemoryStore::new().into()).await;
    let mut tokens = Vec::new();
    let mut taken = Vec::new();
    let mut now = 10;
    for _ in 0..steps {
        // A claim looks at everything when the last one is a while ago.
        now += if dice.one_in(12) { LEASE } else { 3 };
        let rows = memory.rows(now).await;
        let step = next_step(&mut dice, &rows, &mut tokens);
        taken.push(step.clone());
        let expected = memory.take(&step, now).await;
        let answer = store.take(&step, now).await;
        assert_eq!(answer, expected, "seed {seed} after {taken:#?}");
        assert_eq!(
            store.rows(now).await,
            memory.rows(now).await,
            "seed {seed} after {taken:#?}"
        );
    }
    // The next round claims and reclaims items of its own.
    for id in store.integrations {
        subject.remove(id).await;
    }
    let ended = subject.ports.syncs.reclaim_items(at(now + 2 * LEASE), 1000);
    ended.await.unwrap();
}

// INV-16
pub async fn random_steps_leave_the_rows_that_memory_has(subject: &Subject) {
    for seed in 1..=6 {
        mirror(subject, seed * 0x9e37_79b9, 120).await;
    }
}
