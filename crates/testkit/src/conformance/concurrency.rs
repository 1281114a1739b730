//! Cases of the `concurrency` aggregate.
