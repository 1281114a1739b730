//! Endpoints: templates of origin-form paths, filled in so that nothing can leave its segment.

use std::collections::BTreeMap;

use http::Uri;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value as Json;
use url::Url;

/// What a segment keeps: the unreserved characters of RFC 3986, section 2.3.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Why an endpoint cannot be called.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum EndpointError {
    #[error("an endpoint is a path that begins with one `/`, without host, fragment or `..`")]
    NotAPath,
    #[error("`{{{0}}}` in the endpoint is neither a parameter of the call nor a setting")]
    Unknown(String),
    #[error("the value of `{{{0}}}` cannot be a path segment")]
    BadValue(String),
    #[error("a `{{` in the endpoint is not closed")]
    Unclosed,
    #[error("the endpoint does not make a valid URL with the provider's base URL")]
    NotAUrl,
    #[error("the next page is on another server, and not asked for there")]
    OtherOrigin,
}

/// A call's target.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// The template without its query: what statistics go by.
    pub(super) label: String,
    /// The whole URI.
    pub(super) uri: Uri,
    /// The URL, for its origin.
    pub(super) url: Url,
}

impl Target {
    /// The target of a link on the page of this one, under the same label. Only the same origin is
    /// followed: whoever wrote the link must not choose who sees the credentials.
    pub(super) fn follow(self, link: &str) -> Result<Self, EndpointError> {
        let mut url = self.url.join(link).map_err(|_| EndpointError::NotAUrl)?;
        url.set_fragment(None);
        let bare = url.username().is_empty() && url.password().is_none();
        if url.origin() != self.url.origin() || !url.origin().is_tuple() || !bare {
            return Err(EndpointError::OtherOrigin);
        }
        let uri = url.as_str().parse().map_err(|_| EndpointError::NotAUrl)?;
        Ok(Self {
            label: self.label,
            uri,
            url,
        })
    }

    /// Path and query as sent.
    pub(super) fn path_and_query(&self) -> &str {
        self.uri
            .path_and_query()
            .map_or("/", http::uri::PathAndQuery::as_str)
    }
}

/// Fills a template and puts it behind the base URL.
///
/// `{name}` is a parameter of the call, else a setting of the integration; its value becomes one
/// percent-encoded segment.
pub(super) fn target(
    base: &Url,
    endpoint: &str,
    params: &BTreeMap<String, String>,
    metadata: Option<&Json>,
    query: &[(String, String)],
) -> Result<Target, EndpointError> {
    let (template, own_query) = match endpoint.split_once('?') {
        Some((template, query)) => (template, Some(query)),
        None => (endpoint, None),
    };
    check_path(template)?;
    let path = fill(template, params, metadata)?;
    let mut url = base.clone();
    let prefix = base.path().trim_end_matches('/');
    let whole = format!("{prefix}{path}");
    url.set_path(&whole);
    url.set_query(own_query);
    url.set_fragment(None);
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    // A path that the URL standard rewrites, dot segments for instance, is not what was asked for.
    let kept = url.path().matches('/').count() == whole.matches('/').count();
    if !kept || url.origin() != base.origin() || !url.path().starts_with(prefix) {
        return Err(EndpointError::NotAPath);
    }
    let uri = url.as_str().parse().map_err(|_| EndpointError::NotAUrl)?;
    Ok(Target {
        label: template.to_owned(),
        uri,
        url,
    })
}

fn check_path(template: &str) -> Result<(), EndpointError> {
    let rooted = template.starts_with('/') && !template.starts_with("//");
    let plain = template
        .chars()
        .all(|c| !c.is_control() && c != '\\' && c != '#');
    let dots = template.split('/').any(|segment| {
        matches!(
            segment.to_ascii_lowercase().replace("%2e", ".").as_str(),
            "." | ".."
        )
    });
    if rooted && plain && !dots {
        Ok(())
    } else {
        Err(EndpointError::NotAPath)
    }
}

fn fill(
    template: &str,
    params: &BTreeMap<String, String>,
    metadata: Option<&Json>,
) -> Result<String, EndpointError> {
    let mut path = String::with_capacity(template.len() + 16);
    let mut rest = template;
    while let Some((before, behind)) = rest.split_once('{') {
        let (name, behind) = behind.split_once('}').ok_or(EndpointError::Unclosed)?;
        let value = match (
            params.get(name),
            metadata.and_then(|fields| fields.get(name)),
        ) {
            (Some(value), _) | (None, Some(Json::String(value))) => value.clone(),
            (None, Some(Json::Number(value))) => value.to_string(),
            _ => return Err(EndpointError::Unknown(name.to_owned())),
        };
        if matches!(value.as_str(), "" | "." | "..") {
            return Err(EndpointError::BadValue(name.to_owned()));
        }
        path.push_str(before);
        path.extend(utf8_percent_encode(&value, SEGMENT));
        rest = behind;
    }
    path.push_str(rest);
    Ok(path)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn uri(base: &str, endpoint: &str, params: &[(&str, &str)]) -> Result<String, EndpointError> {
        let params = params
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        let metadata = serde_json::json!({ "owner": "acme", "id": 7 });
        target(
            &base.parse().unwrap(),
            endpoint,
            &params,
            Some(&metadata),
            &[],
        )
        .map(|target| target.uri.to_string())
    }

    const BASE: &str = "https://api.example/api/v3/";

    #[test]
    fn parameters_come_before_settings_and_stay_one_segment() {
        assert_eq!(
            uri(BASE, "/repos/{owner}/{n}/{id}?a=b", &[("n", "x/../y?z#")]).unwrap(),
            "https://api.example/api/v3/repos/acme/x%2F..%2Fy%3Fz%23/7?a=b"
        );
        assert_eq!(
            uri(BASE, "/{owner}", &[("owner", "b")]).unwrap(),
            "https://api.example/api/v3/b"
        );
    }

    #[test]
    fn nothing_leaves_the_base_url() {
        for endpoint in [
            "//evil.example/x",
            "https://evil.example/",
            "repos",
            "/../x",
            "/a/%2e%2E/b",
            "/a/./b",
            "/a\\b",
            "/a#b",
            "/a\nb",
            "/{n}",
            "/{n",
            "",
        ] {
            assert!(
                uri(BASE, endpoint, &[("n", "..")]).is_err(),
                "{endpoint:?} was accepted"
            );
        }
    }

    proptest! {
        #[test]
        fn any_parameter_stays_one_segment(value in ".+") {
            if let Ok(uri) = uri(BASE, "/a/{n}/b", &[("n", &value)]) {
                let path = uri.strip_prefix("https://api.example/api/v3/a/").unwrap();
                prop_assert_eq!(path.matches('/').count(), 1);
                prop_assert!(path.ends_with("/b"));
            }
        }

        #[test]
        fn any_endpoint_stays_on_its_origin(endpoint in "[/a-z.@:?#\\\\%{}2eE]{0,20}") {
            if let Ok(uri) = uri(BASE, &endpoint, &[]) {
                prop_assert!(uri.starts_with("https://api.example/api/v3/"), "{uri}");
            }
        }
    }
}
