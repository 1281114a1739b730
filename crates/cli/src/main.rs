//! The `integrations` command with the providers that come with it.

use std::process::ExitCode;

use integrations::providers::{
    github::Github, postmark::Postmark, stripe::Stripe, webhook::Webhook, zendesk::Zendesk,
};
use integrations_cli::Cli;

#[tokio::main]
async fn main() -> ExitCode {
    Cli::new()
        .provider(Github::default())
        .provider(Postmark::default())
        .provider(Stripe::default())
        .provider(Webhook::default())
        .provider(Zendesk::default())
        .run()
        .await
}
