//! Cases of the `sync_runs` aggregate.
