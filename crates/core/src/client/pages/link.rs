//! The `Link` header of RFC 8288, as far as `rel="next"` goes.

use http::{HeaderMap, header};

/// The target of the first link whose relation is `next`.
pub(super) fn next(headers: &HeaderMap) -> Option<&str> {
    let values = headers.get_all(header::LINK).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .find_map(next_of)
}

fn next_of(mut rest: &str) -> Option<&str> {
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let (target, behind) = rest.strip_prefix('<')?.split_once('>')?;
        let (is_next, behind) = parameters(behind);
        if is_next {
            return Some(target);
        }
        rest = behind;
    }
}

/// Whether the parameters of one link say `next`, and what is behind them.
fn parameters(mut rest: &str) -> (bool, &str) {
    let mut rel = None;
    loop {
        rest = rest.trim_start_matches([' ', '\t']);
        let Some(behind) = rest.strip_prefix(';') else {
            let is_next = rel.is_some_and(|rel: &str| {
                rel.split_ascii_whitespace()
                    .any(|one| one.eq_ignore_ascii_case("next"))
            });
            return (is_next, rest);
        };
        let end = behind.find(['=', ';', ',']).unwrap_or(behind.len());
        let name = behind[..end].trim();
        let (value, behind) = match behind[end..].strip_prefix('=') {
            Some(behind) => value(behind.trim_start()),
            None => ("", &behind[end..]),
        };
        // The first one counts, says section 3.3.
        if name.eq_ignore_ascii_case("rel") && rel.is_none() {
            rel = Some(value);
        }
        rest = behind;
    }
}

/// One value, quoted or not, and what is behind it. Relations have no escapes in them.
fn value(text: &str) -> (&str, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([';', ',']).unwrap_or(text.len());
        return (text[..end].trim(), &text[end..]);
    };
    let mut escaped = false;
    for (at, c) in quoted.char_indices() {
        match c {
            '"' if !escaped => return (&quoted[..at], &quoted[at + 1..]),
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    (quoted, "")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::LINK, HeaderValue::from_str(value).unwrap());
        }
        next(&headers).map(str::to_owned)
    }

    #[test]
    fn the_next_page_is_found_among_other_links() {
        let github = "<https://a.example/x?page=1>; rel=\"prev\", \
                      <https://a.example/x?page=3>; rel=\"next\"";
        assert_eq!(of(&[github]).unwrap(), "https://a.example/x?page=3");
        assert_eq!(
            of(&["</y?a=1,2;3>; title=\"a, <b>; rel=next\"; rel=last, </n>;REL=Next"]).unwrap(),
            "/n"
        );
        assert_eq!(
            of(&["</p>; rel=prev", "</n>; rel=\"last next\""]).unwrap(),
            "/n"
        );
        assert_eq!(of(&["</a>; rel=\"prev\"; rel=\"next\""]), None);
        assert_eq!(
            of(&["</a>; title=\"a\\\"; rel=next\", </b> ; rel = next"]).unwrap(),
            "/b"
        );
    }

    #[test]
    fn where_there_is_none_the_list_ends() {
        for values in [
            &[][..],
            &[""],
            &["</a>"],
            &["</a>; rel=prev"],
            &["a; rel=next"],
            &["<a"],
        ] {
            assert_eq!(of(values), None, "{values:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_to_its_end(text in "[<>;,=\" a-z\\\\]{0,60}") {
            of(&[&text]);
        }
    }
}
