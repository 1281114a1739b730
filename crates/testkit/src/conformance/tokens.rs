//! Cases of the `tokens` aggregate.
