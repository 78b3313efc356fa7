//! Compiles components, within limits of time, memory and number.
//!
//! A component of a few kilobytes can keep a compiler busy for hours, or make it take gigabytes.
//! The host therefore compiles in a child process: the same program, with another subcommand. The
//! host kills the child when it exceeds a limit, when nobody waits for its result any more, and
//! (through the kernel) when the host itself ends. Whatever the child has taken goes back to the
//! system when it ends, and its crash is an error of that one component.
//!
//! - `complexity` refuses components whose structure exceeds a limit, before anything is compiled.
//! - `worker` is the code of the child.
//! - `child` starts the child, watches it and takes its result.
//! - `queue` limits the number of compilations at a time.

mod child;
pub(crate) mod code_file;
mod complexity;
mod queue;
pub mod worker;

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use wasmtime::Engine;

use crate::blocking::run_blocking;
use crate::error::PluginError;
use crate::load::compiler::queue::CompileQueue;
use crate::load::compiler::worker::instrument_and_compile;
use crate::settings::HeapProfile;

pub(crate) use self::code_file::CodeFile;
pub(crate) use self::queue::Urgency;

/// What one compilation may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompileLimits {
    /// The most processor time that one of its threads may use. On a busy machine the compilation
    /// may take up to four times as long.
    pub time: Duration,
    /// The most resident memory of its process, in bytes.
    pub memory: u64,
}

impl Default for CompileLimits {
    /// 30 seconds and 512 MiB: fifty times of what the largest plugins of the lab take.
    fn default() -> Self {
        CompileLimits {
            time: Duration::from_secs(30),
            memory: 512 << 20,
        }
    }
}

/// Compiles components, some at a time.
#[derive(Debug)]
pub struct Compiler {
    place: Place,
    queue: CompileQueue,
}

#[derive(Debug)]
enum Place {
    InProcess,
    Child {
        program: PathBuf,
        limits: CompileLimits,
    },
}

/// The result of a compilation.
pub(crate) struct CompiledCode {
    /// The machine code, in a file without a name.
    pub(crate) code: CodeFile,
    /// The profiler's data about the component, serialized.
    pub(crate) side: Vec<u8>,
}

impl Compiler {
    /// A compiler that starts `program compile …`, which must call [`worker::run`], for each
    /// component.
    pub fn in_child_process(program: PathBuf, limits: CompileLimits) -> Self {
        Compiler {
            place: Place::Child { program, limits },
            queue: CompileQueue::new(),
        }
    }

    /// A compiler in this process, for tests of the crates above: their binary is a test, which has
    /// no subcommand to start. Time and memory are not limited, and a compilation that has begun
    /// runs to its end.
    pub fn in_process() -> Self {
        Compiler {
            place: Place::InProcess,
            queue: CompileQueue::new(),
        }
    }

    /// Compiles a component when its turn comes. Dropping the future ends the compilation.
    ///
    /// # Errors
    ///
    /// [`PluginError::CompilerBusy`] when too many clients wait, [`PluginError::TooCostly`] when a
    /// limit is exceeded, and [`PluginError::Refused`] when it is no component.
    pub(crate) async fn compile(
        self: &std::sync::Arc<Self>,
        engine: &Engine,
        component: std::sync::Arc<[u8]>,
        profile: HeapProfile,
        urgency: Urgency,
    ) -> Result<CompiledCode, PluginError> {
        let turn = self.queue.turn(urgency).await?;
        let (compiler, engine) = (self.clone(), engine.clone());
        let cancelled = CancellationToken::new();
        let _cancel_when_dropped = cancelled.clone().drop_guard();
        run_blocking(move || {
            // Held until the child has ended, even if the client has left before.
            let _turn = turn;
            match &compiler.place {
                Place::InProcess => in_process(&engine, &component, profile),
                Place::Child { program, limits } => {
                    child::compile(program, limits, &component, profile, &cancelled)
                }
            }
        })
        .await
    }
}

fn in_process(
    engine: &Engine,
    component: &[u8],
    profile: HeapProfile,
) -> Result<CompiledCode, PluginError> {
    let compiled = instrument_and_compile(engine, component, profile)?;
    let failed = |e| PluginError::Internal(format!("no file for compiled code: {e}"));
    let mut file = code_file::in_memory().map_err(failed)?;
    file.write_all(&compiled.code).map_err(failed)?;
    Ok(CompiledCode {
        code: CodeFile::new(file),
        side: compiled.side,
    })
}
