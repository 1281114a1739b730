//! The `integrations` command, as a library.
//!
//! The plain binary knows the providers that come with the layer. An application with providers
//! of its own makes a binary of the same command with those:
//!
//! ```no_run
//! use integrations::providers::github::Github;
//! use integrations_cli::Cli;
//!
//! #[tokio::main]
//! async fn main() -> std::process::ExitCode {
//!     Cli::new().provider(Github::default()).run().await
//! }
//! ```

mod args;
mod commands;
mod config;
mod context;
mod database;
mod exit;
mod keys;
mod logging;
mod output;
mod sinks;
mod stop;
mod terminal;

use std::{fmt, process::ExitCode, sync::Arc};

use clap::Parser as _;
use integrations::provider::Provider;

use crate::{args::Args, context::Context, exit::Exit, output::Output};

/// The command, before it runs: the providers it knows.
#[derive(Clone, Default)]
#[must_use = "a command does nothing until it is run"]
pub struct Cli {
    providers: Vec<Arc<dyn Provider>>,
}

impl fmt::Debug for Cli {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<_> = self.providers.iter().map(|p| p.key()).collect();
        f.debug_struct("Cli").field("providers", &keys).finish()
    }
}

impl Cli {
    /// A command that knows no provider yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a provider. Two of one key are refused when a command needs them.
    pub fn provider(mut self, provider: impl Provider + 'static) -> Self {
        self.providers.push(Arc::new(provider));
        self
    }

    /// Does what the process's arguments say, and answers with the exit status: 0 done, 1 failed,
    /// 2 wrong usage, 3 no such row, 4 refused, 5 the database cannot be reached or does not match.
    pub async fn run(self) -> ExitCode {
        let args = match Args::try_parse() {
            Ok(args) => args,
            Err(error) => {
                // What cannot be printed cannot be reported either.
                let _ = error.print();
                return if error.use_stderr() {
                    Exit::Usage
                } else {
                    Exit::Done
                }
                .into();
            }
        };
        let output = Output::new(&args.global);
        let verbosity = logging::Verbosity::of(&args);
        if let Err(error) = logging::start(verbosity) {
            output.error(&error);
            return Exit::Usage.into();
        }
        let context = Context::new(args.global, self.providers, output);
        match Box::pin(commands::run(&context, args.command)).await {
            Ok(exit) => exit.into(),
            Err(failure) => {
                context.output.error(&failure.message);
                failure.exit.into()
            }
        }
    }
}
