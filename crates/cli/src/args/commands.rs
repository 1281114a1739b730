//! The commands and what each takes.

use std::{path::PathBuf, time::Duration};

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand, ValueEnum, value_parser};
use clap_complete::Shell;
use integrations::{
    id::{LogId, RequestId},
    idempotency::ReservationState,
    integration::{HealthStatus, IntegrationRef, Owner},
    value::{IdempotencyKey, KeyId},
};

use super::{
    serve::ServeArgs,
    values::{self, Interval, Pair, SecretPair, Status, Text},
    webhooks::WebhooksArgs,
    work::{AdvanceCursorArgs, ItemsCommand, PruneArgs, SyncArgs, WorkerArgs},
};

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
    /// Switch off: calls, syncs and webhooks are refused until it is enabled, by servers that run
    /// within a second or so
    Disable(DisableArgs),
    /// Wipe the credentials, stop all work, and delete its rows
    Remove(RemoveArgs),
    /// Try whether the credentials work
    Test(TestArgs),
    /// Make one call and print the answer
    Request(RequestArgs),
    /// The calls that were made
    Requests(RequestsArgs),
    /// What was done, as a tree
    Logs(LogsArgs),
    /// The circuit of an integration: how it stands, and holding it open or closed
    Circuit(CircuitArgs),
    /// The budgets of an integration: what is used, and setting another
    RateLimit(RateLimitArgs),
    /// The keys of at-most-once calls
    #[command(subcommand)]
    Idempotency(IdempotencyCommand),
    /// The webhooks that were received
    Webhooks(WebhooksArgs),
    /// Receive webhooks until stopped
    Serve(ServeArgs),
    /// Enumerate integrations now: those named, all of them, or what is due
    Sync(SyncArgs),
    /// Schedule syncs and deliver their items, until it is stopped
    Worker(WorkerArgs),
    /// The items of syncs, and what to do about them
    #[command(subcommand)]
    Items(ItemsCommand),
    /// Look again how far the cursors may go
    AdvanceCursor(AdvanceCursorArgs),
    /// Delete what is past its age
    Prune(PruneArgs),
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
pub(crate) struct DisableArgs {
    /// The integration's number or uid
    pub(crate) id: IntegrationRef,
    /// Take its webhooks all the same, and process them once it is enabled
    #[arg(long)]
    pub(crate) pause: bool,
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
    /// Make it at most once under this key, of 1 to 191 characters
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<IdempotencyKey>,
    /// Take an answer of at most so many seconds from the cache, and keep a new one as long
    #[arg(long, value_name = "SECONDS")]
    pub(crate) cache: Option<u64>,
    /// Take an older one where the call fails
    #[arg(long, requires = "cache")]
    pub(crate) serve_stale: bool,
    /// Make at most so many attempts
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    pub(crate) attempts: Option<u32>,
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
    /// Before this instant
    #[arg(long, value_name = "TIME", conflicts_with = "follow")]
    pub(crate) until: Option<DateTime<Utc>>,
    /// To this endpoint, as it is listed
    #[arg(long)]
    pub(crate) endpoint: Option<Text>,
    /// With this method
    #[arg(long, value_parser = values::method)]
    pub(crate) method: Option<http::Method>,
    /// Under this idempotency key
    #[arg(long)]
    pub(crate) key: Option<IdempotencyKey>,
    /// With this id of the provider
    #[arg(long, value_name = "ID")]
    pub(crate) provider_request: Option<Text>,
    /// This first attempt and its retries
    #[arg(long, value_name = "ID", value_parser = values::request_id)]
    pub(crate) chain: Option<RequestId>,
    /// About this entity of the application, or all of a type
    #[arg(long, value_name = "TYPE[:ID]", value_parser = values::Related::read)]
    pub(crate) related: Option<values::Related>,
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
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct LogsArgs {
    #[command(subcommand)]
    pub(crate) command: Option<LogsCommand>,
    /// Of this integration
    #[arg(long, value_name = "ID")]
    pub(crate) integration: Option<IntegrationRef>,
    /// success, failed, processing, or what else the application writes
    #[arg(long)]
    pub(crate) status: Option<Text>,
    /// No older than this, such as 15m, 24h or 7d
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    pub(crate) since: Option<Duration>,
    /// With this name
    #[arg(long)]
    pub(crate) operation: Option<Text>,
    /// About this id of the other system
    #[arg(long, value_name = "ID")]
    pub(crate) external_id: Option<Text>,
    /// Only those that are part of no other
    #[arg(long)]
    pub(crate) roots: bool,
    /// At most so many
    #[arg(long, default_value_t = 50, value_parser = value_parser!(u32).range(1..=1000))]
    pub(crate) limit: u32,
    /// Go on with operations as they begin, the oldest first
    #[arg(long)]
    pub(crate) follow: bool,
}

#[derive(Subcommand)]
pub(crate) enum LogsCommand {
    /// One operation and everything below it
    Show {
        /// Its number
        #[arg(value_parser = values::log_id)]
        id: LogId,
    },
}

#[derive(Args)]
pub(crate) struct CircuitArgs {
    /// The integration's number or uid
    pub(crate) id: IntegrationRef,
    #[command(subcommand)]
    pub(crate) action: CircuitAction,
}

#[derive(Subcommand)]
pub(crate) enum CircuitAction {
    /// How it stands
    Status,
    /// Reject every call
    Open(UntilArgs),
    /// Let every call pass
    Close(UntilArgs),
    /// Leave it to itself again, closed and with nothing counted
    Auto,
}

#[derive(Args)]
pub(crate) struct UntilArgs {
    /// Until this instant, such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<DateTime<Utc>>,
}

#[derive(Args)]
pub(crate) struct RateLimitArgs {
    /// The integration's number or uid
    pub(crate) id: IntegrationRef,
    #[command(subcommand)]
    pub(crate) action: RateLimitAction,
}

#[derive(Subcommand)]
pub(crate) enum RateLimitAction {
    /// What is used, and what was set
    Show,
    /// Set a budget in place of the provider's
    Set(RateLimitSet),
    /// Go back to the provider's budgets
    Clear,
}

#[derive(Args)]
pub(crate) struct RateLimitSet {
    /// So many calls
    #[arg(long, value_parser = value_parser!(u32).range(1..))]
    pub(crate) limit: u32,
    /// In each window, such as 60s or 1h
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    pub(crate) window: Duration,
    /// The window moves with the time, instead of beginning anew
    #[arg(long)]
    pub(crate) sliding: bool,
    /// Until this instant, such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<DateTime<Utc>>,
}

#[derive(Subcommand)]
pub(crate) enum IdempotencyCommand {
    /// The keys on file, the newest first
    List(KeyListArgs),
    /// What is on file for a key, the answer included
    Show {
        /// The integration's number or uid
        id: IntegrationRef,
        /// The key
        key: IdempotencyKey,
    },
    /// Settle a key whose outcome nobody knows
    Resolve(KeyResolveArgs),
    /// Let a key run again
    Release(KeyReleaseArgs),
}

#[derive(Args)]
pub(crate) struct KeyListArgs {
    /// Of this integration
    #[arg(long, value_name = "ID")]
    pub(crate) integration: Option<IntegrationRef>,
    /// In this state: reserved, succeeded or unknown
    #[arg(long, value_parser = values::reservation_state)]
    pub(crate) state: Option<ReservationState>,
    /// At most so many
    #[arg(long, default_value_t = 50, value_parser = value_parser!(u32).range(1..=1000))]
    pub(crate) limit: u32,
}

#[derive(Args)]
pub(crate) struct KeyResolveArgs {
    /// The integration's number or uid
    pub(crate) id: IntegrationRef,
    /// The key
    pub(crate) key: IdempotencyKey,
    #[command(flatten)]
    pub(crate) outcome: KeyOutcome,
    /// How that is known
    #[arg(long)]
    pub(crate) reason: Option<Text>,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct KeyOutcome {
    /// The work was done: it is never done again under this key
    #[arg(long)]
    pub(crate) succeeded: bool,
    /// It was not: the key is free
    #[arg(long)]
    pub(crate) did_not_happen: bool,
}

#[derive(Args)]
pub(crate) struct KeyReleaseArgs {
    /// The integration's number or uid
    pub(crate) id: IntegrationRef,
    /// The key
    pub(crate) key: IdempotencyKey,
    /// Also where a call is on its way, which may do the work twice
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub(crate) shell: Shell,
}
