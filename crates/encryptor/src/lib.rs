//! [`RingEncryptor`]: the `Encryptor` and `Entropy` ports over `ring`.
//!
//! A [`KeyRing`] holds one or more 32-byte root keys; the first is the primary, which new values
//! are sealed with, and the others open what was sealed before it. Nothing is encrypted under a
//! root itself: HKDF-SHA256 derives a key per purpose, and from that a key per envelope, so the
//! number of values one root may seal is not bounded by the size of an AES-GCM nonce.
//!
//! ```
//! use integrations_core::encryptor::{Encryptor, SealContext, SealedColumn};
//! use integrations_core::entropy::EntropyExt;
//! use integrations_core::value::ProviderKey;
//! use integrations_encryptor::{KeyRing, RingEncryptor, SystemEntropy};
//! use secrecy::{ExposeSecret, SecretSlice};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let keys = KeyRing::generate(&SystemEntropy::new())?; // or KeyRing::parse(&text)?
//! let encryptor = RingEncryptor::new(keys);
//!
//! let context = SealContext {
//!     column: SealedColumn::Credentials,
//!     uid: encryptor.uid()?,
//!     provider: ProviderKey::new("acme")?,
//! };
//! let sealed = encryptor.seal(&context, &SecretSlice::from(b"token".to_vec())).await?;
//! let opened = encryptor.open(&context, &sealed).await?;
//! assert_eq!(opened.expose_secret(), b"token");
//! # Ok(())
//! # }
//! ```
//!
//! # Limits
//!
//! Roots, key text and plaintext are wiped from memory when dropped. The keys that are derived
//! from a root live inside `ring`, which does not wipe them; they are therefore derived for each
//! use and not kept.

mod derive;
mod encryptor;
mod entropy;
mod envelope;
mod key_file;
mod key_ring;

pub use self::{
    encryptor::RingEncryptor,
    entropy::SystemEntropy,
    key_file::{KeyFile, KeyFileError},
    key_ring::{KeyRing, KeyRingError},
};
