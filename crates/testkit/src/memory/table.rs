//! A table: rows by ascending id.

use std::{
    collections::{BTreeMap, btree_map::Values},
    ops::Bound::{Excluded, Unbounded},
};

use integrations_core::store::{Order, Page, PageRequest};

/// Rows under ids that count up and are never given twice.
#[derive(Debug)]
pub(super) struct Table<T> {
    rows: BTreeMap<i64, T>,
    last_id: i64,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            rows: BTreeMap::new(),
            last_id: 0,
        }
    }
}

impl<T> Table<T> {
    /// Adds the row that `make` makes of its id; the id.
    pub(super) fn insert(&mut self, make: impl FnOnce(i64) -> T) -> i64 {
        self.last_id += 1;
        self.rows.insert(self.last_id, make(self.last_id));
        self.last_id
    }

    /// Ids for `count` rows that [`place`](Self::place) may add.
    pub(super) fn allocate(&mut self, count: usize) -> Vec<i64> {
        let first = self.last_id + 1;
        self.last_id += i64::try_from(count).unwrap_or(0);
        (first..=self.last_id).collect()
    }

    /// Adds a row under an id that was allocated for it.
    pub(super) fn place(&mut self, id: i64, row: T) {
        self.rows.insert(id, row);
    }

    pub(super) fn get(&self, id: i64) -> Option<&T> {
        self.rows.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: i64) -> Option<&mut T> {
        self.rows.get_mut(&id)
    }

    pub(super) fn remove(&mut self, id: i64) -> Option<T> {
        self.rows.remove(&id)
    }

    pub(super) fn contains(&self, id: i64) -> bool {
        self.rows.contains_key(&id)
    }

    /// The rows by ascending id.
    pub(super) fn values(&self) -> Values<'_, i64, T> {
        self.rows.values()
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.rows.values_mut()
    }

    /// Ids and rows by ascending id.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (i64, &T)> {
        self.rows.iter().map(|(id, row)| (*id, row))
    }

    /// Ids and rows behind `after`, by ascending id.
    pub(super) fn iter_after(&self, after: i64) -> impl Iterator<Item = (i64, &T)> {
        let behind = self.rows.range((Excluded(after), Unbounded));
        behind.map(|(id, row)| (*id, row))
    }

    /// Deletes the rows `drop` selects; how many there were.
    pub(super) fn delete_where(&mut self, drop: impl Fn(&T) -> bool) -> u64 {
        let before = self.rows.len();
        self.rows.retain(|_, row| !drop(row));
        (before - self.rows.len()) as u64
    }

    /// A page of what `read` makes of rows, without those it makes nothing of.
    pub(super) fn page<R>(
        &self,
        request: &PageRequest,
        read: impl Fn(&T) -> Option<R>,
        id: impl Fn(&R) -> i64,
    ) -> Page<R> {
        let overfull = request.bounded_limit() as usize + 1;
        let rows = match request.order {
            Order::OldestFirst => self
                .iter_after(request.after.unwrap_or(i64::MIN))
                .filter_map(|(_, row)| read(row))
                .take(overfull)
                .collect(),
            Order::NewestFirst => self
                .rows
                .range(..request.after.unwrap_or(i64::MAX))
                .rev()
                .filter_map(|(_, row)| read(row))
                .take(overfull)
                .collect(),
        };
        Page::from_overfull(rows, request, id)
    }
}
