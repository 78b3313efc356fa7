//! The options of the compiler.

use std::time::Duration;

use clap::Args;
use plugin_host::load::compiler::CompileLimits;
use plugin_host::load::compiler::worker::WorkerOptions;
use plugin_host::settings::HeapProfile;
use process_memory::byte_size::ByteSize;

use super::values;

/// What the host tells the process that compiles for it.
#[derive(Debug, Args)]
pub(crate) struct CompileArgs {
    #[arg(long, value_parser = values::heap_profile())]
    heap_profile: HeapProfile,
    #[arg(long)]
    parent: i32,
    /// Bytes
    #[arg(long)]
    memory: u64,
}

impl CompileArgs {
    pub(crate) fn options(&self) -> WorkerOptions {
        WorkerOptions {
            profile: self.heap_profile,
            parent: self.parent,
            memory: self.memory,
        }
    }
}

/// What compiling one component may take.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct CompileOptions {
    /// Most processor time that one component may take to compile, 100ms to 600s
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = values::compile_timeout)]
    compile_timeout: Duration,

    /// Most memory that compiling one component may take, 32MiB to 16GiB
    #[arg(long, value_name = "SIZE", default_value = "512MiB", value_parser = values::compile_memory)]
    compile_memory: ByteSize,
}

impl CompileOptions {
    pub(crate) fn limits(self) -> CompileLimits {
        CompileLimits {
            time: self.compile_timeout,
            memory: self.compile_memory.bytes(),
        }
    }
}
