//! Lists: parameters, pages, and the `Link` header that connects them.

use std::{collections::BTreeMap, convert::Infallible};

use axum::{
    extract::{FromRequestParts, Query},
    response::Response,
};
use chrono::{DateTime, Utc};
use http::{HeaderValue, StatusCode, header, request::Parts};
use serde_json::Value;

use super::{answers, server::Shared};

/// The query of a list.
#[derive(Debug, Default)]
pub(super) struct Listing {
    raw: String,
    parameters: BTreeMap<String, String>,
}

impl<S: Sync> FromRequestParts<S> for Listing {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        let raw = parts.uri.query().unwrap_or_default().to_owned();
        let parameters = Query::try_from_uri(&parts.uri)
            .map(|Query(map)| map)
            .unwrap_or_default();
        Ok(Self { raw, parameters })
    }
}

impl Listing {
    /// A parameter; an empty one counts as absent.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.parameters
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// A parameter that must be one of `allowed`, the first of which is the default.
    pub(super) fn choice<'a>(
        &'a self,
        name: &str,
        allowed: &[&'a str],
        documentation: &str,
    ) -> Result<&'a str, Box<Response>> {
        match self.get(name) {
            None => Ok(allowed.first().copied().unwrap_or_default()),
            Some(value) if allowed.contains(&value) => Ok(value),
            Some(value) => Err(Box::new(Self::invalid(name, value, documentation))),
        }
    }

    /// The instant in `since`.
    pub(super) fn since(
        &self,
        documentation: &str,
    ) -> Result<Option<DateTime<Utc>>, Box<Response>> {
        let Some(value) = self.get("since") else {
            return Ok(None);
        };
        let since = DateTime::parse_from_rfc3339(value)
            .map_err(|_| Box::new(Self::invalid("since", value, documentation)))?;
        Ok(Some(since.with_timezone(&Utc)))
    }

    fn invalid(name: &str, value: &str, documentation: &str) -> Response {
        let value = Value::from(value);
        answers::validation_failed("Issue", name, "invalid", &value, documentation)
    }

    fn number(&self, name: &str) -> Option<usize> {
        self.get(name)?.parse().ok().filter(|number| *number > 0)
    }

    /// The page asked for, with links to the others. `path` is below the repository.
    pub(super) fn page<T>(
        &self,
        shared: &Shared,
        path: &str,
        items: &[T],
        render: impl Fn(&T) -> Value,
    ) -> Response {
        let size = self
            .number("per_page")
            .unwrap_or(shared.default_page_size)
            .min(shared.max_page_size);
        let page = self.number("page").unwrap_or(1);
        let shown = items
            .iter()
            .skip(size.saturating_mul(page - 1))
            .take(size)
            .map(render);
        let mut response = answers::json(StatusCode::OK, &Value::Array(shown.collect()));
        let link = self.link(
            &shared.repository_by_id(path),
            page,
            items.len().div_ceil(size),
        );
        if !link.is_empty()
            && let Ok(link) = HeaderValue::try_from(link)
        {
            response.headers_mut().insert(header::LINK, link);
        }
        response
    }

    /// The links in GitHub's order; empty when one page is all there is.
    fn link(&self, url: &str, page: usize, last: usize) -> String {
        let mut targets = Vec::new();
        if page > 1 {
            targets.push(("prev", (page - 1).min(last.max(1))));
        }
        if page < last {
            targets.extend([("next", page + 1), ("last", last)]);
        }
        if page > 1 {
            targets.push(("first", 1));
        }
        let links: Vec<_> = targets
            .into_iter()
            .map(|(rel, page)| format!("<{url}?{}>; rel=\"{rel}\"", self.query_for(page)))
            .collect();
        links.join(", ")
    }

    fn query_for(&self, page: usize) -> String {
        let page = format!("page={page}");
        let kept = self
            .raw
            .split('&')
            .filter(|pair| !pair.is_empty() && pair.split('=').next() != Some("page"));
        kept.chain([page.as_str()]).collect::<Vec<_>>().join("&")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_keep_the_other_parameters_and_follow_githubs_order() {
        let listing = Listing {
            raw: "state=all&page=2&per_page=5".into(),
            ..Listing::default()
        };
        assert_eq!(
            listing.link("http://t/x", 2, 4),
            "<http://t/x?state=all&per_page=5&page=1>; rel=\"prev\", \
             <http://t/x?state=all&per_page=5&page=3>; rel=\"next\", \
             <http://t/x?state=all&per_page=5&page=4>; rel=\"last\", \
             <http://t/x?state=all&per_page=5&page=1>; rel=\"first\""
        );
    }

    #[test]
    fn a_single_page_has_no_links() {
        assert_eq!(Listing::default().link("http://t/x", 1, 1), "");
    }
}
