//! Asking the person at the terminal.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use secrecy::SecretString;

use crate::{
    exit::{Failure, Outcome},
    output::escape,
};

/// Whether there is somebody to ask.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terminal {
    interactive: bool,
}

impl Terminal {
    pub(crate) fn new(no_interaction: bool) -> Self {
        let there = io::stdin().is_terminal() && io::stderr().is_terminal();
        Self {
            interactive: there && !no_interaction,
        }
    }

    pub(crate) const fn is_interactive(self) -> bool {
        self.interactive
    }

    /// Asks yes or no; an empty answer is `default`. With nobody to ask, `None`.
    pub(crate) fn confirm(self, question: &str, default: bool) -> Outcome<Option<bool>> {
        if !self.interactive {
            return Ok(None);
        }
        let choices = if default { "Y/n" } else { "y/N" };
        loop {
            let answer = ask(&format!("{question} [{choices}]"))?;
            match answer.trim().to_ascii_lowercase().as_str() {
                "" => return Ok(Some(default)),
                "y" | "yes" => return Ok(Some(true)),
                "n" | "no" => return Ok(Some(false)),
                _ => {}
            }
        }
    }
}

/// Asks for a line, which may be empty.
pub(crate) fn ask(question: &str) -> Outcome<String> {
    let mut stderr = io::stderr().lock();
    let mut line = String::new();
    write!(stderr, "{}: ", escape::line(question))
        .and_then(|()| stderr.flush())
        .and_then(|()| io::stdin().lock().read_line(&mut line))
        .map_err(|error| unanswered(&error))?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// Asks for a secret, which is not shown while it is typed.
pub(crate) fn ask_secret(question: &str) -> Outcome<SecretString> {
    rpassword::prompt_password(format!("{}: ", escape::line(question)))
        .map(SecretString::from)
        .map_err(|error| unanswered(&error))
}

fn unanswered(error: &io::Error) -> Failure {
    Failure::failed(format!("the terminal cannot be read: {error}"))
}
