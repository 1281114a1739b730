//! Cases of the `gate` aggregate.
