//! `cargo xtask run`: from a fresh checkout to a running lab.

use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Signal;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::host_process::{self, HostProcess};
use crate::plugins::{self, Members};
use crate::toolchain;
use crate::workspace::Workspace;

/// How often the host and our own signals are looked at. Short enough not to be felt after Ctrl-C.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Arguments of `cargo xtask run`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Passed to the host as they are, after `--`: `cargo xtask run -- --memory-limit 256MiB`.
    #[arg(last = true)]
    host_args: Vec<String>,
}

/// Entry of the subcommand. Answers with the host's own exit code.
///
/// # Errors
/// When something does not build or the host cannot be started.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    toolchain::ensure_wasm_targets(workspace)?;
    plugins::build(workspace, Members::Shipped)?;
    host_process::build(workspace)?;

    // Before the start: from here on Ctrl-C is for the host.
    let mut signals =
        Signals::new([SIGHUP, SIGINT, SIGTERM]).context("cannot listen for signals")?;
    let mut host_args = args.host_args.clone();
    if !names_a_plugin_folder(&host_args) {
        host_args.push("--plugins".to_owned());
        host_args.push(workspace.components().to_string_lossy().into_owned());
    }
    let mut host = HostProcess::start(workspace, &host_args, true)?;

    let mut address = None;
    let mut welcomed = false;
    while host.exited()?.is_none() {
        for signal in signals.pending() {
            host.signal(Signal::from_named_raw(signal).unwrap_or(Signal::TERM));
        }
        if address.is_none() {
            address = host.address();
        }
        if let Some(base) = address.as_deref().filter(|_| !welcomed)
            && host_process::is_healthy(base)
        {
            println!("{}", welcome(base));
            welcomed = true;
        }
        sleep(LOOK_EVERY);
    }
    Ok(ExitCode::from(host_process::exit_code(host.wait()?)))
}

/// The host refuses an option that is given twice.
fn names_a_plugin_folder(host_args: &[String]) -> bool {
    host_args
        .iter()
        .any(|arg| arg == "--plugins" || arg.starts_with("--plugins="))
}

fn welcome(base: &str) -> String {
    format!(
        "
The leak lab is up. Ctrl-C ends it.

  service    {base}/api/data
  health     {base}/health
  admin API  {base}/admin/leaks/status
  memory     {base}/admin/memory
  metrics    {base}/metrics
  API docs   {base}/docs

Try, in another terminal:

  curl -s {base}/admin/leaks/status | jq
  curl -s -X POST {base}/admin/leaks/cache -d '{{\"enabled\": true}}' | jq
  for i in {{1..100}}; do curl -s {base}/api/data > /dev/null; done; curl -s {base}/admin/leaks/status | jq .leaks.cache

The exercises are in README.md.
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_own_plugin_folder_wins() {
        let args = |args: &[&str]| args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>();
        assert!(!names_a_plugin_folder(&args(&["--memory-limit", "256MiB"])));
        assert!(names_a_plugin_folder(&args(&["--plugins", "mine"])));
        assert!(names_a_plugin_folder(&args(&["--plugins=mine"])));
    }

    #[test]
    fn the_welcome_is_three_commands_that_can_be_pasted() {
        let text = welcome("http://localhost:8080");
        assert_eq!(
            text.lines()
                .filter(|line| line.contains("curl -s "))
                .count(),
            3
        );
        assert!(text.contains(r#"-d '{"enabled": true}' | jq"#), "{text}");
        assert!(text.contains("for i in {1..100}; do"), "{text}");
    }
}
