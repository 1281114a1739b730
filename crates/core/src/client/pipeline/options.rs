//! What a call may be told about how it is made, whichever way in it takes.

use std::time::Duration;

use crate::{
    client::LogMode, gate::Lane, id::RequestId, request::Related, trace::TraceContext,
    value::IdempotencyKey,
};

/// How a call is made. Empty fields leave it to the client's own settings.
#[derive(Clone, Debug, Default)]
pub(in crate::client) struct CallOptions {
    pub(in crate::client) attempts: Option<u32>,
    pub(in crate::client) deadline: Option<Duration>,
    pub(in crate::client) max_wait: Option<Duration>,
    pub(in crate::client) lane: Lane,
    pub(in crate::client) key: Option<IdempotencyKey>,
    pub(in crate::client) related: Option<Related>,
    pub(in crate::client) retry_of: Option<RequestId>,
    pub(in crate::client) log: Option<LogMode>,
    pub(in crate::client) trace: Option<TraceContext>,
    /// Whether something will point at its row: it is then waited for, and no sampling leaves it
    /// out.
    pub(in crate::client) row_needed: bool,
    /// What is wrong with the call. It is told when the call is made, before anything happens.
    pub(in crate::client) wrong: Option<String>,
}

impl CallOptions {
    /// Sets the attempts; fewer than one are no call (REQ-02).
    pub(in crate::client) fn set_attempts(&mut self, attempts: u32) {
        if attempts == 0 {
            self.wrong = Some("a call needs at least 1 attempt".to_owned());
        }
        self.attempts = Some(attempts);
    }

    /// Sets the key; one that cannot be stored is refused before anything is (IDM-01).
    pub(in crate::client) fn set_key(&mut self, key: impl Into<String>) {
        match IdempotencyKey::new(key) {
            Ok(key) => self.key = Some(key),
            Err(error) => self.wrong = Some(error.to_string()),
        }
    }
}

/// The methods by which both ways in are told their [`CallOptions`].
macro_rules! call_options {
    ($call:ident $(<$($generic:ident),+>)?, $($options:ident).+) => {
        impl $call {
            /// Makes at most so many attempts, at least 1. Without it, reads are attempted three
            /// times and everything else once.
            ///
            /// What may have reached the other side is attempted again only where doing it twice
            /// is as good as once: an idempotent method, or a key the provider deduplicates by.
            pub fn attempts(mut self, attempts: u32) -> Self {
                self.$($options).+.set_attempts(attempts);
                self
            }

            /// Ends the call after so long, whatever it is doing then: waiting for a budget,
            /// sending, or waiting to try again.
            pub fn deadline(mut self, deadline: std::time::Duration) -> Self {
                self.$($options).+.deadline = Some(deadline);
                self
            }

            /// Waits at most so long for a budget or a pause the other side asked for; zero never
            /// waits. A wait that would be longer is refused at once, saying when to call again.
            pub fn max_wait(mut self, max_wait: std::time::Duration) -> Self {
                self.$($options).+.max_wait = Some(max_wait);
                self
            }

            /// Lets interactive calls go first when a budget runs low.
            pub fn background(mut self) -> Self {
                self.$($options).+.lane = crate::gate::Lane::Background;
                self
            }

            /// Makes the call at most once under this key, 1 to 191 characters, for this
            /// integration; across processes, restarts and crashes.
            ///
            /// A second call under the key is answered with what is on file, and refused while
            /// the first is under way or where nobody knows whether it happened. Providers that
            /// deduplicate by a header of their own are sent the key.
            pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
                self.$($options).+.set_key(key);
                self
            }

            /// Notes what entity of the application the call is about.
            pub fn related_to(
                mut self,
                related_type: impl Into<String>,
                id: impl Into<crate::request::RelatedId>,
            ) -> Self {
                self.$($options).+.related = Some(crate::request::Related {
                    related_type: related_type.into(),
                    id: id.into(),
                });
                self
            }

            /// Goes on when its row is durable or at once, instead of when the client's calls do.
            pub fn log(mut self, mode: crate::client::LogMode) -> Self {
                self.$($options).+.log = Some(mode);
                self
            }

            /// Takes part in a trace, that of the request the application is serving for
            /// instance. Each attempt is a step of its own in it.
            pub fn trace_context(mut self, context: crate::trace::TraceContext) -> Self {
                self.$($options).+.trace = Some(context);
                self
            }

            /// Counts as a retry of an earlier call: every row of this one points at that one's
            /// first row.
            pub fn retry_of(mut self, first: crate::id::RequestId) -> Self {
                self.$($options).+.retry_of = Some(first);
                self
            }
        }
    };
}
pub(in crate::client) use call_options;
