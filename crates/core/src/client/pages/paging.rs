//! How a list goes on.

use serde_json::Value as Json;

/// How a list is read page by page.
///
/// | the other side has | |
/// | --- | --- |
/// | a `Link` header | [`link`](Self::link) |
/// | a cursor in the body | [`cursor`](Self::cursor) |
/// | numbered pages | [`number`](Self::number) |
/// | offsets | [`offset`](Self::offset) |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paging {
    pub(super) way: Way,
    pub(super) items: String,
    pub(super) size: Option<(String, u32)>,
    pub(super) max_pages: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Link,
    Cursor {
        at: String,
        param: String,
        more: Option<String>,
    },
    Number {
        param: String,
        first: u64,
    },
    Offset {
        param: String,
    },
}

impl Way {
    /// What goes into the query for each page.
    pub(super) fn param(&self) -> Option<&str> {
        match self {
            Self::Link => None,
            Self::Cursor { param, .. } | Self::Number { param, .. } | Self::Offset { param } => {
                Some(param)
            }
        }
    }

    /// Whether only the number of items tells where a list ends.
    pub(super) const fn is_counted(&self) -> bool {
        matches!(self, Self::Number { .. } | Self::Offset { .. })
    }
}

impl Paging {
    /// Pages after which a list is given up, unless [`max_pages`](Self::max_pages) says otherwise.
    pub const MAX_PAGES: u32 = 10_000;

    const fn new(way: Way) -> Self {
        Self {
            way,
            items: String::new(),
            size: None,
            max_pages: Self::MAX_PAGES,
        }
    }

    /// The `Link` header names the next page. One on another origin is refused.
    #[must_use]
    pub const fn link() -> Self {
        Self::new(Way::Link)
    }

    /// The body holds a cursor at `at`, a JSON pointer such as `/meta/after_cursor`, which goes
    /// into the query as `param`. A list ends where it is missing, null or empty.
    #[must_use]
    pub fn cursor(at: impl Into<String>, param: impl Into<String>) -> Self {
        Self::new(Way::Cursor {
            at: at.into(),
            param: param.into(),
            more: None,
        })
    }

    /// Pages have numbers from 1, which go into the query as `param`. A list ends with its first
    /// empty page, or, with [`page_size`](Self::page_size), with one shorter than the first.
    #[must_use]
    pub fn number(param: impl Into<String>) -> Self {
        Self::new(Way::Number {
            param: param.into(),
            first: 1,
        })
    }

    /// The number of items before the page goes into the query as `param`. A list ends as for
    /// [`number`](Self::number).
    #[must_use]
    pub fn offset(param: impl Into<String>) -> Self {
        Self::new(Way::Offset {
            param: param.into(),
        })
    }

    /// A list with a cursor also ends where the truth value at this JSON pointer is false.
    #[must_use]
    pub fn while_true(mut self, at: impl Into<String>) -> Self {
        if let Way::Cursor { more, .. } = &mut self.way {
            *more = Some(at.into());
        }
        self
    }

    /// The number of the first page, where it is not 1.
    #[must_use]
    pub const fn starting_at(mut self, number: u64) -> Self {
        if let Way::Number { first, .. } = &mut self.way {
            *first = number;
        }
        self
    }

    /// Asks for pages of so many items, in the query as `param`.
    #[must_use]
    pub fn page_size(mut self, param: impl Into<String>, items: u32) -> Self {
        self.size = Some((param.into(), items));
        self
    }

    /// Where in the body the items are, a JSON pointer such as `/tickets`, where the body is not
    /// itself the list.
    #[must_use]
    pub fn items_at(mut self, at: impl Into<String>) -> Self {
        self.items = at.into();
        self
    }

    /// Gives a list up after so many pages, as an error rather than as its end.
    #[must_use]
    pub const fn max_pages(mut self, pages: u32) -> Self {
        self.max_pages = pages;
        self
    }
}

/// A cursor in a body, as text for a query; `None` where the list ends.
pub(super) fn cursor(body: &Json, at: &str, more: Option<&str>) -> Option<String> {
    let goes_on = more.is_none_or(|more| body.pointer(more).and_then(Json::as_bool) == Some(true));
    match body.pointer(at).filter(|_| goes_on)? {
        Json::String(cursor) if !cursor.is_empty() => Some(cursor.clone()),
        Json::Number(cursor) => Some(cursor.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn cursors_are_texts_and_numbers() {
        let body = json!({ "meta": { "after": "x", "id": 7, "none": null, "empty": "" } });
        let at = |at| cursor(&body, at, None);
        assert_eq!(at("/meta/after").as_deref(), Some("x"));
        assert_eq!(at("/meta/id").as_deref(), Some("7"));
        for end in ["/meta/none", "/meta/empty", "/meta/missing", "/meta"] {
            assert_eq!(at(end), None, "{end}");
        }
    }

    #[test]
    fn a_flag_may_end_a_list_that_still_has_a_cursor() {
        let body = json!({ "next": "x", "more": false, "yes": true });
        assert_eq!(cursor(&body, "/next", Some("/more")), None);
        assert_eq!(cursor(&body, "/next", Some("/missing")), None);
        assert_eq!(cursor(&body, "/next", Some("/yes")).as_deref(), Some("x"));
    }
}
