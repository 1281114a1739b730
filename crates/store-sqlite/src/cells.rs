//! Cells of a SQLite row.

use chrono::{DateTime, Utc};
use integrations_core::time::to_micros;
use integrations_store_sql::row::{BadCell, Cells};
use serde_json::Value as Json;
use sqlx::{Decode, Row as _, Sqlite, TypeInfo as _, ValueRef as _, sqlite::SqliteRow};

pub(crate) struct SqliteCells(pub(crate) SqliteRow);

impl SqliteCells {
    /// Reads a cell as `T` when its value, whatever its column, is of one of `types`.
    fn read<'r, T: Decode<'r, Sqlite>>(
        &'r self,
        column: &str,
        types: &[&str],
    ) -> Result<Option<T>, BadCell> {
        let value = self.0.try_get_raw(column).map_err(|_| BadCell)?;
        if value.is_null() {
            return Ok(None);
        }
        if !types.contains(&value.type_info().name()) {
            return Err(BadCell);
        }
        T::decode(value).map(Some).map_err(|_| BadCell)
    }
}

impl Cells for SqliteCells {
    fn integer(&self, column: &str) -> Result<Option<i64>, BadCell> {
        self.read(column, &["INTEGER"])
    }

    fn boolean(&self, column: &str) -> Result<Option<bool>, BadCell> {
        match self.integer(column)? {
            None => Ok(None),
            Some(0) => Ok(Some(false)),
            Some(1) => Ok(Some(true)),
            Some(_) => Err(BadCell),
        }
    }

    fn float(&self, column: &str) -> Result<Option<f64>, BadCell> {
        self.read(column, &["REAL"])
    }

    fn text(&self, column: &str) -> Result<Option<String>, BadCell> {
        self.read(column, &["TEXT"])
    }

    fn bytes(&self, column: &str) -> Result<Option<Vec<u8>>, BadCell> {
        self.read(column, &["BLOB"])
    }

    fn time(&self, column: &str) -> Result<Option<DateTime<Utc>>, BadCell> {
        let Some(text) = self.read::<&str>(column, &["TEXT"])? else {
            return Ok(None);
        };
        let at = DateTime::parse_from_rfc3339(text).map_err(|_| BadCell)?;
        Ok(Some(to_micros(at.to_utc())))
    }

    fn json(&self, column: &str) -> Result<Option<Json>, BadCell> {
        let Some(text) = self.read::<&str>(column, &["TEXT"])? else {
            return Ok(None);
        };
        serde_json::from_str(text).map(Some).map_err(|_| BadCell)
    }
}
