//! Cases of the `sync_items` aggregate.
