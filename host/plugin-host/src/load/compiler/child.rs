//! The host's side of the compiling process: starts it, watches it, takes its result.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio_util::sync::CancellationToken;

use crate::error::PluginError;
use crate::load::compiler::worker::{EXIT_FAILED, EXIT_REFUSED, EXIT_TOO_COSTLY, TRAILER_BYTES};
use crate::load::compiler::{CodeFile, CompileLimits, CompiledCode, code_file};
use crate::settings::HeapProfile;

/// Time between two looks at the child's memory and at whether somebody waits for it. At 1 GB per
/// second of new memory, it exceeds its limit by 10 MB.
const WATCH_INTERVAL: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 10_000_000,
};

/// Times the limit of processor time that a compilation may take on a busy machine.
const MAX_DELAY: u32 = 4;

/// Bytes of the child's stderr that are kept.
const MAX_STDERR_BYTES: usize = 4 << 10;

/// The longest message of a refusal, in bytes.
const MAX_MESSAGE_BYTES: u64 = 8 << 10;

/// Threads of the compiler. Each one takes memory, so a large machine gets no more of them.
const MAX_THREADS: usize = 2;

/// A running child. Dropping it kills it.
struct Running {
    child: Child,
    stderr: ChildStderr,
}

/// Why the host killed a child, or how it ended.
enum End {
    Exited(ExitStatus),
    TooLong,
    TooMuchMemory,
    Cancelled,
}

/// Compiles a component in a child process. Blocks until it has ended. The calling thread must be
/// the one that waits: the kernel kills the child when the thread that started it ends.
///
/// # Errors
///
/// [`PluginError::TooCostly`] when it exceeds a limit, [`PluginError::Refused`] when it is no
/// component or when the compiler crashes, [`PluginError::Gone`] after `cancelled`, and
/// [`PluginError::Internal`] when no process can be started.
pub(super) fn compile(
    program: &Path,
    limits: &CompileLimits,
    component: &[u8],
    profile: HeapProfile,
    cancelled: &CancellationToken,
) -> Result<CompiledCode, PluginError> {
    let failed = |e: io::Error| PluginError::Internal(format!("cannot compile: {e}"));
    let mut out = code_file::in_memory().map_err(failed)?;
    let mut running = start(program, limits, component, profile, &out).map_err(failed)?;
    let mut stderr = Vec::new();
    let end = watch(&mut running, limits, cancelled, &mut stderr).map_err(failed)?;
    drop(running);
    let status = match end {
        End::Exited(status) => status,
        End::Cancelled => return Err(PluginError::Gone("the compilation".into())),
        End::TooLong => {
            return Err(PluginError::TooCostly(format!(
                "compiling it takes more than {} s of processor time",
                limits.time.as_secs_f64()
            )));
        }
        End::TooMuchMemory => return Err(too_much_memory(limits)),
    };
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    match code {
        Some(0) => take_result(out).map_err(failed),
        Some(EXIT_REFUSED) => Err(PluginError::Refused(message(&mut out).map_err(failed)?)),
        Some(EXIT_TOO_COSTLY) => Err(PluginError::TooCostly(message(&mut out).map_err(failed)?)),
        Some(EXIT_FAILED) => Err(failed(io::Error::other(
            String::from_utf8_lossy(&stderr).into_owned(),
        ))),
        _ => Err(crashed(status, &stderr, limits)),
    }
}

fn start(
    program: &Path,
    limits: &CompileLimits,
    component: &[u8],
    profile: HeapProfile,
    out: &File,
) -> io::Result<Running> {
    let mut input = code_file::in_memory()?;
    input.write_all(component)?;
    input.rewind()?;
    let threads = available_parallelism()
        .map_or(1, usize::from)
        .min(MAX_THREADS);
    let mut child = Command::new(program)
        .arg("compile")
        .arg(format!("--heap-profile={}", profile.name()))
        .arg(format!("--parent={}", std::process::id()))
        .arg(format!("--memory={}", limits.memory))
        // Nothing that the host was started with, such as its tokens.
        .env_clear()
        .env("RAYON_NUM_THREADS", threads.to_string())
        .stdin(input)
        .stdout(out.try_clone()?)
        .stderr(Stdio::piped())
        .spawn()?;
    match child.stderr.take() {
        Some(stderr) => Ok(Running { child, stderr }),
        None => Err(io::Error::other("the child has no stderr")),
    }
}

