//! `request`

use std::{
    fs,
    io::{self, Read as _},
};

use integrations::client::{Answer, Call, IntegrationHandle, LogMode};
use sha2::{Digest as _, Sha256};

use crate::{
    args::{Pair, RequestArgs},
    context::Context,
    exit::{Exit, Failure, Outcome, exit_of_call},
    output::{Output, escape},
};

/// Makes one call and prints the answer, whatever its status.
pub(super) async fn run(context: &Context, args: RequestArgs) -> Outcome {
    let body = args.data.as_deref().map(body).transpose()?;
    let client = context.client().await?;
    let handle = client.operator().integration(args.id);
    let call = put_together(
        &handle,
        args.endpoint,
        args.method,
        &args.query,
        &args.header,
        body,
    );
    // A process that makes one call waits for its row, whatever others do.
    let sent = call.log(LogMode::Durable).send().await;
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

fn put_together(
    handle: &IntegrationHandle,
    endpoint: String,
    method: http::Method,
    query: &[Pair],
    headers: &[Pair],
    body: Option<Vec<u8>>,
) -> Call {
    let at = handle.at(endpoint);
    let at = query
        .iter()
        .fold(at, |at, pair| at.query(&pair.name, &pair.value));
    let call = at.method(method);
    let call = headers
        .iter()
        .fold(call, |call, pair| call.header(&pair.name, &pair.value));
    match body {
        Some(body) => call.bytes(body, "application/json"),
        None => call,
    }
}

fn status_line(answer: &Answer) -> String {
    let row = match answer.request_id {
        Some(id) => format!("recorded as request {id}"),
        None => "not recorded".to_owned(),
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
