//! What a value has to keep to fit its column, on either database.
//!
//! SQLite takes text with NUL and numbers of any size where PostgreSQL refuses them. Checked
//! here, an entry is refused alike by both, before a statement is spent on it.

use crate::error::{SqlError, SqlErrorKind};

/// Checks the values of one entry.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub(crate) struct Fits(bool);

impl Fits {
    /// Begins with nothing wrong.
    pub(crate) const fn new() -> Self {
        Self(true)
    }

    /// Text of any length, without NUL.
    pub(crate) fn text<'a>(self, text: impl Into<Option<&'a str>>) -> Self {
        Self(self.0 && text.into().is_none_or(|text| !text.contains('\0')))
    }

    /// Text of at most `max` characters, without NUL.
    pub(crate) fn varchar<'a>(self, text: impl Into<Option<&'a str>>, max: usize) -> Self {
        let text = text.into();
        // No text has more characters than bytes.
        let short = text.is_none_or(|text| text.len() <= max || text.chars().count() <= max);
        Self(self.0 && short).text(text)
    }

    /// A number for a `smallint` column.
    pub(crate) fn smallint(self, number: impl Into<Option<u16>>) -> Self {
        let fits = number.into().is_none_or(|n| i16::try_from(n).is_ok());
        Self(self.0 && fits)
    }

    /// Whether everything fits.
    ///
    /// # Errors
    ///
    /// A [`SqlError`] of kind [`SqlErrorKind::Data`], as the database would have answered.
    pub(crate) fn verdict(self) -> Result<(), SqlError> {
        if self.0 {
            Ok(())
        } else {
            Err(SqlError::new(
                SqlErrorKind::Data,
                "a text is too long or holds NUL, or a number is too large",
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_is_counted_in_characters() {
        assert!(Fits::new().varchar("größe", 5).verdict().is_ok());
        assert!(Fits::new().varchar("größen", 5).verdict().is_err());
    }

    #[test]
    fn nul_fits_nowhere() {
        assert!(Fits::new().text("a\0").verdict().is_err());
        assert!(Fits::new().varchar(Some("a\0"), 9).verdict().is_err());
        assert!(Fits::new().text(None).verdict().is_ok());
    }

    #[test]
    fn one_misfit_is_enough() {
        let fits = Fits::new().smallint(40_000).text("fine");
        assert_eq!(fits.verdict().unwrap_err().kind, SqlErrorKind::Data);
    }
}
