//! Reading long lists a page at a time.

/// Which page of a list to read. Pages follow the numeric id, so they neither skip nor repeat
/// rows while others are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// Continue behind this id, as [`Page::next`] gave it; `None` begins.
    pub after: Option<i64>,
    /// At most this many rows; 1 to [`PageRequest::MAX_LIMIT`].
    pub limit: u32,
    /// Which end to begin at.
    pub order: Order,
}

/// The order of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Ascending ids.
    OldestFirst,
    /// Descending ids.
    NewestFirst,
}

impl PageRequest {
    /// The most rows a page has.
    pub const MAX_LIMIT: u32 = 1000;

    /// The first page of the newest rows.
    #[must_use]
    pub const fn newest(limit: u32) -> Self {
        Self {
            after: None,
            limit,
            order: Order::NewestFirst,
        }
    }

    /// The first page of the oldest rows.
    #[must_use]
    pub const fn oldest(limit: u32) -> Self {
        Self {
            after: None,
            limit,
            order: Order::OldestFirst,
        }
    }

    /// The same list, continued behind `after`.
    #[must_use]
    pub const fn after(mut self, after: Option<i64>) -> Self {
        self.after = after;
        self
    }

    /// The limit within its bounds.
    #[must_use]
    pub fn bounded_limit(&self) -> u32 {
        self.limit.clamp(1, Self::MAX_LIMIT)
    }
}

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Where the next page begins; `None` when this is the last.
    pub next: Option<i64>,
}

impl<T> Page<T> {
    /// Makes a page of rows that were read with a limit of one more than `request` asked for.
    #[must_use]
    pub fn from_overfull(mut rows: Vec<T>, request: &PageRequest, id: impl Fn(&T) -> i64) -> Self {
        let limit = request.bounded_limit() as usize;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = if more { rows.last().map(id) } else { None };
        Self { items: rows, next }
    }
}
