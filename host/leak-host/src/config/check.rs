//! The options of `leak-host check`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use plugin_host::conformance;
use process_memory::byte_size::ByteSize;

use super::{CodeOptions, CompileOptions, values};

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The component (*.wasm)
    pub(crate) file: PathBuf,

    /// Print JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,

    /// Requests in each run, 50 to 5000
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = conformance::REQUESTS,
        value_parser = values::requests
    )]
    pub(crate) requests: u32,

    /// Time limit of one call into the plugin, 10ms to 60s
    #[arg(long, value_name = "TIME", default_value = "250ms", value_parser = values::deadline)]
    pub(crate) plugin_deadline: Duration,

    /// Largest component that is accepted, 1KiB to 1GiB
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "64MiB",
        value_parser = values::component_size
    )]
    pub(crate) max_plugin_size: ByteSize,

    /// Whose code frames are.
    #[command(flatten)]
    pub(crate) code: CodeOptions,

    /// The compiler.
    #[command(flatten)]
    pub(crate) compile: CompileOptions,
}
