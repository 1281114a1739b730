//! An answer as the store keeps it: header lines, an empty line, and the body, as on the wire.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Headers that are about one exchange and not about the answer, or that nobody may give to
/// another caller.
const NOT_KEPT: [HeaderName; 14] = [
    header::SET_COOKIE,
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::TRANSFER_ENCODING,
    header::TRAILER,
    header::UPGRADE,
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::PROXY_AUTHENTICATE,
    header::WWW_AUTHENTICATE,
    HeaderName::from_static("authentication-info"),
    header::RETRY_AFTER,
    header::AGE,
    HeaderName::from_static("alt-svc"),
];

/// Whether a header says what is left of a budget, which is long out of date when it is read.
fn is_of_a_budget(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("ratelimit") || name.starts_with("x-ratelimit")
}

/// The headers that are kept.
pub(super) fn kept_headers(headers: &HeaderMap) -> HeaderMap {
    let kept = headers
        .iter()
        .filter(|(name, value)| {
            !NOT_KEPT.contains(name) && !is_of_a_budget(name) && value.to_str().is_ok()
        })
        .map(|(name, value)| (name.clone(), value.clone()));
    let mut headers = HeaderMap::new();
    for (name, value) in kept {
        headers.append(name, value);
    }
    headers
}

/// The text to keep; `None` where the body is no text a database takes.
pub(super) fn write(headers: &HeaderMap, body: &[u8]) -> Option<String> {
    let body = std::str::from_utf8(body).ok()?;
    if body.contains('\0') {
        return None;
    }
    let mut text = String::with_capacity(body.len() + 64 * headers.len() + 1);
    for (name, value) in headers {
        text.push_str(name.as_str());
        text.push_str(": ");
        text.push_str(value.to_str().ok()?);
        text.push('\n');
    }
    text.push('\n');
    text.push_str(body);
    Some(text)
}

/// Reads what [`write`] made; `None` for anything else.
pub(super) fn read(text: &str) -> Option<(HeaderMap, Bytes)> {
    let mut headers = HeaderMap::new();
    let mut rest = text;
    loop {
        let (line, behind) = rest.split_once('\n')?;
        if line.is_empty() {
            return Some((headers, Bytes::copy_from_slice(behind.as_bytes())));
        }
        let (name, value) = line.split_once(": ")?;
        let name = HeaderName::try_from(name).ok()?;
        headers.append(name, HeaderValue::try_from(value).ok()?);
        rest = behind;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn an_answer_comes_back_as_it_was() {
        let some = headers(&[
            ("content-type", "application/json"),
            ("link", "<https://a.example/?page=2>; rel=\"next\""),
            ("link", "<https://a.example/?page=9>; rel=\"last\""),
        ]);
        for (headers, body) in [
            (some, "{\"a\":\n\n: 1}"),
            (HeaderMap::new(), ""),
            (HeaderMap::new(), "\n\n"),
        ] {
            let text = write(&headers, body.as_bytes()).unwrap();
            assert_eq!(
                read(&text),
                Some((headers, Bytes::from_static(body.as_bytes())))
            );
        }
        assert_eq!(read(""), None);
        assert_eq!(read("no header\n\n"), None);
    }

    // RC-07, L-RC-2
    #[test]
    fn what_is_no_text_is_not_kept() {
        assert_eq!(write(&HeaderMap::new(), b"\xff\xfe"), None);
        assert_eq!(write(&HeaderMap::new(), b"a\0b"), None);
    }

    #[test]
    fn headers_of_one_exchange_are_left_out() {
        let all = headers(&[
            ("set-cookie", "session=1"),
            ("x-ratelimit-remaining", "3"),
            ("ratelimit", "r=3"),
            ("content-length", "7"),
            ("etag", "\"1\""),
            ("x-total", "12"),
        ]);
        let kept = kept_headers(&all);
        let names: Vec<&str> = kept.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["etag", "x-total"]);
    }
}
