//! What is counted, in Prometheus' text format.
//!
//! A [`Collect`] writes its families when somebody asks; nothing is registered by name and
//! nothing is global.

mod exposition;
mod http;
mod process;
mod queues;
mod request_log;

use std::sync::Arc;

use async_trait::async_trait;

pub use exposition::{Exposition, Family, Kind};
pub(crate) use http::{HttpMetrics, Listeners};
pub use queues::Queues;
pub use request_log::RequestLog;

/// Something that counts.
#[async_trait]
pub trait Collect: Send + Sync {
    /// Writes its families. What cannot be had at the moment is left out.
    async fn collect(&self, out: &mut Exposition);
}

/// Everything that counts.
#[derive(Clone, Default)]
pub(crate) struct Registry(Vec<Arc<dyn Collect>>);

impl Registry {
    pub(crate) fn add(&mut self, collect: Arc<dyn Collect>) {
        self.0.push(collect);
    }

    /// The text of all of them.
    pub(crate) async fn text(&self) -> String {
        let mut out = Exposition::default();
        process::collect(&mut out);
        for collect in &self.0 {
            collect.collect(&mut out).await;
        }
        out.into_text()
    }
}
