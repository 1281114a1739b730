//! Values on their way into a statement.

use chrono::{DateTime, Utc};
use integrations_core::{
    encryptor::Sealed,
    id::{
        IntegrationId, LogId, MappingId, RequestId, ReservationId, SyncItemId, SyncRunId, Uid,
        WebhookId,
    },
    sync::CheckpointOrder,
    value::{
        ExternalId, HolderName, IdempotencyKey, IntegrationName, InternalId, InternalType,
        ItemKind, KeyId, LeaseName, ProviderKey, StreamName,
    },
};
use sea_query::Value;
use serde_json::Value as Json;

use crate::dialect::Dialect;

/// What a statement can bind. `None` binds a typed null.
pub trait Bind {
    /// The value, or a null of its type.
    fn value(this: Option<Self>, dialect: Dialect) -> Value
    where
        Self: Sized;
}

macro_rules! bind_as {
    ($($type:ty => |$this:ident, $dialect:ident| $value:expr;)+) => {$(
        impl Bind for $type {
            fn value($this: Option<Self>, $dialect: Dialect) -> Value {
                $value
            }
        }
    )+};
}

bind_as! {
    bool => |this, _dialect| Value::Bool(this);
    i16 => |this, _dialect| Value::SmallInt(this);
    i32 => |this, _dialect| Value::Int(this);
    i64 => |this, _dialect| Value::BigInt(this);
    u16 => |this, _dialect| Value::Int(this.map(i32::from));
    u32 => |this, _dialect| Value::BigInt(this.map(i64::from));
    String => |this, _dialect| Value::String(this);
    &str => |this, _dialect| Value::String(this.map(str::to_owned));
    &String => |this, _dialect| Value::String(this.cloned());
    Vec<u8> => |this, _dialect| Value::Bytes(this);
    &[u8] => |this, _dialect| Value::Bytes(this.map(<[u8]>::to_vec));
    DateTime<Utc> => |this, dialect| dialect.time(this);
    Json => |this, dialect| dialect.json(this);
    &Json => |this, dialect| dialect.json(this.cloned());
}

macro_rules! bind_numbers {
    ($($id:ty),+) => {$(
        impl Bind for $id {
            fn value(this: Option<Self>, _dialect: Dialect) -> Value {
                Value::BigInt(this.map(|id| id.0))
            }
        }
    )+};
}

bind_numbers!(
    IntegrationId,
    LogId,
    MappingId,
    RequestId,
    ReservationId,
    SyncItemId,
    SyncRunId,
    WebhookId
);

macro_rules! bind_texts {
    ($($text:ty),+) => {$(
        impl Bind for &$text {
            fn value(this: Option<Self>, _dialect: Dialect) -> Value {
                Value::String(this.map(|text| text.as_str().to_owned()))
            }
        }
    )+};
}

bind_texts!(
    CheckpointOrder,
    ExternalId,
    HolderName,
    IdempotencyKey,
    IntegrationName,
    InternalId,
    InternalType,
    ItemKind,
    KeyId,
    LeaseName,
    ProviderKey,
    Sealed,
    StreamName,
    Uid
);

impl<T: Bind> Bind for Option<T> {
    fn value(this: Option<Self>, dialect: Dialect) -> Value {
        T::value(this.flatten(), dialect)
    }
}
