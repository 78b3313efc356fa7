//! What is checked of a plugin in another language: it leaks what it says, the profiler sees it and names what it can,
//! clearing drops it, and the fixed variant stays flat.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::Language;
use crate::host_process::{HostProcess, is_healthy};
use crate::http;
use crate::workspace::Workspace;

/// Compiling an engine of 14 MB takes this long only on a very busy machine.
const HEALTHY_WITHIN: Duration = Duration::from_secs(600);
const LOOK_EVERY: Duration = Duration::from_millis(100);

const PAYLOAD: u64 = 4096;
const WARM_UP: u64 = 20;
const REQUESTS: u64 = 200;

/// A payload that brings a garbage collector to work soon, and so many requests that it has to.
const LARGE_PAYLOAD: u64 = 256 << 10;
const FIXED_REQUESTS: u64 = 800;

/// Loads the component into a host of its own and checks it there.
pub(super) fn check(workspace: &Workspace, language: Language, component: &Path) -> Result<()> {
    let scratch = workspace
        .scratch()
        .join(format!("language-{}", language.folder()));
    let plugins = scratch.join("plugins");
    fs::create_dir_all(&plugins)?;
    fs::copy(
        component,
        plugins.join(format!("{}.wasm", language.plugin())),
    )?;
    let cache = scratch.join("cache");
    let args: [&OsStr; 8] = [
        "--listen".as_ref(),
        "127.0.0.1:0".as_ref(),
        // An interpreter on a busy machine may need more than the default for one call.
        "--plugin-deadline".as_ref(),
        "10s".as_ref(),
        "--plugins".as_ref(),
        plugins.as_ref(),
        "--cache".as_ref(),
        cache.as_ref(),
    ];
    let mut host = HostProcess::start(workspace, args, false)?;
    let outcome = address(&mut host).and_then(|base| Checked { language, base }.check(workspace));
    host.signal(Signal::TERM);
    host.wait()?;
    outcome
}

fn address(host: &mut HostProcess) -> Result<String> {
    let started = Instant::now();
    let mut base = None;
    while started.elapsed() < HEALTHY_WITHIN {
        if let Some(status) = host.exited()? {
            bail!("the host ended: {status}");
        }
        base = base.or_else(|| host.address());
        if let Some(base) = base.as_ref().filter(|base| is_healthy(base)) {
            return Ok(base.clone());
        }
        sleep(LOOK_EVERY);
    }
    bail!("the host did not become healthy")
}

/// A running host with one plugin.
struct Checked {
    language: Language,
    base: String,
}

impl Checked {
    fn check(&self, workspace: &Workspace) -> Result<()> {
        let id = self.language.plugin();
        self.set(&json!({"enabled": true, "payload_bytes": PAYLOAD}))?;
        self.requests(WARM_UP)?;
        let before = self.status()?;
        self.get("/admin/memory/diff")?;
        self.requests(REQUESTS)?;
        let after = self.status()?;
        let diff = self.get("/admin/memory/diff")?;

        let grown = |field: &str| number(&after, field).saturating_sub(number(&before, field));
        ensure!(grown("count") == REQUESTS, "count: {before} → {after}");
        let retained = grown("estimated_size_bytes");
        ensure!(
            (REQUESTS * PAYLOAD..REQUESTS * (PAYLOAD + 512)).contains(&retained),
            "{retained} bytes retained by {REQUESTS} requests of {PAYLOAD}"
        );
        let line = self.top_line(&diff)?;
        println!(
            "{id}: {retained} bytes retained, the heap grew by {}; most of it, {} bytes in {} blocks, at {}",
            grown("heap_live_bytes"),
            number(line, "size_diff_bytes"),
            number(line, "count_diff"),
            text(line, "location"),
        );
        self.check_line(workspace, line)?;

        let cleared = self.post("/admin/leaks/clear", &json!({"leak_type": id}))?;
        let empty = self.status()?;
        ensure!(
            number(&empty, "count") == 0 && number(&empty, "estimated_size_bytes") == 0,
            "after clear ({cleared}): {empty}"
        );
        self.check_fixed()
    }

