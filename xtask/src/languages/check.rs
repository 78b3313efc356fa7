//! Checks a plugin in another language: it leaks what it reports, the profiler sees the leak and
//! names its line as precisely as the language allows, clearing drops it, and the fixed variant
//! stays flat.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};
use xtask_support::host_process::{self, HostProcess, Output};
use xtask_support::http;
use xtask_support::workspace::Workspace;

use super::Language;

/// Compiling an engine of 14 MB takes this long only on a very busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(600);

const PAYLOAD_BYTES: u64 = 4096;
const WARM_UP_REQUESTS: u64 = 20;
const REQUESTS: u64 = 200;

/// Bytes that a retained object may have in addition to its payload.
const MAX_OVERHEAD_BYTES: u64 = 512;

/// With this payload and number of requests a garbage collector has to run.
const LARGE_PAYLOAD_BYTES: u64 = 256 << 10;
const FIXED_REQUESTS: u64 = 800;

/// Objects that the fixed variant may hold at any time.
const MAX_FIXED_OBJECTS: u64 = 10;

/// Loads the component into a new host and checks it there. Returns what it saw.
pub(super) fn check(workspace: &Workspace, language: Language, component: &Path) -> Result<String> {
    let scratch = workspace
        .scratch()
        .join(format!("language-{}", language.folder()));
    let plugins = scratch.join("plugins");
    fs::create_dir_all(&plugins)?;
    let file = format!("{}.wasm", language.plugin());
    fs::copy(component, plugins.join(file))?;
    let mut command = host_process::command(workspace);
    host_process::on_free_port(&mut command, &plugins)
        // An interpreter on a busy machine may need more than the default for one call.
        .args(["--plugin-deadline", "10s", "--cache"])
        .arg(scratch.join("cache"));
    let mut host = HostProcess::start(&mut command, Output::Hidden)?;
    let base = host.wait_until_healthy(START_TIMEOUT)?;
    let seen = PluginCheck { language, base }.check(workspace)?;
    host.signal(Signal::TERM);
    host.wait()?;
    Ok(seen)
}

/// A running host with one plugin.
struct PluginCheck {
    language: Language,
    base: String,
}

impl PluginCheck {
    fn check(&self, workspace: &Workspace) -> Result<String> {
        self.set(&json!({"enabled": true, "payload_bytes": PAYLOAD_BYTES}))?;
        self.requests(WARM_UP_REQUESTS)?;
        let before = self.status()?;
        self.get("/admin/memory/diff")?;
        self.requests(REQUESTS)?;
        let after = self.status()?;
        let diff = self.get("/admin/memory/diff")?;

        let grown = |field: &str| number(&after, field).saturating_sub(number(&before, field));
        ensure!(grown("count") == REQUESTS, "count: {before} → {after}");
        let retained = grown("estimated_size_bytes");
        ensure!(
            (REQUESTS * PAYLOAD_BYTES..REQUESTS * (PAYLOAD_BYTES + MAX_OVERHEAD_BYTES))
                .contains(&retained),
            "{retained} bytes retained by {REQUESTS} requests of {PAYLOAD_BYTES}"
        );
        let line = self.top_line(&diff)?;
        let seen = format!(
            "{retained} bytes retained, the heap grew by {}; most of it, {} bytes in {} blocks, at {}",
            grown("heap_live_bytes"),
            number(line, "size_diff_bytes"),
            number(line, "count_diff"),
            text(line, "location"),
        );
        self.check_line(workspace, line)?;

        let id = self.language.plugin();
        let cleared = self.post("/admin/leaks/clear", &json!({"leak_type": id}))?;
        let empty = self.status()?;
        ensure!(
            number(&empty, "count") == 0 && number(&empty, "estimated_size_bytes") == 0,
            "after clear ({cleared}): {empty}"
        );
        let fixed_growth = self.check_fixed()?;
        Ok(format!(
            "{seen}; fixed, the heap grew by {fixed_growth} bytes"
        ))
    }

    /// The line of the diff that has grown most. It must hold the leak.
    fn top_line<'a>(&self, diff: &'a Value) -> Result<&'a Value> {
        let line = diff
            .pointer("/growing_allocations/0")
            .with_context(|| format!("the diff shows no growth: {diff}"))?;
        ensure!(
            number(line, "size_diff_bytes") >= REQUESTS * PAYLOAD_BYTES
                && number(line, "count_diff") >= REQUESTS,
            "the top line of the diff does not hold the leak: {line}"
        );
        Ok(line)
    }

    /// Checks the name of the top line, which is as precise as the language's runtime allows.
    fn check_line(&self, workspace: &Workspace, line: &Value) -> Result<()> {
        let location = text(line, "location");
        let fits = match self.language {
            // A compiled language: file and line.
            Language::C => {
                let source = workspace.plugins_source().join("languages/c/plugin.c");
                location.ends_with(&format!("plugin.c:{}", line_of(&source, "= malloc(")?))
            }
            // The engine's own function: `new Uint8Array` in this case.
            Language::JavaScript => location.contains("TypedArrayObjectTemplate<unsigned char>"),
            // The line of Python that makes the payload, which the shared list retains.
            Language::Python => {
                let source = workspace.plugins_source().join("languages/python/app.py");
                location == format!("app.py:{}", line_of(&source, "return (seed *")?)
            }
        };
        ensure!(fits, "the leak's line is called {location:?}");
        Ok(())
    }

    /// Calls the fixed variant until its garbage has been collected. Returns the growth of the live
    /// heap in bytes.
    fn check_fixed(&self) -> Result<u64> {
        self.set(&json!({"variant": "fixed", "payload_bytes": LARGE_PAYLOAD_BYTES}))?;
        self.requests(WARM_UP_REQUESTS)?;
        let before = self.status()?;
        self.requests(FIXED_REQUESTS)?;
        let after = self.status()?;
        ensure!(
            number(&after, "count") == number(&before, "count")
                && number(&after, "count") <= MAX_FIXED_OBJECTS,
            "fixed: {before} → {after}"
        );
        let grown =
            number(&after, "heap_live_bytes").saturating_sub(number(&before, "heap_live_bytes"));
        ensure!(
            grown <= self.max_fixed_growth_bytes(),
            "fixed: the live heap grew by {grown} bytes in {FIXED_REQUESTS} requests \
             of {LARGE_PAYLOAD_BYTES}"
        );
        Ok(grown)
    }

    /// Growth of the live heap that the fixed variant is allowed, while it allocates 200 MiB.
    fn max_fixed_growth_bytes(&self) -> u64 {
        match self.language {
            Language::C => 0,
            // Reference counts free at once; the interpreter's own containers round up.
            Language::Python => 1 << 20,
            // Garbage counts as live until the engine has enough of it to collect.
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
        let status = self.get("/admin/leaks/status?all=true")?;
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

/// The number of the first line with a text, from 1.
fn line_of(source: &Path, text: &str) -> Result<usize> {
    let lines = fs::read_to_string(source)?;
    let position = lines.lines().position(|line| line.contains(text));
    let position = position.with_context(|| format!("no line has {text:?}"))?;
    Ok(position + 1)
}

fn number(value: &Value, field: &str) -> u64 {
    value.get(field).and_then(Value::as_u64).unwrap_or_default()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}
