//! Connections that go from hand to hand.
//!
//! A pool tests each connection that comes back, on a task of its own: a round trip per use, during
//! which the connection is nobody's. A connection that was left between two statements, in no
//! transaction, needs no test. It is kept here for whoever comes next, unless somebody waits for
//! the pool, and goes back at its first use after a minute, so that the pool's rules about its age
//! hold.

use std::{
    fmt,
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sqlx_core::{
    Error,
    connection::Connection as _,
    database::Database,
    pool::{Pool, PoolConnection},
};
use tokio::{sync::MappedMutexGuard, time::Instant};

/// How long a connection stays away from its pool.
const AWAY: Duration = Duration::from_mins(1);

/// A connection that a session works on.
pub trait Held {
    /// A statement begins: until it [ended well](Self::ended), nobody knows where it stands.
    fn begins(&mut self) {}

    /// A transaction begins. Where that does not [end well](Self::ended), the server may have begun
    /// it, and taken its locks, while the driver knows of none and rolls nothing back.
    fn begins_transaction(&mut self) {}

    /// What began ended well.
    fn ended(&mut self) {}
}

/// A caller's own connection is looked after by its owner.
impl<T> Held for MappedMutexGuard<'_, T> {}

/// A pool, and connections of it that nobody has given back yet.
pub struct AtHand<DB: Database> {
    pool: Pool<DB>,
    shelf: Option<Arc<Shelf<DB>>>,
}

struct Shelf<DB: Database>(Mutex<State<DB>>);

struct State<DB: Database> {
    kept: Vec<Away<DB>>,
    /// How many wait for the pool, who would not see what is kept here.
    waiting: usize,
}

/// A connection, and since when the pool has not seen it.
struct Away<DB: Database> {
    connection: PoolConnection<DB>,
    since: Instant,
}

impl<DB: Database> fmt::Debug for AtHand<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AtHand").finish_non_exhaustive()
    }
}

impl<DB: Database> Clone for AtHand<DB> {
    fn clone(&self) -> Self {
        Self {
            pool: self.pool.clone(),
            shelf: self.shelf.clone(),
        }
    }
}

impl<DB: Database> AtHand<DB> {
    /// Keeps connections of a pool that is nobody else's.
    #[must_use]
    pub fn keeping(pool: Pool<DB>) -> Self {
        let state = State {
            kept: Vec::new(),
            waiting: 0,
        };
        Self {
            pool,
            shelf: Some(Arc::new(Shelf(Mutex::new(state)))),
        }
    }

    /// Gives each connection back at once, to a pool that others use too.
    #[must_use]
    pub fn sharing(pool: Pool<DB>) -> Self {
        Self { pool, shelf: None }
    }

    /// The pool.
    #[must_use]
    pub const fn pool(&self) -> &Pool<DB> {
        &self.pool
    }

    /// Takes a connection.
    ///
    /// # Errors
    ///
    /// Returns the pool's error when there is none to be had in time.
    pub async fn take(&self) -> Result<Taken<DB>, Error> {
        let away = match self.shelf.as_ref().map(|shelf| shelf.take()) {
            Some(Ok(away)) => away,
            // The place among those who wait is held until there is a connection.
            Some(Err(_waiting)) => self.acquire().await?,
            None => self.acquire().await?,
        };
        Ok(Taken {
            away: Some(away),
            shelf: self.shelf.clone(),
            is_clean: true,
            may_have_begun: false,
        })
    }

    async fn acquire(&self) -> Result<Away<DB>, Error> {
        Ok(Away {
            connection: self.pool.acquire().await?,
            since: Instant::now(),
        })
    }
}

impl<DB: Database> Shelf<DB> {
    fn state(&self) -> MutexGuard<'_, State<DB>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection, or a place among those who wait for the pool.
    fn take(&self) -> Result<Away<DB>, Waiting<'_, DB>> {
        let mut state = self.state();
        state.kept.retain(|away| away.since.elapsed() < AWAY);
        state.kept.pop().ok_or_else(|| {
            state.waiting += 1;
            Waiting(self)
        })
    }

    /// Keeps a connection, or gives it back where the pool should see it.
    fn put(&self, away: Away<DB>) {
        let mut state = self.state();
        if state.waiting == 0 && away.since.elapsed() < AWAY {
            state.kept.push(away);
        }
    }
}

/// Somebody waits for the pool.
struct Waiting<'a, DB: Database>(&'a Shelf<DB>);

impl<DB: Database> Drop for Waiting<'_, DB> {
    fn drop(&mut self) {
        self.0.state().waiting -= 1;
    }
}

impl<DB: Database> Drop for State<DB> {
    fn drop(&mut self) {
        // A connection goes back by a task, which needs a runtime. Without one it is closed.
        if tokio::runtime::Handle::try_current().is_err() {
            for away in self.kept.drain(..) {
                drop(away.connection.detach());
            }
        }
    }
}

/// A connection that was taken. Dropping it gives it back.
pub struct Taken<DB: Database> {
    /// `None` only once it is dropped.
    away: Option<Away<DB>>,
    shelf: Option<Arc<Shelf<DB>>>,
    /// Whether no statement is under way, and none failed.
    is_clean: bool,
    /// Whether it may be in a transaction that the driver does not know of.
    may_have_begun: bool,
}

impl<DB: Database> fmt::Debug for Taken<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Taken").finish_non_exhaustive()
    }
}

impl<DB: Database> Held for Taken<DB> {
    fn begins(&mut self) {
        self.is_clean = false;
    }

    fn begins_transaction(&mut self) {
        self.is_clean = false;
        self.may_have_begun = true;
    }

    fn ended(&mut self) {
        self.is_clean = true;
        self.may_have_begun = false;
    }
}

#[expect(clippy::expect_used, reason = "only `drop` takes it out")]
impl<DB: Database> Deref for Taken<DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &DB::Connection {
        &self.away.as_ref().expect("a connection").connection
    }
}

#[expect(clippy::expect_used, reason = "only `drop` takes it out")]
impl<DB: Database> DerefMut for Taken<DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        &mut self.away.as_mut().expect("a connection").connection
    }
}

impl<DB: Database> Drop for Taken<DB> {
    fn drop(&mut self) {
        let Some(away) = self.away.take() else {
            return;
        };
        if self.may_have_begun {
            // Closing it ends what the server may have begun; a pool would hand that on.
            drop(away.connection.detach());
            return;
        }
        let Some(home) = &self.shelf else {
            return;
        };
        if self.is_clean && !away.connection.is_in_transaction() {
            home.put(away);
        }
    }
}
