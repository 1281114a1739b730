//! At most once: a key reserved for the length of a call, and what becomes of it.
//!
//! The reservation is a lease of a minute that is renewed while the call goes on, gates, waits and
//! retries included. When it is not ended, because the process died, it runs out and reads as
//! unknown: nobody sends again by themselves.

use std::{
    convert::Infallible,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use futures::future::{Either, select};

use crate::{
    client::{CallError, CallErrorKind, Shared, connection::Connection, kept},
    encryptor::{DigestPurpose, KeyedDigest, SealContext, Sealed, SealedColumn},
    entropy::{EntropyError, EntropyExt as _},
    id::Uid,
    idempotency::{
        Completion, KeyedOutcome, NewReservation, Reservation, ReservationRecord, ReservationRef,
    },
    provider::Effect,
    time::later,
    value::IdempotencyKey,
};

/// How long a reservation lasts that is not renewed.
const LEASE: Duration = Duration::from_mins(1);

/// How often it is renewed.
const RENEWAL: Duration = Duration::from_secs(20);

/// A key that is this call's.
pub(super) struct Held {
    shared: Arc<Shared>,
    connection: Arc<Connection>,
    reservation: ReservationRef,
    /// What the answer is sealed for.
    uid: Uid,
    /// Whether an attempt so far may have happened.
    in_doubt: AtomicBool,
    /// Whether somebody else decided about the key meanwhile.
    lost: AtomicBool,
    ended: AtomicBool,
}

/// What came of a claim on a key.
pub(super) enum Claim {
    /// It is this call's.
    Ours(Held),
    /// It was used, and this is what is known of it.
    Done(Box<ReservationRecord>),
}

impl Shared {
    /// Claims a key for a request of this `fingerprint`, its bytes in a form that is the same for
    /// the same request.
    pub(super) async fn claim(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        key: &IdempotencyKey,
        native: bool,
        fingerprint: &[u8],
    ) -> Result<Claim, CallError> {
        let encryptor = &self.keys.encryptor;
        let digests = encryptor.digests(DigestPurpose::Fingerprint, fingerprint);
        let digests = digests.await.map_err(|error| {
            CallError::new(
                CallErrorKind::Credentials,
                format!("the request could not be fingerprinted: {error}"),
            )
            .with_source(error)
        })?;
        let now = self.ports.clock.now();
        let (uid, token) = self.two_uids().map_err(CallError::entropy)?;
        let mut claim = NewReservation {
            uid,
            reservation: ReservationRef {
                integration_id: connection.integration.id,
                key: key.clone(),
                token,
            },
            fingerprints: digests.iter().map(KeyedDigest::to_bytes).collect(),
            reserved_until: later(now, LEASE),
            retry_unknown: false,
            now,
        };
        let mut answer = self.reserve(&claim).await?;
        let mut uid = uid;
        let mut in_doubt = false;
        if let Reservation::Unknown(record) = &answer
            && native
            && remembered(connection, record.created_at, now)
        {
            // The provider knows whether it happened, and will not do it again.
            uid = record.uid;
            claim.uid = uid;
            in_doubt = true;
            claim.retry_unknown = true;
            answer = self.reserve(&claim).await?;
        }
        match answer {
            Reservation::Acquired(_) => Ok(Claim::Ours(Held {
                shared: Arc::clone(self),
                connection: Arc::clone(connection),
                reservation: claim.reservation,
                uid,
                in_doubt: AtomicBool::new(in_doubt),
                lost: AtomicBool::new(false),
                ended: AtomicBool::new(false),
            })),
            Reservation::Succeeded(record) => Ok(Claim::Done(record)),
            Reservation::Held { until } => Err(CallError::new(
                CallErrorKind::KeyInFlight,
                format!("a call under this key is under way; it counts as lost at {until}"),
            )
            .with_retry_at(Some(until))),
            Reservation::Unknown(record) => Err(CallError::new(
                CallErrorKind::KeyUnknown,
                "a call under this key may have happened, and nobody knows; resolve the key before \
                 it is used again",
            )
            .with_record(record)),
            Reservation::Mismatch(record) => Err(CallError::new(
                CallErrorKind::KeyMismatch,
                "this key was used for a different request; use another key",
            )
            .with_record(record)),
        }
    }

    async fn reserve(&self, claim: &NewReservation) -> Result<Reservation, CallError> {
        self.ports.ledger.reserve(claim).await.map_err(|error| {
            CallError::new(
                CallErrorKind::Store,
                format!("the key could not be reserved: {error}"),
            )
            .with_source(error)
        })
    }

    /// Ends a reservation without an attempt to record.
    fn complete(self: &Arc<Self>, completion: Completion) -> impl Future<Output = ()> + use<> {
        let journal = Arc::clone(&self.ports.journal);
        async move {
            if let Err(error) = journal.complete(&[completion]).await {
                tracing::warn!(%error, "a reservation was not ended, and will read as unknown");
            }
        }
    }

    fn two_uids(&self) -> Result<(Uid, Uid), EntropyError> {
        Ok((self.keys.entropy.uid()?, self.keys.entropy.uid()?))
    }

    /// The answer on file for a key, where there is one.
    pub(super) async fn recorded(
        &self,
        connection: &Connection,
        record: Box<ReservationRecord>,
    ) -> Result<kept::Kept, CallError> {
        let done = |message: &str| CallError::new(CallErrorKind::KeyDone, message);
        let Some(sealed) = &record.sealed_answer else {
            let message = "the call under this key succeeded; its answer was not kept";
            return Err(done(message).with_record(record));
        };
        let context = seal_context(connection, record.uid);
        let opened = match self.keys.encryptor.open(&context, sealed).await {
            Ok(opened) => opened,
            Err(error) => {
                let message = "the call under this key succeeded; its answer does not open";
                return Err(done(message).with_record(record).with_source(error));
            }
        };
        let Some(kept) = kept::Kept::read(&opened) else {
            let message = "the call under this key succeeded; its answer cannot be read";
            return Err(done(message).with_record(record));
        };
        // Somebody found out that an attempt had been acted on, whatever it was answered.
        if kept.status.is_client_error() || kept.status.is_server_error() {
            let message = "the call under this key succeeded; what is on file is another answer";
            return Err(done(message).with_record(record));
        }
        Ok(kept)
    }
}

/// Whether the provider still knows a key that was first used at `since`.
fn remembered(connection: &Connection, since: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    let native = connection.registered.provider.native_idempotency();
    native.is_some_and(|native| now < later(since, native.remembers_for()))
}

fn seal_context(connection: &Connection, uid: Uid) -> SealContext {
    SealContext {
        column: SealedColumn::LedgerAnswer,
        uid,
        provider: connection.integration.provider.clone(),
    }
}

impl Held {
    /// Whether somebody else decided about the key, so that nothing more may be sent under it.
    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// Keeps the reservation alive while `work` goes on.
    pub(super) async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        match select(pin!(work), pin!(self.renew())).await {
            Either::Left((done, _)) => done,
            Either::Right((never, _)) => match never {},
        }
    }

    async fn renew(&self) -> Infallible {
        let clock = &self.shared.ports.clock;
        let mut next = later(clock.now(), RENEWAL);
        loop {
            clock.sleep_until(next).await;
            let now = clock.now();
            next = later(now, RENEWAL);
            let until = later(now, LEASE);
            match self
                .shared
                .ports
                .ledger
                .renew(&self.reservation, until, now)
                .await
            {
                Ok(true) => {}
                Ok(false) => {
                    self.lost.store(true, Ordering::Relaxed);
                    return std::future::pending().await;
                }
                Err(error) => tracing::warn!(%error, "a reservation could not be renewed"),
            }
        }
    }

    /// Notes what an attempt came to that another will follow.
    pub(super) fn note(&self, effect: Effect) {
        if effect == Effect::Unknown {
            self.in_doubt.store(true, Ordering::Relaxed);
        }
    }

    /// How the key ends with the call's last attempt: the worst of all attempts decides.
    pub(super) async fn completion(
        &self,
        effect: Effect,
        status_code: Option<u16>,
        answer: Option<kept::Kept>,
    ) -> Completion {
        self.note(effect);
        let in_doubt = self.in_doubt.load(Ordering::Relaxed);
        let outcome = match effect {
            Effect::Happened => KeyedOutcome::Succeeded {
                status_code,
                answer: self.sealed(answer).await,
            },
            _ if in_doubt => KeyedOutcome::Unknown {
                status_code,
                answer: self.sealed(answer).await,
            },
            _ => KeyedOutcome::DidNotHappen,
        };
        self.ending(outcome)
    }

    /// How the key ends when the caller goes away, with an attempt under way or between attempts.
    pub(super) fn abandoned(&self, under_way: bool) -> Completion {
        let in_doubt = under_way || self.in_doubt.load(Ordering::Relaxed);
        self.ending(if in_doubt {
            KeyedOutcome::Unknown {
                status_code: None,
                answer: None,
            }
        } else {
            KeyedOutcome::DidNotHappen
        })
    }

    /// Ends the key of a call that goes no further, its attempts recorded already or none made.
    pub(super) async fn give_up(&self) {
        let ending = self.shared.complete(self.abandoned(false));
        // On a task, so that a caller that goes away now does not leave the key behind.
        if self.shared.background.spawn(ending).await.is_err() {
            tracing::warn!("a reservation was not ended, and will read as unknown");
        }
    }

    fn ending(&self, outcome: KeyedOutcome) -> Completion {
        self.ended.store(true, Ordering::Relaxed);
        Completion {
            reservation: self.reservation.clone(),
            outcome,
            now: self.shared.ports.clock.now(),
        }
    }

    /// The answer, sealed. A failing key service costs the copy, and nothing else (INV-01).
    async fn sealed(&self, answer: Option<kept::Kept>) -> Option<Sealed> {
        let plain = answer?.write()?;
        let context = seal_context(&self.connection, self.uid);
        let sealed = self.shared.keys.encryptor.seal(&context, &plain).await;
        sealed
            .inspect_err(|error| tracing::error!(%error, "an answer could not be kept for its key"))
            .ok()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.ended.load(Ordering::Relaxed) {
            return;
        }
        let ending = self.shared.complete(self.abandoned(false));
        self.shared
            .background
            .spawn_from_drop("ending a reservation", ending);
    }
}
