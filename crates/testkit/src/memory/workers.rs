//! The `Workers` port.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use integrations_core::{
    store::StoreError,
    value::HolderName,
    worker::{WorkerBeat, Workers},
};

use super::{MemoryStore, columns::Columns};

#[async_trait]
impl Workers for MemoryStore {
    async fn beat(&self, beat: &WorkerBeat) -> Result<(), StoreError> {
        Columns::check()
            .varchar(beat.version.as_str(), 64)
            .of_row()?;
        self.lock().workers.insert(beat.id.clone(), beat.clone());
        Ok(())
    }

    async fn alive(&self, since: DateTime<Utc>) -> Result<Vec<WorkerBeat>, StoreError> {
        let state = self.lock();
        let alive = state.workers.values().filter(|w| w.heartbeat_at >= since);
        Ok(alive.cloned().collect())
    }

    async fn leave(&self, id: &HolderName, stale_before: DateTime<Utc>) -> Result<(), StoreError> {
        self.lock()
            .workers
            .retain(|name, worker| name != id && worker.heartbeat_at >= stale_before);
        Ok(())
    }
}
