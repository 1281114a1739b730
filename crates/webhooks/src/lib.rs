//! Webhooks that are never lost, never forged and never run twice.
//!
//! | to | see |
//! | --- | --- |
//! | receive deliveries | [`Receiver`], over `http` types for any framework |
//! | mount the routes in axum | `router`, with the feature `axum` |
//! | process them with handlers | [`Processor`] |
//! | have them processed again | [`Replay`] |
//! | check a signature | [`schemes`] |
//!
//! # Features
//!
//! | feature | brings |
//! | --- | --- |
//! | `axum` | `router`, which reads bodies no further than they may be long |

mod processor;
mod receiver;
mod replay;
#[cfg(feature = "axum")]
mod router;
pub mod schemes;

pub use processor::{
    Delivery, Handled, HandlerError, Processor, ProcessorBuilder, ProcessorPolicy,
    RunningProcessor, WebhookHandler,
};
pub use receiver::{Held, Limits, Metrics, Receiver, ReceiverBuilder, Route};
pub use replay::{Replay, ReplayPlan, ReplayReport};
#[cfg(feature = "axum")]
pub use router::{RemoteAddr, router};
