//! Cleans up after a server, however this program ends.

use std::process::{Child, Command, Stdio};

use crate::cmd::Outcome;

/// A shell that waits for its input to close and then runs a clean-up. The input closes when this is
/// dropped, and also when the program is interrupted or killed, where no destructor runs.
pub(super) struct Keeper {
    shell: Child,
}

impl Keeper {
    /// `script` finds `arguments` as `$1`, `$2` and so on.
    pub(super) fn new(script: &str, arguments: &[&str]) -> Outcome<Self> {
        // Ctrl-C reaches the whole terminal group; the shell must outlive it.
        let script = format!("trap '' INT TERM HUP\nread -r _\n{script}");
        let shell = Command::new("sh")
            .args(["-c", &script, "keeper"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("`sh` cannot be started: {error}"))?;
        Ok(Self { shell })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        // Nothing is left to do about a clean-up that failed.
        let _ = self.shell.wait();
    }
}
