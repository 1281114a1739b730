//! Cases of the `retention` aggregate.
