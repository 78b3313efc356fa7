//! The service at its memory limit: what the kernel, the engine and the service itself say of it.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use xtask_support::http;
use xtask_support::report::Report;
use xtask_support::wait::{INTERVAL, wait_for};

use super::docker;
use super::exercises::Block;

const SERVICE: &str = "lab16-leaky-service";

/// Requests a second, from the default of the script up.
const RATE: &str = "100";

/// The script ends when the service is dead, after three minutes. A busy machine takes longer.
const DURATION: &str = "10m";

/// The exit code of a process that SIGKILL ended.
const KILLED: &str = "137";

/// The lab's goals on a machine that has nothing else to do, in seconds.
const RESTART_GOAL: f64 = 3.0;
const LAST_READING_GOAL: f64 = 2.0;

/// A machine with other work misses a goal. More than this is a fault, in seconds.
const FAULT: f64 = 15.0;

const RECOVERY_TIMEOUT: Duration = Duration::from_secs(60);

/// Runs the load test of the last exercise until the kernel kills the service.
pub(super) fn check(root: &Path, block: &Block, report: &mut Report) {
    let started = seconds_since_1970();
    let mut died = None;
    let killed = report.check("the load test of exercise 6, at 100 a second", || {
        let shown = run_load_test(root, block)?;
        let end = End::read(root, started)?;
        ensure!(end.exit_code == KILLED, "exit code {}", end.exit_code);
        ensure!(
            shown.contains("the service died"),
            "the load test does not say that the service died: {shown}"
        );
        let seen = format!(
            "{}exit code {KILLED} after {:.0} s, in the events of the engine; the script says so",
            if end.out_of_memory {
                "out of memory, "
            } else {
                ""
            },
            end.died - started
        );
        died = Some(end);
        Ok(seen)
    });
    let (true, Some(end)) = (killed, died) else {
        return;
    };
    report.check("restarted", || {
        let restarted = end.restarted.context("it was not started again")?;
        wait_for("it does not come back", RECOVERY_TIMEOUT, INTERVAL, || {
            http::json("http://localhost:8080/health/ready")
        })?;
        compare("the engine started it", restarted - end.died, RESTART_GOAL)
    });
    report.check("the post-mortem", || {
        let answer = http::json("http://localhost:8080/admin/post-mortem")?;
        ensure!(
            answer.get("status").and_then(Value::as_str) == Some("found"),
            "{answer}"
        );
        let line = answer
            .pointer("/last/snapshot/by_line/0/location")
            .and_then(Value::as_str)
            .context("it names no source line")?;
        let samples = answer.pointer("/last/samples").and_then(Value::as_array);
        let last = samples
            .and_then(|samples| samples.last())
            .and_then(|sample| sample.get(0))
            .and_then(Value::as_f64)
            .context("it has no samples")?;
        let seen = compare("its last reading is", end.died - last, LAST_READING_GOAL)?;
        Ok(format!("{seen} before the death; most is held by {line}"))
    });
}

/// A time in words, next to its goal. An error only when it is far from the goal.
fn compare(what: &str, seconds: f64, goal: f64) -> Result<String> {
    ensure!(
        seconds < FAULT,
        "{what} {seconds:.1} s; the goal is {goal} s"
    );
    let missed = if seconds > goal { " MISSED" } else { "" };
    Ok(format!("{what} {seconds:.1} s (goal {goal} s{missed})"))
}

/// Runs the block. The script ends with an error once the service is dead.
fn run_load_test(root: &Path, block: &Block) -> Result<String> {
    let output = Command::new("bash")
        .args(["-c", &block.commands])
        .env("RATE", RATE)
        .env("DURATION", DURATION)
        .current_dir(root)
        .stdin(Stdio::null())
        .output()
        .context("bash is not installed")?;
    let shown = [output.stdout, output.stderr].concat();
    let shown = String::from_utf8_lossy(&shown).into_owned();
    ensure!(
        !output.status.success(),
        "the load test passed, so the service lives: {shown}"
    );
    Ok(shown)
}

/// The end of the service as the engine saw it. Times are seconds since 1970.
#[derive(Debug, PartialEq)]
struct End {
    died: f64,
    exit_code: String,
    out_of_memory: bool,
    restarted: Option<f64>,
}

impl End {
    fn read(root: &Path, since: f64) -> Result<Self> {
        let since = format!("--since={since:.0}");
        let until = format!("--until={:.0}", seconds_since_1970() + 1.0);
        let container = format!("--filter=container={SERVICE}");
        let events = docker(
            root,
            &["events", &since, &until, &container, "--format={{json .}}"],
        )?;
        Self::of(&events).with_context(|| format!("the engine saw no end: {events}"))
    }

    /// The first end among events, one JSON object a line.
    fn of(events: &str) -> Option<Self> {
        let mut found: Option<Self> = None;
        let mut out_of_memory = false;
        for line in events.lines() {
            let event: Value = serde_json::from_str(line).ok()?;
            let at = event.get("timeNano").and_then(Value::as_f64)? / 1e9;
            match (event.get("Action").and_then(Value::as_str)?, &mut found) {
                ("oom", None) => out_of_memory = true,
                ("die", None) => {
                    let exit_code = event.pointer("/Actor/Attributes/exitCode")?;
                    found = Some(Self {
                        died: at,
                        exit_code: exit_code.as_str()?.to_owned(),
                        out_of_memory,
                        restarted: None,
                    });
                }
                ("start", Some(end)) if end.restarted.is_none() => end.restarted = Some(at),
                _ => {}
            }
        }
        found
    }
}

fn seconds_since_1970() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0.0, |time| time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_end_and_the_next_start_are_read_from_events() {
        let event = |action: &str, seconds: u64| {
            let attributes = json!({"exitCode": "137"});
            let nanoseconds = seconds * 1_000_000_000;
            json!({"Action": action, "timeNano": nanoseconds, "Actor": {"Attributes": attributes}})
                .to_string()
                + "\n"
        };
        let events = event("start", 1) + &event("oom", 9) + &event("die", 10);
        let mut expected = End {
            died: 10.0,
            exit_code: "137".to_owned(),
            out_of_memory: true,
            restarted: None,
        };
        assert_eq!(End::of(&events).unwrap(), expected);
        expected.restarted = Some(11.0);
        let restarted = events + &event("start", 11) + &event("die", 20);
        assert_eq!(End::of(&restarted).unwrap(), expected);
        assert_eq!(End::of(&event("start", 1)), None);
    }

    #[test]
    fn a_missed_goal_is_said_and_only_a_fault_is_an_error() {
        assert_eq!(
            compare("it took", 1.0, 3.0).unwrap(),
            "it took 1.0 s (goal 3 s)"
        );
        assert!(compare("it took", 4.0, 3.0).unwrap().contains("MISSED"));
        assert!(compare("it took", 99.0, 3.0).is_err());
    }
}
