//! The compiling process: reads a component from stdin, instruments and compiles it, and writes the
//! result to stdout.
//!
//! stdout is a file. After a success it has the machine code, the profiler's data, and the lengths
//! of both in 16 bytes. After a refusal it has the message only, and the exit code says of what
//! kind it is.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;

use guest_heap::{InstrumentedMeta, Options};
use rustix::process::{
    Resource, Rlimit, Signal, getppid, set_parent_process_death_signal, setrlimit,
};
use wasmtime::Engine;

use crate::engine;
use crate::error::{PluginError, with_causes};
use crate::load::compiler::complexity;
use crate::settings::HeapProfile;

/// The exit code after a [`PluginError::Refused`].
pub(super) const EXIT_REFUSED: u8 = 10;
/// The exit code after a [`PluginError::TooCostly`].
pub(super) const EXIT_TOO_COSTLY: u8 = 11;
/// The exit code when the process could not do its work.
pub(super) const EXIT_FAILED: u8 = 12;

/// Bytes of stdout after machine code and data: the length of each.
pub(super) const TRAILER_BYTES: usize = 16;

/// Memory beyond the limit that the process may map, in bytes. The parent watches resident memory
/// and knows what to report; the kernel's own limit is for what grows faster than the parent looks.
const DATA_SLACK_BYTES: u64 = 64 << 20;

/// How much lower its priority is than the host's: requests come first.
const NICE: i32 = 5;

/// What the parent tells the process on its command line.
#[derive(Debug, Clone, Copy)]
pub struct WorkerOptions {
    /// Whether the component is instrumented.
    pub profile: HeapProfile,
    /// The id of the parent. The process ends with it.
    pub parent: i32,
    /// The limit of its memory, in bytes.
    pub memory: u64,
}

/// A compiled component.
pub(super) struct WorkerOutput {
    pub(super) code: Vec<u8>,
    pub(super) side: Vec<u8>,
}

/// Compiles the component on stdin. Returns the exit code of the process, which must have no other
/// threads yet.
pub fn run(options: WorkerOptions) -> u8 {
    if let Err(error) = restrict(options) {
        eprintln!("{error}");
        return EXIT_FAILED;
    }
    match compile_stdin(options.profile) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error}");
            EXIT_FAILED
        }
    }
}

/// Ties the process to its parent, and limits its memory and its priority.
fn restrict(options: WorkerOptions) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // The parent may have ended before the call.
    if getppid().map(|parent| parent.as_raw_nonzero().get()) != Some(options.parent) {
        return Err(io::Error::other("the host has ended"));
    }
    let limit = |bytes| Rlimit {
        current: Some(bytes),
        maximum: Some(bytes),
    };
    // Not the address space: the allocator reserves far more of it than it uses.
    setrlimit(Resource::Data, limit(options.memory + DATA_SLACK_BYTES))?;
    setrlimit(Resource::Core, limit(0))?;
    // In a container that is full, the kernel must kill this process and not the host. Without
    // these two, compiling works all the same.
    let _ = fs::write("/proc/self/oom_score_adj", "1000");
    let _ = rustix::process::nice(NICE);
    Ok(())
}

fn compile_stdin(profile: HeapProfile) -> io::Result<u8> {
    let mut component = Vec::new();
    io::stdin().read_to_end(&mut component)?;
    let engine = engine::for_compiling().map_err(|e| io::Error::other(with_causes(&e)))?;
    // Not through `io::stdout`, which would look for the ends of lines in machine code.
    let mut out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let (code, message) = match instrument_and_compile(&engine, &component, profile) {
        Ok(WorkerOutput { code, side }) => {
            out.write_all(&code)?;
            out.write_all(&side)?;
            out.write_all(&(code.len() as u64).to_le_bytes())?;
            out.write_all(&(side.len() as u64).to_le_bytes())?;
            return Ok(0);
        }
        Err(PluginError::Refused(message)) => (EXIT_REFUSED, message),
        Err(PluginError::TooCostly(message)) => (EXIT_TOO_COSTLY, message),
        Err(other) => return Err(io::Error::other(other.to_string())),
    };
    out.write_all(message.as_bytes())?;
    Ok(code)
}

/// Checks, instruments and compiles a component.
///
/// # Errors
///
/// [`PluginError::Refused`] and [`PluginError::TooCostly`].
pub(super) fn instrument_and_compile(
    engine: &Engine,
    component: &[u8],
    profile: HeapProfile,
) -> Result<WorkerOutput, PluginError> {
    if component.get(4..8) == Some(&[1, 0, 0, 0]) {
        return Err(PluginError::Refused(
            "this is a core module, not a component; build it for the target wasm32-wasip2".into(),
        ));
    }
    complexity::check(component)?;
    let compile = |bytes: &[u8]| {
        engine.precompile_component(bytes).map_err(|e| {
            PluginError::Refused(format!(
                "this is no component, or it cannot be compiled: {}",
                with_causes(&e)
            ))
        })
    };
    if profile == HeapProfile::Off {
        let meta = InstrumentedMeta::off("switched off: heap_profile is off");
        return Ok(WorkerOutput {
            code: compile(component)?,
            side: meta.to_bytes(),
        });
    }
    let instrumented = guest_heap::instrument(component, &Options::default())
        .map_err(|e| PluginError::Refused(format!("this is no component: {e}")))?;
    Ok(WorkerOutput {
        code: compile(&instrumented.component)?,
        side: instrumented.meta.to_bytes(),
    })
}
