//! Redaction of JSON text in place: spans are replaced, everything else keeps its bytes.

use std::borrow::Cow;

use serde::de::IgnoredAny;

use super::{JsonPath, REDACTED, is_secret_name, path::Step};

/// Redacts a JSON object or array; `None` where `text` is not one.
pub(super) fn redact<'a>(text: &'a str, paths: &[JsonPath]) -> Option<Cow<'a, str>> {
    if !text.trim_start().starts_with(['{', '[']) {
        return None;
    }
    // The walk below relies on well-formed text, and on serde_json's limit of depth.
    serde_json::from_str::<IgnoredAny>(text).ok()?;
    let mut walk = Walk {
        text,
        at: 0,
        steps: Vec::new(),
        spans: Vec::new(),
        paths,
    };
    walk.value();
    if walk.spans.is_empty() {
        return Some(Cow::Borrowed(text));
    }
    let mut redacted = String::with_capacity(text.len());
    let mut copied = 0;
    for (start, end) in walk.spans {
        redacted.push_str(&text[copied..start]);
        redacted.push('"');
        redacted.push_str(REDACTED);
        redacted.push('"');
        copied = end;
    }
    redacted.push_str(&text[copied..]);
    Some(Cow::Owned(redacted))
}

/// A walk over well-formed JSON that notes the spans of values to replace.
struct Walk<'a> {
    text: &'a str,
    at: usize,
    steps: Vec<Step>,
    spans: Vec<(usize, usize)>,
    paths: &'a [JsonPath],
}

impl Walk<'_> {
    fn value(&mut self) {
        self.blank();
        let start = self.at;
        let before = self.spans.len();
        match self.peek() {
            b'{' => self.object(),
            b'[' => self.array(),
            b'"' => {
                self.string();
            }
            _ => self.scalar(),
        }
        if self.is_secret() {
            // The whole value goes, with whatever was noted inside it.
            self.spans.truncate(before);
            self.spans.push((start, self.at));
        }
    }

    fn is_secret(&self) -> bool {
        let by_name = match self.steps.last() {
            Some(Step::Key(key)) => is_secret_name(key),
            _ => false,
        };
        by_name || self.paths.iter().any(|path| path.matches(&self.steps))
    }

    fn object(&mut self) {
        self.at += 1;
        loop {
            self.blank();
            match self.peek() {
                b'}' | 0 => break,
                b',' => self.at += 1,
                _ => {
                    let (start, end) = self.string();
                    let key = serde_json::from_str(&self.text[start..end]).unwrap_or_default();
                    self.blank();
                    self.at += 1;
                    self.steps.push(Step::Key(key));
                    self.value();
                    self.steps.pop();
                }
            }
        }
        self.at += 1;
    }

    fn array(&mut self) {
        self.at += 1;
        let mut index = 0;
        loop {
            self.blank();
            match self.peek() {
                b']' | 0 => break,
                b',' => self.at += 1,
                _ => {
                    self.steps.push(Step::Index(index));
                    self.value();
                    self.steps.pop();
                    index += 1;
                }
            }
        }
        self.at += 1;
    }

    /// Passes a string; its span with the quotes.
    fn string(&mut self) -> (usize, usize) {
        let start = self.at;
        self.at += 1;
        loop {
            match self.peek() {
                b'"' | 0 => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        (start, self.at)
    }

    fn scalar(&mut self) {
        while !matches!(self.peek(), b',' | b']' | b'}' | 0) && !self.peek().is_ascii_whitespace() {
            self.at += 1;
        }
    }

    fn blank(&mut self) {
        while self.peek().is_ascii_whitespace() {
            self.at += 1;
        }
    }

    /// The present byte; 0 at the end, which no JSON text holds.
    fn peek(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json() -> impl Strategy<Value = serde_json::Value> {
        use serde_json::Value;
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".*".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map("(token|a|.{0,4})", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    fn has_secret(value: &serde_json::Value) -> bool {
        match value {
            serde_json::Value::Array(list) => list.iter().any(has_secret),
            serde_json::Value::Object(map) => map
                .iter()
                .any(|(k, v)| (is_secret_name(k) && v != REDACTED) || has_secret(v)),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn stays_json_and_keeps_no_secret(value in json(), pretty: bool) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
            match redact(&text, &[]) {
                None => prop_assert!(!value.is_object() && !value.is_array()),
                Some(redacted) => {
                    let read: serde_json::Value = serde_json::from_str(&redacted).unwrap();
                    prop_assert!(!has_secret(&read), "{redacted}");
                    if !has_secret(&value) {
                        prop_assert_eq!(&*redacted, &*text);
                    }
                }
            }
        }

        #[test]
        fn never_panics(text in "[\\[\\]{}\",:a\\\\ 0-9]{0,40}") {
            let _ = redact(&text, &[]);
        }
    }
}
