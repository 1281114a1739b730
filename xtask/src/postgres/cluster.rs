//! A throw-away cluster in a temporary folder, from installed binaries.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cmd::{self, Outcome};
use crate::postgres::keeper::Keeper;
use crate::postgres::{Server, is_root, version_printed};

/// Another program may take the free port between our looking and the server's binding.
const ATTEMPTS: usize = 3;

/// Stops the server, as the user it runs as, and removes its folder.
const CLEAN_UP: &str = r#"folder=$1; shift; "$@"; rm -rf "$folder""#;

pub(super) fn start(binaries: &Path) -> Outcome<Server> {
    let user = ServerUser::choose()?;
    let folder = user.temporary_folder()?;
    let (data, log) = (folder.join("data"), folder.join("log"));
    let binary = |name: &str| binaries.join(name).to_string_lossy().into_owned();
    let data_text = data.to_string_lossy();

    let pg_ctl = binary("pg_ctl");
    let stop = user.line(&[
        &pg_ctl,
        "--pgdata",
        &data_text,
        "--mode",
        "immediate",
        "stop",
    ]);
    let mut clean_up = vec![folder.to_string_lossy().into_owned()];
    clean_up.extend(stop);
    let clean_up: Vec<&str> = clean_up.iter().map(String::as_str).collect();
    let keeper = Keeper::new(CLEAN_UP, &clean_up)?;

    let initdb = binary("initdb");
    cmd::output(&mut user.command(
        &[
            &initdb,
            "--pgdata",
            &data_text,
            "--username",
            "postgres",
            "--auth",
            "trust",
            "--encoding",
            "UTF8",
            "--no-locale",
            "--no-sync",
        ],
        &folder,
    ))?;
    let port = start_on_a_free_port(&user, &pg_ctl, &folder, &data, &log)?;

    let version = cmd::output(Command::new(binary("postgres")).arg("--version"))?;
    Ok(Server {
        url: format!("postgres://postgres@127.0.0.1:{port}/postgres"),
        description: format!(
            "PostgreSQL {} (throw-away cluster)",
            version_printed(&version)
        ),
        _keeper: Some(keeper),
    })
}

fn start_on_a_free_port(
    user: &ServerUser,
    pg_ctl: &str,
    folder: &Path,
    data: &Path,
    log: &Path,
) -> Outcome<u16> {
    let (data_text, log_text) = (data.to_string_lossy(), log.to_string_lossy());
    let start = [
        pg_ctl, "--pgdata", &data_text, "--log", &log_text, "--wait", "start",
    ];
    for _ in 0..ATTEMPTS {
        let port = free_port()?;
        configure(data, folder, port)?;
        if cmd::succeeds(&mut user.command(&start, folder)) {
            return Ok(port);
        }
    }
    let log = fs::read_to_string(log).unwrap_or_default();
    Err(format!(
        "the throw-away PostgreSQL does not start; its log says\n{}",
        log.trim_end()
    )
    .into())
}

fn free_port() -> Outcome<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// Later lines win, so a second attempt only appends. The cluster is thrown away: durability would
/// only cost time.
fn configure(data: &Path, folder: &Path, port: u16) -> Outcome {
    let mut file = fs::OpenOptions::new()
        .append(true)
        .open(data.join("postgresql.conf"))?;
    let socket_folder = folder.to_string_lossy();
    write!(
        file,
        "\nlisten_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{socket_folder}'\n\
         max_connections = 300\nfsync = off\nfull_page_writes = off\n"
    )?;
    Ok(())
}

/// Who the server runs as: ourselves, or an unprivileged user, because PostgreSQL refuses root.
enum ServerUser {
    Ourselves,
    Other(String),
}

impl ServerUser {
    fn choose() -> Outcome<Self> {
        if !is_root() {
            return Ok(Self::Ourselves);
        }
        let exists = |user: &&str| cmd::succeeds(Command::new("id").args(["-u", user]));
        let user = ["postgres", "nobody"].into_iter().find(exists);
        let user = user.ok_or("PostgreSQL does not run as root, and there is no user `nobody`")?;
        Ok(Self::Other(user.to_owned()))
    }

    /// A folder the server can reach: root's own temporary folder may be closed to others.
    fn temporary_folder(&self) -> Outcome<PathBuf> {
        let mut folder = tempfile::Builder::new();
        folder.prefix("integrations-pg-");
        match self {
            Self::Ourselves => Ok(folder.tempdir()?.keep()),
            Self::Other(user) => {
                let folder = folder.tempdir_in("/tmp")?.keep();
                cmd::output(Command::new("chown").arg(user).arg(&folder))?;
                Ok(folder)
            }
        }
    }

    fn command(&self, words: &[&str], folder: &Path) -> Command {
        let line = self.line(words);
        let mut command = Command::new(&line[0]);
        command.args(&line[1..]).current_dir(folder);
        command
    }

    /// The command line that runs `words` as this user.
    fn line(&self, words: &[&str]) -> Vec<String> {
        let mut line: Vec<String> = Vec::new();
        if let Self::Other(user) = self {
            line.extend(if cmd::installed("setpriv") {
                ["setpriv", "--reuid", user, "--clear-groups", "--"]
                    .map(str::to_owned)
                    .to_vec()
            } else {
                // The shell replaces itself with the words that follow.
                ["su", user, "-s", "/bin/sh", "-c", r#"exec "$0" "$@""#, "--"]
                    .map(str::to_owned)
                    .to_vec()
            });
        }
        line.extend(words.iter().map(|&word| word.to_owned()));
        line
    }
}
