//! The command line.

mod commands;
mod serve;
mod values;
mod webhooks;
mod work;

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

pub(crate) use self::{
    commands::{
        CircuitAction, CircuitArgs, Command, CompletionsArgs, Dialect, DisableArgs,
        IdempotencyCommand, InstallArgs, KeyListArgs, KeyReleaseArgs, KeyResolveArgs, KeysCommand,
        ListArgs, LogsArgs, LogsCommand, MigrateArgs, MigrationsCommand, PublishArgs,
        RateLimitAction, RateLimitArgs, RateLimitSet, RemoveArgs, RequestArgs, RequestsArgs,
        RequestsCommand, TestArgs, UpdateArgs,
    },
    serve::ServeArgs,
    values::{Pair, Related, SecretPair, SecretSource, duration},
    webhooks::{BulkArgs, Condition, ReplayArgs, WebhookListArgs, WebhooksCommand},
    work::{AdvanceCursorArgs, ItemsCommand, ItemsListArgs, PruneArgs, SyncArgs, WorkerArgs},
};

const ENVIRONMENT: &str = "\
Environment:
  INTEGRATIONS_DATABASE_URL  the database, where no --database is given
  INTEGRATIONS_LISTEN_URL    where wake-ups are heard, where the database is behind a proxy
  INTEGRATIONS_PREFIX        what table names begin with
  INTEGRATIONS_CONFIG        the configuration file
  INTEGRATIONS_KEYS          the key ring: `id:base64` entries, the primary first
  INTEGRATIONS_KEY_FILE      the key file, instead of $XDG_CONFIG_HOME/integrations/keys
  RUST_LOG                   what is traced to standard error
  NO_COLOR                   no colour

Exit status:
  0 done, 1 failed, 2 wrong usage, 3 no such row, 4 refused,
  5 the database cannot be reached or does not match";

/// Integrations with other systems: their credentials, their calls, their health
#[derive(Parser)]
#[command(name = "integrations", version, after_help = ENVIRONMENT, max_term_width = 100)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(clap::Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The configuration file [default: integrations.toml, where there is one]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The database, such as <sqlite://integrations.db> or <postgres://user@host/database>
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) database: Option<String>,
    /// What table names begin with [default: integration]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) prefix: Option<String>,
    /// How data is printed [default: table on a terminal, else json]
    #[arg(long, global = true)]
    pub(crate) format: Option<Format>,
    /// Print data and errors only
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Trace what is done
    #[arg(long, short, global = true)]
    pub(crate) verbose: bool,
    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: Color,
    /// Ask nothing, even on a terminal
    #[arg(long, global = true)]
    pub(crate) no_interaction: bool,
}

/// How data is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Table,
    /// One document
    Json,
    /// One document a line
    Ndjson,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless `NO_COLOR` is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_holds_together() {
        Args::command().debug_assert();
    }
}
