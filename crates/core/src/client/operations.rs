//! Operations: what the application does on behalf of an integration, written down as a tree.

use std::{fmt, time::Duration};

use serde_json::{Map, Value as Json};

use super::{ControlError, IntegrationHandle, Shared};
use crate::{
    event::EventKind,
    id::LogId,
    integration::Integration,
    operation_log::{Direction, NewOperation, OperationEnd, OperationStatus},
    provider::Account,
    redact::Redactor,
    store::{Rejected, StoreError, StoreErrorKind},
    value::cut_chars,
};

/// The most characters of an operation's name.
const MAX_NAME: usize = 255;
/// The most characters of an external id.
const MAX_EXTERNAL_ID: usize = 500;
/// The most bytes kept of a summary or an error.
const MAX_TEXT: usize = 2_000;

/// An operation that has not been written down yet.
#[must_use = "an operation is written down when it is started or logged"]
#[derive(Clone)]
pub struct OperationDraft {
    handle: IntegrationHandle,
    name: String,
    direction: Direction,
    external_id: Option<String>,
    summary: Option<String>,
    metadata: Option<Json>,
    attempt: Option<(i16, i16)>,
    parent_id: Option<LogId>,
}

impl fmt::Debug for OperationDraft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OperationDraft")
            .field("handle", &self.handle)
            .field("name", &self.name)
            .field("parent_id", &self.parent_id)
            .finish_non_exhaustive()
    }
}

/// How an operation ends.
#[derive(Clone, Debug, PartialEq)]
pub struct OperationEnding {
    status: OperationStatus,
    summary: Option<String>,
    result: Option<Json>,
    error: Option<String>,
}

impl OperationEnding {
    const fn new(status: OperationStatus) -> Self {
        Self {
            status,
            summary: None,
            result: None,
            error: None,
        }
    }

    /// It was done.
    #[must_use]
    pub const fn success() -> Self {
        Self::new(OperationStatus::Success)
    }

    /// It was done in part.
    #[must_use]
    pub const fn partial() -> Self {
        Self::new(OperationStatus::Partial)
    }

    /// It was put off.
    #[must_use]
    pub const fn deferred() -> Self {
        Self::new(OperationStatus::Deferred)
    }

    /// It was not done, and this is why.
    #[must_use]
    pub fn failed(error: impl fmt::Display) -> Self {
        Self {
            error: Some(error.to_string()),
            ..Self::new(OperationStatus::Failed)
        }
    }

    /// A status of the application's own, at most 32 characters.
    #[must_use]
    pub fn status(status: impl Into<String>) -> Self {
        Self::new(OperationStatus::from(status.into()))
    }

    /// One line for a person, in place of the one it began with.
    #[must_use]
    pub fn summary(mut self, summary: impl Into<String>) -> Self {
        self.summary = Some(summary.into());
        self
    }

    /// What came of it.
    #[must_use]
    pub fn result(mut self, result: Json) -> Self {
        self.result = Some(result);
        self
    }
}

impl IntegrationHandle {
    /// Begins to describe an operation, such as `orders.import`.
    ///
    /// ```
    /// # use integrations_core::client::{ControlError, OperationEnding, IntegrationHandle};
    /// # async fn example(shop: &IntegrationHandle) -> Result<(), ControlError> {
    /// let import = shop.operation("orders.import").inbound().start().await?;
    /// let order = import.child("order").external_id("R-17").start().await?;
    /// order.finish(OperationEnding::failed("out of stock")).await?;
    /// import.finish(OperationEnding::partial().summary("0 of 1 order")).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn operation(&self, name: impl Into<String>) -> OperationDraft {
        OperationDraft {
            handle: self.clone(),
            name: name.into(),
            direction: Direction::Outbound,
            external_id: None,
            summary: None,
            metadata: None,
            attempt: None,
            parent_id: None,
        }
    }
}

impl OperationDraft {
    /// It goes from the other system to ours. Without this it goes the other way.
    pub fn inbound(mut self) -> Self {
        self.direction = Direction::Inbound;
        self
    }

