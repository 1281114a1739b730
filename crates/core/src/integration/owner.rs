//! Whose an integration is, and on whose behalf it is reached.

use serde::{Deserialize, Serialize};

use crate::value::InvalidValue;

/// A tenant of the application: a type and the application's own id of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Owner {
    owner_type: String,
    id: OwnerId,
}

/// The application's id of an owner.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OwnerId {
    /// Stored in `owner_id`.
    Number(i64),
    /// Stored in `owner_key`; at most 191 characters.
    Text(String),
}

impl From<i64> for OwnerId {
    fn from(id: i64) -> Self {
        Self::Number(id)
    }
}

impl From<&str> for OwnerId {
    fn from(id: &str) -> Self {
        Self::Text(id.to_owned())
    }
}

impl From<String> for OwnerId {
    fn from(id: String) -> Self {
        Self::Text(id)
    }
}

impl Owner {
    /// The owner of this type (at most 255 characters) and id.
    ///
    /// # Errors
    ///
    /// Returns [`InvalidValue`] where either is empty, too long, or holds NUL.
    pub fn new(
        owner_type: impl Into<String>,
        id: impl Into<OwnerId>,
    ) -> Result<Self, InvalidValue> {
        let (owner_type, id) = (owner_type.into(), id.into());
        if owner_type.is_empty() || owner_type.chars().count() > 255 || owner_type.contains('\0') {
            return Err(InvalidValue::new(
                "owner type",
                "must have 1 to 255 characters, without NUL",
            ));
        }
        if let OwnerId::Text(text) = &id
            && (text.is_empty() || text.chars().count() > 191 || text.contains('\0'))
        {
            return Err(InvalidValue::new(
                "owner id",
                "must have 1 to 191 characters, without NUL",
            ));
        }
        Ok(Self { owner_type, id })
    }

    /// Its type.
    #[must_use]
    pub fn owner_type(&self) -> &str {
        &self.owner_type
    }

    /// Its id.
    #[must_use]
    pub const fn id(&self) -> &OwnerId {
        &self.id
    }
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.id {
            OwnerId::Number(id) => write!(f, "{}:{id}", self.owner_type),
            OwnerId::Text(id) => write!(f, "{}:{id}", self.owner_type),
        }
    }
}

/// On whose behalf rows are reached. Stores put it into the `WHERE` of the statement itself: a
/// row of another owner is not there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Every row.
    Operator,
    /// The rows of one owner.
    Owner(Owner),
}

impl Scope {
    /// Whether a row of `owner` is within it.
    #[must_use]
    pub fn admits(&self, owner: Option<&Owner>) -> bool {
        match self {
            Self::Operator => true,
            Self::Owner(scope) => owner == Some(scope),
        }
    }
}
