//! What PostgreSQL and the driver say, sorted.

use integrations_store_sql::{SqlError, SqlErrorKind};

/// Sorts an error of the driver.
pub(crate) fn sorted(error: sqlx::Error) -> SqlError {
    let kind = match &error {
        sqlx::Error::Database(error) => error
            .code()
            .map_or(SqlErrorKind::Other, |code| by_state(&code, error.message())),
        sqlx::Error::PoolTimedOut => SqlErrorKind::Busy,
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => SqlErrorKind::Unavailable,
        sqlx::Error::Encode(_) => SqlErrorKind::Data,
        _ => SqlErrorKind::Other,
    };
    SqlError::new(kind, error)
}

/// Whether a statement was prepared before its tables were changed. Preparing it anew helps.
pub(crate) fn is_stale_plan(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(error) = error else {
        return false;
    };
    error.code().as_deref() == Some(FEATURE_NOT_SUPPORTED) && error.message().contains(CACHED_PLAN)
}

const FEATURE_NOT_SUPPORTED: &str = "0A000";
const CACHED_PLAN: &str = "cached plan must not change result type";

/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
fn by_state(state: &str, message: &str) -> SqlErrorKind {
    match state {
        "23505" => SqlErrorKind::Unique,
        "23503" => SqlErrorKind::ForeignKey,
        "40001" | "40P01" => SqlErrorKind::Transient,
        FEATURE_NOT_SUPPORTED if message.contains(CACHED_PLAN) => SqlErrorKind::Transient,
        "55P03" | "57014" => SqlErrorKind::Timeout,
        // A server that turned into a standby refuses writes.
        "25006" => SqlErrorKind::Unavailable,
        "42P01" | "42703" => SqlErrorKind::Schema,
        // A value too long for an index row.
        "54000" => SqlErrorKind::Data,
        _ => match state.get(..2) {
            Some("22") => SqlErrorKind::Data,
            Some("23") => SqlErrorKind::Constraint,
            // Connection, resources, operator intervention.
            Some("08" | "53" | "57") => SqlErrorKind::Unavailable,
            _ => SqlErrorKind::Other,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_sorted_by_what_can_be_done() {
        for (state, kind) in [
            ("23505", SqlErrorKind::Unique),
            ("23503", SqlErrorKind::ForeignKey),
            ("23502", SqlErrorKind::Constraint),
            ("22001", SqlErrorKind::Data),
            ("22021", SqlErrorKind::Data),
            ("40P01", SqlErrorKind::Transient),
            ("57014", SqlErrorKind::Timeout),
            ("57P01", SqlErrorKind::Unavailable),
            ("53300", SqlErrorKind::Unavailable),
            ("42P01", SqlErrorKind::Schema),
            ("42601", SqlErrorKind::Other),
            ("0A000", SqlErrorKind::Other),
        ] {
            assert_eq!(by_state(state, ""), kind, "{state}");
        }
        assert_eq!(by_state("0A000", CACHED_PLAN), SqlErrorKind::Transient);
    }
}
