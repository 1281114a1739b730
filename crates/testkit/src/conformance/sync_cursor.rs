//! Cases of the `sync_cursor` aggregate.
