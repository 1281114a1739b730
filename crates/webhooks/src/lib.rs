//! Webhooks that are never lost, never forged and never run twice.
//!
//! | to | see |
//! | --- | --- |
//! | receive deliveries | [`Receiver`], over `http` types for any framework |
//! | mount the routes in axum | `router`, with the feature `axum` |
//! | check a signature | [`schemes`] |
//!
//! # Features
//!
//! | feature | brings |
//! | --- | --- |
//! | `axum` | `router`, which reads bodies no further than they may be long |

mod receiver;
#[cfg(feature = "axum")]
mod router;
pub mod schemes;

pub use receiver::{Limits, Metrics, Receiver, ReceiverBuilder, Route};
#[cfg(feature = "axum")]
pub use router::{RemoteAddr, router};
