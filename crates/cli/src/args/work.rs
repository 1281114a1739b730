//! What the commands take that sync, deliver and prune.

use std::{net::SocketAddr, time::Duration};

use clap::{Args, Subcommand, value_parser};
use integrations::{id::SyncItemId, integration::IntegrationRef, sync::ItemStatus};

use super::values::{self, Text};
use crate::sinks::SinkTarget;

#[derive(Args)]
pub(crate) struct SyncArgs {
    /// The integrations' numbers or uids
    #[arg(conflicts_with = "all")]
    pub(crate) ids: Vec<IntegrationRef>,
    /// All that can be synced
    #[arg(long)]
    pub(crate) all: bool,
    /// Look at everything, from the beginning
    #[arg(long)]
    pub(crate) full: bool,
    /// Only this stream
    #[arg(long)]
    pub(crate) stream: Option<Text>,
    /// Deliver the items, too: `stdout`, `ndjson:FILE` or `http:URL`
    #[arg(long, value_parser = SinkTarget::read)]
    pub(crate) sink: Option<SinkTarget>,
    /// Return once the runs have ended
    #[arg(long)]
    pub(crate) wait: bool,
}

#[derive(Args)]
pub(crate) struct WorkerArgs {
    /// Items delivered at once
    #[arg(long, value_name = "N", value_parser = values::count)]
    pub(crate) concurrency: Option<usize>,
    /// Where items go: `stdout`, `ndjson:FILE` or `http:URL`
    #[arg(long, value_parser = SinkTarget::read)]
    pub(crate) sink: Option<SinkTarget>,
    /// Only items of this kind; may be given several times
    #[arg(long = "kind", value_name = "KIND")]
    pub(crate) kinds: Vec<Text>,
    /// Answer /health/live, /health/ready and /metrics here
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<SocketAddr>,
}

#[derive(Subcommand)]
pub(crate) enum ItemsCommand {
    /// What there is, the newest first
    List(ItemsListArgs),
    /// Queue a failed item again, with all attempts
    Retry {
        /// Its number
        #[arg(value_parser = values::item_id)]
        id: SyncItemId,
    },
    /// Let an item go, so that it no longer holds the cursor
    Skip {
        /// Its number
        #[arg(value_parser = values::item_id)]
        id: SyncItemId,
        /// Why, for those who look later
        #[arg(long)]
        reason: Option<Text>,
    },
}

#[derive(Args)]
pub(crate) struct ItemsListArgs {
    /// In this state: pending, processing, success, failed or skipped
    #[arg(long, value_name = "STATE", value_parser = values::item_status)]
    pub(crate) status: Option<ItemStatus>,
    /// Of this integration
    #[arg(long, value_name = "ID")]
    pub(crate) integration: Option<IntegrationRef>,
    /// At most so many
    #[arg(long, default_value_t = 50, value_parser = value_parser!(u32).range(1..=1000))]
    pub(crate) limit: u32,
}

#[derive(Args)]
pub(crate) struct AdvanceCursorArgs {
    /// The integration's number or uid
    pub(crate) id: IntegrationRef,
    /// End leases that ran out first
    #[arg(long)]
    pub(crate) reclaim_stale: bool,
}

#[derive(Args)]
pub(crate) struct PruneArgs {
    /// Count, and delete nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Delete what is older than this, such as 30d, instead of what `[retention]` says
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    pub(crate) older_than: Option<Duration>,
}
