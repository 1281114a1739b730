//! How long to wait before another attempt: a random part of a time that doubles.

use std::time::Duration;

use super::RetryLimits;
use crate::entropy::Entropy;

/// The shortest wait, so that no source of delays makes a hot loop of it (W-RET-3).
const SHORTEST: Duration = Duration::from_millis(50);

/// What is added at most to a pause that was asked for, as a share of it: everybody was asked for
/// the same.
const JITTER_OF_PAUSES: f64 = 0.1;

/// A number from 0 to 1. Without randomness it is 1, the longest wait.
fn random_share(entropy: &dyn Entropy) -> f64 {
    let mut bytes = [0; 4];
    match entropy.fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX),
        Err(_) => 1.0,
    }
}

/// The wait after this many failed attempts (W-RET-2: full jitter).
pub(super) fn backoff(limits: &RetryLimits, failed: u32, entropy: &dyn Entropy) -> Duration {
    let doublings = failed.saturating_sub(1).min(16);
    let longest = limits
        .first_backoff
        .saturating_mul(1 << doublings)
        .min(limits.longest_backoff);
    whole_millis(longest.mul_f64(random_share(entropy)))
}

/// A pause that was asked for, and a little.
pub(super) fn pause(asked: Duration, entropy: &dyn Entropy) -> Duration {
    whole_millis(asked.mul_f64(1.0 + JITTER_OF_PAUSES * random_share(entropy)))
}

/// Up to the next millisecond, as clocks need not know anything finer.
fn whole_millis(wait: Duration) -> Duration {
    let millis = wait.as_micros().div_ceil(1000);
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)).max(SHORTEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::EntropyError;

    struct Fixed(Option<u8>);

    impl Entropy for Fixed {
        fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
            bytes.fill(self.0.ok_or(EntropyError)?);
            Ok(())
        }
    }

    // W-RET-2
    #[test]
    fn doubles_up_to_its_cap_and_is_a_random_part_of_that() {
        let limits = RetryLimits::default();
        let longest = |failed| backoff(&limits, failed, &Fixed(Some(0xff))).as_secs();
        let waits: Vec<u64> = [1, 2, 3, 4, 5, 6, 7, 1000].map(longest).to_vec();
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(backoff(&limits, 9, &Fixed(Some(0))), SHORTEST);
        assert_eq!(backoff(&limits, 2, &Fixed(None)).as_secs(), 2);
    }

    // W-RET-3, INV-15
    #[test]
    fn a_pause_is_what_was_asked_for_and_a_little() {
        let asked = Duration::from_secs(2);
        assert_eq!(pause(asked, &Fixed(Some(0))), asked);
        assert_eq!(pause(asked, &Fixed(Some(0xff))).as_millis(), 2200);
        assert_eq!(pause(Duration::ZERO, &Fixed(Some(0))), SHORTEST);
    }
}
