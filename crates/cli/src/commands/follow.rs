//! `--follow`: what there is, and then what comes, until it is stopped.

use std::{collections::HashSet, time::Duration};

use chrono::{DateTime, Utc};
use integrations::{
    store::PageRequest,
    time::{Clock, earlier, later},
};

use crate::{
    args::Format,
    context::Context,
    exit::Outcome,
    output::{Row, table::Column},
};

/// How often it looks.
const EVERY: Duration = Duration::from_secs(1);

/// How far back it looks: processes take ids in blocks and have clocks of their own, so neither
/// id nor time alone says what is new.
const OVERLAP: Duration = Duration::from_secs(30);

/// How rows of one kind are told apart and shown.
pub(super) struct Followed<T> {
    pub(super) columns: &'static [Column],
    /// When it came, and its number.
    pub(super) key: fn(&T) -> (DateTime<Utc>, i64),
    pub(super) row: fn(&T) -> Row,
}

/// Prints the newest `limit` of what `read` finds, the oldest first, and then what comes. `read`
/// is told not to look before an instant.
pub(super) async fn follow<T, F, Fut>(
    context: &Context,
    clock: &dyn Clock,
    followed: &Followed<T>,
    since: Option<DateTime<Utc>>,
    limit: u32,
    read: F,
) -> Outcome
where
    T: Send,
    F: Fn(Option<DateTime<Utc>>, PageRequest) -> Fut + Send,
    Fut: Future<Output = Outcome<Vec<T>>> + Send,
{
    let everything = PageRequest::newest(PageRequest::MAX_LIMIT);
    let recent = |now| {
        let from = earlier(now, OVERLAP);
        since.map_or(from, |since| since.max(from))
    };
    // What is there already is shown up to the limit, and the rest of it is not new.
    let mut seen = Seen::default();
    let there = read(Some(recent(clock.now())), everything).await?;
    let shown = read(since, PageRequest::newest(limit)).await?;
    seen.take_new(there, followed.key);
    let mut new = shown;
    new.sort_by_key(followed.key);
    seen.note(&new, followed.key);
    let mut first = context.output.format() == Format::Table;
    loop {
        let rows: Vec<Row> = new.iter().map(followed.row).collect();
        if first || !rows.is_empty() {
            context.output.rows(followed.columns, &rows, first)?;
            first = false;
        }
        let now = clock.now();
        clock.sleep_until(later(now, EVERY)).await;
        let from = recent(now);
        let found = read(Some(from), everything).await?;
        new = seen.take_new(found, followed.key);
        seen.forget(from);
    }
}

/// What is not new, for as long as it may be found again.
#[derive(Default)]
struct Seen {
    ids: HashSet<i64>,
    times: Vec<(DateTime<Utc>, i64)>,
}

impl Seen {
    /// Those that are new, the oldest first.
    fn take_new<T>(&mut self, found: Vec<T>, key: fn(&T) -> (DateTime<Utc>, i64)) -> Vec<T> {
        let mut new: Vec<T> = found
            .into_iter()
            .filter(|item| self.ids.insert(key(item).1))
            .collect();
        new.sort_by_key(key);
        self.times.extend(new.iter().map(key));
        new
    }

    /// Takes note of what was printed.
    fn note<T>(&mut self, printed: &[T], key: fn(&T) -> (DateTime<Utc>, i64)) {
        let new = printed.iter().map(key);
        self.times
            .extend(new.filter(|(_, id)| self.ids.insert(*id)));
    }

    /// Forgets those that lie before what is looked at.
    fn forget(&mut self, before: DateTime<Utc>) {
        let ids = &mut self.ids;
        self.times.retain(|(at, id)| {
            let keep = *at >= before;
            if !keep {
                ids.remove(id);
            }
            keep
        });
    }
}
