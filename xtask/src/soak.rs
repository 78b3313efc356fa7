//! `cargo xtask soak`: a host whose leaks are off, or mended, must not leak itself, and what people do to it
//! under load must leave it as it was.
//!
//! The load is `wrk` over every GET of the API. What is compared is read from `/proc`: the host does not vouch for
//! itself, except for its tasks, which nobody else sees.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};

use crate::bench::lab::{self, Held};
use crate::bench::wrk;
use crate::host_process::{self, HostProcess};
use crate::http;
use crate::plugins::{self, Members};
use crate::progress;
use crate::toolchain;
use crate::workspace::Workspace;

const ENDPOINTS: &str = include_str!("soak/endpoints.lua");

/// What the resident memory may differ by between the end of the warm-up and the end, in MiB.
const FLAT_MB: f64 = 2.0;

const CONNECTIONS: u32 = 16;

/// The lab's own three.
const LEAKS: [&str; 3] = ["cache", "history", "listeners"];

/// How long after the load the host gets to close connections and to give back what was theirs. Its runtime keeps
/// threads for blocking work for ten seconds.
const SETTLE: Duration = Duration::from_secs(15);

/// Readings after the first, a second apart.
const READINGS: u32 = 10;

/// The share of the time in which memory has to stay flat; the rest is for changes at random.
const FLAT_SHARE: f64 = 2.0 / 3.0;

/// With leaks off, so many requests have to leave nothing behind.
const REQUESTS: u64 = 10_000_000;

/// What the host remembers, by its own account: samples and histories fill up for so long, and no longer.
const REMEMBERS: Duration = Duration::from_secs(15 * 60);

/// Requests after everything, one by one, that must be counted exactly.
const COUNTED: u64 = 100;

/// Arguments of `cargo xtask soak`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How long all parts take together. Two thirds of it are for staying flat, 15 minutes of which the host needs to
    /// fill what it remembers.
    #[arg(long, default_value_t = 60.0, value_parser = minutes)]
    minutes: f64,
    /// Where the random changes begin.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn minutes(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(minutes) if (0.5..=10_000.0).contains(&minutes) => Ok(minutes),
        _ => Err("takes 0.5 to 10000 minutes".to_owned()),
    }
}