    /// What it is about in the other system.
    pub fn external_id(mut self, id: impl Into<String>) -> Self {
        self.external_id = Some(id.into());
        self
    }

    /// One line for a person.
    pub fn summary(mut self, summary: impl Into<String>) -> Self {
        self.summary = Some(summary.into());
        self
    }

    /// Anything the application wants to find again. Values under names that say secret, and the
    /// account's own credentials, are replaced.
    pub fn metadata(mut self, metadata: Json) -> Self {
        self.metadata = Some(metadata);
        self
    }

    /// Which of how many attempts this is. A failure that will be tried again says so in its
    /// event, so that nobody is woken by it (L-EVT-1).
    pub fn attempt(mut self, attempt: i16, max_attempts: i16) -> Self {
        self.attempt = Some((attempt, max_attempts));
        self
    }

    /// Makes it part of another one.
    pub fn child_of(mut self, parent: LogId) -> Self {
        self.parent_id = Some(parent);
        self
    }

    /// Writes down that it began.
    ///
    /// # Errors
    ///
    /// Returns [`ControlError`]; nothing is written then.
    pub async fn start(self) -> Result<RunningOperation, ControlError> {
        let context = self.context().await?;
        let shared = &self.handle.shared;
        let started = shared.ports.clock.monotonic();
        let entry = self.entry(&context, OperationStatus::Processing);
        let id = shared.append(entry).await?;
        let running = RunningOperation {
            id,
            name: cut_chars(&context.redactor.text(&self.name), MAX_NAME).to_owned(),
            operation: self,
            context,
            started,
        };
        running.tell(&OperationStatus::Processing);
        Ok(running)
    }

    /// Writes down that it began and ended just now; its number.
    ///
    /// # Errors
    ///
    /// Returns [`ControlError`]; nothing is written then.
    pub async fn log(self, ending: OperationEnding) -> Result<LogId, ControlError> {
        let context = self.context().await?;
        let shared = &self.handle.shared;
        let mut entry = self.entry(&context, ending.status.clone());
        entry.summary = ending
            .summary
            .map(|text| context.text(&text))
            .or(entry.summary);
        entry.result_data = ending.result.map(|json| context.json(&json));
        entry.error = ending.error.map(|text| context.text(&text));
        let name = entry.operation.clone();
        let id = shared.append(entry).await?;
        shared.tell_operation(&context.row, id, name, &ending.status, self.attempt);
        Ok(id)
    }

    /// The row, and the redactor for what the account says: of key names alone where its
    /// credentials are not to be had.
    async fn context(&self) -> Result<Context, ControlError> {
        let row = self.handle.find().await?.ok_or(ControlError::NotFound)?;
        let shared = &self.handle.shared;
        let redactor = match shared.registry.get(&row.provider) {
            Some(registered) => {
                let opened = shared.open_credentials(&row).await.unwrap_or_default();
                let account = Account::of(&row, &opened, &registered.settings.application);
                shared.redactor(registered, &account)
            }
            None => Redactor::new(Vec::new(), &[]),
        };
        Ok(Context { row, redactor })
    }

    fn entry(&self, context: &Context, status: OperationStatus) -> NewOperation {
        let mut metadata = self.metadata.as_ref().map(|json| context.json(json));
        if let Some((attempt, max_attempts)) = self.attempt {
            let json = metadata.get_or_insert_with(|| Json::Object(Map::new()));
            if let Json::Object(fields) = json {
                fields.insert("attempt".to_owned(), attempt.into());
                fields.insert("max_attempts".to_owned(), max_attempts.into());
            }
        }
        NewOperation {
            integration_id: context.row.id,
            operation: cut_chars(&context.redactor.text(&self.name), MAX_NAME).to_owned(),
            direction: self.direction.clone(),
            status,
            summary: self.summary.as_ref().map(|text| context.text(text)),
            external_id: self
                .external_id
                .as_ref()
                .map(|id| cut_chars(&context.text(id), MAX_EXTERNAL_ID).to_owned()),
            metadata,
            result_data: None,
            error: None,
            duration_ms: None,
            parent_id: self.parent_id,
            now: self.handle.shared.ports.clock.now(),
        }
    }
}

