//! Values that give themselves away: credentials in URLs, tokens of known forms, private keys,
//! card numbers, and whatever stands behind a secret name.

use std::{borrow::Cow, ops::Range};

use super::{REDACTED, SecretNames};

/// How tokens of known issuers begin, and how long they are at least.
const TOKENS: [(&str, usize); 16] = [
    ("ghp_", 20),
    ("gho_", 20),
    ("ghu_", 20),
    ("ghs_", 20),
    ("ghr_", 20),
    ("github_pat_", 22),
    ("glpat-", 20),
    ("sk_live_", 16),
    ("sk_test_", 16),
    ("rk_live_", 16),
    ("rk_test_", 16),
    ("whsec_", 16),
    ("xoxb-", 16),
    ("xoxp-", 16),
    ("xapp-", 16),
    ("AKIA", 20),
];

/// The least characters of what follows `Bearer` or `Basic`: prose goes on with shorter words.
const MIN_AUTHORIZATION: usize = 8;

/// `text` with every such value replaced; untouched where there is none.
pub(super) fn replace<'a>(text: Cow<'a, str>, names: &SecretNames) -> Cow<'a, str> {
    let Some(first) = next(&text, 0, names) else {
        return text;
    };
    let mut replaced = String::with_capacity(text.len());
    let (mut copied, mut found) = (0, Some(first));
    while let Some(span) = found {
        replaced.push_str(&text[copied..span.start]);
        replaced.push_str(REDACTED);
        copied = span.end;
        found = next(&text, copied, names);
    }
    replaced.push_str(&text[copied..]);
    Cow::Owned(replaced)
}

/// The first such value from a position on. It begins and ends with ASCII.
pub(super) fn next(text: &str, from: usize, names: &SecretNames) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let mut at = from;
    while let Some(byte) = bytes.get(at) {
        let found = match byte {
            b':' => user_info(bytes, at).or_else(|| named(text, at, names)),
            b'=' => named(text, at, names),
            b'-' => private_key(text, at),
            b'0'..=b'9' if begins_word(bytes, at) => card(bytes, at),
            b'B' | b'b' if begins_word(bytes, at) => authorization(bytes, at),
            b'e' if begins_word(bytes, at) => web_token(bytes, at),
            b'g' | b's' | b'r' | b'w' | b'x' | b'A' if begins_word(bytes, at) => token(bytes, at),
            _ => None,
        };
        // What was replaced already is not replaced again.
        if let Some(span) = found.filter(|span| &text[span.clone()] != REDACTED) {
            return Some(span);
        }
        at += 1;
    }
    None
}

fn begins_word(bytes: &[u8], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|before| bytes.get(before));
    before.is_none_or(|byte| !byte.is_ascii_alphanumeric())
}

const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=')
}

/// Where a run of bytes that `is_in` ends.
fn run(bytes: &[u8], from: usize, is_in: impl Fn(u8) -> bool) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    let len = rest.iter().position(|byte| !is_in(*byte));
    from + len.unwrap_or(rest.len())
}

/// `user:password` of `://user:password@host`; JSON may have escaped the slashes.
fn user_info(bytes: &[u8], colon: usize) -> Option<Range<usize>> {
    let behind = bytes.get(colon + 1..)?;
    let slashes = ["//", "\\/\\/"].into_iter();
    let slashes = slashes.filter(|slashes| behind.starts_with(slashes.as_bytes()));
    let start = colon + 1 + slashes.map(str::len).next()?;
    let ends = |byte: u8| byte.is_ascii_whitespace() || b"/\\?#\"'<>".contains(&byte);
    let authority = run(bytes, start, |byte| !ends(byte));
    let at = bytes[start..authority].iter().rposition(|b| *b == b'@')?;
    (at > 0).then(|| start..start + at)
}

