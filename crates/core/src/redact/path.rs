//! Paths into JSON bodies.

use std::{borrow::Cow, fmt};

/// A path into a JSON body: `$.a[*].b`, `a.0.b`, `$.**.secret`.
///
/// `*` is every key or index of one level, `**` any number of levels, none included. Names may be
/// quoted, `$["a.b"]`, where they hold a dot. Matching is case-sensitive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonPath(Vec<Segment>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Name(String),
    Any,
    AnyDepth,
}

/// A step from a value to one inside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    Key(Cow<'a, str>),
    Index(usize),
}

/// Text that is not a path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a path such as `$.items[*].secret`")]
pub struct InvalidPath(String);

impl JsonPath {
    /// Reads a path.
    ///
    /// # Errors
    ///
    /// Returns [`InvalidPath`] for an empty path, an empty segment or an open bracket.
    pub fn parse(text: &str) -> Result<Self, InvalidPath> {
        let invalid = || InvalidPath(text.to_owned());
        let mut rest = text.strip_prefix('$').unwrap_or(text);
        let mut segments = Vec::new();
        while !rest.is_empty() {
            let (segment, behind) = if let Some(inside) = rest.strip_prefix('[') {
                let (name, behind) = match inside.strip_prefix('"') {
                    Some(quoted) => quoted.split_once("\"]").ok_or_else(invalid)?,
                    None => inside.split_once(']').ok_or_else(invalid)?,
                };
                (name, behind)
            } else {
                let plain = rest.strip_prefix('.').unwrap_or(rest);
                let end = plain.find(['.', '[']).unwrap_or(plain.len());
                plain.split_at(end)
            };
            segments.push(match segment {
                "" => return Err(invalid()),
                "*" => Segment::Any,
                "**" => Segment::AnyDepth,
                name => Segment::Name(name.to_owned()),
            });
            rest = behind;
        }
        if segments.is_empty() {
            Err(invalid())
        } else {
            Ok(Self(segments))
        }
    }

    /// Whether it leads exactly where `steps` do.
    pub(super) fn matches(&self, steps: &[Step<'_>]) -> bool {
        matches(&self.0, steps)
    }
}

fn matches(segments: &[Segment], steps: &[Step<'_>]) -> bool {
    match (segments.split_first(), steps.split_first()) {
        (None, None) => true,
        (Some((Segment::AnyDepth, more)), _) => {
            matches(more, steps)
                || steps
                    .split_first()
                    .is_some_and(|(_, s)| matches(segments, s))
        }
        (Some((segment, more)), Some((step, steps))) => {
            let here = match (segment, step) {
                (Segment::Any, _) => true,
                (Segment::Name(name), Step::Key(key)) => name == key,
                (Segment::Name(name), Step::Index(index)) => name.parse() == Ok(*index),
                (Segment::AnyDepth, _) => false,
            };
            here && matches(more, steps)
        }
        _ => false,
    }
}

impl fmt::Display for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("$")?;
        self.0.iter().try_for_each(|segment| match segment {
            Segment::Name(name) => write!(f, "[\"{name}\"]"),
            Segment::Any => f.write_str("[*]"),
            Segment::AnyDepth => f.write_str("[**]"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_names_may_hold_dots() {
        let path = JsonPath::parse("$[\"a.b\"].c").unwrap();
        assert!(path.matches(&[Step::Key("a.b".into()), Step::Key("c".into())]));
    }

    #[test]
    fn malformed_paths_are_refused() {
        for text in ["", "$", "$..a", "$[", "$[\"a]", "a."] {
            assert!(JsonPath::parse(text).is_err(), "{text:?} was accepted");
        }
    }
}
