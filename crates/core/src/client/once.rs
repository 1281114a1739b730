//! What a call under an idempotency key comes to.

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;

use super::{AnswerSource, Call, CallError, CallErrorKind};
use crate::idempotency::ReservationRecord;

/// What a call that happens at most once came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Once<T> {
    /// It happened, just now.
    Done(T),
    /// It happened before, and was answered with this.
    Recorded(T),
    /// Another call under the key is under way.
    InFlight {
        /// When that call counts as lost.
        retry_at: DateTime<Utc>,
    },
    /// A call under the key may have happened before, and nobody knows. Resolve the key before
    /// it is used again.
    Unknown(Box<ReservationRecord>),
}

impl Call {
    /// Makes the call under its [`idempotency_key`](Self::idempotency_key), and reads the answer
    /// as a `T`, be it given now or on file.
    ///
    /// # Errors
    ///
    /// As [`json`](Self::json), but for what [`Once`] tells. A call that fails now is an error,
    /// also where it may have happened; the next one is told so.
    pub async fn json_once<T: DeserializeOwned>(self) -> Result<Once<T>, CallError> {
        let answer = match self.send().await {
            Ok(answer) => answer,
            Err(error) => {
                return match (error.kind(), error.retry_at(), error.record()) {
                    (CallErrorKind::KeyInFlight, Some(retry_at), _) => {
                        Ok(Once::InFlight { retry_at })
                    }
                    (CallErrorKind::KeyUnknown, _, Some(record)) => {
                        Ok(Once::Unknown(Box::new(record.clone())))
                    }
                    _ => Err(error),
                };
            }
        };
        let recorded = answer.source == AnswerSource::Recorded;
        let value = answer.success()?.json()?;
        Ok(if recorded {
            Once::Recorded(value)
        } else {
            Once::Done(value)
        })
    }
}