/// Entry of the subcommand.
///
/// # Errors
/// When `wrk` is not there, something does not build, or the host fails. Growth is exit code 1.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    let wrk = wrk::find()?;
    toolchain::ensure_wasm_targets(workspace)?;
    plugins::build(workspace, Members::Shipped)?;
    host_process::build(workspace)?;
    let folder = workspace.scratch().join("soak");
    fs::create_dir_all(&folder)?;
    let script = folder.join("endpoints.lua");
    fs::write(&script, ENDPOINTS)?;

    let total = Duration::from_secs_f64(args.minutes * 60.0);
    // Side by side: both spend most of their time filling what they remember.
    let parts = [
        Part {
            what: "leaks off",
            setup: None,
            requests: REQUESTS,
        },
        Part {
            what: "mended variants on",
            setup: Some(json!({ "enabled": true, "variant": "fixed" })),
            requests: 0,
        },
    ];
    progress::announce(format_args!(
        "leaks off, and mended variants on, side by side: {:.1} minutes",
        args.minutes * FLAT_SHARE
    ));
    let mut kept = std::thread::scope(|scope| -> Result<bool> {
        let running: Vec<_> = parts
            .iter()
            .map(|part| {
                let host = start(workspace)?;
                let (wrk, script) = (&wrk, &script);
                Ok(scope.spawn(move || part.is_flat(host, wrk, script, total.mul_f64(FLAT_SHARE))))
            })
            .collect::<Result<_>>()?;
        let mut kept = true;
        for part in running {
            kept &= part.join().map_err(|_| anyhow!("a part panicked"))??;
        }
        Ok(kept)
    })?;
    let host = start(workspace)?;
    kept &= shaken(
        host,
        &wrk,
        &script,
        total.mul_f64(1.0 - FLAT_SHARE),
        args.seed,
    )?;
    println!(
        "{}",
        if kept {
            "\nheld up"
        } else {
            "\nDID NOT HOLD UP"
        }
    );
    Ok(if kept {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

struct Host {
    process: HostProcess,
    base: String,
}

fn start(workspace: &Workspace) -> Result<Host> {
    let components = workspace.components();
    let mut process = HostProcess::start(
        workspace,
        [
            "--listen".as_ref(),
            "127.0.0.1:0".as_ref(),
            "--plugins".as_ref(),
            components.as_os_str(),
        ],
        false,
    )?;
    let base = process.healthy_within(Duration::from_secs(60))?;
    Ok(Host { process, base })
}

impl Host {
    /// What must not grow: resident memory in MiB, and the rest. The least of some readings, since a thread for
    /// blocking work comes whenever one is needed and stays for a while.
    fn footprint(&self) -> Result<(f64, Held)> {
        let pid = self.process.pid();
        let read =
            || -> Result<(f64, Held)> { Ok((lab::resident_mb(pid)?, lab::held(&self.base, pid)?)) };
        let (mut resident_mb, mut least) = read()?;
        for _ in 0..READINGS {
            sleep(Duration::from_secs(1));
            let (mb, held) = read()?;
            resident_mb = resident_mb.min(mb);
            least = least.min(held);
        }
        Ok((resident_mb, least))
    }
}

/// A host that has to stay as it is under load.
struct Part {
    what: &'static str,
    /// What each of the lab's leaks is told first.
    setup: Option<Value>,
    /// Fewer show nothing.
    requests: u64,
}

impl Part {
    /// Load for this long; memory, threads, files and tasks before and after, each when the load has ended.
    fn is_flat(&self, host: Host, wrk: &Path, script: &Path, time: Duration) -> Result<bool> {
        let what = self.what;
        if let Some(setup) = &self.setup {
            for leak in LEAKS {
                http::post(&format!("{}/admin/leaks/{leak}", host.base), setup)?;
            }
        }
        let warm_up = REMEMBERS.min(time.mul_f64(0.6)).max(Duration::from_secs(5));
        let first = load(wrk, script, &host.base, warm_up)?;
        sleep(SETTLE);
        let (resident_before, before) = host.footprint()?;
        let second = load(wrk, script, &host.base, time.saturating_sub(warm_up))?;
        sleep(SETTLE);
        let (resident_after, after) = host.footprint()?;
        lab::stop(host.process)?;
        let growth = resident_after - resident_before;
        let mut remarks = String::new();
        if warm_up < REMEMBERS {
            remarks += &format!(
                "; the host fills what it remembers for {} minutes and warmed up for {:.1}, so some growth is that",
                REMEMBERS.as_secs() / 60,
                warm_up.as_secs_f64() / 60.0
            );
        }
        if first + second < self.requests {
            remarks += &format!("; fewer than {} requests show little", self.requests);
        }
        let held = growth.abs() <= FLAT_MB
            && after.threads <= before.threads
            && after.files <= before.files
            && after.tasks <= before.tasks;
        println!(
            "{what}: {} requests ({first} of them to warm up); resident {:.1} MiB, then {:+.2} MiB; \
             threads {} and {}; files {} and {}; tasks {} and {}: {}{remarks}",
            first + second,
            resident_before,
            growth,
            before.threads,
            after.threads,
            before.files,
            after.files,
            before.tasks,
            after.tasks,
            if held { "ok" } else { "GREW" }
        );
        Ok(held)
    }
}

/// Leaks are switched, cleared, reset, mended and collected at random for the whole time, under load.
fn shaken(host: Host, wrk: &Path, script: &Path, time: Duration, seed: u64) -> Result<bool> {
    progress::announce(format_args!(
        "changes at random: {:.1} minutes",
        time.as_secs_f64() / 60.0
    ));
    let mut under_load = start_load(wrk, script, &host.base, time)?;
    let started = Instant::now();
    let mut random = seed.max(1);
    let mut changes = 0_u64;
    while started.elapsed() < time {
        change(&host.base, &mut random).context("a change failed")?;
        changes += 1;
        sleep(Duration::from_millis(20));
    }
    let report = under_load.report()?;
    let requests = wrk::read_report(&report)?.requests;

    // Now everything is counted again, from nothing.
    http::post(&format!("{}/admin/reset", host.base), &json!({}))?;
    for leak in LEAKS {
        http::post(
            &format!("{}/admin/leaks/{leak}", host.base),
            &json!({ "enabled": true }),
        )?;
    }
    for _ in 0..COUNTED {
        http::json(&format!("{}/api/data", host.base))?;
    }
    let status = http::json(&format!("{}/admin/leaks/status", host.base))?;
    let count = |leak: &str| {
        status
            .pointer(&format!("/leaks/{leak}/count"))
            .and_then(Value::as_u64)
    };
    let right = LEAKS.iter().all(|leak| count(leak) == Some(COUNTED));
    println!(
        "changes at random: {requests} requests, {changes} changes, none failed; afterwards each of {COUNTED} requests counted: {}",
        if right { "ok" } else { "WRONG" }
    );
    lab::stop(host.process)?;
    Ok(right)
}

/// One change of what an instructor might do.
fn change(base: &str, random: &mut u64) -> Result<()> {
    let leak = LEAKS
        .get(pick(random, LEAKS.len() as u64) as usize)
        .copied()
        .unwrap_or("cache");
    let post = |path: &str, body: &Value| http::post(&format!("{base}{path}"), body);
    match pick(random, 9) {
        0 => post("/admin/leaks/clear", &json!({ "leak_type": leak }))?,
        1 => post("/admin/leaks/clear", &json!({}))?,
        2 => post(&format!("/admin/leaks/{leak}/reset"), &json!({}))?,
        3 => post("/admin/gc", &json!({}))?,
        4 => post(
            &format!("/admin/leaks/{leak}"),
            &json!({ "variant": "fixed" }),
        )?,
        5 => post(
            &format!("/admin/leaks/{leak}"),
            &json!({ "variant": "leaky", "payload_bytes": 64 }),
        )?,
        6 => post(
            &format!("/admin/leaks/{leak}"),
            &json!({ "enabled": false }),
        )?,
        7 => post(&format!("/admin/plugins/{leak}/reload"), &json!({}))?,
        _ => post(
            &format!("/admin/leaks/{leak}"),
            &json!({ "enabled": true, "max_mb": 16 }),
        )?,
    };
    Ok(())
}

/// A number below `end`; xorshift, since nothing depends on its quality.
fn pick(random: &mut u64, end: u64) -> u64 {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    *random % end
}

struct Load(Child);

impl Load {
    fn report(&mut self) -> Result<String> {
        use std::io::Read as _;
        let mut report = String::new();
        if let Some(output) = self.0.stdout.as_mut() {
            output.read_to_string(&mut report)?;
        }
        let status = self.0.wait()?;
        if !status.success() {
            bail!("wrk: {status}: {report}");
        }
        Ok(report)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn start_load(wrk: &Path, script: &Path, base: &str, time: Duration) -> Result<Load> {
    let child = Command::new(wrk)
        .args(["--threads", "1", "--latency", "--timeout", "30s"])
        .args(["--connections", &CONNECTIONS.to_string()])
        .args(["--duration", &format!("{}s", time.as_secs().max(1))])
        .arg("--script")
        .arg(script)
        .arg(base)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start wrk")?;
    Ok(Load(child))
}

/// Requests answered, every one with a success.
fn load(wrk: &Path, script: &Path, base: &str, time: Duration) -> Result<u64> {
    let report = start_load(wrk, script, base, time)?.report()?;
    Ok(wrk::read_report(&report)?.requests)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picks_are_within_their_range_and_reach_all_of_it() {
        let mut random = 1;
        let mut seen = [false; 8];
        for _ in 0..1000 {
            seen[pick(&mut random, 8) as usize] = true;
        }
        assert_eq!(seen, [true; 8]);
    }

    #[test]
    fn minutes_have_a_range() {
        assert_eq!(minutes("1.5"), Ok(1.5));
        for wrong in ["0", "-1", "soon", "1e9"] {
            assert!(minutes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_load_asks_for_every_endpoint_that_changes_nothing() {
        for path in [
            "/api/data",
            "/admin/memory/snapshot",
            "/debug/pprof/heap",
            "/metrics",
        ] {
            assert!(ENDPOINTS.contains(&format!("\"{path}")), "{path}");
        }
    }
}
