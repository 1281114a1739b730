//! Wake-ups: within the process at once; of other processes by looking whether the file changed.

use std::{convert::Infallible, sync::Arc, time::Duration};

use integrations_core::{
    time::{Clock as _, later},
    wake::{LocalWake, Wake, WakeChannel, WakeListener},
};
use integrations_store_sql::{clock::SystemClock, wake::SharedWake};
use sqlx::{ConnectOptions as _, SqliteConnection, sqlite::SqliteConnectOptions};

/// How often to look whether somebody wrote to the file. A look reads no page of it.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How long to wait after the file could not be opened or read.
const AFTER_A_FAILURE: Duration = Duration::from_secs(1);

/// Rings for those who share the file.
#[derive(Debug)]
pub(crate) struct SqliteWake(SharedWake);

impl SqliteWake {
    /// For the file that `options` open.
    pub(crate) fn new(options: Arc<SqliteConnectOptions>) -> Self {
        Self(SharedWake::new(move |local| {
            Box::pin(relay(Arc::clone(&options), local))
        }))
    }
}

impl Wake for SqliteWake {
    /// Other processes see the commit itself.
    fn ring(&self, channel: WakeChannel) {
        self.0.ring(channel);
    }

    fn listen(&self, channel: WakeChannel) -> Box<dyn WakeListener> {
        self.0.listen(channel)
    }
}

async fn relay(options: Arc<SqliteConnectOptions>, local: Arc<LocalWake>) {
    let clock = SystemClock::new();
    loop {
        let Err(error) = look(&options, &local, clock).await;
        tracing::debug!(?error, "changes by other processes are not seen");
        clock.sleep_until(later(clock.now(), AFTER_A_FAILURE)).await;
    }
}

/// Rings whenever anybody else committed to the file, whatever it was.
async fn look(
    options: &SqliteConnectOptions,
    local: &LocalWake,
    clock: SystemClock,
) -> Result<Infallible, sqlx::Error> {
    let mut connection = options.connect().await?;
    let mut seen = version(&mut connection).await?;
    // What was committed before this first look.
    local.ring_all();
    loop {
        clock.sleep_until(later(clock.now(), LOOK_EVERY)).await;
        let now = version(&mut connection).await?;
        if now != seen {
            seen = now;
            local.ring_all();
        }
    }
}

/// Changes with every commit of another connection.
async fn version(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("PRAGMA data_version")
        .fetch_one(connection)
        .await
}
