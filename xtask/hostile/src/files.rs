//! Rows about the folders of the host: files that are no files, a damaged cache, a full cache.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};

use crate::rows::{Row, Target};

/// How long the host may take to see a change of a folder.
const WAIT_TIMEOUT: Duration = Duration::from_secs(20);

/// Components that fill the cache.
const FILLING: u8 = 40;

/// Does something to a folder. Returns the outcome.
type Act = fn(&Target) -> Result<String>;

/// All rows of this kind.
pub(crate) const ROWS: [(&str, Act); 4] = [
    ("special-plugin-files", special_files),
    ("cache-truncated", truncated_cache),
    ("cache-overwritten", overwritten_cache),
    ("cache-full", full_cache),
];

/// Runs the row of this name.
pub(crate) fn row(target: &Target, name: &str, act: Act) -> Result<Row> {
    target.try_row(name, &["survived".to_owned()], act)
}

/// Special files in the plugins folder are listed with a reason, and forgotten when they go.
fn special_files(target: &Target) -> Result<String> {
    let at = |name: &str| target.plugins.join(name);
    mknodat(CWD, at("x-fifo.wasm"), FileType::Fifo, Mode::RUSR, 0)?;
    drop(UnixListener::bind(at("x-socket.wasm"))?);
    symlink("/dev/zero", at("x-device.wasm"))?;
    symlink("/proc/kmsg", at("x-proc.wasm"))?;
    symlink("missing", at("x-link.wasm"))?;
    fs::create_dir(at("x-folder.wasm"))?;
    fs::File::create(at("x-sparse.wasm"))?.set_len(1 << 42)?;
    let special = |entry: &PathBuf| {
        let name = entry.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("x-")
    };
    let created: Vec<PathBuf> = paths(&target.plugins)?
        .into_iter()
        .filter(special)
        .collect();
    let listed = wait_for_problems(target, created.len());
    for path in &created {
        fs::remove_file(path).or_else(|_| fs::remove_dir(path))?;
    }
    listed?;
    wait_for_problems(target, 0)?;
    Ok("survived".to_owned())
}

fn wait_for_problems(target: &Target, count: usize) -> Result<()> {
    let until = Instant::now() + WAIT_TIMEOUT;
    loop {
        let list = target
            .admin
            .json(&format!("{}/admin/plugins", target.base))?;
        let problems = list.get("problems").and_then(Value::as_array);
        let problems = problems.context("no problems")?;
        if problems.len() == count {
            return Ok(());
        }
        ensure!(Instant::now() < until, "{count} problems, not {problems:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn truncated_cache(target: &Target) -> Result<String> {
    damaged_cache(target, |path, _| fs::write(path, ""))
}

fn overwritten_cache(target: &Target) -> Result<String> {
    damaged_cache(target, |path, length| fs::write(path, vec![0xcc; length]))
}

/// Changes every file of the cache. The plugins go on, and are compiled again when they are
/// reloaded.
fn damaged_cache(
    target: &Target,
    damage: impl Fn(&Path, usize) -> std::io::Result<()>,
) -> Result<String> {
    for path in paths(&target.cache)? {
        let length = usize::try_from(fs::metadata(&path)?.len())?;
        damage(&path, length)?;
    }
    let base = &target.base;
    for _ in 0..20 {
        target.admin.json(&format!("{base}/api/data"))?;
    }
    let reload = format!("{base}/admin/plugins/cache/reload");
    for cached in [false, true] {
        let reloaded = target.admin.post(&reload, &json!({}))?;
        let is_cached = reloaded.get("cached").and_then(Value::as_bool);
        ensure!(is_cached == Some(cached), "{reloaded}");
    }
    target.admin.json(&format!("{base}/api/data"))?;
    Ok("survived".to_owned())
}

/// Uploads more components than the cache has room for. It never exceeds its limit.
fn full_cache(target: &Target) -> Result<String> {
    let url = format!("{}/admin/plugins/in-flight", target.base);
    let original = fs::read(target.plugins.join("in-flight.wasm"))?;
    for n in 0..FILLING {
        // A custom section makes it another component.
        let component = [&original, &[0, 2, 1, b'A' + n][..]].concat();
        target.admin.put(&url, &component)?;
        let files = paths(&target.cache)?;
        // A file may be removed between the list and this.
        let sizes = files
            .iter()
            .filter_map(|path| Some(fs::metadata(path).ok()?.len()));
        let bytes: u64 = sizes.sum();
        ensure!(bytes <= target.cache_bytes, "the cache has {bytes} bytes");
    }
    target.admin.put(&url, &original)?;
    Ok("survived".to_owned())
}

fn paths(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?;
    let paths: std::io::Result<Vec<PathBuf>> = entries.map(|entry| Ok(entry?.path())).collect();
    let mut paths = paths?;
    paths.retain(|path| !path.is_dir() || path.extension().is_some());
    Ok(paths)
}
