//! The host as a child process: started, found, asked for its health, and ended by signals.

use std::env;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread::JoinHandle;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::progress;
use crate::workspace::Workspace;

/// What the host's first line on stdout begins with; its address follows.
const LISTENING: &str = "leak-host listening on ";

/// How long one question to the host may take before it counts as no answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// Builds the host in release.
///
/// # Errors
/// When it does not build.
pub(crate) fn build(workspace: &Workspace) -> Result<()> {
    progress::must_succeed(
        "building the host (a first build compiles the wasm engine, which takes some minutes)",
        // Of the whole workspace, so that dependencies have the features that they have in the tests, and the
        // wasm engine is compiled once for both.
        workspace
            .cargo()
            .args(["build", "--release", "--workspace", "--bin", "leak-host"]),
    )
}

/// A host that is running, or was.
#[derive(Debug)]
pub(crate) struct HostProcess {
    child: Child,
    address: Receiver<String>,
    output: JoinHandle<()>,
}

impl HostProcess {
    /// Starts the host in a process group of its own, so that Ctrl-C reaches it once, from us, and
    /// not a second time from the terminal.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub(crate) fn start<S: AsRef<OsStr>>(
        workspace: &Workspace,
        args: impl IntoIterator<Item = S>,
        echo: bool,
    ) -> Result<Self> {
        let mut command = Command::new(workspace.host_binary());
        command.args(args);
        if env::var_os("LEAK_REVISION").is_none()
            && let Some(revision) = workspace.revision()
        {
            command.env("LEAK_REVISION", revision);
        }
        Self::spawn(command, echo)
    }

    /// Starts another program that says its address as the host does.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start_program(program: &Path) -> Result<Self> {
        Self::spawn(Command::new(program), false)
    }

    fn spawn(mut command: Command, echo: bool) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let stdout = child
            .stdout
            .take()
            .context("the host's output was not captured")?;
        let (found, address) = mpsc::channel();
        let output = std::thread::spawn(move || pass_on(stdout, echo, &found));
        Ok(Self {
            child,
            address,
            output,
        })
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The base URL, once the host has said it.
    pub(crate) fn address(&self) -> Option<String> {
        self.address.try_recv().ok()
    }

    /// The base URL, once the host answers there.
    ///
    /// # Errors
    /// When it ends before, or does not answer in time.
    pub(crate) fn healthy_within(&mut self, limit: Duration) -> Result<String> {
        let started = Instant::now();
        let mut address = None;
        while started.elapsed() < limit {
            address = address.or_else(|| self.address());
            if let Some(base) = address.as_ref().filter(|base| is_healthy(base)) {
                return Ok(base.clone());
            }
            if let Some(status) = self.exited()? {
                bail!("it ended before it was healthy: {status}");
            }
            sleep(Duration::from_millis(5));
        }
        bail!("it is not healthy after {} s", limit.as_secs())
    }

    /// How the host ended, when it has.
    ///
    /// # Errors
    /// When the operating system cannot say.
    pub(crate) fn exited(&mut self) -> Result<Option<ExitStatus>> {
        self.child
            .try_wait()
            .context("cannot ask for the host's state")
    }

    /// Sends a signal. One that finds no process any more is no error: that is what it was for.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _gone = kill_process(pid, signal);
        }
    }

    /// Waits for the end and for the last of the output.
    ///
    /// # Errors
    /// When the operating system cannot say how the host ended.
    pub(crate) fn wait(mut self) -> Result<ExitStatus> {
        let status = self.child.wait().context("cannot wait for the host")?;
        let _panicked = self.output.join();
        Ok(status)
    }
}

/// The number that a shell shows for this end: the exit code, or 128 and the signal.
pub(crate) fn exit_code(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

/// True when `GET /health` answers with success.
pub(crate) fn is_healthy(base: &str) -> bool {
    ureq::get(format!("{base}/health"))
        .config()
        .timeout_global(Some(ANSWER_WITHIN))
        .build()
        .call()
        .is_ok()
}

/// A URL that can be typed on this machine: a host that listens everywhere answers on localhost.
pub(crate) fn reachable(address: &str) -> String {
    address
        .replace("//0.0.0.0:", "//localhost:")
        .replace("//[::]:", "//localhost:")
}

fn pass_on(stdout: ChildStdout, echo: bool, found: &mpsc::Sender<String>) {
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        if let Some(address) = line.strip_prefix(LISTENING) {
            let address = address.split_whitespace().next().unwrap_or_default();
            // Nobody waits for it any more when the task is over.
            let _over = found.send(reachable(address));
        }
        if echo {
            println!("{line}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_a_shell() {
        assert_eq!(exit_code(ExitStatus::from_raw(0)), 0);
        assert_eq!(exit_code(ExitStatus::from_raw(137 << 8)), 137);
        assert_eq!(exit_code(ExitStatus::from_raw(9)), 137, "killed by SIGKILL");
    }

    #[test]
    fn an_address_that_means_everywhere_becomes_one_to_type() {
        assert_eq!(reachable("http://0.0.0.0:8080"), "http://localhost:8080");
        assert_eq!(reachable("http://[::]:8080"), "http://localhost:8080");
        assert_eq!(
            reachable("http://127.0.0.1:41000"),
            "http://127.0.0.1:41000"
        );
    }

    #[test]
    fn nothing_is_healthy_where_nobody_listens() {
        assert!(!is_healthy("http://127.0.0.1:1"));
    }
}
