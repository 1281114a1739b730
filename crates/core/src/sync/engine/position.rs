//! Where enumeration stands: what a run's page token holds.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::provider::EnumerationError;

/// The token kept with a run: enough for another process to go on.
///
/// The cursor the run began at is part of it, because in a sorted stream the integration's own
/// moves on while pages are read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Position {
    /// The cursor the run began at; `None`: from the beginning.
    pub(super) since: Option<Json>,
    /// The provider's token of the page to read.
    pub(super) page: Option<Json>,
    /// Whether a record without an id was told: which one is not known, so none may be taken for
    /// deleted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) nameless: bool,
    /// Whether there are no more pages, and what is left is to look for deleted records.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) sweeps: bool,
}

impl Position {
    /// The first page of what changed since a cursor.
    pub(super) fn beginning(since: Option<Json>) -> Self {
        Self {
            since,
            ..Self::default()
        }
    }

    /// Where an earlier process was.
    pub(super) fn read(token: &Json) -> Result<Self, EnumerationError> {
        Self::deserialize(token).map_err(|_| {
            EnumerationError::failed(
                "the run's page token is not one this version reads; the next run starts over",
            )
        })
    }

    /// The token.
    pub(super) fn token(&self) -> Json {
        // Every field is JSON already.
        serde_json::to_value(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_token_is_read_back() {
        let mut position = Position::beginning(Some(json!("2026-01-01T00:00:00Z")));
        assert_eq!(
            position.token(),
            json!({"since": "2026-01-01T00:00:00Z", "page": null})
        );
        position.page = Some(json!(7));
        assert_eq!(Position::read(&position.token()), Ok(position));
        assert!(Position::read(&json!("other")).is_err());
    }
}
