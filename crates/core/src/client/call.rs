//! One HTTP call, as it is put together.

use std::{collections::BTreeMap, fmt, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use secrecy::SecretString;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    Answer, AnswerSource, CallError, CallErrorKind, IntegrationHandle,
    cache::CacheUse,
    pipeline::{CallOptions, call_options},
};
use crate::{redact::Redactor, request::RelatedId};

/// Headers that decide where a message goes and where it ends. Another `Host` would hand the
/// credentials to another site of the same server.
const OF_THE_TRANSPORT: [HeaderName; 8] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::TE,
    header::TRAILER,
    header::UPGRADE,
    header::PROXY_AUTHORIZATION,
];

/// A call that has not been made yet. Nothing happens until [`send`](Self::send) or
/// [`json`](Self::json) is awaited.
#[must_use = "a call does nothing until it is sent"]
#[derive(Clone)]
pub struct Call {
    pub(super) handle: IntegrationHandle,
    pub(super) draft: Draft,
    pub(super) options: CallOptions,
}

call_options!(Call, options);

/// What is to be sent.
#[derive(Clone)]
pub(super) struct Draft {
    pub(super) endpoint: String,
    pub(super) method: Method,
    pub(super) params: BTreeMap<String, String>,
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) timeout: Option<Duration>,
    pub(super) cache: CacheUse,
    /// A link to follow from there, instead of asking there.
    pub(super) link: Option<String>,
}

/// Shows neither parameters nor query, headers and body: any of them may be secret.
impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoint = self.draft.endpoint.split('?').next().unwrap_or_default();
        f.debug_struct("Call")
            .field("handle", &self.handle)
            .field("method", &self.draft.method)
            .field("endpoint", &endpoint)
            .finish_non_exhaustive()
    }
}

impl Draft {
    /// The values under names that say secret, which this call alone brings.
    pub(super) fn secrets(&self, redactor: &Redactor) -> Vec<SecretString> {
        let params = self.params.iter().map(|(name, value)| (&**name, &**value));
        let query = self.query.iter().map(|(name, value)| (&**name, &**value));
        let headers = self.headers.iter();
        let headers =
            headers.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        params
            .chain(query)
            .chain(headers)
            .filter(|(name, _)| redactor.is_secret_name(name))
            .map(|(_, value)| SecretString::from(value))
            .collect()
    }

    pub(super) fn new(method: Method, endpoint: String) -> Self {
        Self {
            endpoint,
            method,
            params: BTreeMap::new(),
            query: Vec::new(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            timeout: None,
            cache: CacheUse::default(),
            link: None,
        }
    }

    /// Sets a pair of the query in place of those of that name.
    pub(super) fn set_query(&mut self, name: &str, value: &str) {
        self.query.retain(|(there, _)| there != name);
        self.query.push((name.to_owned(), value.to_owned()));
    }
}

impl Call {
    pub(super) fn new(handle: IntegrationHandle, method: Method, endpoint: String) -> Self {
        Self {
            handle,
            draft: Draft::new(method, endpoint),
            options: CallOptions::default(),
        }
    }

