//! Values as the driver takes them.
//!
//! Lists may hold nulls: a list per column is how many rows are inserted at once.

use chrono::{DateTime, Utc};
use sea_query::{ArrayType, Value};
use serde_json::Value as Json;
use sqlx::{
    Arguments as _, Postgres, Type,
    encode::Encode,
    postgres::{PgArguments, PgHasArrayType},
};

/// Why values cannot be sent.
type Unsendable = Box<dyn std::error::Error + Send + Sync>;

/// The values of a statement.
pub(crate) fn arguments(values: Vec<Value>) -> Result<PgArguments, Unsendable> {
    let mut arguments = PgArguments::default();
    arguments.reserve(values.len(), values.len() * 16);
    for value in values {
        match value {
            Value::Bool(value) => arguments.add(value),
            Value::SmallInt(value) => arguments.add(value),
            Value::Int(value) => arguments.add(value),
            Value::BigInt(value) => arguments.add(value),
            // Limits that sea-query counts.
            Value::BigUnsigned(value) => arguments.add(value.map(i64::try_from).transpose()?),
            Value::Double(value) => arguments.add(value),
            Value::String(value) => arguments.add(value),
            Value::Bytes(value) => arguments.add(value),
            Value::Json(value) => arguments.add(value.map(|json| *json)),
            Value::ChronoDateTimeUtc(value) => arguments.add(value),
            Value::Array(of, values) => {
                let values = values.map_or_else(Vec::new, |values| *values);
                add_list(&mut arguments, &of, values)
            }
            other => Err(unknown(&other)),
        }?;
    }
    Ok(arguments)
}

fn add_list(
    arguments: &mut PgArguments,
    of: &ArrayType,
    values: Vec<Value>,
) -> Result<(), Unsendable> {
    match of {
        ArrayType::Bool => add_all(arguments, values, |value| match value {
            Value::Bool(value) => Ok(value),
            other => Err(other),
        }),
        ArrayType::SmallInt => add_all(arguments, values, |value| match value {
            Value::SmallInt(value) => Ok(value),
            other => Err(other),
        }),
        ArrayType::Int => add_all(arguments, values, |value| match value {
            Value::Int(value) => Ok(value),
            other => Err(other),
        }),
        ArrayType::BigInt => add_all(arguments, values, |value| match value {
            Value::BigInt(value) => Ok(value),
            other => Err(other),
        }),
        ArrayType::String => add_all(arguments, values, |value| match value {
            Value::String(value) => Ok(value),
            other => Err(other),
        }),
        ArrayType::Bytes => add_all(arguments, values, |value| match value {
            Value::Bytes(value) => Ok(value),
            other => Err(other),
        }),
        ArrayType::Json => add_all::<Json>(arguments, values, |value| match value {
            Value::Json(value) => Ok(value.map(|json| *json)),
            other => Err(other),
        }),
        ArrayType::ChronoDateTimeUtc => {
            add_all::<DateTime<Utc>>(arguments, values, |value| match value {
                Value::ChronoDateTimeUtc(value) => Ok(value),
                other => Err(other),
            })
        }
        other => Err(format!("a list of {other:?} is in no statement").into()),
    }
}

fn add_all<T>(
    arguments: &mut PgArguments,
    values: Vec<Value>,
    read: impl Fn(Value) -> Result<Option<T>, Value>,
) -> Result<(), Unsendable>
where
    T: for<'q> Encode<'q, Postgres> + Type<Postgres> + PgHasArrayType + 'static,
{
    let list: Result<Vec<Option<T>>, Value> = values.into_iter().map(read).collect();
    arguments.add(list.map_err(|other| unknown(&other))?)
}

/// Says what type it was, never the value.
fn unknown(value: &Value) -> Unsendable {
    format!(
        "a value of type {:?} is in no statement",
        value.array_type()
    )
    .into()
}
