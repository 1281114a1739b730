//! What a listener bears.

use std::time::Duration;

/// What a listener bears before it refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once. Further ones wait in the system's queue.
    pub connections: usize,
    /// Time for a request's head, and for an idle connection's next request. A client that is
    /// slower is cut off.
    pub head: Duration,
    /// Time for a whole request, its body included. A client that is slower gets a 408.
    pub request: Duration,
    /// Bytes of a request's head.
    pub head_bytes: usize,
    /// Header lines of a request.
    pub headers: usize,
    /// Time that requests under way have when the server stops.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            head: Duration::from_secs(10),
            request: Duration::from_secs(30),
            head_bytes: 32 * 1024,
            headers: 100,
            drain: Duration::from_secs(30),
        }
    }
}
