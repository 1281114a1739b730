//! Numbers within a range, refused with a message that says which.

use std::{ops::RangeInclusive, time::Duration};

/// The number given for an option, if one is.
pub(super) fn number(
    option: &str,
    given: Option<&toml::Value>,
    range: RangeInclusive<u32>,
) -> Result<Option<u32>, String> {
    let Some(given) = given else {
        return Ok(None);
    };
    let shown = match given {
        toml::Value::Integer(number) => match u32::try_from(*number) {
            Ok(number) if range.contains(&number) => return Ok(Some(number)),
            _ => number.to_string(),
        },
        other => format!("a {}", other.type_str()),
    };
    Err(format!(
        "`{option}` is {shown}: it must be a whole number from {} to {}",
        range.start(),
        range.end()
    ))
}

/// The whole seconds given for an option, if they are.
pub(super) fn seconds(
    option: &str,
    given: Option<&toml::Value>,
    range: RangeInclusive<u32>,
) -> Result<Option<Duration>, String> {
    let seconds = number(option, given, range)?;
    Ok(seconds.map(|seconds| Duration::from_secs(seconds.into())))
}