/// The value behind `name=`, `"name":` or `name:`, where the name says secret.
fn named(text: &str, sign: usize, names: &SecretNames) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let is_quote = |byte: u8| matches!(byte, b'"' | b'\'' | b'\\');
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'%');
    let back = |to: usize, is_in: &dyn Fn(u8) -> bool| {
        let skipped = bytes[..to].iter().rev().take_while(|byte| is_in(**byte));
        to - skipped.count()
    };
    let end = back(sign, &is_quote);
    let name = &text[back(end, &is_name)..end];
    let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
    if name.is_empty() || !names.say(&name) {
        return None;
    }
    let spaced = run(bytes, sign + 1, |byte| byte == b' ');
    let is_header = ["authorization", "cookie"]
        .iter()
        .any(|header| name.to_ascii_lowercase().ends_with(header));
    // `invalid token: it has expired` is prose.
    if spaced > sign + 1 && end == sign && !is_header {
        return None;
    }
    let start = run(bytes, spaced, is_quote);
    let stop = |byte: u8| byte.is_ascii_whitespace() || b"&,;\"'<>(){}[]\\".contains(&byte);
    let end = match authorization(bytes, start) {
        Some(credentials) => credentials.end,
        None if is_header => run(bytes, start, |byte| !b"\r\n\"'<>\\".contains(&byte)),
        None => run(bytes, start, |byte| !stop(byte)),
    };
    (end > start).then_some(start..end)
}

/// From `-----BEGIN .. PRIVATE KEY-----` to its end, or the end of the string it is in.
fn private_key(text: &str, at: usize) -> Option<Range<usize>> {
    let behind = text[at..].strip_prefix("-----BEGIN ")?;
    let label = behind.split_once("-----")?.0;
    let is_label = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b' ';
    if !label.ends_with("PRIVATE KEY") || label.len() > 40 || !label.bytes().all(is_label) {
        return None;
    }
    let body = at + "-----BEGIN ".len() + label.len() + "-----".len();
    let rest = &text[body..];
    let end = match rest.split_once("-----END ") {
        Some((base64, behind)) if !base64.contains('"') => {
            let label = behind
                .find("-----")
                .map_or(behind.len(), |end| end + "-----".len());
            base64.len() + "-----END ".len() + label
        }
        _ => rest.find('"').unwrap_or(rest.len()),
    };
    Some(at..body + end)
}

/// What follows `Bearer` or `Basic`.
fn authorization(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let rest = bytes.get(at..)?;
    let schemes = ["bearer ", "basic "].into_iter();
    let mut schemes = schemes.filter(|scheme| {
        let start = rest.get(..scheme.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(scheme.as_bytes()))
    });
    let start = at + schemes.next()?.len();
    let end = run(bytes, start, is_token_byte);
    (end - start >= MIN_AUTHORIZATION).then_some(start..end)
}

fn token(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let rest = bytes.get(at..)?;
    let mut kinds = TOKENS.iter();
    let (_, least) = kinds.find(|(start, _)| rest.starts_with(start.as_bytes()))?;
    let is_in = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let end = run(bytes, at, is_in);
    (end - at >= *least).then_some(at..end)
}

/// A JSON Web Token: three parts of base64, the first of which begins with `{"`.
fn web_token(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let is_in = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !bytes.get(at..)?.starts_with(b"eyJ") {
        return None;
    }
    let mut end = run(bytes, at, is_in);
    for _ in 0..2 {
        let start = end + 1;
        if bytes.get(end) != Some(&b'.') {
            return None;
        }
        end = run(bytes, start, is_in);
        if end - start < 8 {
            return None;
        }
    }
    Some(at..end)
}

/// A number of one of the card networks whose check digit is right, in groups or not.
fn card(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let mut digits = [0_u8; 16];
    let (mut count, mut end) = (0, at);
    while let Some(byte) = bytes.get(end) {
        match byte {
            b'0'..=b'9' => {
                *digits.get_mut(count)? = byte - b'0';
                count += 1;
            }
            // One separator between two digits.
            b' ' | b'-' if bytes.get(end + 1).is_some_and(u8::is_ascii_digit) => {}
            _ => break,
        }
        end += 1;
    }
    let begins = |start: &[u8]| digits.starts_with(start);
    let is_one = match count {
        15 => begins(&[3, 4]) || begins(&[3, 7]),
        16 => {
            let first = u16::from(digits[0]) * 10 + u16::from(digits[1]);
            digits[0] == 4
                || (51..=55).contains(&first)
                || (22..=27).contains(&first)
                || first == 60
                || first == 65
        }
        _ => false,
    };
    let behind = bytes.get(end).is_some_and(u8::is_ascii_alphanumeric);
    (is_one && !behind && is_checked(&digits[..count])).then_some(at..end)
}