    /// Gives `{name}` of the endpoint a value, which stays one segment whatever it holds.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "`42` reads better than `&42` in a call"
    )]
    pub fn param(mut self, name: impl Into<String>, value: impl ToString) -> Self {
        self.draft.params.insert(name.into(), value.to_string());
        self
    }

    /// Adds a pair to the query.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "`42` reads better than `&42` in a call"
    )]
    pub fn query(mut self, name: impl Into<String>, value: impl ToString) -> Self {
        self.draft.query.push((name.into(), value.to_string()));
        self
    }

    /// Sets a header, in place of one of that name. Authentication is the provider's, and comes on
    /// top; the host and whatever frames the message are the transport's, and refused.
    pub fn header(mut self, name: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        let pair = (
            HeaderName::try_from(name.as_ref()),
            HeaderValue::try_from(value.as_ref()),
        );
        match pair {
            (Ok(name), _) if OF_THE_TRANSPORT.contains(&name) => {
                self.options.wrong = Some(format!("the header `{name}` cannot be set on a call"));
            }
            (Ok(name), Ok(value)) => {
                self.draft.headers.insert(name, value);
            }
            _ => {
                let wrong = "a header's name or value is not one HTTP takes";
                self.options.wrong = Some(wrong.to_owned());
            }
        }
        self
    }

    /// Sends `body` as JSON.
    pub fn body(mut self, body: &(impl Serialize + ?Sized)) -> Self {
        if let Ok(json) = serde_json::to_vec(body) {
            return self.bytes(json, "application/json");
        }
        self.options.wrong = Some("the body cannot be written as JSON".to_owned());
        self
    }

    /// Sends `body` as it is.
    pub fn bytes(mut self, body: impl Into<Bytes>, content_type: &'static str) -> Self {
        self.draft.body = body.into();
        self.draft
            .headers
            .entry(header::CONTENT_TYPE)
            .or_insert(HeaderValue::from_static(content_type));
        self
    }

    /// Ends the attempt after so long, instead of the transport's own limit.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.draft.timeout = Some(timeout);
        self
    }

    /// Takes an answer of at most this age from the response cache, and keeps a new one for as
    /// long. Zero asks every time, and has what did not change sent no more than once.
    ///
    /// An answer serves the same request alone: the same integration and credentials, method,
    /// endpoint, URL, headers and body. It is taken before a key is reserved and before admission,
    /// costs no budget, and is counted on the row of the request that brought it. Only successes
    /// whose body is text are kept. Where the other side gave an `ETag` or a `Last-Modified`,
    /// reads are made conditional once the time is over, and 304 begins it anew. What the other
    /// side says about caching by others does not matter here.
    pub fn cache(mut self, ttl: Duration) -> Self {
        self.draft.cache.ttl = Some(ttl);
        self
    }

    /// Takes an older answer where the call fails: the other side cannot be reached, is down,
    /// wants no calls, or the circuit is open. Needs [`cache`](Self::cache). Such answers are kept
    /// for a week behind their time.
    ///
    /// The failure is recorded as any. What the other side says about the thing itself (401, 403,
    /// 404, 410) is told as it is, and a call under an idempotency key always tells how it went.
    pub fn serve_stale(mut self) -> Self {
        self.draft.cache.serve_stale = true;
        self
    }

    /// Makes the call. Statuses below 400 are answers.
    ///
    /// When the future is dropped after the request went out, the request is given up: the other
    /// side may have acted on it. The attempt is recorded all the same, what was taken of budgets
    /// and circuit is given back where it was not used, and a key is kept as unknown.
    ///
    /// # Errors
    ///
    /// Returns a [`CallError`], with the answer where the other side gave one.
    pub async fn send(self) -> Result<Answer, CallError> {
        self.handle.send(self.draft, self.options).await
    }

    /// Makes the call and reads the answer as a `T`.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send); of kind [`CallErrorKind::UnexpectedStatus`] for a status outside
    /// 2xx, and of kind [`CallErrorKind::SchemaDrift`], naming the field, where the answer is not
    /// a `T`.
    pub async fn json<T: DeserializeOwned>(self) -> Result<T, CallError> {
        let again = self.draft.cache.ttl.map(|_| self.clone());
        let answer = self.send().await?.success()?;
        let is_cached = answer.source == AnswerSource::Cached;
        match (answer.json(), again) {
            // One that is kept and is not what is expected would fail every call of its time
            // (W-RC-6).
            (Err(error), Some(mut again))
                if is_cached && *error.kind() == CallErrorKind::SchemaDrift =>
            {
                again.draft.cache.refresh = true;
                again.send().await?.success()?.json()
            }
            (result, _) => result,
        }
    }
}

/// A call whose method comes last.
#[must_use = "a call does nothing until it is sent"]
#[derive(Debug)]
pub struct CallAt(pub(super) Call);

macro_rules! verbs_last {
    ($($(#[$doc:meta])* $verb:ident => $method:ident),+ $(,)?) => {
        impl CallAt {
            /// Gives `{name}` of the endpoint a value.
            pub fn param(self, name: impl Into<String>, value: impl ToString) -> Self {
                Self(self.0.param(name, value))
            }

            /// Adds a pair to the query.
            pub fn query(self, name: impl Into<String>, value: impl ToString) -> Self {
                Self(self.0.query(name, value))
            }

            /// With any method.
            pub fn method(mut self, method: Method) -> Call {
                self.0.draft.method = method;
                self.0
            }

            $($(#[$doc])* pub fn $verb(self) -> Call {
                self.method(Method::$method)
            })+
        }
    };
}

verbs_last! {
    /// As a `GET`.
    get => GET,
    /// As a `POST`.
    post => POST,
    /// As a `PUT`.
    put => PUT,
    /// As a `PATCH`.
    patch => PATCH,
    /// As a `DELETE`.
    delete => DELETE,
    /// As a `HEAD`.
    head => HEAD,
}

impl From<i64> for RelatedId {
    fn from(id: i64) -> Self {
        Self::Number(id)
    }
}

impl From<&str> for RelatedId {
    fn from(id: &str) -> Self {
        Self::Text(id.to_owned())
    }
}

impl From<String> for RelatedId {
    fn from(id: String) -> Self {
        Self::Text(id)
    }
}
