//! Exit statuses, and what each kind of error comes to.

use std::{error::Error, io, process::ExitCode};

use integrations::{
    client::{AccountError, BuildError, CallError, CallErrorKind, InstallError, KeyMismatch},
    encryptor::EncryptionError,
    provider::FieldError,
    sqlite::OpenError,
    store::{StoreError, StoreErrorKind},
    value::InvalidValue,
};

/// What the command ends with. Scripts rely on the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// The operation failed.
    Failed = 1,
    /// Wrong usage, the configuration included.
    Usage = 2,
    /// No such row.
    NotFound = 3,
    /// Refused: a conflict, a validation, switched off.
    Refused = 4,
    /// The database cannot be reached or does not match.
    Database = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command ended early, as it is told on standard error.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// Empty where there is nothing to say.
    pub(crate) message: String,
}

/// What a command comes to.
pub(crate) type Outcome<T = Exit> = Result<T, Failure>;

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
        }
    }

    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(Exit::NotFound, message)
    }

    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self::new(Exit::Refused, message)
    }

    /// Fields that are missing or wrong, all of them.
    pub(crate) fn fields(errors: &[FieldError]) -> Self {
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        Self::refused(errors.join("; "))
    }

    /// Standard output could not be written. A reader that has had enough is no failure.
    pub(crate) fn writing(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::new(Exit::Done, "");
        }
        Self::failed(format!("the output cannot be written: {error}"))
    }
}

/// An error and its causes on one line.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.contains(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        cause = error.source();
    }
    text
}

impl From<InvalidValue> for Failure {
    fn from(error: InvalidValue) -> Self {
        Self::usage(error.to_string())
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::InvalidUrl(_) | OpenError::InvalidPrefix(_) => {
                Self::usage(error.to_string())
            }
            OpenError::Store(error) => error.into(),
            error => Self::new(Exit::Database, chain(&error)),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::new(exit_of_store(&error), error.to_string())
    }
}

fn exit_of_store(error: &StoreError) -> Exit {
    match error.kind {
        StoreErrorKind::Unavailable
        | StoreErrorKind::Timeout
        | StoreErrorKind::SchemaMismatch
        | StoreErrorKind::Corrupt => Exit::Database,
        StoreErrorKind::Conflict | StoreErrorKind::Constraint => Exit::Refused,
        _ => Exit::Failed,
    }
}

impl From<KeyMismatch> for Failure {
    fn from(error: KeyMismatch) -> Self {
        match error {
            KeyMismatch::Store(error) => error.into(),
            error => Self::new(Exit::Database, error.to_string()),
        }
    }
}

impl From<EncryptionError> for Failure {
    fn from(error: EncryptionError) -> Self {
        Self::failed(error.to_string())
    }
}

impl From<BuildError> for Failure {
    fn from(error: BuildError) -> Self {
        Self::failed(error.to_string())
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Self::new(exit_of_call(&error), error.to_string())
    }
}

/// What a call that came to nothing comes to.
pub(crate) fn exit_of_call(error: &CallError) -> Exit {
    let cause = error.source();
    if cause.is_some_and(<dyn Error>::is::<KeyMismatch>) {
        return Exit::Database;
    }
    match error.kind() {
        CallErrorKind::NotFound => Exit::NotFound,
        CallErrorKind::Refused(_)
        | CallErrorKind::UnknownProvider
        | CallErrorKind::Invalid
        | CallErrorKind::CircuitOpen { .. }
        | CallErrorKind::RateLimited
        | CallErrorKind::KeyInFlight
        | CallErrorKind::KeyUnknown
        | CallErrorKind::KeyMismatch
        | CallErrorKind::KeyDone => Exit::Refused,
        CallErrorKind::Store => cause
            .and_then(|cause| cause.downcast_ref())
            .map_or(Exit::Failed, exit_of_store),
        _ => Exit::Failed,
    }
}

impl From<InstallError> for Failure {
    fn from(error: InstallError) -> Self {
        match error {
            InstallError::UnknownProvider(_) | InstallError::Fields(_) | InstallError::Interval => {
                Self::refused(error.to_string())
            }
            InstallError::Keys(error) => error.into(),
            InstallError::Store(error) => error.into(),
            error => Self::failed(error.to_string()),
        }
    }
}

impl From<AccountError> for Failure {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::NotFound => Self::not_found(error.to_string()),
            AccountError::Credentials(error) => error.into(),
            AccountError::Store(error) => error.into(),
            AccountError::Encryption(error) => error.into(),
            error => Self::refused(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_store_says_decides_the_status() {
        let cases = [
            (StoreErrorKind::Unavailable, Exit::Database),
            (StoreErrorKind::SchemaMismatch, Exit::Database),
            (StoreErrorKind::Conflict, Exit::Refused),
            (StoreErrorKind::Other, Exit::Failed),
        ];
        for (kind, exit) in cases {
            let failure = Failure::from(StoreError::new(kind, "the store says so"));
            assert_eq!(
                (failure.exit, failure.message.as_str()),
                (exit, "the store says so")
            );
        }
    }

    #[test]
    fn a_reader_that_left_is_no_failure() {
        let gone = Failure::writing(&io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!((gone.exit, gone.message.as_str()), (Exit::Done, ""));
        let full = Failure::writing(&io::Error::from(io::ErrorKind::StorageFull));
        assert_eq!(full.exit, Exit::Failed);
    }
}
