//! `[webhooks]`: what the receiver bears, and how deliveries are processed.

use integrations::{
    IntegrationClient,
    webhooks::{ProcessorPolicy, Receiver},
};
use serde::Deserialize;

use super::server::{Count, Seconds, Server};

/// `[webhooks]`
#[derive(Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Webhooks {
    max_payload_bytes: Option<Count>,
    bytes_under_way: Option<Count>,
    unverified: Option<Count>,
    queue: Option<Count>,
    timestamp_tolerance: Option<Seconds>,
    keep_headers: Vec<Header>,
    max_attempts: Option<Attempts>,
    backoff: Option<Vec<Seconds>>,
    handler_time_limit: Option<Seconds>,
    lease: Option<Seconds>,
    concurrency: Option<AtOnce>,
    per_integration: Option<AtOnce>,
}

/// The name of a header.
#[derive(Clone, Deserialize)]
#[serde(try_from = "String")]
struct Header(http::HeaderName);

impl TryFrom<String> for Header {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let name = http::HeaderName::try_from(text);
        name.map(Self).map_err(|_| "expected the name of a header")
    }
}

/// Attempts at a delivery.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "i64")]
struct Attempts(i16);

impl TryFrom<i64> for Attempts {
    type Error = &'static str;

    fn try_from(number: i64) -> Result<Self, Self::Error> {
        match i16::try_from(number) {
            Ok(number @ 1..=1_000) => Ok(Self(number)),
            _ => Err("expected a whole number from 1 to 1000"),
        }
    }
}

/// Deliveries that are processed at the same time.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "i64")]
struct AtOnce(u32);

impl TryFrom<i64> for AtOnce {
    type Error = &'static str;

    fn try_from(number: i64) -> Result<Self, Self::Error> {
        match u32::try_from(number) {
            Ok(number @ 1..=10_000) => Ok(Self(number)),
            _ => Err("expected a whole number from 1 to 10000"),
        }
    }
}

impl Webhooks {
    /// A receiver of webhooks, as both sections say.
    pub(crate) fn receiver(&self, server: &Server, client: &IntegrationClient) -> Receiver {
        let count = |option: &mut usize, given: Option<Count>| {
            *option = given.map_or(*option, |given| given.0);
        };
        let mut builder = Receiver::builder(client)
            .prefix(server.prefix())
            .limits(|limits| {
                count(&mut limits.max_payload_bytes, self.max_payload_bytes);
                count(&mut limits.bytes_under_way, self.bytes_under_way);
                count(&mut limits.unverified, self.unverified);
                count(&mut limits.queue, self.queue);
                if let Some(tolerance) = self.timestamp_tolerance {
                    limits.timestamp_tolerance = tolerance.0;
                }
                limits.read_timeout = server.limits().request;
            });
        for header in &self.keep_headers {
            builder = builder.keep_header(header.0.clone());
        }
        builder.build()
    }

    /// How deliveries are processed.
    pub(crate) fn policy(&self) -> ProcessorPolicy {
        let mut policy = ProcessorPolicy::default();
        if let Some(attempts) = self.max_attempts {
            policy.max_attempts = attempts.0;
        }
        if let Some(backoff) = &self.backoff {
            policy.backoff = backoff.iter().map(|wait| wait.0).collect();
        }
        if let Some(limit) = self.handler_time_limit {
            policy.timeout = limit.0;
        }
        if let Some(lease) = self.lease {
            policy.lease = lease.0;
        }
        if let Some(concurrency) = self.concurrency {
            policy.concurrency = concurrency.0;
        }
        if let Some(share) = self.per_integration {
            policy.per_integration = share.0;
        }
        policy
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn read(text: &str) -> Result<Webhooks, String> {
        toml::from_str(text).map_err(|error| error.message().to_owned())
    }

    // CFG-04
    #[test]
    fn processing_is_the_default_or_what_is_given() {
        assert_eq!(read("").unwrap().policy(), ProcessorPolicy::default());
        let text = "max_attempts = 3\nbackoff = [\"1s\", \"2m\"]\nhandler_time_limit = \"5m\"\n\
                    lease = \"30s\"\nconcurrency = 7\nper_integration = 2";
        let policy = read(text).unwrap().policy();
        assert_eq!(policy.max_attempts, 3);
        assert_eq!(policy.backoff, [1, 120].map(Duration::from_secs));
        assert_eq!(policy.timeout, Duration::from_mins(5));
        assert_eq!(policy.lease, Duration::from_secs(30));
        assert_eq!((policy.concurrency, policy.per_integration), (7, 2));
    }

    // W-CFG-1
    #[test]
    fn what_is_wrong_is_refused() {
        for (text, says) in [
            ("max_attempts = 0", "from 1 to 1000"),
            ("concurrency = 10001", "from 1 to 10000"),
            ("max_payload_bytes = 0", "from 1 to"),
            ("backoff = [\"soon\"]", "expected a duration"),
            ("keep_headers = [\"a b\"]", "expected the name of a header"),
            ("attempts = 3", "unknown field"),
        ] {
            let error = read(text).err().unwrap_or_default();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
