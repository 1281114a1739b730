//! Migrations as values: their text, and what a database's record of them means.

use std::fmt;

use integrations_core::value::TablePrefix;
use sha2::{Digest as _, Sha256};

use crate::{dialect::Dialect, statement::table_name};

/// The line by which a file says down to which schema version older binaries still work with it.
const MINIMUM: &str = "-- minimum:";

/// One step of the schema: a file, with `{{prefix}}` at the start of every name it creates.
///
/// A header line `-- minimum: N` says that binaries made for version `N` still work on a schema
/// with this migration. Without it, only binaries that know the migration do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migration {
    /// Its number, ascending from 1.
    pub version: i64,
    /// What it does, in a word or two, as in its file's name.
    pub name: &'static str,
    template: &'static str,
}

impl Migration {
    /// The migration of a file.
    #[must_use]
    pub const fn new(version: i64, name: &'static str, template: &'static str) -> Self {
        Self {
            version,
            name,
            template,
        }
    }

    /// The oldest version whose binaries work on a schema with this migration.
    #[must_use]
    pub fn minimum(&self) -> i64 {
        self.template
            .lines()
            .take_while(|line| line.starts_with("--"))
            .find_map(|line| line.strip_prefix(MINIMUM)?.trim().parse().ok())
            .unwrap_or(self.version)
    }

    /// The SHA-256 of the file, in hex. Prefixes have no part in it.
    #[must_use]
    pub fn checksum(&self) -> String {
        format!("{:x}", Sha256::digest(self.template))
    }

    /// The name of its file.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{:04}_{}.sql", self.version, self.name)
    }

    /// The whole text under a prefix: the file, and the statements that put it on record.
    ///
    /// It holds no transaction statements. Running it again fails on the first table it makes.
    #[must_use]
    pub fn render(&self, dialect: Dialect, prefix: &TablePrefix) -> String {
        let record = table_name(prefix, "migrations");
        let (columns, now) = match dialect {
            Dialect::Postgres => (
                "version bigint primary key,\n    name text not null,\n    \
                 checksum text not null,\n    minimum bigint not null,\n    \
                 applied_at timestamptz not null,\n    created_at timestamptz not null,\n    \
                 updated_at timestamptz not null\n)",
                "now()",
            ),
            Dialect::Sqlite => (
                "version integer primary key,\n    name text not null,\n    \
                 checksum text not null,\n    minimum integer not null,\n    \
                 applied_at text not null,\n    created_at text not null,\n    \
                 updated_at text not null\n) strict",
                "strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')",
            ),
        };
        let body = self.template.replace("{{prefix}}", prefix.as_str());
        let (version, name) = (self.version, self.name);
        let (checksum, minimum) = (self.checksum(), self.minimum());
        format!(
            "create table if not exists {record} (\n    {columns};\n\n{body}\n\
             insert into {record}\n    \
             (version, name, checksum, minimum, applied_at, created_at, updated_at)\n\
             values ({version}, '{name}', '{checksum}', {minimum}, {now}, {now}, {now});\n"
        )
    }
}

/// A file for teams with a migrator of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedFile {
    /// Its name.
    pub name: String,
    /// Its text; wrap it in a transaction.
    pub sql: String,
}

/// The files of `known` that are newer than version `since`, which is 0 for all.
#[must_use]
pub fn published(
    known: &[Migration],
    dialect: Dialect,
    prefix: &TablePrefix,
    since: i64,
) -> Vec<PublishedFile> {
    known
        .iter()
        .filter(|migration| migration.version > since)
        .map(|migration| PublishedFile {
            name: migration.file_name(),
            sql: migration.render(dialect, prefix),
        })
        .collect()
}

/// What a database has on record of one migration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Its number.
    pub version: i64,
    /// The checksum of its file.
    pub checksum: String,
    /// The oldest version whose binaries work with it.
    pub minimum: i64,
}

/// How a database's schema stands to what this build knows.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SchemaState {
    /// There is none.
    Empty,
    /// It is the newest that is known.
    Current,
    /// Migrations have yet to be applied.
    Behind {
        /// How many.
        by: usize,
    },
    /// A newer version has migrated it.
    Ahead {
        /// Whether this build still works with it.
        compatible: bool,
        /// The version it is at.
        version: i64,
        /// How many versions newer than the newest that is known.
        by: usize,
        /// The oldest version it works with.
        minimum: i64,
    },
    /// A migration was applied whose file was different.
    ChecksumMismatch {
        /// Its number.
        version: i64,
    },
    /// The record has gaps or versions there never were: it is not ours, or was edited.
    Unknown {
        /// The first number that is wrong.
        version: i64,
    },
}

impl SchemaState {
    /// Whether this build works on such a schema.
    #[must_use]
    pub const fn is_usable(&self) -> bool {
        matches!(
            self,
            Self::Current
                | Self::Ahead {
                    compatible: true,
                    ..
                }
        )
    }
}

