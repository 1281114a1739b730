//! What to send after a redirect.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, StatusCode, header};
use integrations_core::transport::{Reached, TransportError, TransportErrorKind as Kind};
use url::{Origin, Url};

use crate::transport::parse_url;

/// How many redirects are followed.
pub(crate) const MAX_HOPS: usize = 5;

/// What goes along to another origin. Of any other header nobody knows whether it is a credential.
const HARMLESS: [HeaderName; 6] = [
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::ACCEPT_LANGUAGE,
    header::CONTENT_LANGUAGE,
    header::CONTENT_TYPE,
    header::USER_AGENT,
];

/// What describes a body, and goes with it.
const ABOUT_THE_BODY: [HeaderName; 6] = [
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LENGTH,
    header::CONTENT_LOCATION,
    header::CONTENT_TYPE,
    header::TRANSFER_ENCODING,
];

/// One request of an exchange.
#[derive(Clone, Debug)]
pub(crate) struct Hop {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// The request that a redirect asks for, or `None` where the answer is not a redirect.
pub(crate) fn next(
    hop: &Hop,
    status: StatusCode,
    headers: &HeaderMap,
    origins: &[Origin],
) -> Result<Option<Hop>, TransportError> {
    let redirects = matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308);
    let Some(location) = headers.get(header::LOCATION).filter(|_| redirects) else {
        return Ok(None);
    };
    let target = location
        .to_str()
        .ok()
        .and_then(|text| hop.url.join(text).ok());
    let url = target
        .and_then(|url| parse_url(url.as_str()).ok())
        .ok_or_else(|| refused("the redirect does not lead to a valid URL"))?;
    if !origins.contains(&url.origin()) {
        return Err(refused(
            "the redirect leads to an origin that is not allowed",
        ));
    }

    let crossed = url.origin() != hop.url.origin();
    let mut next = Hop { url, ..hop.clone() };
    if becomes_get(status, &hop.method) {
        next.method = Method::GET;
        next.body = Bytes::new();
        keep_headers(&mut next.headers, |name| !ABOUT_THE_BODY.contains(name));
    }
    if crossed {
        keep_headers(&mut next.headers, |name| HARMLESS.contains(name));
        drop_sensitive(&mut next.headers);
    }
    Ok(Some(next))
}

pub(crate) fn refused(message: &str) -> TransportError {
    TransportError::new(Kind::Redirect, Reached::MaybeSent, message)
}

/// The method semantics of the fetch standard, which is what servers expect.
fn becomes_get(status: StatusCode, method: &Method) -> bool {
    match status.as_u16() {
        301 | 302 => method == Method::POST,
        303 => method != Method::GET && method != Method::HEAD,
        _ => false,
    }
}

fn keep_headers(headers: &mut HeaderMap, keep: impl Fn(&HeaderName) -> bool) {
    let dropped: Vec<_> = headers.keys().filter(|name| !keep(name)).cloned().collect();
    for name in dropped {
        headers.remove(name);
    }
}

fn drop_sensitive(headers: &mut HeaderMap) {
    let sensitive = headers.iter().filter(|(_, value)| value.is_sensitive());
    let dropped: Vec<_> = sensitive.map(|(name, _)| name.clone()).collect();
    for name in dropped {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn hop(method: Method) -> Hop {
        let mut headers = HeaderMap::new();
        let mut sensitive = HeaderValue::from_static("secret");
        sensitive.set_sensitive(true);
        for name in [
            "authorization",
            "cookie",
            "x-api-key",
            "accept",
            "content-type",
        ] {
            headers.insert(name, HeaderValue::from_static("value"));
        }
        headers.insert(header::ACCEPT_LANGUAGE, sensitive);
        let url = "https://a.example/start".parse().unwrap();
        Hop {
            method,
            url,
            headers,
            body: Bytes::from_static(b"body"),
        }
    }

    fn follow(hop: &Hop, status: u16, location: &str) -> Result<Option<Hop>, TransportError> {
        let origins = ["https://a.example", "https://b.example"]
            .map(|origin| origin.parse::<Url>().unwrap().origin());
        let mut headers = HeaderMap::new();
        headers.insert(header::LOCATION, location.parse().unwrap());
        next(hop, status.try_into().unwrap(), &headers, &origins)
    }

    #[test]
    fn methods_follow_the_status() {
        let cases = [
            (301, Method::POST, Method::GET),
            (302, Method::POST, Method::GET),
            (303, Method::POST, Method::GET),
            (303, Method::PUT, Method::GET),
            (303, Method::HEAD, Method::HEAD),
            (301, Method::PUT, Method::PUT),
            (302, Method::DELETE, Method::DELETE),
            (307, Method::POST, Method::POST),
            (308, Method::POST, Method::POST),
        ];
        for (status, before, after) in cases {
            let next = follow(&hop(before.clone()), status, "/next")
                .unwrap()
                .unwrap();
            assert_eq!(next.method, after, "{status} {before}");
            assert_eq!(next.body.is_empty(), before != after, "{status} {before}");
            assert_eq!(next.headers.contains_key("content-type"), before == after);
            assert!(
                next.headers.contains_key("authorization"),
                "the origin is the same"
            );
            assert_eq!(next.url.as_str(), "https://a.example/next");
        }
    }

    #[test]
    fn another_origin_gets_only_harmless_headers() {
        let next = follow(&hop(Method::POST), 307, "https://b.example/x")
            .unwrap()
            .unwrap();
        let mut names: Vec<_> = next.headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", "content-type"]);
    }

    #[test]
    fn other_origins_schemes_and_user_info_are_refused() {
        for location in [
            "https://c.example/",
            "https://a.example:444/",
            "http://a.example/",
            "//c.example/",
            "https://user:secret@a.example/",
            "file:///etc/passwd",
            "https://",
        ] {
            let error = follow(&hop(Method::GET), 302, location).unwrap_err();
            assert_eq!(
                (error.kind, error.reached),
                (Kind::Redirect, Reached::MaybeSent)
            );
            assert!(!error.to_string().contains("example"), "{error}");
        }
    }

    #[test]
    fn what_is_no_redirect_is_an_answer() {
        for status in [200, 201, 300, 304, 404] {
            assert!(
                follow(&hop(Method::GET), status, "/x").unwrap().is_none(),
                "{status}"
            );
        }
    }
}
