//! Signals to stop.

use std::io;

use integrations::work::Stop;

/// Gives `stop` on the first SIGTERM or SIGINT, and answers on the second.
pub(crate) async fn on_signals(stop: &Stop) -> io::Result<()> {
    for _ in 0..2 {
        signalled().await?;
        stop.stop();
    }
    Ok(())
}

#[cfg(unix)]
async fn signalled() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut term, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

#[cfg(not(unix))]
async fn signalled() -> io::Result<()> {
    tokio::signal::ctrl_c().await
}
