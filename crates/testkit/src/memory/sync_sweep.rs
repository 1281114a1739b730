//! What a full run did not see.

use std::ops::Bound;

use integrations_core::{
    id::SyncItemId,
    sync::{
        RunState, Sweep, Swept, SyncRun,
        protocol::{RecordKey, SweepPlan, Unseen, is_unseen, plan_sweep},
    },
    value::{ExternalId, ItemKind},
};

use super::{
    state::State,
    sync_items::{known, write},
    sync_runs::is_present_fence,
};

pub(super) fn sweep(state: &mut State, sweep: &Sweep) -> Swept {
    let run = state.runs.get(sweep.run_id.0).filter(|run| {
        run.state == RunState::Running
            && !run.enumerated
            && is_present_fence(state, run.integration_id, sweep.fence)
    });
    let Some(run) = run.cloned() else {
        return Swept::FenceLost;
    };
    let (unseen, last) = part(state, &run, sweep);
    let ids = state.items.allocate(sweep.limit as usize);
    let ids: Vec<_> = ids.into_iter().map(SyncItemId).collect();
    let known = known(state, &run);
    let SweepPlan { page, plan, .. } =
        plan_sweep(sweep, &run, &unseen, last.is_none(), known, &ids);
    let items = plan.answers.iter().cloned();
    let swept = Swept::Done {
        items: items.filter_map(Result::ok).collect(),
        last,
        open: plan.run.counts.open,
        finalisable: plan.run.is_finalisable(),
    };
    write(state, &page, plan);
    swept
}

/// The next records: those that were not seen, and the last of all, if there may be more.
fn part(
    state: &State,
    run: &SyncRun,
    sweep: &Sweep,
) -> (Vec<Unseen>, Option<(ItemKind, ExternalId)>) {
    if !run.finds_deletions() {
        return (Vec::new(), None);
    }
    let of_stream =
        |key: &RecordKey| key.integration_id == run.integration_id && key.stream == run.stream;
    let is_behind = |key: &RecordKey| {
        let after = sweep.after.as_ref();
        after.is_none_or(|(kind, id)| (&key.kind, &key.external_id) > (kind, id))
    };
    let part: Vec<_> = (state
        .records
        .range((Bound::<RecordKey>::Unbounded, Bound::Unbounded)))
    .filter(|(key, _)| of_stream(key) && is_behind(key))
    .take(sweep.limit as usize)
    .collect();
    let last = part.last().filter(|_| part.len() == sweep.limit as usize);
    let last = last.map(|(key, _)| (key.kind.clone(), key.external_id.clone()));
    let unseen = part.into_iter().filter(|(key, record)| {
        let told = key.deletion().and_then(|key| state.records.get(&key));
        is_unseen(run.id, record, told)
    });
    let unseen = unseen.map(|(key, record)| Unseen {
        kind: key.kind.clone(),
        external_id: key.external_id.clone(),
        last_seen_run: record.last_seen_run,
    });
    (unseen.collect(), last)
}
