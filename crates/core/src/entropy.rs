//! Randomness as a port.

use crate::id::Uid;

/// The operating system would not give random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system's random number generator failed")]
pub struct EntropyError;

/// A source of bytes nobody can guess.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
pub trait Entropy: Send + Sync {
    /// Fills `bytes`.
    ///
    /// Implementations outside tests MUST draw from a cryptographically secure generator.
    ///
    /// # Errors
    ///
    /// Returns [`EntropyError`] when the generator failed; `bytes` is then unspecified.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError>;
}

/// What is commonly made of random bytes.
pub trait EntropyExt: Entropy {
    /// A new random uid.
    ///
    /// # Errors
    ///
    /// Returns [`EntropyError`] when the generator failed.
    fn uid(&self) -> Result<Uid, EntropyError> {
        let mut bits = [0; 16];
        self.fill(&mut bits)?;
        Ok(Uid::from_bits(u128::from_be_bytes(bits)))
    }
}

impl<T: Entropy + ?Sized> EntropyExt for T {}
