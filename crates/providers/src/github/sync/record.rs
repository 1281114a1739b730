//! Records as the engine takes them: read one by one, their payload as it came.

use chrono::{DateTime, Utc};
use integrations_core::{
    client::Answer,
    provider::{EnumerationError, SourceItem},
    sync::{Checkpoint, Payload},
    value::{ExternalId, ItemKind},
};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

/// What is read of a record: which it is, and which version.
pub(super) trait Known: DeserializeOwned {
    /// Its kind.
    fn kind(&self) -> ItemKind;

    /// Its id.
    fn id(&self) -> u64;

    /// When it was last changed.
    fn at(&self) -> DateTime<Utc>;
}

/// A page's records, and the instant of the last.
pub(super) struct Records {
    pub(super) items: Vec<SourceItem>,
    /// The instant of the last record that can be read.
    pub(super) last: Option<DateTime<Utc>>,
}

/// Reads the records of a list. One that is not as expected is told as `otherwise`, without id and
/// version, so that it holds up no other (L-SYN-7).
pub(super) fn read<T: Known>(
    answer: &Answer,
    otherwise: &ItemKind,
) -> Result<Records, EnumerationError> {
    let list: Vec<&RawValue> = serde_json::from_slice(&answer.body)
        .map_err(|_| EnumerationError::failed("the answer is not a list"))?;
    let mut records = Records {
        items: Vec::with_capacity(list.len()),
        last: None,
    };
    for raw in list {
        let payload = Payload::from_bytes(raw.get().as_bytes().to_vec());
        let known = serde_json::from_str::<T>(raw.get()).ok();
        if let Some(at) = known.as_ref().map(Known::at) {
            records.last = Some(at);
        }
        records.items.push(SourceItem {
            kind: known
                .as_ref()
                .map_or_else(|| otherwise.clone(), Known::kind),
            payload,
            external_id: known
                .as_ref()
                .and_then(|known| ExternalId::new(known.id().to_string()).ok()),
            checkpoint: known.map(|known| Checkpoint::Instant(known.at())),
        });
    }
    Ok(records)
}
