//! What the request log keeps of an attempt.

use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use serde_json::{Map, Value as Json};

use crate::{
    body::BodyCaps,
    entropy::Entropy,
    redact::{JsonPath, Redactor, SecretNames},
};

/// The part of successful attempts that leave a row: 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SampleRate(f64);

/// A number that is no part of anything.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("{0} is no part of a whole: a sample rate is a number from 0 to 1")]
pub struct InvalidSampleRate(f64);

impl SampleRate {
    /// Every one of them.
    pub const ALL: Self = Self(1.0);

    /// A rate.
    ///
    /// # Errors
    ///
    /// Returns [`InvalidSampleRate`] for what is not from 0 to 1.
    pub fn new(rate: f64) -> Result<Self, InvalidSampleRate> {
        if (0.0..=1.0).contains(&rate) {
            Ok(Self(rate))
        } else {
            Err(InvalidSampleRate(rate))
        }
    }

    /// Draws whether one more leaves a row. It does where nothing can be drawn.
    pub(super) fn draw(self, entropy: &dyn Entropy) -> bool {
        if self.0 >= 1.0 {
            return true;
        }
        let mut bytes = [0; 4];
        if entropy.fill(&mut bytes).is_err() {
            return true;
        }
        f64::from(u32::from_ne_bytes(bytes)) < self.0 * (f64::from(u32::MAX) + 1.0)
    }
}

impl Default for SampleRate {
    fn default() -> Self {
        Self::ALL
    }
}

/// What a client keeps of attempts.
#[derive(Clone, Debug, Default)]
pub(super) struct LogPolicy {
    pub(super) caps: BodyCaps,
    pub(super) successes: SampleRate,
    pub(super) headers: Vec<HeaderName>,
    pub(super) paths: Vec<JsonPath>,
    pub(super) names: Arc<SecretNames>,
}

impl LogPolicy {
    /// The headers that are logged, as the row keeps them; `None` where there are none.
    pub(super) fn headers(
        &self,
        redactor: &Redactor,
        request: &HeaderMap,
        response: Option<&HeaderMap>,
    ) -> Option<String> {
        if self.headers.is_empty() {
            return None;
        }
        let mut logged = Map::new();
        let sides = [("request", Some(request)), ("response", response)];
        for (side, headers) in sides {
            let found: Map<String, Json> = (self.headers.iter())
                .filter_map(|name| {
                    let values = headers?.get_all(name).iter();
                    let values: Vec<_> = values
                        .map(|value| {
                            let value = String::from_utf8_lossy(value.as_bytes());
                            Json::from(redactor.header(name.as_str(), &value))
                        })
                        .collect();
                    (!values.is_empty()).then(|| (name.to_string(), values.into()))
                })
                .collect();
            if !found.is_empty() {
                logged.insert(side.to_owned(), found.into());
            }
        }
        (!logged.is_empty()).then(|| Json::from(logged).to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::EntropyError;

    struct Fixed(u32);

    impl Entropy for Fixed {
        fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
            bytes.copy_from_slice(&self.0.to_ne_bytes());
            Ok(())
        }
    }

    #[test]
    fn a_rate_is_a_part_of_a_whole() {
        for rate in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert!(SampleRate::new(rate).is_err(), "{rate}");
        }
        let draws = |rate: f64, drawn| SampleRate::new(rate).unwrap().draw(&Fixed(drawn));
        assert!(!draws(0.0, 0));
        assert!(draws(1.0, u32::MAX));
        assert!(draws(0.25, u32::MAX / 4));
        assert!(!draws(0.25, u32::MAX / 4 + 1));
    }

    #[test]
    fn only_headers_of_the_list_are_logged_and_secret_ones_without_their_value() {
        let policy = LogPolicy {
            headers: ["etag", "authorization", "vary"]
                .map(HeaderName::from_static)
                .to_vec(),
            ..LogPolicy::default()
        };
        let redactor = Redactor::new(Vec::new(), &["canary-5f2b".into()]);
        let mut request = HeaderMap::new();
        request.insert("authorization", "Basic eDp5".parse().unwrap());
        request.insert("accept", "*/*".parse().unwrap());
        let mut response = HeaderMap::new();
        response.append("vary", "a".parse().unwrap());
        response.append("vary", "canary-5f2b".parse().unwrap());
        let logged = policy.headers(&redactor, &request, Some(&response));
        assert_eq!(
            logged.unwrap(),
            r#"{"request":{"authorization":["[REDACTED]"]},"response":{"vary":["a","[REDACTED]"]}}"#
        );
        assert_eq!(policy.headers(&redactor, &HeaderMap::new(), None), None);
    }
}
