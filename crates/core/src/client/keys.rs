//! Whether this process's keys are those of the database.

use crate::{
    encryptor::{EncryptionError, Encryptor, KeyCheck},
    key_registry::{KeyRegistry, KeyState, RegisteredKey},
    store::StoreError,
    time::Clock,
    value::KeyId,
};

/// This process must not work on this database.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyMismatch {
    /// The database knows another key of this id.
    #[error(
        "key `{0}` is not the one this database is sealed with; give the process the right key ring"
    )]
    Different(KeyId),
    /// The database has values under a key the ring lacks.
    #[error("the database holds values sealed under key `{0}`, which the key ring lacks; add it")]
    Missing(KeyId),
    /// A key of the ring was retired; its id must not be used again.
    #[error("key `{0}` was retired and must not be used again; take it out of the key ring")]
    Retired(KeyId),
    /// The store failed.
    #[error("the keys in use could not be read")]
    Store(#[from] StoreError),
    /// The key service failed.
    #[error("the keys could not be checked")]
    Encryption(#[from] EncryptionError),
}

/// Compares the ring's keys with those the database knows, and registers new ones where they
/// agree. A ring that does not belong here leaves nothing behind.
///
/// # Errors
///
/// Returns [`KeyMismatch`] when this process must not seal or open anything there.
pub async fn verify_keys(
    registry: &dyn KeyRegistry,
    encryptor: &dyn Encryptor,
    clock: &dyn Clock,
) -> Result<(), KeyMismatch> {
    let checks = encryptor.key_checks().await?;
    compare(registry, &checks, &registry.list().await?).await?;
    // Again, as others may have registered theirs in between.
    let registered = registry.register(&checks, clock.now()).await?;
    compare(registry, &checks, &registered).await
}

async fn compare(
    registry: &dyn KeyRegistry,
    checks: &[KeyCheck],
    registered: &[RegisteredKey],
) -> Result<(), KeyMismatch> {
    for key in registered {
        let ours = checks.iter().find(|check| check.key_id == key.key_id);
        match (ours, &key.state) {
            (Some(_), KeyState::Retired) => return Err(KeyMismatch::Retired(key.key_id.clone())),
            (Some(ours), _) if ours.check_value[..] != key.check_value[..] => {
                return Err(KeyMismatch::Different(key.key_id.clone()));
            }
            (None, KeyState::Primary | KeyState::Accepted) => {
                let usage = registry.usage().await?;
                if usage.iter().any(|used| used.key_id == key.key_id) {
                    return Err(KeyMismatch::Missing(key.key_id.clone()));
                }
            }
            _ => {}
        }
    }
    Ok(())
}
