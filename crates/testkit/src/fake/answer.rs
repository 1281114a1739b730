//! What a fake answers: the same each time, one after the other, or what a closure makes of the
//! request.

use std::{collections::VecDeque, fmt};

use integrations_core::transport::TransportError;
use serde_json::Value as Json;

use crate::transport::{Reply, SentRequest};

/// What a fake answers to requests of one pattern.
pub enum FakeAnswer {
    /// The same each time.
    Always(Reply),
    /// One after the other. A request behind the last one panics.
    Sequence(VecDeque<Reply>),
    /// What this makes of the request.
    Made(Box<dyn Fn(&SentRequest) -> Reply + Send + Sync>),
}

impl fmt::Debug for FakeAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always(reply) => f.debug_tuple("Always").field(reply).finish(),
            Self::Sequence(replies) => f.debug_tuple("Sequence").field(replies).finish(),
            Self::Made(_) => f.debug_tuple("Made").finish_non_exhaustive(),
        }
    }
}

impl FakeAnswer {
    /// The next answer; `None` where a sequence is at its end.
    pub(super) fn next(&mut self, request: &SentRequest) -> Option<Reply> {
        match self {
            Self::Always(reply) => Some(reply.clone()),
            Self::Sequence(replies) => replies.pop_front(),
            Self::Made(make) => Some(make(request)),
        }
    }
}

impl From<Reply> for FakeAnswer {
    fn from(reply: Reply) -> Self {
        Self::Always(reply)
    }
}

/// 200 with this body.
impl From<Json> for FakeAnswer {
    fn from(body: Json) -> Self {
        Self::Always(Reply::status(200).json(&body))
    }
}

impl From<TransportError> for FakeAnswer {
    fn from(error: TransportError) -> Self {
        Self::Always(Reply::error(error))
    }
}

impl<const N: usize> From<[Reply; N]> for FakeAnswer {
    fn from(replies: [Reply; N]) -> Self {
        Self::Sequence(replies.into())
    }
}

impl From<Vec<Reply>> for FakeAnswer {
    fn from(replies: Vec<Reply>) -> Self {
        Self::Sequence(replies.into())
    }
}

impl<F: Fn(&SentRequest) -> Reply + Send + Sync + 'static> From<F> for FakeAnswer {
    fn from(make: F) -> Self {
        Self::Made(Box::new(make))
    }
}
