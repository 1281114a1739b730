//! Cases of the `ResponseCache` port.