/// By the formula of Luhn.
fn is_checked(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| match (place % 2, u32::from(*digit) * 2) {
            (0, twice) => twice / 2,
            (_, twice) if twice > 9 => twice - 9,
            (_, twice) => twice,
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn replaced(text: &str) -> String {
        replace(Cow::Borrowed(text), &SecretNames::default()).into_owned()
    }

    // W-RED-2
    #[test]
    fn values_of_known_forms_go() {
        let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NSJ9.SflKxwRJSMeKKF2QT4fwpMeJf36POk6y";
        for (before, secret, behind) in [
            ("Authorization was Bearer ", "abcdefgh12345678", " in it"),
            ("basic ", "dXNlcjpwYXNzd29yZA==", ""),
            ("at https://", "user:hunter2", "@api.example/x"),
            (r#""https:\/\/"#, "user:hunter2", r#"@api.example\/x""#),
            ("redis://", ":hunter2", "@cache/0"),
            ("key ", "ghp_0123456789abcdefghij", ", it says"),
            ("(", "sk_live_0123456789abcdef", ")"),
            ("", "AKIAIOSFODNN7EXAMPLE", ""),
            ("jwt=", jwt, "!"),
            ("paid with ", "4242 4242 4242 4242", "."),
            ("", "378282246310005", ""),
            (
                "x ",
                "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----",
                "\ny",
            ),
            ("\"", r"-----BEGIN PRIVATE KEY-----\nMIIE", "\""),
        ] {
            let expected = format!("{before}{REDACTED}{behind}");
            assert_eq!(replaced(&format!("{before}{secret}{behind}")), expected);
        }
    }

    // W-RED-3
    #[test]
    fn what_stands_behind_a_secret_name_goes() {
        for (text, expected) in [
            (
                "GET /x?page=2&token=t1&y=1 failed",
                "GET /x?page=2&token=[REDACTED]&y=1 failed",
            ),
            ("api%5Fkey=k1", "api%5Fkey=[REDACTED]"),
            (
                r#"body {"password": "a b"}"#,
                r#"body {"password": "[REDACTED] b"}"#,
            ),
            (
                r#"{\"client_secret\":\"s1\"}"#,
                r#"{\"client_secret\":\"[REDACTED]\"}"#,
            ),
            ("secret:s1,", "secret:[REDACTED],"),
            (
                "Cookie: a=1; b=2\r\nHost: x",
                "Cookie: [REDACTED]\r\nHost: x",
            ),
            (
                "authorization: Bearer abcdefgh",
                "authorization: [REDACTED]",
            ),
        ] {
            assert_eq!(replaced(text), expected);
        }
    }

    #[test]
    fn what_only_looks_like_one_stays() {
        for text in [
            "invalid token: it has expired",
            "the bearer of this",
            "basic auth",
            "https://api.example/users/@me",
            "mail user@example.org: no",
            "1234567890123456",
            "4242424242424241",
            "424242424242424242424242",
            "order 4111-1111",
            "-----BEGIN CERTIFICATE-----",
            "eyJhbGciOiJIUzI1NiJ9 alone",
            "token=[REDACTED]",
            "token=",
            "ghp_short",
        ] {
            assert_eq!(replaced(text), text);
        }
    }

    #[test]
    fn what_is_left_around_a_private_key_is_none() {
        for text in [
            "-----BEGIN -----BEGIN PRIVATE KEY-----\"PRIVATE KEY-----",
            "-----BEGIN Bearer -----BEGIN PRIVATE KEY-----",
        ] {
            let once = replaced(text);
            assert_ne!(once, text);
            assert_eq!(replaced(&once), once);
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_comes_to_an_end(text in "(token|=|:|//|@|\"|-----BEGIN |PRIVATE KEY-----|4242|ä|Bearer | ){0,12}") {
            let once = replaced(&text);
            prop_assert_eq!(replaced(&once), once);
        }
    }
}
