//! Runs `wrk` over most GET endpoints in the background.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::wrk;

const CONNECTIONS: u32 = 16;

/// A running `wrk`. Dropping it ends the load.
#[derive(Debug)]
pub(super) struct BackgroundLoad(Child);

impl BackgroundLoad {
    pub(super) fn start(wrk: &Path, script: &Path, base: &str, time: Duration) -> Result<Self> {
        let child = wrk::command(wrk, CONNECTIONS, time)
            .args(["--timeout", "30s", "--script"])
            .arg(script)
            .arg(base)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start wrk")?;
        Ok(Self(child))
    }

    /// Waits for the end and returns the number of requests.
    ///
    /// # Errors
    /// When a response was no success.
    pub(super) fn finish(mut self) -> Result<u64> {
        let mut report = String::new();
        if let Some(output) = self.0.stdout.as_mut() {
            output.read_to_string(&mut report)?;
        }
        let status = self.0.wait()?;
        if !status.success() {
            bail!("wrk: {status}: {report}");
        }
        Ok(wrk::parse_report(&report)?.requests)
    }
}

impl Drop for BackgroundLoad {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}
