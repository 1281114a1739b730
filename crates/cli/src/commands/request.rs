//! `request`

use std::{
    fs,
    io::{self, Read as _},
    time::Duration,
};

use integrations::client::{Answer, AnswerSource, Call, IntegrationHandle, LogMode};
use sha2::{Digest as _, Sha256};

use crate::{
    args::RequestArgs,
    context::Context,
    exit::{Exit, Failure, Outcome, exit_of_call},
    output::{Output, escape},
};

/// Makes one call and prints the answer, whatever its status.
pub(super) async fn run(context: &Context, args: RequestArgs) -> Outcome {
    let body = args.data.as_deref().map(body).transpose()?;
    let client = context.client().await?;
    let handle = client.operator().integration(args.id);
    let call = put_together(&handle, &args, body);
    // A process that makes one call waits for its row, whatever others do.
    let sent = call.log(LogMode::Durable).send().await;
    // Hits are counted in the process, and written when it ends.
    client.shutdown().await;
    let (answer, error) = match sent {
        Ok(answer) => (answer, None),
        Err(error) => {
            let exit = exit_of_call(&error);
            let message = error.to_string();
            match error.into_answer() {
                Some(answer) => (answer, Some((exit, message))),
                None => return Err(Failure::new(exit, message)),
            }
        }
    };
    context.output.note(&status_line(&answer));
    print(&context.output, &answer.body)?;
    match error {
        None if answer.status.as_u16() < 400 => Ok(Exit::Done),
        None => Ok(Exit::Failed),
        Some((exit, message)) => Err(Failure::new(exit, message)),
    }
}

/// The body to send: JSON as it was typed, or the content of a file.
fn body(given: &str) -> Outcome<Vec<u8>> {
    let Some(source) = given.strip_prefix('@') else {
        return match serde_json::from_str::<serde::de::IgnoredAny>(given) {
            Ok(_) => Ok(given.as_bytes().to_vec()),
            Err(error) => Err(Failure::usage(format!(
                "--data is not JSON: it breaks at column {}; `--data @FILE` sends a file as it is",
                error.column()
            ))),
        };
    };
    let read = if source == "-" {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        fs::read(source)
    };
    read.map_err(|error| Failure::usage(format!("--data {given} cannot be read: {error}")))
}

fn put_together(handle: &IntegrationHandle, args: &RequestArgs, body: Option<Vec<u8>>) -> Call {
    let at = handle.at(&*args.endpoint);
    let at = args
        .query
        .iter()
        .fold(at, |at, pair| at.query(&pair.name, &pair.value));
    let mut call = at.method(args.method.clone());
    for pair in &args.header {
        call = call.header(&pair.name, &pair.value);
    }
    if let Some(body) = body {
        call = call.bytes(body, "application/json");
    }
    if let Some(key) = &args.idempotency_key {
        call = call.idempotency_key(key.as_str());
    }
    if let Some(seconds) = args.cache {
        call = call.cache(Duration::from_secs(seconds));
    }
    if args.serve_stale {
        call = call.serve_stale();
    }
    if let Some(attempts) = args.attempts {
        call = call.attempts(attempts);
    }
    call
}

fn status_line(answer: &Answer) -> String {
    let row = match (answer.request_id, answer.source) {
        (Some(id), AnswerSource::Cached) => format!("from the cache, brought by request {id}"),
        (Some(id), AnswerSource::Stale) => {
            format!("an older answer, brought by request {id}, as the call failed")
        }
        (Some(id), AnswerSource::Revalidated) => {
            format!("from the cache, unchanged as request {id} says")
        }
        (Some(id), AnswerSource::Recorded) => {
            format!("on file for this key, brought by request {id}")
        }
        (Some(id), _) => format!("recorded as request {id}"),
        (None, _) => "not recorded".to_owned(),
    };
    format!("{} ({row})", answer.status)
}

/// Prints a body as it is, unless a terminal would have to show it.
fn print(output: &Output, body: &[u8]) -> Outcome<()> {
    if !output.is_terminal() {
        return output.bytes(body);
    }
    match std::str::from_utf8(body) {
        Ok("") => Ok(()),
        Ok(text) => output.text(&format!("{}\n", escape::lines(text.trim_end_matches('\n')))),
        Err(_) => {
            let digest = Sha256::digest(body);
            output.text(&format!(
                "[binary body: {} bytes, sha256 {digest:x}]\n",
                body.len()
            ))
        }
    }
}
