//! Where enumeration stands: what a run's page token holds.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::{
    provider::{EnumerationError, SourceItem},
    sync::{Checkpoint, CheckpointOrder},
};

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
    /// The greatest checkpoint so far, in a stream that promised to be sorted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) highest: Option<CheckpointOrder>,
    /// Whether the stream broke that promise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) out_of_order: bool,
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

    /// Takes note of checkpoints that were told; `false` from the first that falls.
    pub(super) fn keeps_order(&mut self, items: &[SourceItem]) -> bool {
        let told = items.iter().filter_map(|item| item.checkpoint.as_ref());
        for order in told.map(Checkpoint::order) {
            match &self.highest {
                Some(highest) if order < *highest => self.out_of_order = true,
                _ => self.highest = Some(order),
            }
        }
        !self.out_of_order
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{sync::Payload, value::ItemKind};

    fn items(checkpoints: &[i64]) -> Vec<SourceItem> {
        let item = |n: &i64| SourceItem {
            kind: ItemKind::new("issue").unwrap(),
            payload: Payload::Text("{}".to_owned()),
            external_id: None,
            checkpoint: Some(Checkpoint::Number(*n)),
        };
        checkpoints.iter().map(item).collect()
    }

    #[test]
    fn a_token_is_read_back() {
        let mut position = Position::beginning(Some(json!("2026-01-01T00:00:00Z")));
        assert_eq!(
            position.token(),
            json!({"since": "2026-01-01T00:00:00Z", "page": null})
        );
        position.page = Some(json!(7));
        position.keeps_order(&items(&[3]));
        assert_eq!(Position::read(&position.token()), Ok(position));
        assert!(Position::read(&json!("other")).is_err());
    }

    #[test]
    fn order_is_checked_across_pages_and_processes() {
        let mut position = Position::default();
        assert!(position.keeps_order(&items(&[1, 2, 2])));
        let mut taken_over = Position::read(&position.token()).unwrap();
        assert!(!taken_over.keeps_order(&items(&[1])));
        assert!(!taken_over.keeps_order(&items(&[9])), "once broken, always");
    }
}
