//! Cases of the `inbox` aggregate.