/// Waits until the child has ended, or kills it.
fn watch(
    running: &mut Running,
    limits: &CompileLimits,
    cancelled: &CancellationToken,
    stderr: &mut Vec<u8>,
) -> io::Result<End> {
    let begun = Instant::now();
    let folder = format!("/proc/{}", running.child.id());
    let (statm, threads) = (format!("{folder}/statm"), format!("{folder}/task"));
    loop {
        if running.has_output()? {
            let mut buffer = [0; 1024];
            let read = running.stderr.read(&mut buffer)?;
            let Some(text) = buffer.get(..read).filter(|text| !text.is_empty()) else {
                // The end of stderr is the end of the process.
                return Ok(End::Exited(running.child.wait()?));
            };
            let room = MAX_STDERR_BYTES.saturating_sub(stderr.len());
            stderr.extend(text.iter().take(room));
            continue;
        }
        if cancelled.is_cancelled() {
            return Ok(End::Cancelled);
        }
        // No thread has used more processor time than has passed.
        let took = begun.elapsed();
        let is_over = took >= limits.time
            && (took >= limits.time * MAX_DELAY
                || busiest_thread(&threads).is_some_and(|busy| busy >= limits.time));
        if is_over {
            return Ok(End::TooLong);
        }
        if resident_bytes(&statm).is_some_and(|bytes| bytes > limits.memory) {
            return Ok(End::TooMuchMemory);
        }
    }
}

impl Running {
    /// Waits for output or the end of the child, for at most [`WATCH_INTERVAL`].
    fn has_output(&self) -> io::Result<bool> {
        let mut fds = [PollFd::new(&self.stderr, PollFlags::IN)];
        match poll(&mut fds, Some(&WATCH_INTERVAL)) {
            Ok(ready) => Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both do nothing if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The second number of `statm`, in bytes.
fn resident_bytes(statm: &str) -> Option<u64> {
    let text = fs::read_to_string(statm).ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// The processor time of the thread that has used the most. On an idle machine it is about as long
/// as the compilation takes. `None` if the process has no threads any more.
fn busiest_thread(threads: &str) -> Option<Duration> {
    let threads = fs::read_dir(threads).ok()?.flatten();
    let times = threads.filter_map(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).ok()?;
        processor_time(&stat)
    });
    times.max()
}

/// The time in user and kernel mode in a line of `stat`. The second field, in parentheses, is a
/// name that may hold spaces.
fn processor_time(stat: &str) -> Option<Duration> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    let milliseconds = (ticks()? + ticks()?) * 1000 / rustix::param::clock_ticks_per_second();
    Some(Duration::from_millis(milliseconds))
}

/// Separates machine code and data: the file keeps the code only.
fn take_result(out: File) -> io::Result<CompiledCode> {
    let incomplete = || io::Error::other("the compiler's result is incomplete");
    let length = out.metadata()?.len();
    let trailer_at = length
        .checked_sub(TRAILER_BYTES as u64)
        .ok_or_else(incomplete)?;
    let mut trailer = [[0; 8]; 2];
    out.read_exact_at(trailer.as_flattened_mut(), trailer_at)?;
    let [code_bytes, side_bytes] = trailer.map(u64::from_le_bytes);
    if code_bytes.checked_add(side_bytes) != Some(trailer_at) {
        return Err(incomplete());
    }
    let mut side = vec![0; usize::try_from(side_bytes).map_err(io::Error::other)?];
    out.read_exact_at(&mut side, code_bytes)?;
    out.set_len(code_bytes)?;
    Ok(CompiledCode {
        code: CodeFile::new(out),
        side,
    })
}

fn message(out: &mut File) -> io::Result<String> {
    out.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    out.take(MAX_MESSAGE_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn too_much_memory(limits: &CompileLimits) -> PluginError {
    PluginError::TooCostly(format!(
        "compiling it takes more than {} MiB of memory",
        limits.memory >> 20
    ))
}

/// The error for a child that neither finished nor refused the component.
fn crashed(status: ExitStatus, stderr: &[u8], limits: &CompileLimits) -> PluginError {
    let text = String::from_utf8_lossy(stderr);
    let out_of_memory = ["memory allocation of", "Cannot allocate memory"];
    if out_of_memory.iter().any(|words| text.contains(words)) {
        return too_much_memory(limits);
    }
    let how = match (status.signal(), status.code()) {
        (Some(signal), _) => format!("signal {signal}"),
        (None, Some(code)) => format!("exit code {code}"),
        (None, None) => "no exit code".to_owned(),
    };
    tracing::error!(how, stderr = %text.escape_debug(), "the compiling process failed");
    PluginError::Refused(format!("the compiler failed on this component ({how})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_time_is_behind_the_name() {
        let fields = "S 1 2 3 4 5 6 7 8 9 10 150 25 0 0 20 0 3 0 100";
        let ticks = rustix::param::clock_ticks_per_second();
        let wanted = Some(Duration::from_millis(175 * 1000 / ticks));
        for name in ["leak-host", "a b", "a) R 9 9"] {
            assert_eq!(
                processor_time(&format!("7 ({name}) {fields}")),
                wanted,
                "{name}"
            );
        }
        assert_eq!(processor_time("7 (leak-host) S 1"), None);
        assert_eq!(processor_time(""), None);
    }

    #[test]
    fn a_thread_that_computes_is_the_busiest() {
        let begun = Instant::now();
        let folder = format!("/proc/{}/task", std::process::id());
        while busiest_thread(&folder) < Some(Duration::from_millis(50)) {
            assert!(begun.elapsed() < Duration::from_secs(60));
        }
        assert_eq!(busiest_thread("/proc/no-process/task"), None);
    }
}
