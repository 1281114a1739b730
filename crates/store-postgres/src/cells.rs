//! Cells of a PostgreSQL row.

use chrono::{DateTime, Utc};
use integrations_core::time::to_micros;
use integrations_store_sql::row::{BadCell, Cells};
use serde_json::Value as Json;
use sqlx::{Decode, Postgres, Row as _, TypeInfo as _, ValueRef as _, postgres::PgRow};

pub(crate) struct PgCells(pub(crate) PgRow);

impl PgCells {
    /// Reads a cell as `T` when its type is one of `names`.
    fn read<'r, T: Decode<'r, Postgres>>(
        &'r self,
        column: &str,
        names: &[&str],
    ) -> Result<Option<T>, BadCell> {
        let value = self.0.try_get_raw(column).map_err(|_| BadCell)?;
        if value.is_null() {
            return Ok(None);
        }
        if !names.contains(&value.type_info().name()) {
            return Err(BadCell);
        }
        T::decode(value).map(Some).map_err(|_| BadCell)
    }

    fn type_name(&self, column: &str) -> Result<String, BadCell> {
        let value = self.0.try_get_raw(column).map_err(|_| BadCell)?;
        Ok(value.type_info().name().to_owned())
    }
}

impl Cells for PgCells {
    fn integer(&self, column: &str) -> Result<Option<i64>, BadCell> {
        match self.type_name(column)?.as_str() {
            "INT2" => Ok(self.read::<i16>(column, &["INT2"])?.map(i64::from)),
            "INT4" => Ok(self.read::<i32>(column, &["INT4"])?.map(i64::from)),
            _ => self.read(column, &["INT8"]),
        }
    }

    fn boolean(&self, column: &str) -> Result<Option<bool>, BadCell> {
        self.read(column, &["BOOL"])
    }

    fn float(&self, column: &str) -> Result<Option<f64>, BadCell> {
        match self.type_name(column)?.as_str() {
            "FLOAT4" => Ok(self.read::<f32>(column, &["FLOAT4"])?.map(f64::from)),
            _ => self.read(column, &["FLOAT8"]),
        }
    }

    fn text(&self, column: &str) -> Result<Option<String>, BadCell> {
        self.read(column, &["TEXT", "VARCHAR"])
    }

    fn bytes(&self, column: &str) -> Result<Option<Vec<u8>>, BadCell> {
        self.read(column, &["BYTEA"])
    }

    fn time(&self, column: &str) -> Result<Option<DateTime<Utc>>, BadCell> {
        Ok(self.read(column, &["TIMESTAMPTZ"])?.map(to_micros))
    }

    fn json(&self, column: &str) -> Result<Option<Json>, BadCell> {
        self.read(column, &["JSONB", "JSON"])
    }
}
