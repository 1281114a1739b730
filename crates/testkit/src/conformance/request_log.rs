//! Cases of the `RequestLog` port.
