//! Lists by when records were last updated, each page beginning where the one before ended.

use chrono::{DateTime, SecondsFormat, Utc};
use integrations_core::{
    client::Call,
    provider::{EnumerationError, PageQuery, SyncPage},
};
use serde::{Deserialize, Serialize};

use super::{
    PER_PAGE, has_next,
    record::{Known, Records},
    since,
};

/// Where a page begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Start {
    /// Records updated at this instant or later.
    from: Option<DateTime<Utc>>,
    /// The page of those: beyond the first only where more than a page of records were updated in
    /// one instant.
    page: u32,
}

impl Start {
    fn of(query: &PageQuery) -> Result<Self, EnumerationError> {
        let Some(token) = &query.page else {
            return Ok(Self {
                from: since(query)?,
                page: 1,
            });
        };
        Self::deserialize(token)
            .map_err(|_| EnumerationError::failed("the page token is not one of this version"))
    }

    /// Where the page behind one begins that ended at `last`.
    fn behind(self, last: Option<DateTime<Utc>>) -> Self {
        match last {
            Some(last) if self.from.is_none_or(|from| from < last) => Self {
                from: Some(last),
                page: 1,
            },
            _ => Self {
                page: self.page.saturating_add(1),
                ..self
            },
        }
    }

    fn put_into(self, call: Call) -> Call {
        let call = call
            .query("sort", "updated")
            .query("direction", "asc")
            .query("per_page", PER_PAGE);
        let call = match self.from {
            Some(from) => call.query("since", from.to_rfc3339_opts(SecondsFormat::Secs, true)),
            None => call,
        };
        match self.page {
            1 => call,
            page => call.query("page", page),
        }
    }
}

/// Reads one page of the list `call` is about.
pub(super) async fn page<T: Known>(
    query: &PageQuery,
    call: Call,
    otherwise: &'static str,
) -> Result<SyncPage, EnumerationError> {
    let start = Start::of(query)?;
    let answer = start.put_into(call).send().await?;
    let Records { items, last, .. } = super::record::read::<T>(&answer, &super::kind(otherwise))?;
    let next = has_next(&answer).then(|| start.behind(last));
    let next = next.map(serde_json::to_value).transpose();
    Ok(SyncPage {
        items,
        next: next.map_err(|_| EnumerationError::failed("the page token cannot be written"))?,
        cursor: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp(second, 0)
    }

    // W-GH-1
    #[test]
    fn a_page_begins_where_the_one_before_ended() {
        let first = Start {
            from: None,
            page: 1,
        };
        let second = first.behind(at(10));
        assert_eq!((second.from, second.page), (at(10), 1));
        let third = second.behind(at(12));
        assert_eq!((third.from, third.page), (at(12), 1));
    }

    #[test]
    fn more_than_a_page_of_one_instant_is_read_to_its_end() {
        let start = Start {
            from: at(10),
            page: 1,
        };
        let second = start.behind(at(10));
        assert_eq!((second.from, second.page), (at(10), 2));
        assert_eq!(second.behind(None).page, 3);
        assert_eq!(second.behind(at(11)).page, 1);
    }
}
