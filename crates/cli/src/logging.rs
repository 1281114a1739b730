//! Traces on standard error.

use std::io::{self, Write};

use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

use crate::{
    args::{Args, Command},
    output::escape,
};

/// How much is told, unless `RUST_LOG` says otherwise.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Verbosity {
    /// Errors.
    Quiet,
    /// Warnings too.
    Usual,
    /// What a server answers too.
    Serving,
    /// What the layer does, step by step.
    Verbose,
}

impl Verbosity {
    pub(crate) const fn of(args: &Args) -> Self {
        match (args.global.quiet, args.global.verbose, &args.command) {
            (true, ..) => Self::Quiet,
            (_, true, _) => Self::Verbose,
            (.., Command::Serve(_)) => Self::Serving,
            _ => Self::Usual,
        }
    }

    const fn directives(self) -> &'static str {
        match self {
            Self::Quiet => "error",
            Self::Usual => "warn",
            Self::Serving => "warn,integrations=info",
            // Everything of ours begins with this.
            Self::Verbose => "warn,integrations=debug",
        }
    }
}

/// Begins to write traces. The error says what is wrong with `RUST_LOG`.
pub(crate) fn start(verbosity: Verbosity) -> Result<(), String> {
    let asked = std::env::var("RUST_LOG")
        .ok()
        .filter(|text| !text.trim().is_empty());
    let directives = asked.as_deref().unwrap_or(verbosity.directives());
    let filter = EnvFilter::try_new(directives)
        .map_err(|error| format!("RUST_LOG cannot be read: {error}"))?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(SafeStderr);
    // An application that embeds the command may have set up traces of its own.
    let _ = subscriber.try_init();
    Ok(())
}

/// Standard error, with what others sent made safe. Each event is written in one piece.
struct SafeStderr;

impl<'a> MakeWriter<'a> for SafeStderr {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self
    }
}

impl Write for SafeStderr {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        writeln!(io::stderr().lock(), "{}", escape::line(text))?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().lock().flush()
    }
}
