//! Redaction of JSON text in place: spans are replaced, everything else keeps its bytes.

use std::borrow::Cow;

use serde::de::IgnoredAny;

use super::{REDACTED, Redactor, detect, path::Step};

/// Arrays and objects that are looked into. The other side decides how deep it nests, and the walk
/// recurses: what lies deeper is replaced whole.
const MAX_DEPTH: usize = 128;

/// Redacts JSON objects and arrays, one or several in a row; `None` where `text` is not that.
pub(super) fn redact<'a>(text: &'a str, redactor: &Redactor) -> Option<Cow<'a, str>> {
    let documents = text.strip_prefix('\u{feff}').unwrap_or(text);
    if !documents.trim_start().starts_with(['{', '[']) {
        return None;
    }
    // The walk below relies on well-formed text.
    let mut parsed = serde_json::Deserializer::from_str(documents).into_iter::<IgnoredAny>();
    if parsed.any(|document| document.is_err()) {
        return None;
    }
    let mut walk = Walk {
        text,
        at: text.len() - documents.len(),
        steps: Vec::new(),
        spans: Vec::new(),
        redactor,
    };
    walk.documents();
    if walk.spans.is_empty() {
        return Some(Cow::Borrowed(text));
    }
    let mut redacted = String::with_capacity(text.len());
    let mut copied = 0;
    for span in walk.spans {
        redacted.push_str(&text[copied..span.start]);
        let quote = if span.whole { "\"" } else { "" };
        redacted.extend([quote, REDACTED, quote]);
        copied = span.end;
    }
    redacted.push_str(&text[copied..]);
    Some(Cow::Owned(redacted))
}

/// A walk over well-formed JSON that notes the spans of values to replace.
struct Walk<'a> {
    text: &'a str,
    at: usize,
    steps: Vec<Step<'a>>,
    spans: Vec<Span>,
    redactor: &'a Redactor,
}

/// What to replace.
struct Span {
    start: usize,
    end: usize,
    /// A whole value, its quotes included, and not a part of what a string says.
    whole: bool,
}

impl<'a> Walk<'a> {
    fn documents(&mut self) {
        self.blank();
        while self.peek() != 0 {
            self.value();
            self.blank();
        }
    }

    fn value(&mut self) {
        self.blank();
        let start = self.at;
        let before = self.spans.len();
        let too_deep = self.steps.len() >= MAX_DEPTH && matches!(self.peek(), b'{' | b'[');
        match self.peek() {
            _ if too_deep => self.pass(),
            b'{' => self.object(),
            b'[' => self.array(),
            b'"' => {
                self.string();
            }
            _ => self.scalar(),
        }
        if too_deep || self.is_secret() {
            // The whole value goes, with whatever was noted inside it.
            self.spans.truncate(before);
            self.note(start);
        }
    }

    /// Notes the whole value that ends here.
    fn note(&mut self, start: usize) {
        let end = self.at;
        self.spans.push(Span {
            start,
            end,
            whole: true,
        });
    }

    fn is_secret(&self) -> bool {
        let by_name = match self.steps.last() {
            Some(Step::Key(key)) => self.redactor.is_secret_name(key),
            _ => false,
        };
        by_name
            || self
                .redactor
                .paths
                .iter()
                .any(|path| path.matches(&self.steps))
    }

    fn object(&mut self) {
        self.at += 1;
        loop {
            self.blank();
            match self.peek() {
                b'}' | 0 => break,
                b',' => self.at += 1,
                _ => {
                    let key = self.string();
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

    /// Passes an array or object without looking into it.
    fn pass(&mut self) {
        let mut open = 0_usize;
        loop {
            match self.peek() {
                b'"' => {
                    self.string();
                    continue;
                }
                b'{' | b'[' => open += 1,
                b'}' | b']' => open -= 1,
                _ => {}
            }
            self.at += 1;
            if open == 0 {
                break;
            }
        }
    }

    /// Passes a string and answers what it says. One that spells a secret with escapes, which a
    /// look at the text does not find, is noted; so is what gives itself away.
    fn string(&mut self) -> Cow<'a, str> {
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
        let raw = &self.text[start + 1..self.at - 1];
        if !raw.contains('\\') {
            self.detect(start + 1, raw);
            return Cow::Borrowed(raw);
        }
        // Escapes of half a surrogate pair are well-formed and say nothing: such text stays raw.
        let says = serde_json::from_str(&self.text[start..self.at]).unwrap_or(raw.to_owned());
        let Redactor {
            secrets, passing, ..
        } = self.redactor;
        if secrets.are_in(&says) || passing.are_in(&says) {
            self.note(start);
        } else {
            self.detect(start + 1, raw);
        }
        Cow::Owned(says)
    }

    /// Notes what in a string gives itself away.
    fn detect(&mut self, offset: usize, raw: &str) {
        let mut at = 0;
        while let Some(found) = detect::next(raw, at, &self.redactor.names) {
            at = found.end;
            self.spans.push(Span {
                start: offset + found.start,
                end: offset + found.end,
                whole: false,
            });
        }
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
    use crate::redact::{JsonPath, SecretNames};

    fn redact<'a>(text: &'a str, paths: &[JsonPath]) -> Option<Cow<'a, str>> {
        super::redact(text, &Redactor::new(paths.to_vec(), &[]))
    }

    #[test]
    fn what_nests_deeper_than_is_looked_is_replaced_whole() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(redact(&nested(MAX_DEPTH), &[]).unwrap(), nested(MAX_DEPTH));
        let bomb = nested(1_000_000);
        let hidden = redact(&bomb, &[]).unwrap();
        let (before, behind) = ("[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
        assert_eq!(hidden, format!("{before}\"{REDACTED}\"{behind}"));
        let keyed = format!("{{\"a\":{},\"token\":\"t\"}}", nested(1_000_000));
        assert!(
            redact(&keyed, &[])
                .unwrap()
                .ends_with(r#""token":"[REDACTED]"}"#)
        );
    }

    // W-RED-2
    #[test]
    fn several_documents_and_byte_order_marks_are_looked_into() {
        assert_eq!(
            redact("{\"token\":\"a\"}\n{\"token\":\"b\"}\n", &[]).unwrap(),
            "{\"token\":\"[REDACTED]\"}\n{\"token\":\"[REDACTED]\"}\n"
        );
        assert_eq!(
            redact("\u{feff}{\"token\":\"a\"}", &[]).unwrap(),
            "\u{feff}{\"token\":\"[REDACTED]\"}"
        );
        assert_eq!(redact("{} {", &[]), None);
    }

    #[test]
    fn escapes_hide_neither_names_nor_secrets() {
        assert_eq!(
            redact(r#"{"tok\u0065n":"a","token\ud800":"b"}"#, &[]).unwrap(),
            r#"{"tok\u0065n":"[REDACTED]","token\ud800":"[REDACTED]"}"#
        );
        let redactor = Redactor::new(Vec::new(), &["canary+5f2b".into()]);
        let body = r#"{"echo":"Bearer canary\u002B5f2b","canary\u002b5f2b":1}"#;
        assert_eq!(
            super::redact(body, &redactor).unwrap(),
            r#"{"echo":"[REDACTED]","[REDACTED]":1}"#
        );
    }

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
                .any(|(k, v)| (SecretNames::default().say(k) && v != REDACTED) || has_secret(v)),
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