impl fmt::Display for SchemaState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => {
                f.write_str("the database has no schema yet: run `integrations migrate`")
            }
            Self::Current => f.write_str("the schema is up to date"),
            Self::Behind { by } => write!(
                f,
                "the schema is behind by {by}: run `integrations migrate`"
            ),
            Self::Ahead {
                compatible,
                version,
                by,
                minimum,
            } => {
                write!(
                    f,
                    "the schema is at version {version:04}, {by} newer than this program knows; "
                )?;
                if *compatible {
                    write!(f, "it works from version {minimum:04} on, so going on")
                } else {
                    write!(
                        f,
                        "it needs at least version {minimum:04}: upgrade this program"
                    )
                }
            }
            Self::ChecksumMismatch { version } => write!(
                f,
                "migration {version:04} was applied from a different file than this program \
                 holds: use the program that applied it, or another prefix"
            ),
            Self::Unknown { version } => write!(
                f,
                "the record of migrations is broken at version {version:04}: restore it from a \
                 backup, or use another prefix"
            ),
        }
    }
}

/// Judges what a database has on record. Both lists ascend by version.
#[must_use]
pub fn judge(applied: &[Applied], known: &[Migration]) -> SchemaState {
    if applied.is_empty() {
        return SchemaState::Empty;
    }
    for (applied, known) in applied.iter().zip(known) {
        if applied.version != known.version {
            return SchemaState::Unknown {
                version: applied.version.min(known.version),
            };
        }
        if applied.checksum != known.checksum() {
            return SchemaState::ChecksumMismatch {
                version: known.version,
            };
        }
    }
    let newest = known.last().map_or(0, |migration| migration.version);
    match applied.get(known.len()..) {
        Some([]) => SchemaState::Current,
        None => SchemaState::Behind {
            by: known.len() - applied.len(),
        },
        Some(newer) => {
            let minimum = newer.iter().map(|m| m.minimum).max().unwrap_or_default();
            SchemaState::Ahead {
                compatible: minimum <= newest,
                version: newer.last().map_or(newest, |m| m.version),
                by: newer.len(),
                minimum,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INIT: Migration = Migration::new(1, "init", "create table {{prefix}}_x (a int);\n");
    const WIDEN: Migration = Migration::new(
        2,
        "widen",
        "-- Adds a column.\n-- minimum: 1\n\nalter table {{prefix}}_x add b int;\n",
    );

    fn applied(migrations: &[Migration]) -> Vec<Applied> {
        let record = |migration: &Migration| Applied {
            version: migration.version,
            checksum: migration.checksum(),
            minimum: migration.minimum(),
        };
        migrations.iter().map(record).collect()
    }

    #[test]
    fn the_minimum_is_the_version_itself_unless_the_header_says_otherwise() {
        assert_eq!(INIT.minimum(), 1);
        assert_eq!(WIDEN.minimum(), 1);
        let below = Migration::new(3, "x", "select 1;\n-- minimum: 1\n");
        assert_eq!(below.minimum(), 3);
    }

    #[test]
    fn the_checksum_is_that_of_the_file() {
        // printf 'create table {{prefix}}_x (a int);\n' | sha256sum
        assert_eq!(
            INIT.checksum(),
            "d8cedbafbd70d32f512509af540686efde623c4897464684cbd0ffc811887d87"
        );
    }

    #[test]
    fn published_files_begin_behind_the_version_asked_for() {
        let prefix = TablePrefix::new("acme").unwrap();
        let files = published(&[INIT, WIDEN], Dialect::Sqlite, &prefix, 1);
        let names: Vec<_> = files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["0002_widen.sql"]);
        assert!(files[0].sql.contains("alter table acme_x add b int;"));
        assert!(files[0].sql.contains("insert into acme_migrations"));
    }

    #[test]
    fn a_schema_is_judged_by_its_record() {
        assert_eq!(judge(&[], &[INIT]), SchemaState::Empty);
        assert_eq!(judge(&applied(&[INIT]), &[INIT]), SchemaState::Current);
        assert_eq!(
            judge(&applied(&[INIT]), &[INIT, WIDEN]),
            SchemaState::Behind { by: 1 }
        );
        assert_eq!(
            judge(&applied(&[WIDEN]), &[INIT, WIDEN]),
            SchemaState::Unknown { version: 1 }
        );
        let mut edited = applied(&[INIT]);
        edited[0].checksum.replace_range(0..1, "z");
        assert_eq!(
            judge(&edited, &[INIT]),
            SchemaState::ChecksumMismatch { version: 1 }
        );
    }

    #[test]
    fn a_newer_schema_is_used_down_to_its_minimum() {
        let newer = judge(&applied(&[INIT, WIDEN]), &[INIT]);
        assert!(newer.is_usable());
        assert_eq!(
            newer.to_string(),
            "the schema is at version 0002, 1 newer than this program knows; \
             it works from version 0001 on, so going on"
        );
        let mut demanding = applied(&[INIT, WIDEN]);
        demanding[1].minimum = 2;
        let newer = judge(&demanding, &[INIT]);
        assert!(!newer.is_usable());
        assert_eq!(
            newer.to_string(),
            "the schema is at version 0002, 1 newer than this program knows; \
             it needs at least version 0002: upgrade this program"
        );
    }
}
