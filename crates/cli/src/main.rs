//! The `integrations` command with the providers that come with it.

use std::process::ExitCode;

use integrations::providers::github::Github;
use integrations_cli::Cli;

#[tokio::main]
async fn main() -> ExitCode {
    Cli::new().provider(Github::default()).run().await
}
