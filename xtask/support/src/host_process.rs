//! The host as a child process: started, found, awaited and ended by signals.

use std::env;
use std::io::{BufRead, BufReader};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::http::Client;
use crate::report;
use crate::wait::wait_for;
use crate::workspace::Workspace;

/// The beginning of the host's first line on stdout. Its base URL follows.
const LISTENING: &str = "leak-host listening on ";

/// The status of a path that a service does not have.
const NOT_FOUND: u16 = 404;
/// A health check that takes longer counts as no answer.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(1);

/// Between two health checks: the resolution of a measured start time.
const HEALTH_INTERVAL: Duration = Duration::from_millis(1);

/// Builds the host in release.
///
/// # Errors
/// When it does not build.
pub fn build(workspace: &Workspace) -> Result<()> {
    report::must_succeed(
        "building the host (a first build compiles the wasm engine, which takes some minutes)",
        // With --workspace, dependencies have the same features as in the tests, and the wasm
        // engine is compiled once for both.
        workspace
            .cargo()
            .args(["build", "--release", "--workspace", "--bin", "leak-host"]),
    )
}

/// The command of the host that [`build`] makes.
#[must_use]
pub fn command(workspace: &Workspace) -> Command {
    let mut command = Command::new(workspace.host_binary());
    if env::var_os("LEAK_REVISION").is_none()
        && let Some(revision) = workspace.revision()
    {
        command.env("LEAK_REVISION", revision);
    }
    command
}

/// Adds the arguments of a host on a free port with the components of a folder.
pub fn on_free_port<'a>(command: &'a mut Command, components: &Path) -> &'a mut Command {
    command
        .args(["--listen", "127.0.0.1:0", "--plugins"])
        .arg(components)
}

/// What happens to the host's stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// It is printed as it comes.
    Shown,
    /// It is read and dropped.
    Hidden,
}

/// A host that runs. Dropping it kills it.
#[derive(Debug)]
pub struct HostProcess {
    child: Child,
    base: Option<String>,
    announced: Receiver<String>,
    reader: Option<JoinHandle<()>>,
}

impl HostProcess {
    /// Starts the host, or another program that announces its address in the same way. It gets its
    /// own process group, so that Ctrl-C reaches it once, from here, and not also from the
    /// terminal.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(command: &mut Command, output: Output) -> Result<Self> {
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
        let (sender, announced) = mpsc::channel();
        let reader = std::thread::spawn(move || read_output(stdout, output, &sender));
        Ok(Self {
            child,
            base: None,
            announced,
            reader: Some(reader),
        })
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The base URL, if the host has loaded its plugins. A host of a version without
    /// `/health/ready`, or another service, is ready when it answers `/health`.
    ///
    /// # Errors
    /// When it has announced no address yet, or does not answer there.
    pub fn healthy_base(&mut self) -> Result<String> {
        if self.base.is_none() {
            self.base = self.announced.try_recv().ok();
        }
        let base = self.base.clone().context("it has announced no address")?;
        let client = Client::with_timeout(HEALTH_TIMEOUT);
        if client.status(&format!("{base}/health/ready"))? == NOT_FOUND {
            client.text(&format!("{base}/health"))?;
        } else {
            client.text(&format!("{base}/health/ready"))?;
        }
        Ok(base)
    }

    /// Waits until the host is healthy, and returns its base URL.
    ///
    /// # Errors
    /// When it ends, or is not healthy within `limit`.
    pub fn wait_until_healthy(&mut self, limit: Duration) -> Result<String> {
        wait_for("the host is not healthy", limit, HEALTH_INTERVAL, || {
            match self.exited()? {
                // Ends the wait at once.
                Some(status) => Ok(Err(anyhow!(
                    "the host ended before it was healthy: {status}"
                ))),
                None => self.healthy_base().map(Ok),
            }
        })?
    }

    /// The exit status, if the host has ended.
    ///
    /// # Errors
    /// When the operating system does not tell.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        self.child
            .try_wait()
            .context("cannot ask for the host's state")
    }

    /// Sends a signal. A process that has ended already is no error.
    pub fn signal(&self, signal: Signal) {
        send_signal(self.child.id(), signal);
    }

    /// Waits for the end of the process and of its output.
    ///
    /// # Errors
    /// When the operating system does not tell how the host ended.
    pub fn wait(mut self) -> Result<ExitStatus> {
        let status = self.child.wait().context("cannot wait for the host")?;
        if let Some(reader) = self.reader.take() {
            let _panicked = reader.join();
        }
        Ok(status)
    }

    /// Ends the host with SIGTERM.
    ///
    /// # Errors
    /// When its exit code is not 0.
    pub fn stop(self) -> Result<()> {
        self.signal(Signal::TERM);
        let status = self.wait()?;
        if !status.success() {
            bail!("the host did not end cleanly after SIGTERM: {status}");
        }
        Ok(())
    }
}

impl Drop for HostProcess {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ended = self.child.kill();
            let _reaped = self.child.wait();
        }
    }
}

/// Sends a signal to a process. A process that has ended already is no error.
pub fn send_signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _gone = kill_process(pid, signal);
    }
}

/// The number that a shell shows for this end: the exit code, or 128 and the signal.
#[must_use]
pub fn exit_code(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

/// A URL that can be typed on this machine: a host that listens on every interface answers on
/// localhost.
#[must_use]
pub fn reachable(address: &str) -> String {
    address
        .replace("//0.0.0.0:", "//localhost:")
        .replace("//[::]:", "//localhost:")
}

fn read_output(stdout: ChildStdout, output: Output, announce: &mpsc::Sender<String>) {
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        if let Some(address) = line.strip_prefix(LISTENING) {
            let address = address.split_whitespace().next().unwrap_or_default();
            // The receiver is gone when the host is being dropped.
            let _dropped = announce.send(reachable(address));
        }
        if output == Output::Shown {
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
    fn an_address_of_every_interface_becomes_localhost() {
        assert_eq!(reachable("http://0.0.0.0:8080"), "http://localhost:8080");
        assert_eq!(reachable("http://[::]:8080"), "http://localhost:8080");
        let loopback = "http://127.0.0.1:41000";
        assert_eq!(reachable(loopback), loopback);
    }

    fn shell(script: &str) -> HostProcess {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        HostProcess::start(&mut command, Output::Hidden).unwrap()
    }

    #[test]
    fn a_host_that_ends_is_not_waited_for() {
        let error = shell("exit 3").wait_until_healthy(Duration::from_secs(60));
        let error = error.unwrap_err().to_string();
        assert!(error.contains("ended before it was healthy"), "{error}");
    }

    #[test]
    fn a_host_that_does_not_answer_is_not_healthy() {
        let mut host = shell("echo leak-host listening on http://127.0.0.1:1; sleep 60");
        let error = host.wait_until_healthy(Duration::from_millis(50));
        let error = error.unwrap_err().to_string();
        assert!(error.contains("not healthy within"), "{error}");
    }

    #[test]
    fn stop_reports_an_unclean_end() {
        let error = shell("exec sleep 60").stop().unwrap_err().to_string();
        assert!(error.contains("signal: 15"), "{error}");
    }
}
