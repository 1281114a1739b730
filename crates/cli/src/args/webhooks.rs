//! `webhooks` and what it takes.

use std::time::Duration;

use clap::{Args, Subcommand, value_parser};
use integrations::{id::WebhookId, integration::IntegrationRef, webhook::WebhookStatus};

use super::values;

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct WebhooksArgs {
    #[command(subcommand)]
    pub(crate) command: Option<WebhooksCommand>,
    /// Of this integration
    #[arg(long, value_name = "ID")]
    pub(crate) integration: Option<IntegrationRef>,
    /// pending, processing, processed or failed
    #[arg(long, value_parser = status)]
    pub(crate) status: Option<WebhookStatus>,
    /// No older than this, such as 15m, 24h or 7d
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    pub(crate) since: Option<Duration>,
    /// At most so many
    #[arg(long, default_value_t = 50, value_parser = value_parser!(u32).range(1..=1000))]
    pub(crate) limit: u32,
    /// Go on with deliveries as they come, the oldest first
    #[arg(long)]
    pub(crate) follow: bool,
}

#[derive(Subcommand)]
pub(crate) enum WebhooksCommand {
    /// Everything about one delivery, its body as it came
    Show {
        /// Its number
        #[arg(value_parser = webhook_id)]
        id: WebhookId,
    },
    /// Have deliveries processed again
    Replay(ReplayArgs),
    /// Queue deliveries again that were parked or abandoned
    Recover,
}

#[derive(Args)]
pub(crate) struct ReplayArgs {
    /// Their numbers
    #[arg(value_parser = webhook_id, required = true)]
    pub(crate) ids: Vec<WebhookId>,
}

fn webhook_id(text: &str) -> Result<WebhookId, &'static str> {
    match text.parse() {
        Ok(id) if id >= 1 => Ok(WebhookId(id)),
        _ => Err("expected the number of a delivery"),
    }
}

/// Reads a state that this version knows.
fn status(text: &str) -> Result<WebhookStatus, String> {
    if WebhookStatus::KNOWN.contains(&text) {
        return Ok(text.into());
    }
    Err(format!(
        "expected one of {}",
        WebhookStatus::KNOWN.join(", ")
    ))
}