    /// The line of the diff that has grown most, which must hold what was leaked.
    fn top_line<'a>(&self, diff: &'a Value) -> Result<&'a Value> {
        let line = diff
            .pointer("/growing_allocations/0")
            .with_context(|| format!("the diff shows no growth: {diff}"))?;
        ensure!(
            number(line, "size_diff_bytes") >= REQUESTS * PAYLOAD
                && number(line, "count_diff") >= REQUESTS,
            "the top line of the diff does not hold the leak: {line}"
        );
        Ok(line)
    }

    /// The name of the top line: as precise as the language's runtime allows.
    fn check_line(&self, workspace: &Workspace, line: &Value) -> Result<()> {
        let location = text(line, "location");
        let fits = match self.language {
            // A compiled language: file and line.
            Language::C => {
                let source = workspace.plugins_source().join("languages/c/plugin.c");
                let source = fs::read_to_string(source)?;
                let number = source
                    .lines()
                    .position(|line| line.contains("= malloc("))
                    .context("plugin.c has no malloc")?
                    + 1;
                location.ends_with(&format!("plugin.c:{number}"))
            }
            // The engine's own function: `new Uint8Array` in this case.
            Language::JavaScript => location.contains("TypedArrayObjectTemplate<unsigned char>"),
            // The interpreter is one of several modules, and the C library another: no call stack across.
            Language::Python => location == "other modules through malloc",
        };
        ensure!(fits, "the leak's line is called {location:?}");
        Ok(())
    }

    /// The fixed variant over so many requests that what is garbage has been collected.
    fn check_fixed(&self) -> Result<()> {
        self.set(&json!({"variant": "fixed", "payload_bytes": LARGE_PAYLOAD}))?;
        self.requests(WARM_UP)?;
        let before = self.status()?;
        self.requests(FIXED_REQUESTS)?;
        let after = self.status()?;
        ensure!(
            number(&after, "count") == number(&before, "count") && number(&after, "count") <= 10,
            "fixed: {before} → {after}"
        );
        let grown =
            number(&after, "heap_live_bytes").saturating_sub(number(&before, "heap_live_bytes"));
        println!(
            "{}: fixed, the heap grew by {grown}",
            self.language.plugin()
        );
        ensure!(
            grown <= self.fixed_growth_max(),
            "fixed: the live heap grew by {grown} bytes in {FIXED_REQUESTS} requests of {LARGE_PAYLOAD}"
        );
        Ok(())
    }

    /// What the live heap may have grown by over the fixed variant's requests, of the 200 MiB that they allocated.
    fn fixed_growth_max(&self) -> u64 {
        match self.language {
            Language::C => 0,
            // Reference counts free at once; the interpreter's own containers round up.
            Language::Python => 1 << 20,
            // Garbage is live until the engine has enough of it to collect.
            Language::JavaScript => 64 << 20,
        }
    }

    fn requests(&self, count: u64) -> Result<()> {
        let id = self.language.plugin();
        for _ in 0..count {
            let answer = self.get("/api/data")?;
            let ran = answer
                .pointer("/leaks_triggered")
                .and_then(Value::as_array)
                .is_some_and(|leaks| leaks.iter().any(|leak| leak == id));
            ensure!(ran, "{id} did not run: {answer}");
        }
        Ok(())
    }

    fn set(&self, settings: &Value) -> Result<Value> {
        self.post(
            &format!("/admin/leaks/{}", self.language.plugin()),
            settings,
        )
    }

    fn status(&self) -> Result<Value> {
        let status = self.get("/admin/leaks/status")?;
        let leak = status.pointer(&format!("/leaks/{}", self.language.plugin()));
        leak.cloned().context("the plugin has no status")
    }

    fn get(&self, path: &str) -> Result<Value> {
        http::json(&format!("{}{path}", self.base))
    }

    fn post(&self, path: &str, body: &Value) -> Result<Value> {
        http::post(&format!("{}{path}", self.base), body)
    }
}

fn number(value: &Value, field: &str) -> u64 {
    value.get(field).and_then(Value::as_u64).unwrap_or_default()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}
