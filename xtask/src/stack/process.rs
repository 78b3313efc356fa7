//! A program of the stack as a child: its output in a file, ended when its owner goes.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::host_process::exit_code;

/// How long a program may take to end after SIGTERM before it is killed.
const ENDS_WITHIN: Duration = Duration::from_secs(8);

/// A running program.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` in a process group of its own; what it prints is appended to `NAME.log`.
    ///
    /// # Errors
    /// When the log cannot be written or the program cannot be started.
    pub(crate) fn start(name: &str, command: &mut Command, logs: &Path) -> Result<Self> {
        let log = logs.join(format!("{name}.log"));
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
        Ok(Self {
            name: name.to_owned(),
            child,
            log,
        })
    }

    /// What it has printed so far.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(crate) fn output(&self) -> Result<String> {
        let bytes = std::fs::read(&self.log)
            .with_context(|| format!("cannot read {}", self.log.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Its exit code as a shell shows it, once it has ended.
    ///
    /// # Errors
    /// When the operating system cannot say.
    pub(crate) fn exited(&mut self) -> Result<Option<u8>> {
        let status = self
            .child
            .try_wait()
            .with_context(|| format!("cannot ask for the state of {}", self.name))?;
        Ok(status.map(exit_code))
    }

    /// Asks it to end, and makes it when it does not.
    pub(crate) fn stop(&mut self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
            && matches!(self.child.try_wait(), Ok(None))
        {
            let _gone = kill_process(pid, Signal::TERM);
        }
        let deadline = Instant::now() + ENDS_WITHIN;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() >= deadline {
                let _gone = self.child.kill();
                let _reaped = self.child.wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
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
    fn output_is_kept_and_the_program_ends_with_its_owner() {
        let temp = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo started; exec sleep 60"]);
        let mut process = Process::start("sleeper", &mut command, temp.path()).unwrap();
        let deadline = Instant::now() + Duration::from_secs(5);
        while process.output().unwrap() != "started\n" {
            assert!(Instant::now() < deadline, "{:?}", process.output());
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(process.exited().unwrap(), None);
        process.stop();
        assert_eq!(process.exited().unwrap(), Some(143));
    }

    #[test]
    fn the_exit_code_is_that_of_a_shell() {
        let temp = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "exit 137"]);
        let mut process = Process::start("dies", &mut command, temp.path()).unwrap();
        let deadline = Instant::now() + Duration::from_secs(5);
        while process.exited().unwrap().is_none() {
            assert!(Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(process.exited().unwrap(), Some(137));
    }
}
