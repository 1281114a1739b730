//! Lists that come in pages, as streams.

mod link;
mod paging;

use std::{collections::HashSet, fmt};

use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};

use self::paging::{Way, cursor};
use super::{Answer, Call, CallError, CallErrorKind};

pub use paging::Paging;

/// The pages of a list, read one after the other as they are asked for.
///
/// Each page is a call of its own, with a row of its own under the same endpoint. Reading stops
/// with an error, and never for ever, where a page leads to one that was read before, where the
/// other side sends the same page again, where a link leads to another origin, and after
/// [`Paging::max_pages`].
#[must_use = "pages are read when they are asked for"]
pub struct Pages {
    call: Call,
    paging: Paging,
    next: Option<Next>,
    seen: HashSet<[u8; 32]>,
    read: u32,
    items: usize,
    first_count: Option<usize>,
    last_body: Option<[u8; 32]>,
}

/// What comes next.
enum Next {
    /// The call as it was made.
    First,
    /// The page behind a link.
    Link(String),
    /// The call with this value in its query.
    Query(String),
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages")
            .field("call", &self.call)
            .field("read", &self.read)
            .finish_non_exhaustive()
    }
}

impl Call {
    /// Reads a list page by page.
    pub fn pages(self, paging: Paging) -> Pages {
        Pages {
            call: self,
            paging,
            next: Some(Next::First),
            seen: HashSet::new(),
            read: 0,
            items: 0,
            first_count: None,
            last_body: None,
        }
    }
}

impl Pages {
    /// The next page; `None` behind the last. After an error there is none.
    ///
    /// # Errors
    ///
    /// As for [`Call::json`]; of kind [`CallErrorKind::Paging`] where the list does not go on as
    /// a list should.
    pub async fn next_page(&mut self) -> Result<Option<Answer>, CallError> {
        let Some(next) = self.next.take() else {
            return Ok(None);
        };
        if self.call.options.key.is_some() {
            let message = "a list has a call for each page, which cannot share an idempotency key";
            return Err(CallError::new(CallErrorKind::Invalid, message));
        }
        if self.read == self.paging.max_pages {
            return Err(wrong(format!(
                "the list has more than {} pages; raise `max_pages` where that is right",
                self.read
            )));
        }
        let answer = self.prepare(next).send().await?.success()?;
        self.read += 1;
        let count = self.count(&answer)?;
        self.next = self.behind(&answer, count)?;
        let ends_the_list = self.read > 1 && self.paging.way.is_counted() && count == 0;
        Ok((!ends_the_list).then_some(answer))
    }

    /// The pages as a stream, which ends with the first error.
    pub fn into_stream(self) -> impl Stream<Item = Result<Answer, CallError>> + Send {
        stream::try_unfold(self, |mut pages| async move {
            let page = pages.next_page().await?;
            Ok(page.map(|page| (page, pages)))
        })
    }

    /// The items of all pages as a stream, which ends with the first error: of kind
    /// [`CallErrorKind::SchemaDrift`], naming the field, where an item is not a `T`.
    pub fn items<T>(self) -> impl Stream<Item = Result<T, CallError>> + Send
    where
        T: DeserializeOwned + Send,
    {
        let at = self.paging.items.clone();
        self.into_stream()
            .map(move |page| {
                let items: Vec<T> = list(page?, &at)?.json()?;
                Ok(stream::iter(items.into_iter().map(Ok)))
            })
            .try_flatten()
    }

    fn prepare(&self, next: Next) -> Call {
        let mut call = self.call.clone();
        let draft = &mut call.draft;
        if let Some((param, size)) = &self.paging.size {
            draft.set_query(param, &size.to_string());
        }
        let value = match next {
            Next::First => match &self.paging.way {
                Way::Number { first, .. } => Some(first.to_string()),
                Way::Offset { .. } => Some("0".to_owned()),
                Way::Link | Way::Cursor { .. } => None,
            },
            Next::Query(value) => Some(value),
            Next::Link(link) => {
                draft.link = Some(link);
                None
            }
        };
        if let (Some(param), Some(value)) = (self.paging.way.param(), value) {
            draft.set_query(param, &value);
        }
        call
    }

    /// What comes behind a page of so many items.
    fn behind(&mut self, answer: &Answer, count: usize) -> Result<Option<Next>, CallError> {
        self.items += count;
        let next = match &self.paging.way {
            Way::Link => link::next(&answer.headers).map(|link| Next::Link(link.to_owned())),
            Way::Cursor { at, more, .. } => {
                cursor(&parsed(answer)?, at, more.as_deref()).map(Next::Query)
            }
            Way::Number { first, .. } => {
                let number = first.saturating_add(u64::from(self.read));
                self.goes_on(count).then(|| Next::Query(number.to_string()))
            }
            Way::Offset { .. } => self
                .goes_on(count)
                .then(|| Next::Query(self.items.to_string())),
        };
        match &next {
            Some(Next::Link(to) | Next::Query(to)) if !self.seen.insert(digest(to.as_bytes())) => {
                Err(wrong(
                    "the list goes in a circle: a page leads to one that was read before",
                ))
            }
            _ => Ok(next),
        }
    }

    /// Whether there may be a page behind one of so many items, where only their number tells.
    fn goes_on(&self, count: usize) -> bool {
        let full = if self.paging.size.is_some() {
            // Of the first page, as the other side may give fewer than it was asked for.
            self.first_count.unwrap_or_default()
        } else {
            1
        };
        count > 0 && count >= full
    }

    /// The items of a page, where their number tells whether the list goes on. Refuses a page that
    /// came before: the other side does not heed the query.
    fn count(&mut self, answer: &Answer) -> Result<usize, CallError> {
        if !self.paging.way.is_counted() {
            return Ok(0);
        }
        let body = parsed(answer)?;
        let items = body.pointer(&self.paging.items).and_then(Json::as_array);
        let count = items
            .ok_or_else(|| no_list(&self.paging.items, answer.clone()))?
            .len();
        let this = digest(&answer.body);
        if self.last_body.replace(this) == Some(this) && count > 0 {
            return Err(wrong(
                "the other side sends the same page again, whatever page it is asked for",
            ));
        }
        self.first_count.get_or_insert(count);
        Ok(count)
    }
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

fn wrong(message: impl Into<String>) -> CallError {
    CallError::new(CallErrorKind::Paging, message)
}

fn parsed(answer: &Answer) -> Result<Json, CallError> {
    answer.clone().json()
}

fn no_list(at: &str, answer: Answer) -> CallError {
    let message = format!("the answer has no list at `{at}`");
    CallError::new(CallErrorKind::SchemaDrift, message).with_answer(answer)
}

/// The answer with its list alone as the body.
fn list(answer: Answer, at: &str) -> Result<Answer, CallError> {
    if at.is_empty() {
        return Ok(answer);
    }
    let body = parsed(&answer)?;
    let Some(items) = body.pointer(at) else {
        return Err(no_list(at, answer));
    };
    Ok(Answer {
        body: items.to_string().into(),
        ..answer
    })
}
