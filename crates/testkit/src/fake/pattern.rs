//! Patterns of requests: a method, or any, and a path with wildcards.

use std::fmt;

use http::Method;

/// Which requests: `GET /repos/*/issues`, or without a method any of that path.
///
/// `*` stands for any run of characters within one segment, `**` for any run at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    method: Option<Method>,
    path: String,
}

/// How well a pattern names what it fits: the greatest one answers (FAKE-02).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Precision {
    has_method: bool,
    is_exact: bool,
    weight: i64,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Panics
    ///
    /// Panics for what is none, which is a mistake in the test: a misspelt method would never
    /// match, and nobody would notice.
    pub(super) fn parse(text: &str) -> Self {
        let (method, path) = match text.split_once([' ', ':']) {
            Some((method, path)) if !method.contains('/') => {
                assert!(
                    is_method(method),
                    "`{method}` of the pattern `{text}` is no method: write `GET /path`"
                );
                (method.parse().ok(), path.trim_start())
            }
            _ => (None, text),
        };
        assert!(
            path.starts_with('/') || path.starts_with('*'),
            "the path of the pattern `{text}` must begin with `/` or `*`"
        );
        Self {
            method,
            path: path.to_owned(),
        }
    }

    /// Whether it fits a request: to this path, or to an endpoint of this template.
    pub(super) fn fits(&self, method: &Method, path: &str, template: Option<&str>) -> bool {
        let method_fits = self.method.as_ref().is_none_or(|own| own == method);
        method_fits
            && (glob(self.path.as_bytes(), path.as_bytes())
                || template.is_some_and(|template| template == self.path))
    }

    pub(super) fn precision(&self) -> Precision {
        let count = |c| i64::try_from(self.path.matches(c).count()).unwrap_or(i64::MAX);
        Precision {
            has_method: self.method.is_some(),
            is_exact: !self.path.contains('*'),
            weight: count('/') * 100 - count('*'),
        }
    }
}

fn is_method(text: &str) -> bool {
    const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    KNOWN.contains(&text)
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.method {
            Some(method) => write!(f, "{method} {}", self.path),
            None => f.write_str(&self.path),
        }
    }
}

/// Whether a path matches, looking back to the last wildcard where it does not.
fn glob(pattern: &[u8], path: &[u8]) -> bool {
    match pattern {
        [] => path.is_empty(),
        [b'*', b'*', rest @ ..] => (0..=path.len()).any(|at| glob(rest, &path[at..])),
        [b'*', rest @ ..] => {
            let segment = path.iter().position(|c| *c == b'/').unwrap_or(path.len());
            (0..=segment).any(|at| glob(rest, &path[at..]))
        }
        [first, rest @ ..] => path
            .split_first()
            .is_some_and(|(c, path)| c == first && glob(rest, path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern: &str, request: &str) -> bool {
        let (method, path) = request.split_once(' ').unwrap();
        Pattern::parse(pattern).fits(&method.parse().unwrap(), path, None)
    }

    // FAKE-02, LOG-09
    #[test]
    fn wildcards_stay_within_their_segment() {
        assert!(fits("GET /repos/*/issues", "GET /repos/acme/issues"));
        assert!(fits("GET:/repos/*/issues", "GET /repos/acme/issues"));
        assert!(!fits("GET /repos/*/issues", "GET /repos/a/b/issues"));
        assert!(!fits("GET /repos/*/issues", "POST /repos/acme/issues"));
        assert!(fits("/repos/*", "DELETE /repos/acme"));
        assert!(fits("/repos/a*e", "GET /repos/acme"));
        assert!(fits("/**/issues", "GET /repos/a/b/issues"));
        assert!(fits("**", "GET /"));
        assert!(!fits("/repos", "GET /repos/"));
    }

    // FAKE-02
    #[test]
    fn the_more_precise_one_comes_first() {
        let mut patterns = [
            "/**", "/a/*", "/a/b", "GET /*", "GET /a/*", "GET /a/b", "/a/*/*", "/a/b/*",
        ];
        patterns.sort_by_key(|text| std::cmp::Reverse(Pattern::parse(text).precision()));
        assert_eq!(
            patterns,
            [
                "GET /a/b", "GET /a/*", "GET /*", "/a/b", "/a/b/*", "/a/*/*", "/a/*", "/**"
            ]
        );
    }

    #[test]
    fn a_template_is_a_pattern_of_its_own() {
        let pattern = Pattern::parse("GET /orders/{n}");
        assert!(pattern.fits(&Method::GET, "/api/orders/7", Some("/orders/{n}")));
        assert!(!pattern.fits(&Method::GET, "/api/orders/7", Some("/orders")));
    }

    // L-FAKE-2
    #[test]
    #[should_panic(expected = "is no method")]
    fn a_misspelt_method_is_noticed() {
        Pattern::parse("GTE /a");
    }
}
