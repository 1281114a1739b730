//! What SQLite and the driver say, sorted.

use integrations_store_sql::{SqlError, SqlErrorKind};

/// Sorts an error of the driver.
pub(crate) fn sorted(error: sqlx::Error) -> SqlError {
    let kind = match &error {
        sqlx::Error::Database(error) => {
            let code = error.code().and_then(|code| code.parse().ok());
            by_code(code.unwrap_or_default(), error.message())
        }
        sqlx::Error::PoolTimedOut => SqlErrorKind::Busy,
        sqlx::Error::Io(_) | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
            SqlErrorKind::Unavailable
        }
        sqlx::Error::Encode(_) => SqlErrorKind::Data,
        _ => SqlErrorKind::Other,
    };
    SqlError::new(kind, error)
}

/// Whether the file was locked by someone else.
pub(crate) fn is_busy(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(error) = error else {
        return false;
    };
    let code: Option<u32> = error.code().and_then(|code| code.parse().ok());
    code.is_some_and(|code| matches!(code & 0xff, BUSY | LOCKED))
}

const ERROR: u32 = 1;
const BUSY: u32 = 5;
const LOCKED: u32 = 6;

/// Extended result codes, <https://www.sqlite.org/rescode.html>.
fn by_code(code: u32, message: &str) -> SqlErrorKind {
    match code {
        // SQLITE_CONSTRAINT_UNIQUE, _PRIMARYKEY and _ROWID
        2067 | 1555 | 2579 => SqlErrorKind::Unique,
        // SQLITE_CONSTRAINT_FOREIGNKEY
        787 => SqlErrorKind::ForeignKey,
        // SQLITE_CONSTRAINT_CHECK, which stands for a column's type and length, and _DATATYPE
        275 | 3091 => SqlErrorKind::Data,
        // SQLITE_BUSY_SNAPSHOT: what the transaction read has changed since
        517 => SqlErrorKind::Transient,
        ERROR if message.contains("no such table") || message.contains("no such column") => {
            SqlErrorKind::Schema
        }
        _ => match code & 0xff {
            BUSY | LOCKED => SqlErrorKind::Busy,
            // SQLITE_IOERR, _FULL and _CANTOPEN
            10 | 13 | 14 => SqlErrorKind::Unavailable,
            // SQLITE_TOOBIG and _MISMATCH
            18 | 20 => SqlErrorKind::Data,
            // SQLITE_CONSTRAINT
            19 => SqlErrorKind::Constraint,
            _ => SqlErrorKind::Other,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_sorted_by_what_can_be_done() {
        for (code, message, kind) in [
            (2067, "", SqlErrorKind::Unique),
            (1555, "", SqlErrorKind::Unique),
            (787, "", SqlErrorKind::ForeignKey),
            (275, "", SqlErrorKind::Data),
            (1299, "", SqlErrorKind::Constraint),
            (3091, "", SqlErrorKind::Data),
            (5, "", SqlErrorKind::Busy),
            (261, "", SqlErrorKind::Busy),
            (517, "", SqlErrorKind::Transient),
            (1, "no such table: x", SqlErrorKind::Schema),
            (1, "near \"x\": syntax error", SqlErrorKind::Other),
            (522, "", SqlErrorKind::Unavailable),
        ] {
            assert_eq!(by_code(code, message), kind, "{code}");
        }
    }
}
