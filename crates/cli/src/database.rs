//! The database: which kind, and how it is opened and migrated.

use integrations::{
    PgStore, SqliteStore,
    sqlite::{Migration, OpenError},
    store::Ports,
    value::TablePrefix,
};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use crate::exit::{Failure, Outcome};

/// A database by its URL, which may hold a password and is never shown.
#[derive(Clone, Debug)]
pub(crate) enum Database {
    Postgres {
        url: SecretString,
        /// Where wake-ups are heard, when not at `url`.
        listen: Option<SecretString>,
    },
    Sqlite(String),
}

impl Database {
    pub(crate) fn parse(url: &str) -> Outcome<Self> {
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            Ok(Self::Postgres {
                url: SecretString::from(url),
                listen: None,
            })
        } else if url.starts_with("sqlite:") {
            Ok(Self::Sqlite(url.to_owned()))
        } else {
            Err(Failure::usage(
                "the database URL cannot be read: it should look like sqlite://integrations.db \
                 or postgres://user@host:5432/database",
            ))
        }
    }

    /// The same, hearing wake-ups at a URL of their own.
    pub(crate) fn listening_at(self, listen_url: Option<String>) -> Self {
        match self {
            Self::Postgres { url, .. } => Self::Postgres {
                url,
                listen: listen_url.map(SecretString::from),
            },
            Self::Sqlite(url) => Self::Sqlite(url),
        }
    }

    pub(crate) const fn is_sqlite(&self) -> bool {
        matches!(self, Self::Sqlite(_))
    }

    /// Opens it and checks its schema.
    pub(crate) async fn open(&self, prefix: &TablePrefix) -> Outcome<Ports> {
        let prefix = prefix.as_str();
        Ok(match self {
            Self::Postgres { url, listen } => {
                let mut options = PgStore::connect(url.expose_secret())?.prefix(prefix)?;
                if let Some(listen) = listen {
                    options = options.listen_url(listen.expose_secret())?;
                }
                Ports::from(options.open().await?)
            }
            Self::Sqlite(url) => {
                let options = SqliteStore::connect(url)?.prefix(prefix)?;
                Ports::from(options.open().await?)
            }
        })
    }

    /// Brings the schema up; what that took.
    pub(crate) async fn migrate(&self, prefix: &TablePrefix) -> Result<Vec<Migration>, OpenError> {
        let prefix = prefix.as_str();
        match self {
            Self::Postgres { url, .. } => {
                let options = PgStore::connect(url.expose_secret())?.prefix(prefix)?;
                options.migrate().await
            }
            Self::Sqlite(url) => SqliteStore::connect(url)?.prefix(prefix)?.migrate().await,
        }
    }

    /// What [`migrate`](Self::migrate) would apply.
    pub(crate) async fn pending(&self, prefix: &TablePrefix) -> Result<Vec<Migration>, OpenError> {
        let prefix = prefix.as_str();
        match self {
            Self::Postgres { url, .. } => {
                let options = PgStore::connect(url.expose_secret())?.prefix(prefix)?;
                options.pending().await
            }
            Self::Sqlite(url) => SqliteStore::connect(url)?.prefix(prefix)?.pending().await,
        }
    }
}

/// Whether a URL holds a password, where it would be seen in the list of processes.
pub(crate) fn holds_password(url: &str) -> bool {
    let Ok(url) = Url::parse(url) else {
        return false;
    };
    url.password().is_some_and(|password| !password.is_empty())
        || url.query_pairs().any(|(name, _)| name == "password")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_does_not_show_the_url() {
        let database = Database::parse("postgres://u:canary@h/d").unwrap();
        assert!(!format!("{database:?}").contains("canary"));
    }

    #[test]
    fn passwords_are_noticed_wherever_they_stand() {
        assert!(holds_password("postgres://u:p@h/d"));
        assert!(holds_password("postgres://u@h/d?password=p"));
        assert!(!holds_password("postgres://u@h/d"));
        assert!(!holds_password("sqlite://integrations.db"));
    }
}
