//! The `Workers` port.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use integrations::{
    store::StoreError,
    value::HolderName,
    worker::{WorkerBeat, Workers},
};

use crate::TinyStore;

#[async_trait]
impl Workers for TinyStore {
    async fn beat(&self, beat: &WorkerBeat) -> Result<(), StoreError> {
        self.lock().workers.insert(beat.id.clone(), beat.clone());
        Ok(())
    }

    async fn alive(&self, since: DateTime<Utc>) -> Result<Vec<WorkerBeat>, StoreError> {
        let maps = self.lock();
        Ok(maps
            .workers
            .values()
            .filter(|beat| beat.heartbeat_at >= since)
            .cloned()
            .collect())
    }

    async fn leave(&self, id: &HolderName, stale_before: DateTime<Utc>) -> Result<(), StoreError> {
        self.lock()
            .workers
            .retain(|name, beat| name != id && beat.heartbeat_at >= stale_before);
        Ok(())
    }
}
