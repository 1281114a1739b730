//! Cases of the `leases` aggregate.
