//! JSON that is safe to show: the same values, with control characters escaped.

use serde_json::Value as Json;

use super::escape;

/// On several lines, with a line end.
pub(crate) fn pretty(value: &Json) -> String {
    format!("{}\n", escape::json(&format!("{value:#}")))
}

/// On one line, with a line end.
pub(crate) fn compact(value: &Json) -> String {
    format!("{}\n", escape::json(&value.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compact_is_one_line() {
        let text = compact(&serde_json::json!({ "a": "x\ny\u{85}" }));
        assert_eq!(text, "{\"a\":\"x\\ny\\u0085\"}\n");
    }
}
