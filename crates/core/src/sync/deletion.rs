//! Deletions: what a full run did not find any more.

use chrono::{DateTime, Utc};

use super::{ItemAdded, NewItem, Payload};
use crate::{
    id::SyncRunId,
    value::{ExternalId, ItemKind},
};

/// How the kinds of items end that tell of deletions.
const DELETED: &str = ".deleted";

impl ItemKind {
    /// The kind of the items that tell of deleted records of this one: `issue.deleted` of `issue`.
    /// `None` for a kind that tells of deletions itself, and for one of more than 247 characters.
    #[must_use]
    pub fn deletion(&self) -> Option<Self> {
        let kind = (!self.is_deletion()).then(|| format!("{self}{DELETED}"))?;
        Self::new(kind).ok()
    }

    /// Whether its items tell of deletions.
    #[must_use]
    pub fn is_deletion(&self) -> bool {
        self.as_str().ends_with(DELETED)
    }
}

/// A look at the next records of a stream, for those that a full run did not see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sweep {
    /// The run. All that there is was told to it.
    pub run_id: SyncRunId,
    /// The fence of the sync lease.
    pub fence: i64,
    /// Behind this record, by kind and id; `None`: from the first.
    pub after: Option<(ItemKind, ExternalId)>,
    /// The most records to look at.
    pub limit: u32,
    /// Now.
    pub now: DateTime<Utc>,
}

/// What came of a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Swept {
    /// It stands.
    Done {
        /// What became of the items that tell of deleted records, in the order of these.
        items: Vec<ItemAdded>,
        /// The last record that was looked at; `None`: there are no more, and enumeration has
        /// ended.
        last: Option<(ItemKind, ExternalId)>,
        /// Items of the run that are open.
        open: i64,
        /// Nothing is open and enumeration has ended: finalise.
        finalisable: bool,
    },
    /// The sync lease went to somebody else, or the run has ended; nothing was stored.
    FenceLost,
}

/// The item that tells of a deleted record, last seen by that run: which is the version, since the
/// record may come back and be deleted again. Nothing is left to be its payload.
pub(super) fn deletion(
    kind: &ItemKind,
    external_id: &ExternalId,
    last_seen: Option<SyncRunId>,
) -> Option<NewItem> {
    let last_seen = last_seen.map_or(0, |run| run.0);
    Some(NewItem {
        kind: kind.deletion()?,
        external_id: Some(external_id.clone()),
        checkpoint: None,
        payload: Payload::Text("null".to_owned()),
        digest: Some(last_seen.to_be_bytes().to_vec()),
        other_digests: Vec::new(),
        batch_id: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(name: impl Into<String>) -> ItemKind {
        ItemKind::new(name).unwrap()
    }

    // W-SYN-12
    #[test]
    fn a_kind_has_one_for_its_deletions() {
        let deletion = kind("issue").deletion().unwrap();
        assert_eq!(deletion.as_str(), "issue.deleted");
        assert!(deletion.is_deletion() && !kind("issue").is_deletion());
        assert_eq!(deletion.deletion(), None);
    }

    #[test]
    fn a_kind_without_room_has_none() {
        assert!(kind("x".repeat(247)).deletion().is_some());
        assert_eq!(kind("x".repeat(248)).deletion(), None);
    }
}
