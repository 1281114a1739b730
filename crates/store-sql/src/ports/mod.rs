//! The storage ports, written once for both databases, one file per aggregate as in core.

mod mapping;
