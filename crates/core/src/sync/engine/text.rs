//! Texts that are kept with runs and items: errors and reasons.

use super::Inner;
use crate::{id::IntegrationId, value::cut_chars};

/// The most characters of one (SYN-23).
const MAX_TEXT: usize = 1000;

/// A text as its column takes it.
pub(super) fn fitted(text: &str) -> String {
    cut_chars(text, MAX_TEXT).replace('\0', "\u{fffd}")
}

impl Inner {
    /// A text that a provider or a handler gave about an account, as it may be stored and traced:
    /// without secrets, which an error of a call made elsewhere may well name (W-RED-3).
    pub(super) async fn redacted(&self, id: IntegrationId, text: &str) -> String {
        let redactor = self.client.redactor_of(Some(id)).await;
        fitted(&redactor.text(text))
    }
}
