//! `cargo xtask run`: from a fresh checkout to a running lab.

use std::env;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Signal;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::host_process::{self, HostProcess, reachable};
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
    let named =
        value_of(&host_args, "--plugins").is_some() || env::var_os("LEAK_PLUGINS").is_some();
    if !named {
        // The host refuses an option that is given twice.
        host_args.push("--plugins".to_owned());
        host_args.push(workspace.components().to_string_lossy().into_owned());
    }
    let named = value_of(&host_args, "--source-root").is_some()
        || env::var_os("LEAK_SOURCE_ROOT").is_some();
    if !named {
        // The console shows the lines that hold memory.
        host_args.push("--source-root".to_owned());
        host_args.push(workspace.root().to_string_lossy().into_owned());
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
            let admin =
                value_of(&host_args, "--admin-listen").map(|address| format!("http://{address}"));
            println!(
                "{}",
                welcome(
                    base,
                    &admin.map_or_else(|| base.to_owned(), |a| reachable(&a))
                )
            );
            welcomed = true;
        }
        sleep(LOOK_EVERY);
    }
    Ok(ExitCode::from(host_process::exit_code(host.wait()?)))
}

/// The value of an option, in either of its two forms.
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
    fn options_are_found_in_both_forms() {
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
            "another option that begins alike"
        );
        assert_eq!(
            value_of(&args, "--memory-limit"),
            None,
            "the host will complain"
        );
        assert_eq!(value_of(&args, "--listen"), None);
    }

    #[test]
    fn the_welcome_is_three_commands_that_can_be_pasted() {
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
