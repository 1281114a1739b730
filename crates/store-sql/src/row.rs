//! Rows on their way out of a statement.

use chrono::{DateTime, Utc};
use integrations_core::{
    encryptor::Sealed,
    id::{
        IntegrationId, LogId, MappingId, RequestId, ReservationId, SyncItemId, SyncRunId, Uid,
        WebhookId,
    },
    store::StoreError,
};
use serde_json::Value as Json;

/// A cell could not be read as the type asked for.
#[derive(Debug)]
pub struct BadCell;

/// A driver's row. `Ok(None)` is a null; any integer type reads as `i64`.
pub trait Cells: Send + Sync {
    /// An integer.
    ///
    /// # Errors
    ///
    /// [`BadCell`] when it is of another type, or there is no such column.
    fn integer(&self, column: &str) -> Result<Option<i64>, BadCell>;
    /// A boolean.
    ///
    /// # Errors
    ///
    /// As [`integer`](Self::integer).
    fn boolean(&self, column: &str) -> Result<Option<bool>, BadCell>;
    /// A floating point number.
    ///
    /// # Errors
    ///
    /// As [`integer`](Self::integer).
    fn float(&self, column: &str) -> Result<Option<f64>, BadCell>;
    /// Text.
    ///
    /// # Errors
    ///
    /// As [`integer`](Self::integer).
    fn text(&self, column: &str) -> Result<Option<String>, BadCell>;
    /// Bytes.
    ///
    /// # Errors
    ///
    /// As [`integer`](Self::integer).
    fn bytes(&self, column: &str) -> Result<Option<Vec<u8>>, BadCell>;
    /// An instant.
    ///
    /// # Errors
    ///
    /// As [`integer`](Self::integer).
    fn time(&self, column: &str) -> Result<Option<DateTime<Utc>>, BadCell>;
    /// A JSON value.
    ///
    /// # Errors
    ///
    /// As [`integer`](Self::integer).
    fn json(&self, column: &str) -> Result<Option<Json>, BadCell>;
}

/// A row of a result.
pub struct Row(Box<dyn Cells>);

impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Row").finish_non_exhaustive()
    }
}

impl Row {
    /// Wraps a driver's row.
    #[must_use]
    pub fn new(cells: impl Cells + 'static) -> Self {
        Self(Box::new(cells))
    }

    /// The cell of a column, which in turn names what cannot be read.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] of kind `Corrupt` that names column and row.
    pub fn get<T: Cell>(&self, column: &'static str) -> Result<T, StoreError> {
        T::read(&*self.0, column).map_err(|BadCell| {
            let id = self.0.integer("id").ok().flatten();
            StoreError::corrupt("row", column, id)
        })
    }

    /// A cell of text that is parsed further.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] of kind `Corrupt` that names column and row.
    pub fn parse<T: TryFrom<String>>(&self, column: &'static str) -> Result<T, StoreError> {
        let text: String = self.get(column)?;
        T::try_from(text).map_err(|_| self.corrupt(column))
    }

    /// A cell of text or null that is parsed further.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] of kind `Corrupt` that names column and row.
    pub fn parse_opt<T: TryFrom<String>>(
        &self,
        column: &'static str,
    ) -> Result<Option<T>, StoreError> {
        let text: Option<String> = self.get(column)?;
        text.map(T::try_from)
            .transpose()
            .map_err(|_| self.corrupt(column))
    }

    /// The error of a cell that holds what it should not.
    #[must_use]
    pub fn corrupt(&self, column: &'static str) -> StoreError {
        StoreError::corrupt("row", column, self.0.integer("id").ok().flatten())
    }
}

/// A type a cell can be read as.
pub trait Cell: Sized {
    /// Reads the cell, or `None` for a null.
    ///
    /// # Errors
    ///
    /// [`BadCell`] when it holds something else.
    fn read_opt(cells: &dyn Cells, column: &str) -> Result<Option<Self>, BadCell>;

    /// Reads the cell.
    ///
    /// # Errors
    ///
    /// [`BadCell`] when it holds something else, or null where that is not a value.
    fn read(cells: &dyn Cells, column: &str) -> Result<Self, BadCell> {
        Self::read_opt(cells, column)?.ok_or(BadCell)
    }
}

impl<T: Cell> Cell for Option<T> {
    fn read_opt(cells: &dyn Cells, column: &str) -> Result<Option<Self>, BadCell> {
        T::read_opt(cells, column).map(Some)
    }
}

macro_rules! cells {
    ($($type:ty => |$cells:ident, $column:ident| $read:expr;)+) => {$(
        impl Cell for $type {
            fn read_opt($cells: &dyn Cells, $column: &str) -> Result<Option<Self>, BadCell> {
                $read
            }
        }
    )+};
}

cells! {
    bool => |cells, column| cells.boolean(column);
    i64 => |cells, column| cells.integer(column);
    i32 => |cells, column| narrow(cells, column);
    i16 => |cells, column| narrow(cells, column);
    u16 => |cells, column| narrow(cells, column);
    u64 => |cells, column| narrow(cells, column);
    f64 => |cells, column| cells.float(column);
    String => |cells, column| cells.text(column);
    Vec<u8> => |cells, column| cells.bytes(column);
    DateTime<Utc> => |cells, column| cells.time(column);
    Json => |cells, column| cells.json(column);
    Uid => |cells, column| cells.text(column)?.map(|t| t.parse().map_err(|_| BadCell)).transpose();
    Sealed => |cells, column| Ok(cells.text(column)?.map(Sealed::from_text));
}

macro_rules! id_cells {
    ($($id:ident),+) => {$(
        impl Cell for $id {
            fn read_opt(cells: &dyn Cells, column: &str) -> Result<Option<Self>, BadCell> {
                Ok(cells.integer(column)?.map(Self))
            }
        }
    )+};
}

id_cells!(
    IntegrationId,
    LogId,
    MappingId,
    RequestId,
    ReservationId,
    SyncItemId,
    SyncRunId,
    WebhookId
);

fn narrow<T: TryFrom<i64>>(cells: &dyn Cells, column: &str) -> Result<Option<T>, BadCell> {
    cells
        .integer(column)?
        .map(|n| T::try_from(n).map_err(|_| BadCell))
        .transpose()
}
