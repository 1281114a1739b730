//! Cases of the `KeyRegistry` port.
