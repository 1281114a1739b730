//! The commands and what each takes.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand, ValueEnum, value_parser};
use clap_complete::Shell;
use integrations::{
    id::RequestId,
    integration::{HealthStatus, IntegrationRef, Owner},
    value::KeyId,
};

use super::values::{self, Interval, Pair, SecretPair, Status, Text};

/// What to do.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Bring the database's schema up
    Migrate(MigrateArgs),
    /// The schema as SQL files
    #[command(subcommand)]
    Migrations(MigrationsCommand),
    /// The keys that credentials are sealed with
    #[command(subcommand)]
    Keys(KeysCommand),
    /// The providers this program knows
    Providers,
    /// Connect an account of a provider
    Install(InstallArgs),
    /// The integrations there are
    List(ListArgs),
    /// Everything about one integration, but for its credentials
    Show(IdArgs),
    /// Change name, settings, credentials or interval
    Update(UpdateArgs),
    /// Switch on, and reset the health
    Enable(IdArgs),
    /// Switch off: calls and syncs are refused until it is enabled
    Disable(IdArgs),
    /// Wipe the credentials, stop all work, and delete its rows
    Remove(RemoveArgs),
    /// Try whether the credentials work
    Test(TestArgs),
    /// Make one call and print the answer
    Request(RequestArgs),
    /// The calls that were made
    Requests(RequestsArgs),
    /// See it work: a database, a stand-in for GitHub, and a few calls
    Demo,
    /// Completions for a shell
    Completions(CompletionsArgs),
}

#[derive(Args)]
pub(crate) struct MigrateArgs {
    /// Say what would be applied, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Subcommand)]
pub(crate) enum MigrationsCommand {
    /// Write the SQL files, for teams with a migrator of their own
    Publish(PublishArgs),
}

#[derive(Args)]
pub(crate) struct PublishArgs {
    /// The folder to write to
    #[arg(long)]
    pub(crate) dir: PathBuf,
    /// The database they are for
    #[arg(long)]
    pub(crate) dialect: Dialect,
    /// Only those newer than this version
    #[arg(long, value_name = "VERSION", default_value_t = 0, value_parser = value_parser!(i64).range(0..))]
    pub(crate) since: i64,
}

/// A kind of database.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Dialect {
    /// PostgreSQL
    Postgres,
    /// SQLite
    Sqlite,
}

#[derive(Subcommand)]
pub(crate) enum KeysCommand {
    /// Print a new key, and change nothing
    Generate {
        /// Its id, instead of a random one
        #[arg(long)]
        id: Option<KeyId>,
    },
    /// The keys the database knows, and how many values each sealed
    List,
}

#[derive(Args)]
pub(crate) struct InstallArgs {
    /// The provider, as `providers` names it
    pub(crate) provider: Text,
    /// What to call it [default: the provider's name]
    #[arg(long)]
    pub(crate) name: Option<Text>,
    /// A credential: `NAME=VALUE`, `NAME@FILE`, `NAME@env:VARIABLE`, or `NAME@-` for standard input
    #[arg(long = "credential", value_name = "NAME=VALUE", value_parser = SecretPair::take)]
    pub(crate) credentials: Vec<SecretPair>,
    /// A setting
    #[arg(long, value_name = "NAME=VALUE", value_parser = Pair::equals)]
    pub(crate) metadata: Vec<Pair>,
    /// Whose it is
    #[arg(long, value_name = "TYPE:ID", value_parser = values::owner)]
    pub(crate) owner: Option<Owner>,
    /// Minutes between syncs
    #[arg(long, value_name = "MINUTES", value_parser = value_parser!(i32).range(1..))]
    pub(crate) interval: Option<i32>,
    /// Go on where there is one of this name, or where it cannot be reached
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Args)]
pub(crate) struct ListArgs {
    /// Of this provider
    #[arg(long)]
    pub(crate) provider: Option<Text>,
    /// Of this owner
    #[arg(long, value_name = "TYPE:ID", value_parser = values::owner)]
    pub(crate) owner: Option<Owner>,
    /// In this state: healthy, degraded, failing or disabled
    #[arg(long, value_name = "STATE", value_parser = values::health)]
    pub(crate) health: Option<HealthStatus>,
}

#[derive(Args)]
pub(crate) struct IdArgs {
    /// The integration's number or uid
    pub(crate) id: IntegrationRef,
}

#[derive(Args)]
pub(crate) struct UpdateArgs {
    /// The integration's number or uid
    pub(crate) id: IntegrationRef,
    /// What to call it
    #[arg(long)]
    pub(crate) name: Option<Text>,
    /// A credential to set, as for `install`; an empty one is taken away
    #[arg(long = "credential", value_name = "NAME=VALUE", value_parser = SecretPair::take)]
    pub(crate) credentials: Vec<SecretPair>,
    /// A setting to set; an empty one is taken away
    #[arg(long, value_name = "NAME=VALUE", value_parser = Pair::equals)]
    pub(crate) metadata: Vec<Pair>,
    /// Minutes between syncs, or `off`
    #[arg(long, value_name = "MINUTES", value_parser = Interval::read)]
    pub(crate) interval: Option<Interval>,
}

#[derive(Args)]
pub(crate) struct RemoveArgs {
    /// The integration's number or uid
    pub(crate) id: IntegrationRef,
    /// Remove it although calls are on file whose outcome nobody knows
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Args)]
pub(crate) struct TestArgs {
    /// The integration's number or uid; all of them where it is left out
    pub(crate) id: Option<IntegrationRef>,
}

#[derive(Args)]
pub(crate) struct RequestArgs {
    /// The integration's number or uid
    pub(crate) id: IntegrationRef,
    /// The method, such as GET
    #[arg(value_parser = values::method)]
    pub(crate) method: http::Method,
    /// The path; `{name}` is one of the integration's settings
    pub(crate) endpoint: String,
    /// A pair of the query
    #[arg(long, value_name = "NAME=VALUE", value_parser = Pair::equals)]
    pub(crate) query: Vec<Pair>,
    /// The body: JSON, `@FILE`, or `@-` for standard input
    #[arg(long, value_name = "JSON")]
    pub(crate) data: Option<Text>,
    /// A header
    #[arg(long, value_name = "NAME:VALUE", value_parser = Pair::colon)]
    pub(crate) header: Vec<Pair>,
}

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct RequestsArgs {
    #[command(subcommand)]
    pub(crate) command: Option<RequestsCommand>,
    /// Of this integration
    #[arg(long, value_name = "ID")]
    pub(crate) integration: Option<IntegrationRef>,
    /// success, failed, upstream, throttle, client, unknown, a status such as 404, or 4xx
    #[arg(long, value_parser = Status::read)]
    pub(crate) status: Option<Status>,
    /// No older than this, such as 15m, 24h or 7d
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    pub(crate) since: Option<Duration>,
    /// At most so many
    #[arg(long, default_value_t = 50, value_parser = value_parser!(u32).range(1..=1000))]
    pub(crate) limit: u32,
    /// Go on with calls as they are made, the oldest first
    #[arg(long)]
    pub(crate) follow: bool,
}

#[derive(Subcommand)]
pub(crate) enum RequestsCommand {
    /// Everything about one call
    Show {
        /// Its number
        #[arg(value_parser = values::request_id)]
        id: RequestId,
    },
}

#[derive(Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub(crate) shell: Shell,
}
