//! `cargo xtask run`: from a fresh checkout to a running lab.
//!
//! The lab has the memory limit of the container, and a host that was killed at it starts again, as
//! it does there.

use std::env;
use std::process::{Command, ExitCode};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::Signal;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use xtask_support::components::{self, Members};
use xtask_support::host_process::{self, HostProcess, Output, reachable};
use xtask_support::toolchain;
use xtask_support::workspace::Workspace;

/// Between two looks at the host and at signals. Short enough not to be noticed after Ctrl-C.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The memory limit of the lab's container.
const MEMORY_LIMIT: &str = "256MiB";

/// The exit code of a host that was killed at its memory limit, by itself or by the kernel.
const KILLED: u8 = 137;

/// A host that is killed sooner after its start is not started again: it would be killed again.
const MIN_UPTIME: Duration = Duration::from_secs(5);

/// Arguments of `cargo xtask run`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// End with the host when it is killed at its memory limit. Without this option it starts again
    #[arg(long)]
    no_restart: bool,
    /// Passed to the host unchanged, after `--`: `cargo xtask run -- --memory-limit 1GiB`. The
    /// default of the limit is 256MiB
    #[arg(last = true)]
    host_args: Vec<String>,
}

/// Returns the host's own exit code.
///
/// # Errors
/// When something does not build or the host cannot be started.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    toolchain::ensure_wasm_targets(workspace)?;
    components::build(workspace, Members::Shipped)?;
    host_process::build(workspace)?;

    // Registered before the start: from here on Ctrl-C is for the host.
    let mut signals =
        Signals::new([SIGHUP, SIGINT, SIGTERM]).context("cannot listen for signals")?;
    let mut command = host_process::command(workspace);
    command.args(&args.host_args);
    // The host refuses an option that is given twice.
    let is_set = |option: &str, variable: &str| {
        value_of(&args.host_args, option).is_some() || env::var_os(variable).is_some()
    };
    if !is_set("--plugins", "LEAK_PLUGINS") {
        command.arg("--plugins").arg(workspace.components());
    }
    // The console shows the source lines that hold memory.
    if !is_set("--source-root", "LEAK_SOURCE_ROOT") {
        command.arg("--source-root").arg(workspace.root());
        // Python plugins name their files relative to the folder of the program.
        let python = workspace.plugins_source().join("languages/python");
        command.arg("--source-root").arg(python);
    }
    // The host has no variable for it.
    if value_of(&args.host_args, "--memory-limit").is_none() {
        command.args(["--memory-limit", MEMORY_LIMIT]);
    }
    let mut welcomed = false;
    loop {
        let started = Instant::now();
        let code = serve(&mut command, args, &mut signals, &mut welcomed)?;
        if !is_restarted(code, started.elapsed(), args.no_restart) {
            return Ok(ExitCode::from(code));
        }
        println!(
            "The host was killed at its memory limit (exit code {KILLED}). It starts again, with \
             all leaks off. Ctrl-C ends it."
        );
    }
}

/// Runs the host once. Returns its exit code.
fn serve(
    command: &mut Command,
    args: &Args,
    signals: &mut Signals,
    welcomed: &mut bool,
) -> Result<u8> {
    let mut host = HostProcess::start(command, Output::Shown)?;
    while host.exited()?.is_none() {
        for signal in signals.pending() {
            host.signal(Signal::from_named_raw(signal).unwrap_or(Signal::TERM));
        }
        if !*welcomed && let Ok(base) = host.healthy_base() {
            let admin = value_of(&args.host_args, "--admin-listen")
                .map_or_else(|| base.clone(), |a| reachable(&format!("http://{a}")));
            println!("{}", welcome(&base, &admin));
            *welcomed = true;
        }
        sleep(POLL_INTERVAL);
    }
    Ok(host_process::exit_code(host.wait()?))
}

/// Whether a host that has ended with this code starts again.
fn is_restarted(code: u8, uptime: Duration, no_restart: bool) -> bool {
    code == KILLED && uptime >= MIN_UPTIME && !no_restart
}

/// The value of an option, as `--option value` or as `--option=value`.
fn value_of<'a>(args: &'a [String], option: &str) -> Option<&'a str> {
    args.iter()
        .enumerate()
        .find_map(|(index, arg)| match arg.strip_prefix(option)? {
            "" => args.get(index + 1).map(String::as_str),
            rest => rest.strip_prefix('='),
        })
}

fn welcome(base: &str, admin: &str) -> String {
    format!(
        "
The leak lab is up: open {admin}/ in a browser. Ctrl-C ends it.

  console    {admin}/
  service    {base}/api/data
  health     {base}/health
  admin API  {admin}/admin/leaks/status
  memory     {admin}/admin/memory
  metrics    {base}/metrics
  API docs   {base}/docs

Try, in another terminal:

  curl -s {admin}/admin/leaks/status | jq
  curl -s -X POST {admin}/admin/leaks/cache -d '{{\"enabled\": true}}' | jq
  for i in {{1..100}}; do curl -s {base}/api/data > /dev/null; done; curl -s {admin}/admin/leaks/status | jq .leaks.cache

The exercises are in README.md.
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_is_found_in_both_forms() {
        let args = [
            "--plugins=mine",
            "--admin-listen",
            "0.0.0.0:9901",
            "--memory-limit",
        ];
        let args: Vec<_> = args.into_iter().map(str::to_owned).collect();
        assert_eq!(value_of(&args, "--plugins"), Some("mine"));
        assert_eq!(value_of(&args, "--admin-listen"), Some("0.0.0.0:9901"));
        assert_eq!(
            value_of(&args, "--plug"),
            None,
            "the beginning of another option"
        );
        assert_eq!(
            value_of(&args, "--memory-limit"),
            None,
            "the host reports the missing value"
        );
        assert_eq!(value_of(&args, "--listen"), None);
    }

    #[test]
    fn only_a_host_that_was_killed_at_its_limit_starts_again() {
        let minute = Duration::from_secs(60);
        assert!(is_restarted(137, minute, false));
        assert!(!is_restarted(137, minute, true), "--no-restart");
        assert!(!is_restarted(0, minute, false), "Ctrl-C");
        assert!(!is_restarted(1, minute, false), "an error");
        let second = Duration::from_secs(1);
        assert!(!is_restarted(137, second, false), "the limit is too small");
    }

    #[test]
    fn the_welcome_has_three_commands_to_paste() {
        let text = welcome("http://localhost:8080", "http://127.0.0.1:9901");
        assert_eq!(
            text.lines()
                .filter(|line| line.contains("curl -s "))
                .count(),
            3
        );
        assert!(text.contains(r#"-d '{"enabled": true}' | jq"#), "{text}");
        assert!(
            text.contains("http://127.0.0.1:9901/admin/leaks/cache -d"),
            "{text}"
        );
        assert!(text.contains("http://localhost:8080/api/data"), "{text}");
        assert!(text.contains("for i in {1..100}; do"), "{text}");
    }
}