/// On whose behalf, and what must not be written down of it.
struct Context {
    row: Integration,
    redactor: Redactor,
}

impl Context {
    fn text(&self, text: &str) -> String {
        let text = self.redactor.text(text).replace('\0', "\u{fffd}");
        let end = text.floor_char_boundary(MAX_TEXT);
        text[..end].to_owned()
    }

    fn json(&self, json: &Json) -> Json {
        let text = json.to_string();
        let redacted = self.redactor.body(&text, None);
        // What is neither object nor list has no names and no paths.
        let redacted = redacted.unwrap_or_else(|| self.redactor.text(&text));
        serde_json::from_str(&redacted).unwrap_or(Json::Null)
    }
}

/// An operation under way. One that is dropped stays `processing`.
#[must_use = "an operation that is not finished stays `processing`"]
pub struct RunningOperation {
    id: LogId,
    name: String,
    operation: OperationDraft,
    context: Context,
    started: Duration,
}

impl fmt::Debug for RunningOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningOperation")
            .field("id", &self.id)
            .field("operation", &self.operation)
            .finish_non_exhaustive()
    }
}

impl RunningOperation {
    /// Its number.
    #[must_use]
    pub const fn id(&self) -> LogId {
        self.id
    }

    /// Begins to describe an operation that is part of this one, and goes the same way.
    pub fn child(&self, name: impl Into<String>) -> OperationDraft {
        let mut child = self.operation.handle.operation(name).child_of(self.id);
        child.direction = self.operation.direction.clone();
        child
    }

    /// Writes down how it ended; `false` where it had ended already, which stands.
    ///
    /// # Errors
    ///
    /// Returns [`ControlError`]; it stays `processing` then.
    pub async fn finish(self, ending: OperationEnding) -> Result<bool, ControlError> {
        let shared = &self.operation.handle.shared;
        let took = shared.ports.clock.monotonic().saturating_sub(self.started);
        let end = OperationEnd {
            status: ending.status.clone(),
            summary: ending.summary.map(|text| self.context.text(&text)),
            result_data: ending.result.map(|json| self.context.json(&json)),
            error: ending.error.map(|text| self.context.text(&text)),
            duration_ms: Some(i64::try_from(took.as_millis()).unwrap_or(i64::MAX)),
            now: shared.ports.clock.now(),
        };
        let ended = shared.ports.operations.finish(self.id, &end).await?;
        if ended {
            self.tell(&ending.status);
        }
        Ok(ended)
    }

    fn tell(&self, status: &OperationStatus) {
        let shared = &self.operation.handle.shared;
        let (row, name) = (&self.context.row, self.name.clone());
        shared.tell_operation(row, self.id, name, status, self.operation.attempt);
    }
}

impl Shared {
    async fn append(&self, entry: NewOperation) -> Result<LogId, ControlError> {
        let ids = self.ports.operations.append(&[entry]).await?;
        match ids.into_iter().next() {
            Some(Ok(id)) => Ok(id),
            // The parent is another account's, or gone.
            Some(Err(Rejected::MissingReference)) => Err(ControlError::NotFound),
            Some(Err(rejected)) => Err(refused(&rejected.to_string())),
            None => Err(refused("the store did not answer for the row")),
        }
    }

    /// What a status means to those who listen (LOG-11); the application's own mean nothing.
    fn tell_operation(
        &self,
        row: &Integration,
        log_id: LogId,
        operation: String,
        status: &OperationStatus,
        attempt: Option<(i16, i16)>,
    ) {
        let kind = match status {
            OperationStatus::Processing => EventKind::OperationStarted { log_id, operation },
            OperationStatus::Success => EventKind::OperationCompleted { log_id, operation },
            OperationStatus::Failed => EventKind::OperationFailed {
                log_id,
                operation,
                attempt,
            },
            _ => return,
        };
        self.emit(row, kind);
    }
}

fn refused(why: &str) -> ControlError {
    ControlError::Store(StoreError::new(StoreErrorKind::Constraint, why))
}
