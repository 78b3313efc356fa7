//! A program of the stack as a child process. Its output goes to a file. Dropping it ends it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::Signal;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use xtask_support::host_process::{exit_code, send_signal};

/// From SIGTERM to SIGKILL.
const STOP_TIMEOUT: Duration = Duration::from_secs(8);

/// The exit code that a shell shows for a program that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// One run of the stack: its folder, and the ids of its processes that still run.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    folder: PathBuf,
    running: Arc<Mutex<BTreeSet<u32>>>,
}

impl Run {
    /// Makes the folder, for logs, data and copied configuration.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn new(folder: PathBuf) -> Result<Self> {
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(Self {
            folder,
            running: Arc::default(),
        })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// From here on a signal that ends this program first ends the programs of this run. They are
    /// in their own process groups, so a signal from the terminal does not reach them.
    ///
    /// # Errors
    /// When signals cannot be listened for.
    pub(crate) fn end_on_signals(&self) -> Result<()> {
        let mut signals =
            Signals::new([SIGHUP, SIGINT, SIGTERM]).context("cannot listen for signals")?;
        let run = self.clone();
        std::thread::spawn(move || {
            if signals.forever().next().is_some() {
                for &pid in run.running().iter() {
                    send_signal(pid, Signal::TERM);
                }
                std::process::exit(INTERRUPTED);
            }
        });
        Ok(())
    }

    /// A panic cannot leave a set of numbers half changed, so a poisoned lock is still valid.
    fn running(&self) -> MutexGuard<'_, BTreeSet<u32>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A program that was started.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    run: Run,
}

impl Process {
    /// Starts `command` in its own process group. Its output is appended to `NAME.log`.
    ///
    /// # Errors
    /// When the log cannot be written or the program cannot be started.
    pub(crate) fn start(name: &str, command: &mut Command, run: &Run) -> Result<Self> {
        let log = run.folder.join(format!("{name}.log"));
        let output = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("cannot write {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {name}: {command:?}"))?;
        run.running().insert(child.id());
        Ok(Self {
            name: name.to_owned(),
            child,
            log,
            run: run.clone(),
        })
    }

    /// Its output so far.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(crate) fn output(&self) -> Result<String> {
        let bytes = std::fs::read(&self.log)
            .with_context(|| format!("cannot read {}", self.log.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Its exit code as a shell shows it, if it has ended.
    ///
    /// # Errors
    /// When the operating system does not tell.
    pub(crate) fn exited(&mut self) -> Result<Option<u8>> {
        let status = self
            .child
            .try_wait()
            .with_context(|| format!("cannot ask for the state of {}", self.name))?;
        if status.is_some() {
            self.run.running().remove(&self.child.id());
        }
        Ok(status.map(exit_code))
    }

    /// Ends it with SIGTERM, and with SIGKILL after a timeout.
    pub(crate) fn stop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            send_signal(self.child.id(), Signal::TERM);
        }
        let deadline = Instant::now() + STOP_TIMEOUT;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() >= deadline {
                let _gone = self.child.kill();
                let _reaped = self.child.wait();
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        self.run.running().remove(&self.child.id());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_goes_to_the_log_and_stop_ends_the_program() {
        let temp = tempfile::tempdir().unwrap();
        let run = Run::new(temp.path().join("run")).unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo started; exec sleep 60"]);
        let mut process = Process::start("sleeper", &mut command, &run).unwrap();
        let deadline = Instant::now() + Duration::from_secs(5);
        while process.output().unwrap() != "started\n" {
            assert!(Instant::now() < deadline, "{:?}", process.output());
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(process.exited().unwrap(), None);
        assert_eq!(run.running().len(), 1);
        process.stop();
        assert_eq!(run.running().len(), 0);
        assert_eq!(process.exited().unwrap(), Some(143));
    }

    #[test]
    fn the_exit_code_is_reported_as_a_shell_does() {
        let temp = tempfile::tempdir().unwrap();
        let run = Run::new(temp.path().join("run")).unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "exit 137"]);
        let mut process = Process::start("dies", &mut command, &run).unwrap();
        let deadline = Instant::now() + Duration::from_secs(5);
        while process.exited().unwrap().is_none() {
            assert!(Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(process.exited().unwrap(), Some(137));
    }
}
