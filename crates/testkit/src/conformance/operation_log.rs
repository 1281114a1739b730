//! Cases of the `OperationLog` port.
