//! [`SeededEntropy`]: bytes anybody can predict.

use std::sync::atomic::{AtomicU64, Ordering};

use integrations_core::entropy::{Entropy, EntropyError};

/// The increment of splitmix64: 2⁶⁴ divided by the golden ratio, made odd.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// **Predictable bytes. Never use this outside tests:** whoever knows the seed knows every uid and
/// token to come.
///
/// The same seed draws the same bytes, so that a failing test fails again.
#[derive(Debug)]
pub struct SeededEntropy {
    state: AtomicU64,
}

impl SeededEntropy {
    /// The sequence of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self {
            state: AtomicU64::new(seed),
        }
    }

    /// The next output of splitmix64, <https://prng.di.unimi.it/splitmix64.c>.
    fn next(&self) -> u64 {
        let state = self
            .state
            .fetch_add(GAMMA, Ordering::Relaxed)
            .wrapping_add(GAMMA);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

impl Default for SeededEntropy {
    fn default() -> Self {
        Self::new(0)
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use integrations_core::entropy::EntropyExt;

    use super::*;

    #[test]
    fn draws_the_published_sequence() {
        // The first output of the reference implementation for seed 0.
        assert_eq!(SeededEntropy::new(0).next(), 0xe220_a839_7b1d_cdaf);
    }

    #[test]
    fn a_seed_repeats_itself_and_differs_from_others() {
        let draw = |seed| SeededEntropy::new(seed).uid().unwrap();
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn fills_what_is_no_multiple_of_eight() {
        let mut bytes = [0; 11];
        SeededEntropy::new(1).fill(&mut bytes).unwrap();
        assert_ne!(bytes[8..], [0; 3]);
    }
}
