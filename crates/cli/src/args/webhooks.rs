//! `webhooks` and what it takes.

use std::{str::FromStr, time::Duration};

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand, value_parser};
use integrations::{
    id::WebhookId, integration::IntegrationRef, time::earlier, value::ProviderKey,
    webhook::WebhookStatus,
};

use super::values;

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct WebhooksArgs {
    #[command(subcommand)]
    pub(crate) command: Option<WebhooksCommand>,
    #[command(flatten)]
    pub(crate) list: WebhookListArgs,
}

#[derive(Args)]
pub(crate) struct WebhookListArgs {
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
    /// Deliveries, as without a subcommand
    List(WebhookListArgs),
    /// Everything about one delivery, its body as it came
    Show {
        /// Its number
        #[arg(value_parser = webhook_id)]
        id: WebhookId,
    },
    /// Have deliveries processed again: those named, or all that a filter selects
    Replay(ReplayArgs),
    /// Queue deliveries again that were parked or abandoned
    Recover,
}

#[derive(Args)]
pub(crate) struct ReplayArgs {
    /// Their numbers
    #[arg(value_parser = webhook_id, required_unless_present = "filter")]
    pub(crate) ids: Vec<WebhookId>,
    #[command(flatten)]
    pub(crate) bulk: BulkArgs,
}

#[derive(Args)]
pub(crate) struct BulkArgs {
    /// All, but for duplicates, with this: integration=ID, provider=KEY, status=STATE, event=TYPE,
    /// delivery=ID, since=24h or a time, until=1h or a time; several narrow each other
    #[arg(long, value_name = "NAME=VALUE", value_parser = Condition::read, conflicts_with = "ids")]
    pub(crate) filter: Vec<Condition>,
    /// Queue so many a second
    #[arg(
        long,
        value_name = "N",
        default_value_t = 100,
        requires = "filter",
        conflicts_with = "ids"
    )]
    #[arg(value_parser = value_parser!(u32).range(1..=10_000))]
    pub(crate) per_second: u32,
    /// Show what would be queued, and queue nothing
    #[arg(long, requires = "filter", conflicts_with_all = ["yes", "ids"])]
    pub(crate) dry_run: bool,
    /// Do not ask
    #[arg(long, requires = "filter", conflicts_with = "ids")]
    pub(crate) yes: bool,
}

/// What a filter asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    Integration(IntegrationRef),
    Provider(ProviderKey),
    Status(WebhookStatus),
    Event(String),
    Delivery(String),
    Since(Moment),
    Until(Moment),
}

/// A time, or how long ago it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    At(DateTime<Utc>),
    Ago(Duration),
}

impl Condition {
    fn read(text: &str) -> Result<Self, String> {
        const EXPECTED: &str = "expected integration=, provider=, status=, event=, delivery=, \
                                since= or until= and a value";
        let (name, value) = text.split_once('=').ok_or(EXPECTED)?;
        if value.is_empty() {
            return Err(EXPECTED.to_owned());
        }
        Ok(match name {
            "integration" => Self::Integration(read(value)?),
            "provider" => Self::Provider(read(value)?),
            "status" => Self::Status(status(value)?),
            "event" => Self::Event(value.to_owned()),
            "delivery" => Self::Delivery(value.to_owned()),
            "since" => Self::Since(Moment::read(value)?),
            "until" => Self::Until(Moment::read(value)?),
            _ => return Err(EXPECTED.to_owned()),
        })
    }
}

fn read<T: FromStr<Err: ToString>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

impl Moment {
    fn read(text: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str =
            "expected a time such as 2026-01-31T12:00:00Z, or how long ago it is, such as 24h";
        if let Ok(at) = text.parse() {
            return Ok(Self::At(at));
        }
        values::duration(text).map(Self::Ago).map_err(|_| EXPECTED)
    }

    pub(crate) fn before(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::At(at) => at,
            Self::Ago(ago) => earlier(now, ago),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_a_name_and_a_value() {
        assert_eq!(
            Condition::read("event=issues=x"),
            Ok(Condition::Event("issues=x".to_owned()))
        );
        assert_eq!(
            Condition::read("status=failed"),
            Ok(Condition::Status(WebhookStatus::Failed))
        );
        let at = "2026-01-31T12:00:00Z".parse().unwrap();
        let since = Condition::read("since=2026-01-31T12:00:00Z");
        assert_eq!(since, Ok(Condition::Since(Moment::At(at))));
        let ago = Moment::Ago(Duration::from_hours(24));
        assert_eq!(Condition::read("until=24h"), Ok(Condition::Until(ago)));
        assert_eq!(ago.before(at).to_rfc3339(), "2026-01-30T12:00:00+00:00");
        for wrong in [
            "failed",
            "status=lost",
            "since=yesterday",
            "event=",
            "name=x",
            "provider=a b",
            "integration=x",
        ] {
            assert!(Condition::read(wrong).is_err(), "{wrong} was accepted");
        }
    }
}
