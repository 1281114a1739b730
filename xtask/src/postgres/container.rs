//! A throw-away server in a container, where Docker or Podman answers.

use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::cmd::{self, Outcome};
use crate::postgres::Server;
use crate::postgres::keeper::Keeper;

const IMAGE: &str = "postgres:17-alpine";

/// How long a server may take to answer, in steps of a quarter of a second.
const STEPS: usize = 240;

pub(super) fn engine() -> Option<&'static str> {
    let answers = |engine: &&str| cmd::succeeds(Command::new(engine).arg("info"));
    ["docker", "podman"].into_iter().find(answers)
}

pub(super) fn start(engine: &'static str) -> Outcome<Server> {
    let id = cmd::output(Command::new(engine).args([
        "run",
        "--detach",
        "--rm",
        "--env",
        "POSTGRES_HOST_AUTH_METHOD=trust",
        "--publish",
        "127.0.0.1::5432",
        IMAGE,
        "-c",
        "max_connections=300",
        "-c",
        "fsync=off",
    ]))?;
    let id = id.trim();
    let keeper = Keeper::new(r#""$1" rm --force "$2""#, &[engine, id])?;
    wait_until_ready(engine, id)?;
    // One line per address, as `127.0.0.1:49153`.
    let ports = cmd::output(Command::new(engine).args(["port", id, "5432/tcp"]))?;
    let address = ports
        .lines()
        .next()
        .ok_or("the container publishes no port")?;
    Ok(Server {
        url: format!("postgres://postgres@{address}/postgres"),
        description: format!("PostgreSQL ({IMAGE} by {engine})"),
        _keeper: Some(keeper),
    })
}

fn wait_until_ready(engine: &str, id: &str) -> Outcome {
    // By TCP: while the image initialises, its server listens on the socket alone.
    let ready = [
        "exec",
        id,
        "pg_isready",
        "--host",
        "127.0.0.1",
        "--username",
        "postgres",
    ];
    for _ in 0..STEPS {
        if cmd::succeeds(Command::new(engine).args(ready)) {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(250));
    }
    Err(format!("PostgreSQL in {IMAGE} did not answer in a minute").into())
}
