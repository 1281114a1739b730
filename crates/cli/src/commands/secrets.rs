//! Credentials and settings as they are given on the command line.

use std::{
    collections::BTreeMap,
    io::{self, Read as _},
};

use secrecy::{ExposeSecret as _, SecretString};

use crate::{
    args::{Pair, SecretPair, SecretSource},
    config::{secret_file, secret_variable},
    exit::{Failure, Outcome},
};

/// Looks up the credentials. Errors name the credential, never its value.
pub(super) fn credentials(given: &[SecretPair]) -> Outcome<BTreeMap<String, SecretString>> {
    let mut credentials = BTreeMap::new();
    let mut input_is_read = false;
    for (pair, position) in given.iter().zip(1..) {
        let Some((name, source)) = pair.split() else {
            return Err(Failure::usage(format!(
                "credential {position} is not of the form NAME=VALUE, NAME@FILE, \
                 NAME@env:VARIABLE or NAME@-"
            )));
        };
        let value = match source {
            SecretSource::Here(value) => Ok(SecretString::from(value)),
            SecretSource::File(path) => secret_file(path),
            SecretSource::Variable(variable) => secret_variable(variable),
            SecretSource::Input if input_is_read => {
                Err("only one credential can be read from standard input".to_owned())
            }
            SecretSource::Input => {
                input_is_read = true;
                standard_input()
            }
        };
        let value = value.map_err(|why| Failure::usage(format!("credential `{name}`: {why}")))?;
        if credentials.insert(name.to_owned(), value).is_some() {
            return Err(Failure::usage(format!(
                "credential `{name}` is given twice"
            )));
        }
    }
    Ok(credentials)
}

fn standard_input() -> Result<SecretString, String> {
    let mut text = String::new();
    match io::stdin().lock().read_to_string(&mut text) {
        Ok(_) => Ok(SecretString::from(text.trim_end_matches(['\r', '\n']))),
        Err(error) => Err(format!("standard input cannot be read: {error}")),
    }
}

/// The settings by name.
pub(super) fn metadata(given: Vec<Pair>) -> Outcome<BTreeMap<String, String>> {
    let mut metadata = BTreeMap::new();
    for pair in given {
        if metadata.insert(pair.name.clone(), pair.value).is_some() {
            return Err(Failure::usage(format!(
                "setting `{}` is given twice",
                pair.name
            )));
        }
    }
    Ok(metadata)
}

/// The same as plain texts, for a check of their form.
pub(super) fn exposed(credentials: &BTreeMap<String, SecretString>) -> BTreeMap<String, String> {
    credentials
        .iter()
        .map(|(name, value)| (name.clone(), value.expose_secret().to_owned()))
        .collect()
}
