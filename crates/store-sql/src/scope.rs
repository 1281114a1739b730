//! Scopes in the text of fixed statements.
//!
//! Filters built by sea-query use [`Filtered::within`](crate::page::Filtered::within). A
//! [`Template`](crate::statement::Template) uses `within!` with the numbers of three values, and
//! [`Statement::bind_scope`] binds those three:
//!
//! ```text
//! const TOUCH: Template = Template::both(concat!(
//!     "UPDATE {integrations} SET updated_at = $2 WHERE id = $1 AND ",
//!     within!(3, 4, 5),
//! ));
//! let statement = self.sql(&TOUCH).bind(id).bind(now).bind_scope(scope);
//! ```
//!
//! Rows of another table are within a scope by their integration:
//!
//! ```text
//! concat!("DELETE FROM {mappings} WHERE id = $1 AND integration_id IN (", owned!(2, 3, 4), ")")
//! ```

use integrations_core::integration::{Owner, OwnerId, Scope};

use crate::statement::Statement;

/// The condition that a row of `{integrations}`, under no alias, is within a scope.
macro_rules! within {
    ($owner_type:literal, $owner_id:literal, $owner_key:literal) => {
        concat!(
            "($",
            $owner_type,
            " IS NULL OR (owner_type = $",
            $owner_type,
            " AND (owner_id = $",
            $owner_id,
            " OR owner_key = $",
            $owner_key,
            ")))"
        )
    };
}
pub(crate) use within;

/// A subquery for the ids of the integrations, removed ones too, that are within a scope.
macro_rules! owned {
    ($owner_type:literal, $owner_id:literal, $owner_key:literal) => {
        concat!(
            "SELECT id FROM {integrations} WHERE ",
            $crate::scope::within!($owner_type, $owner_id, $owner_key)
        )
    };
}
pub(crate) use owned;

/// The columns of an owner: type, number and text, of which one id is given.
pub(crate) fn owner_columns(owner: Option<&Owner>) -> (Option<&str>, Option<i64>, Option<&str>) {
    let Some(owner) = owner else {
        return (None, None, None);
    };
    match owner.id() {
        OwnerId::Number(id) => (Some(owner.owner_type()), Some(*id), None),
        OwnerId::Text(key) => (Some(owner.owner_type()), None, Some(key)),
    }
}

impl Statement {
    /// The same with the three values of a scope.
    #[must_use]
    pub fn bind_scope(self, scope: &Scope) -> Self {
        let owner = match scope {
            Scope::Operator => None,
            Scope::Owner(owner) => Some(owner),
        };
        self.bind_owner(owner)
    }

    /// The same with the three columns of an owner.
    #[must_use]
    pub(crate) fn bind_owner(self, owner: Option<&Owner>) -> Self {
        let (owner_type, id, key) = owner_columns(owner);
        self.bind(owner_type).bind(id).bind(key)
    }
}
