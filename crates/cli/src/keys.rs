//! The key ring: where it is, and when one is made.

use std::path::{Path, PathBuf};

use integrations::{
    key_registry::KeyRegistry,
    keys::{KeyFile, KeyFileError, KeyRing, SystemEntropy},
};

use crate::{
    config::variable,
    database::Database,
    exit::{Failure, Outcome, chain},
    output::Output,
};

const WHAT_TO_DO: &str = "make one with `integrations keys generate` and set INTEGRATIONS_KEYS to \
                          it, or save it in the key file";

/// The key ring, if there is one.
pub(crate) fn find() -> Outcome<Option<KeyRing>> {
    if let Some(text) = variable("INTEGRATIONS_KEYS") {
        let ring = KeyRing::parse(&text);
        return ring
            .map(Some)
            .map_err(|error| Failure::failed(format!("INTEGRATIONS_KEYS: {error}")));
    }
    let Some(file) = key_file() else {
        return Ok(None);
    };
    match file.load() {
        Ok(ring) => Ok(Some(ring)),
        Err(KeyFileError::NotFound(_)) => Ok(None),
        Err(error) => Err(failed(&error)),
    }
}

/// The key ring. Where there is none, one is made for a SQLite database that holds nothing sealed.
pub(crate) async fn load(
    database: &Database,
    registry: &dyn KeyRegistry,
    output: &Output,
) -> Outcome<KeyRing> {
    if let Some(ring) = find()? {
        return Ok(ring);
    }
    let Some(file) = key_file() else {
        return Err(Failure::failed(format!(
            "there is no key ring: {WHAT_TO_DO}"
        )));
    };
    if !database.is_sqlite() {
        let path = file.path().display();
        return Err(Failure::failed(format!(
            "there is no key ring, neither in INTEGRATIONS_KEYS nor at {path}: {WHAT_TO_DO}"
        )));
    }
    if !registry.usage().await?.is_empty() {
        let path = file.path().display();
        return Err(Failure::failed(format!(
            "the database holds sealed values and there is no key ring, neither in \
             INTEGRATIONS_KEYS nor at {path}: give it the keys they were sealed with"
        )));
    }
    make(&file, output)
}

fn make(file: &KeyFile, output: &Output) -> Outcome<KeyRing> {
    let ring = KeyRing::generate(&SystemEntropy::new())
        .map_err(|error| Failure::failed(error.to_string()))?;
    match file.create(&ring) {
        Ok(()) => {
            output.note(&format!(
                "made a key file at {}: keep a copy, for what it seals does not open without it",
                file.path().display()
            ));
            Ok(ring)
        }
        // Another process was faster: one key for both.
        Err(KeyFileError::Exists(_)) => file.load().map_err(|error| failed(&error)),
        Err(error) => Err(failed(&error)),
    }
}

fn key_file() -> Option<KeyFile> {
    let path = variable("INTEGRATIONS_KEY_FILE")
        .map(PathBuf::from)
        .or_else(|| {
            let config = variable("XDG_CONFIG_HOME");
            let home = variable("HOME");
            KeyFile::default_path(
                config.as_deref().map(Path::new),
                home.as_deref().map(Path::new),
            )
        });
    path.map(KeyFile::new)
}

fn failed(error: &KeyFileError) -> Failure {
    Failure::failed(chain(error))
}
