//! Cases of the `workers` aggregate.
