//! The limits of columns, as the databases enforce them.

use integrations_core::store::{Rejected, StoreError, StoreErrorKind};
use serde_json::Value as Json;

/// Checks the values of one row against their columns.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub(super) struct Columns {
    fit: bool,
}

impl Columns {
    pub(super) const fn check() -> Self {
        Self { fit: true }
    }

    /// A text without a limit. NUL is what PostgreSQL refuses.
    pub(super) fn text<'a>(self, value: impl Into<Option<&'a str>>) -> Self {
        self.also(value.into().is_none_or(|text| !text.contains('\0')))
    }

    /// A text of at most `max` characters.
    pub(super) fn varchar<'a>(self, value: impl Into<Option<&'a str>>, max: usize) -> Self {
        let value = value.into();
        let short = value.is_none_or(|text| text.chars().count() <= max);
        self.text(value).also(short)
    }

    pub(super) fn json<'a>(self, value: impl Into<Option<&'a Json>>) -> Self {
        self.also(value.into().is_none_or(is_storable))
    }

    pub(super) fn smallint(self, value: Option<u16>) -> Self {
        self.also(value.is_none_or(|number| i16::try_from(number).is_ok()))
    }

    const fn also(self, fits: bool) -> Self {
        Self {
            fit: self.fit && fits,
        }
    }

    /// The verdict on an entry of a batch.
    pub(super) fn of_entry(self) -> Result<(), Rejected> {
        self.fit.then_some(()).ok_or(Rejected::DoesNotFit)
    }

    /// The verdict on the only row of a call.
    pub(super) fn of_row(self) -> Result<(), StoreError> {
        self.of_entry().map_err(|rejected| refused(&rejected))
    }
}

/// Whether no text within `json` holds NUL, which `jsonb` cannot store.
fn is_storable(json: &Json) -> bool {
    match json {
        Json::Null | Json::Bool(_) | Json::Number(_) => true,
        Json::String(text) => !text.contains('\0'),
        Json::Array(items) => items.iter().all(is_storable),
        Json::Object(fields) => fields
            .iter()
            .all(|(name, value)| !name.contains('\0') && is_storable(value)),
    }
}

/// What a call about a single row answers where a batch would reject the entry.
pub(super) fn refused(rejected: &Rejected) -> StoreError {
    StoreError::new(StoreErrorKind::Constraint, rejected.to_string())
}
