//! Domain types, port traits and services of the `integrations` layer.

pub mod encryptor;
pub mod entropy;
pub mod id;
pub mod time;
pub mod transport;
pub mod value;
