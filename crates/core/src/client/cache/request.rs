//! What a cached answer is found by: the request as it is sent.

use http::{HeaderMap, HeaderName, Method, header};
use sha2::{Digest as _, Sha256};

use crate::{
    cache::CacheKey,
    encryptor::{DigestPurpose, EncryptionError, Encryptor},
    id::IntegrationId,
};

/// Headers that ask for something else than a whole answer. A caller who sets one wants what the
/// other side says to it.
const CONDITIONS: [HeaderName; 6] = [
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
    header::IF_RANGE,
    header::RANGE,
];

/// Whether a request can be answered from a cache at all.
pub(super) fn is_cacheable(headers: &HeaderMap) -> bool {
    !CONDITIONS.iter().any(|name| headers.contains_key(name))
}

/// What makes a request that request. Credentials are none of it: their generation is.
pub(super) struct Asked<'a> {
    pub(super) integration_id: IntegrationId,
    pub(super) credentials_generation: i64,
    pub(super) method: &'a Method,
    /// The template: two endpoints never share an entry, also where they lead to one URL.
    pub(super) endpoint: &'a str,
    /// The whole URI as sent.
    pub(super) uri: &'a http::Uri,
    /// Every header but authentication.
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a [u8],
}

/// What an entry is found by within the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct LocalKey {
    pub(super) integration_id: IntegrationId,
    credentials_generation: i64,
    digest: [u8; 32],
}

impl Asked<'_> {
    /// Every part, preceded by its length, so that no two requests read the same.
    pub(super) fn canonical(&self) -> Vec<u8> {
        let uri = self.uri.to_string();
        let mut names: Vec<&HeaderName> = self
            .headers
            .keys()
            .filter(|name| **name != header::AUTHORIZATION)
            .collect();
        names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        let mut bytes = Vec::with_capacity(self.body.len() + uri.len() + 48 * names.len() + 96);
        let mut part = |part: &[u8]| {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part);
        };
        part(self.method.as_str().as_bytes());
        part(self.endpoint.as_bytes());
        part(uri.as_bytes());
        for name in names {
            for value in self.headers.get_all(name) {
                // What is marked sensitive is authentication under another name.
                if !value.is_sensitive() {
                    part(name.as_str().as_bytes());
                    part(value.as_bytes());
                }
            }
        }
        // The number of headers is not fixed, so the body says that it is not one of them.
        part(b"");
        part(self.body);
        bytes
    }

    pub(super) fn local_key(&self, canonical: &[u8]) -> LocalKey {
        LocalKey {
            integration_id: self.integration_id,
            credentials_generation: self.credentials_generation,
            digest: Sha256::digest(canonical).into(),
        }
    }
}

impl LocalKey {
    /// The keys an entry may be stored under, the one to store under first: a keyed digest under
    /// each key of the ring, so that a stored digest tells nobody what was asked (L-RED-1).
    pub(super) async fn stored(
        &self,
        encryptor: &dyn Encryptor,
    ) -> Result<Vec<CacheKey>, EncryptionError> {
        let digests = encryptor
            .digests(DigestPurpose::CacheKey, &self.digest)
            .await?;
        let keys = digests.iter().map(|digest| CacheKey {
            integration_id: self.integration_id,
            credentials_generation: self.credentials_generation,
            digest: digest.to_bytes(),
        });
        Ok(keys.collect())
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Uri};

    use super::*;

    struct Request {
        integration: i64,
        generation: i64,
        method: Method,
        endpoint: &'static str,
        uri: &'static str,
        headers: Vec<(&'static str, &'static str)>,
        body: &'static [u8],
    }

    fn plain() -> Request {
        Request {
            integration: 1,
            generation: 1,
            method: Method::GET,
            endpoint: "/a",
            uri: "https://x.example/a?b=1",
            headers: vec![("accept", "text/html")],
            body: b"",
        }
    }

    fn key(request: &Request) -> LocalKey {
        let mut headers = HeaderMap::new();
        for (name, value) in &request.headers {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let uri: Uri = request.uri.parse().unwrap();
        let asked = Asked {
            integration_id: IntegrationId(request.integration),
            credentials_generation: request.generation,
            method: &request.method,
            endpoint: request.endpoint,
            uri: &uri,
            headers: &headers,
            body: request.body,
        };
        asked.local_key(&asked.canonical())
    }

    // INV-11, W-RC-5, L-RC-1
    #[test]
    fn requests_that_differ_in_anything_have_different_keys() {
        let long_a = vec![b'a'; 70_000];
        let mut end_differs = long_a.clone();
        end_differs.push(b'b');
        let all = [
            plain(),
            Request {
                integration: 2,
                ..plain()
            },
            Request {
                generation: 2,
                ..plain()
            },
            Request {
                method: Method::POST,
                ..plain()
            },
            Request {
                endpoint: "/{x}",
                ..plain()
            },
            Request {
                uri: "https://x.example/a?b=2",
                ..plain()
            },
            Request {
                uri: "https://y.example/a?b=1",
                ..plain()
            },
            Request {
                headers: vec![],
                ..plain()
            },
            Request {
                headers: vec![("accept", "text/plain")],
                ..plain()
            },
            Request {
                headers: vec![("accept", "text/html"), ("x", "1")],
                ..plain()
            },
            Request {
                headers: vec![("accept", "text/html"), ("accept", "x")],
                ..plain()
            },
            Request {
                body: b"accept",
                ..plain()
            },
            Request {
                body: long_a.leak(),
                ..plain()
            },
            Request {
                body: end_differs.leak(),
                ..plain()
            },
        ];
        let keys: std::collections::HashSet<_> = all.iter().map(key).collect();
        assert_eq!(keys.len(), all.len());
    }

    #[test]
    fn the_order_of_headers_and_authentication_make_no_difference() {
        let one = Request {
            headers: vec![("accept", "a"), ("x", "1"), ("authorization", "Bearer a")],
            ..plain()
        };
        let other = Request {
            headers: vec![("x", "1"), ("authorization", "Bearer b"), ("accept", "a")],
            ..plain()
        };
        assert_eq!(key(&one), key(&other));
    }

    #[test]
    fn who_asks_conditionally_is_not_answered_from_a_cache() {
        let mut headers = HeaderMap::new();
        assert!(is_cacheable(&headers));
        headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static("\"1\""));
        assert!(!is_cacheable(&headers));
    }
}
