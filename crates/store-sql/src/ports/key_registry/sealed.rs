//! Statements about the columns that hold sealed values.

use integrations_core::encryptor::SealedColumn;

use crate::statement::Template;

/// The key an envelope names: what stands between its first two dots, or nothing.
macro_rules! key_id {
    (postgres, $sealed:literal) => {
        concat!("split_part(", $sealed, ", '.', 2)")
    };
    (sqlite, $sealed:literal) => {
        concat!(
            "substr(substr(",
            $sealed,
            ", instr(",
            $sealed,
            ", '.') + 1), 1, \
             max(instr(substr(",
            $sealed,
            ", instr(",
            $sealed,
            ", '.') + 1), '.') - 1, 0))"
        )
    };
}

/// The statements about one column.
pub(super) struct ColumnTemplates {
    /// A page of its cells: behind `$1`, under another key than `$2`, at most `$3`.
    pub(super) cells: Template,
    /// Puts values in place of others that are still there.
    pub(super) reseal: Template,
}

/// The statements about a column: its table, itself, the rows in which it is sealed, whose the
/// provider is, and how that is joined.
macro_rules! column {
    ($table:literal, $column:literal, $where:literal, $provider:literal, $join:literal) => {
        ColumnTemplates {
            cells: Template::each(
                column!(@cells postgres, $table, $column, $where, $provider, $join),
                column!(@cells sqlite, $table, $column, $where, $provider, $join),
            ),
            reseal: Template::each(
                concat!(
                    "UPDATE ", $table, " AS t SET ", $column, " = n.new \
                     FROM jsonb_to_recordset($1) AS n (id bigint, old text, new text) \
                     WHERE t.id = n.id AND t.", $column, " = n.old"
                ),
                concat!(
                    "UPDATE ", $table, " AS t SET ", $column, " = json_extract(n.value, '$.new') \
                     FROM json_each($1) AS n WHERE t.id = json_extract(n.value, '$.id') \
                     AND t.", $column, " = json_extract(n.value, '$.old')"
                ),
            ),
        }
    };
    (@cells $dialect:ident, $table:literal, $column:literal, $where:literal, $provider:literal,
        $join:literal) => {
        concat!(
            "SELECT t.id, t.uid, ", $provider, " AS provider, t.", $column, " AS sealed FROM ",
            $table, " AS t ", $join, " WHERE t.id > $1 AND ", $where, " AND ",
            key_id!($dialect, $column), " <> $2 ORDER BY t.id LIMIT $3"
        )
    };
}

const CREDENTIALS: ColumnTemplates = column!(
    "{integrations}",
    "credentials",
    "credentials IS NOT NULL",
    "t.provider",
    ""
);
const LEDGER_ANSWER: ColumnTemplates = column!(
    "{idempotency_keys}",
    "sealed_answer",
    "sealed_answer IS NOT NULL",
    "s.provider",
    "JOIN {integrations} AS s ON s.id = t.integration_id"
);
const CACHED_ANSWER: ColumnTemplates = column!(
    "{response_cache}",
    "sealed_answer",
    "sealed_answer IS NOT NULL",
    "s.provider",
    "JOIN {integrations} AS s ON s.id = t.integration_id"
);
const WEBHOOK_PAYLOAD: ColumnTemplates = column!(
    "{webhooks}",
    "payload",
    "payload_encoding = 'sealed'",
    "t.provider",
    ""
);
const TOKEN_DATA: ColumnTemplates = column!(
    "{tokens}",
    "sealed_data",
    "sealed_data IS NOT NULL",
    "t.provider",
    ""
);

/// The statements about `column`; `None` for one this version does not have.
pub(super) const fn templates(column: SealedColumn) -> Option<&'static ColumnTemplates> {
    match column {
        SealedColumn::Credentials => Some(&CREDENTIALS),
        SealedColumn::LedgerAnswer => Some(&LEDGER_ANSWER),
        SealedColumn::CachedAnswer => Some(&CACHED_ANSWER),
        SealedColumn::WebhookPayload => Some(&WEBHOOK_PAYLOAD),
        SealedColumn::TokenData => Some(&TOKEN_DATA),
        _ => None,
    }
}

/// How many values each key sealed, by the place of the column in [`SealedColumn::ALL`].
macro_rules! usage {
    ($dialect:ident) => {
        concat!(
            "SELECT 0 AS place, ",
            key_id!($dialect, "credentials"),
            " AS key_id, \
             count(*) AS count FROM {integrations} WHERE credentials IS NOT NULL GROUP BY 2 \
             UNION ALL SELECT 1, ",
            key_id!($dialect, "sealed_answer"),
            ", count(*) \
             FROM {idempotency_keys} WHERE sealed_answer IS NOT NULL GROUP BY 2 \
             UNION ALL SELECT 2, ",
            key_id!($dialect, "sealed_answer"),
            ", count(*) \
             FROM {response_cache} WHERE sealed_answer IS NOT NULL GROUP BY 2 \
             UNION ALL SELECT 3, ",
            key_id!($dialect, "payload"),
            ", count(*) \
             FROM {webhooks} WHERE payload_encoding = 'sealed' GROUP BY 2 \
             UNION ALL SELECT 4, ",
            key_id!($dialect, "sealed_data"),
            ", count(*) \
             FROM {tokens} WHERE sealed_data IS NOT NULL GROUP BY 2"
        )
    };
}

/// How many values of which column each key sealed.
pub(super) const USAGE: Template = Template::each(usage!(postgres), usage!(sqlite));

/// The column at a place of [`USAGE`].
pub(super) fn column_of(place: i64) -> Option<SealedColumn> {
    let place = usize::try_from(place).ok()?;
    SealedColumn::ALL.get(place).copied()
}
