//! Text that did not come from us, made safe to show.

use std::{borrow::Cow, fmt::Write as _};

/// Whether a terminal would act on the character, or show the text around it in another order.
pub(crate) const fn is_unsafe(c: char) -> bool {
    matches!(c,
        '\u{0}'..='\u{1f}'
        | '\u{7f}'..='\u{9f}'
        | '\u{200e}' | '\u{200f}'
        | '\u{2028}' | '\u{2029}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}')
}

/// The text with unsafe characters as escapes, for one line.
pub(crate) fn line(text: &str) -> Cow<'_, str> {
    replaced(text, |_| false)
}

/// The text with unsafe characters as escapes, but for line ends and tabs.
pub(crate) fn lines(text: &str) -> Cow<'_, str> {
    replaced(text, |c| matches!(c, '\n' | '\t'))
}

fn replaced(text: &str, keep: impl Fn(char) -> bool) -> Cow<'_, str> {
    if text.chars().all(|c| !is_unsafe(c) || keep(c)) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            c if !is_unsafe(c) || keep(c) => safe.push(c),
            '\n' => safe.push_str("\\n"),
            '\r' => safe.push_str("\\r"),
            '\t' => safe.push_str("\\t"),
            c => push_unicode(&mut safe, c),
        }
    }
    Cow::Owned(safe)
}

/// JSON text with unsafe characters as `\uXXXX`. Line ends are kept: between quotes there are
/// none in JSON, so those there are come from its layout.
pub(crate) fn json(text: &str) -> Cow<'_, str> {
    if text.chars().all(|c| !is_unsafe(c) || c == '\n') {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_unsafe(c) && c != '\n' {
            push_unicode(&mut safe, c);
        } else {
            safe.push(c);
        }
    }
    Cow::Owned(safe)
}

/// Unsafe characters all have four hexadecimal digits at most.
fn push_unicode(text: &mut String, c: char) {
    // Writing to a String cannot fail.
    let _ = write!(text, "\\u{:04x}", u32::from(c));
}

#[cfg(test)]
mod tests {
    use super::*;

    const NASTY: &str = "a\u{1b}[31mb\u{202e}c\u{9b}d\u{7f}e\r\nf";

    #[test]
    fn a_line_holds_nothing_a_terminal_acts_on() {
        assert_eq!(line(NASTY), "a\\u001b[31mb\\u202ec\\u009bd\\u007fe\\r\\nf");
        assert!(matches!(line("größe ✓ 漢字"), Cow::Borrowed(_)));
    }

    #[test]
    fn lines_keep_their_ends() {
        assert_eq!(lines("a\n\tb\u{7}"), "a\n\tb\\u0007");
    }

    #[test]
    fn json_stays_the_same_value() {
        let value = serde_json::json!({ "name": NASTY });
        for text in [value.to_string(), format!("{value:#}")] {
            let safe = json(&text);
            assert!(!safe.chars().any(|c| is_unsafe(c) && c != '\n'), "{safe}");
            assert_eq!(
                serde_json::from_str::<serde_json::Value>(&safe).unwrap(),
                value
            );
        }
    }
}
