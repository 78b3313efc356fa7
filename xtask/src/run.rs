//! `cargo xtask run`: from a fresh checkout to a running lab.

use std::env;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

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

/// Arguments of `cargo xtask run`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Passed to the host unchanged, after `--`: `cargo xtask run -- --memory-limit 256MiB`.
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
    let mut host = HostProcess::start(&mut command, Output::Shown)?;

    let mut welcomed = false;
    while host.exited()?.is_none() {
        for signal in signals.pending() {
            host.signal(Signal::from_named_raw(signal).unwrap_or(Signal::TERM));
        }
        if !welcomed && let Ok(base) = host.healthy_base() {
            let admin = value_of(&args.host_args, "--admin-listen")
                .map_or_else(|| base.clone(), |a| reachable(&format!("http://{a}")));
            println!("{}", welcome(&base, &admin));
            welcomed = true;
        }
        sleep(POLL_INTERVAL);
    }
    Ok(ExitCode::from(host_process::exit_code(host.wait()?)))
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
