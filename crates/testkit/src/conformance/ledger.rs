//! Cases of the `IdempotencyLedger` port.
