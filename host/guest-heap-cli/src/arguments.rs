//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use guest_heap::snapshot::GroupBy;

/// Shows which source lines hold the memory of a WebAssembly component, to the byte.
///
/// The component needs no change. Build it with debug information to see lines: `cargo build
/// --release --config profile.release.debug=true` for Rust, `-g` for C.
#[derive(Debug, Parser)]
#[command(name = "guest-heap", version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(RunArguments),
    Serve(ServeArguments),
    Test(TestArguments),
}

/// Runs a component and reports what its heap holds at exit, at a trap, at Ctrl-C or at SIGTERM.
///
/// The exit code is the guest's. The report goes to standard error, so that it does not mix with
/// the guest's output.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  guest-heap run app.wasm -- --input data.csv
  guest-heap run app.wasm --dir . --every 10s --output heap.pb.gz
  guest-heap run lib.wasm --invoke 'parse(\"text\")' --by trace

Exit codes: that of the guest, 134 after a trap, 130 after Ctrl-C, 143 after SIGTERM, 2 for an
error.")]
pub(crate) struct RunArguments {
    #[command(flatten)]
    pub(crate) component: ComponentArguments,
    /// Call this export instead of `wasi:cli/run`, for example 'count(3)' or
    /// 'my:pkg/api#put("key")'. Arguments are written as 7, "text", [1, 2], {id: 7, name: "x"},
    /// some(7): WAVE syntax.
    #[arg(long, value_name = "CALL")]
    pub(crate) invoke: Option<String>,
    #[command(flatten)]
    pub(crate) report: ReportArguments,
    /// Arguments of the guest.
    #[arg(last = true, value_name = "ARGS")]
    pub(crate) arguments: Vec<String>,
}

/// Serves a component of `wasi:http` and shows which lines hold what its requests leave behind.
///
/// One instance handles all requests, so what a request does not free stays. An instance of WASI
/// 0.2 handles one request at a time, one of WASI 0.3 many. After a trap, the next instance takes
/// over. Ctrl-C and SIGTERM end the server with a report.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  guest-heap serve app.wasm
  guest-heap serve app.wasm --addr 127.0.0.1:9000 --admin-addr 127.0.0.1:9001
  go tool pprof http://127.0.0.1:8081/debug/pprof/heap
  curl http://127.0.0.1:8081/debug/requests")]
pub(crate) struct ServeArguments {
    #[command(flatten)]
    pub(crate) component: ComponentArguments,
    /// The address of the service.
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDR:PORT")]
    pub(crate) addr: String,
    /// The address of the heap profile. [default: the port after that of the service on
    /// 127.0.0.1, or a free one]
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) admin_addr: Option<String>,
    /// Let the page of the heap profile show source files below this folder. Can be repeated.
    #[arg(long, value_name = "DIR")]
    pub(crate) source_root: Vec<PathBuf>,
    /// Start an instance for each request, to compare.
    #[arg(long)]
    pub(crate) instance_per_request: bool,
    /// Run the component as it is, to see what the profile costs.
    #[arg(long)]
    pub(crate) no_profile: bool,
    /// Let the linear memories of an instance grow to this size: 64MiB, 1GiB.
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) max_memory: Option<u64>,
    /// Answer 504 if the guest has not answered by then. An instance that does nothing else for
    /// this time is ended.
    #[arg(long, default_value = "30s", value_name = "TIME", value_parser = parse_interval)]
    pub(crate) timeout: std::time::Duration,
    /// Requests that may wait for the guest. Further ones are answered with 503.
    #[arg(long, default_value_t = 1024, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) max_queued: u32,
    #[command(flatten)]
    pub(crate) report: ReportArguments,
}

/// What the report shows, and where else the heap goes.
#[derive(Debug, Args)]
pub(crate) struct ReportArguments {
    /// Group the memory by this property.
    #[arg(long, value_enum, default_value_t = By::Line)]
    pub(crate) by: By,
    /// Show at most this many groups.
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub(crate) top: usize,
    /// Write the heap to this file at the end. The name decides the format: `.pb.gz` (pprof),
    /// `.folded` (folded stacks), `.svg` (flame graph) or `.json`. Can be repeated.
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Vec<PathBuf>,
    /// Also report what has grown, at this interval: 500ms, 10s, 5m.
    #[arg(long, value_name = "TIME", value_parser = parse_interval)]
    pub(crate) every: Option<std::time::Duration>,
}

/// Calls exports of a component, or sends requests to an HTTP service, many times, and fails if
/// memory grows with each call.
///
/// After the warm-up, the calls are divided into windows. A line leaks if its smallest live size,
/// or its smallest number of handles, rises from each window to the next. So a cache that is full,
/// a collector that runs now and then and a buffer that doubles are no leaks. The same component
/// gives the same answer each time. With less than 50 rounds, the warm-up included, growth is not
/// told from a cache that fills: the exit code is 2.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  guest-heap test app.wasm --invoke 'handle(\"a request\")'
  guest-heap test app.wasm --invoke 'my:shop/cart@1.0.0#add(7)' --invoke 'my:shop/cart@1.0.0#clear()'
  guest-heap test app.wasm --invoke 'handle()' --max-bytes-per-call 64 --format github
  guest-heap test app.wasm --http 'GET /cart' --http 'POST /cart {\"id\": 7}'

Exit codes: 0 no leak, 1 a leak or an exceeded budget, 2 an error or too few rounds to tell.")]
pub(crate) struct TestArguments {
    #[command(flatten)]
    pub(crate) component: ComponentArguments,
    /// The export to call, for example 'count(3)' or 'my:pkg/api#put("key")'. Arguments are
    /// written as 7, "text", [1, 2], {id: 7, name: "x"}, some(7): WAVE syntax. Can be repeated: one
    /// round calls all of them in this order. Without a call and a request, the error lists calls
    /// that can be pasted.
    #[arg(long, value_name = "CALL")]
    pub(crate) invoke: Vec<String>,
    /// A request to send to an HTTP service: 'GET /path' or 'POST /path BODY'. Can be repeated: one
    /// round sends all of them in this order, after the calls.
    #[arg(long, value_name = "REQUEST")]
    pub(crate) http: Vec<String>,
    /// A file of requests: one per line as for --http, or a `.http` file with headers and bodies,
    /// where a line of ### ends a request. Can be repeated.
    #[arg(long, value_name = "FILE")]
    pub(crate) http_file: Vec<PathBuf>,
    /// Rounds before the first window, which do not count.
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub(crate) warm_up: u32,
    /// Windows, from 3.
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(3..=1000))]
    pub(crate) windows: u32,
    /// Rounds per window.
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) rounds: u32,
    /// Accept this growth: bytes for each round, over all lines.
    #[arg(long, value_name = "BYTES")]
    pub(crate) max_bytes_per_call: Option<u64>,
    /// Fail if more bytes than this are live after a round.
    #[arg(long, value_name = "BYTES")]
    pub(crate) max_live: Option<u64>,
    /// Fail if the guest has more handles than this after a round: resources, streams, futures.
    #[arg(long, value_name = "N")]
    pub(crate) max_handles: Option<u64>,
    /// The format of the report, which goes to standard output.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
    /// Let the guest write to standard output and standard error.
    #[arg(long)]
    pub(crate) guest_output: bool,
}

/// The component, and what it may use of the machine.
#[derive(Debug, Args)]
pub(crate) struct ComponentArguments {
    /// A component, or a core module for WASI preview 1.
    #[arg(value_name = "APP.wasm")]
    pub(crate) file: PathBuf,
    /// Give the guest access to a folder of the host, under another name if one follows.
    #[arg(long = "dir", value_name = "HOST[::GUEST]")]
    pub(crate) folders: Vec<String>,
    /// Set an environment variable of the guest. Without a value, the guest inherits it.
    #[arg(long = "env", value_name = "NAME[=VALUE]")]
    pub(crate) environment: Vec<String>,
    /// WASI options, as `wasmtime run -S` names them.
    #[arg(
        short = 'S',
        value_name = "OPTION,…",
        value_enum,
        value_delimiter = ','
    )]
    pub(crate) wasi: Vec<WasiOption>,
    /// Treat this code as your own: a path or a crate. Can be repeated.
    #[arg(long, value_name = "PATTERN")]
    pub(crate) own_code: Vec<String>,
    /// Show the callers of this function instead of it, as for a wrapper of malloc. Can be
    /// repeated.
    #[arg(long, value_name = "PATTERN")]
    pub(crate) skip_function: Vec<String>,
    /// The folder for compiled components. [default: the user's cache folder]
    #[arg(long, value_name = "FOLDER", env = "GUEST_HEAP_CACHE")]
    pub(crate) cache: Option<PathBuf>,
    /// Do not keep the compiled component.
    #[arg(long)]
    pub(crate) no_cache: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum WasiOption {
    /// The guest inherits all environment variables.
    InheritEnv,
    /// The guest may use the network.
    InheritNetwork,
    /// The guest may look up names.
    AllowIpNameLookup,
}

/// The property by which memory is grouped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum By {
    Line,
    Function,
    File,
    Trace,
}

impl From<By> for GroupBy {
    fn from(by: By) -> Self {
        match by {
            By::Line => GroupBy::Line,
            By::Function => GroupBy::Function,
            By::File => GroupBy::File,
            By::Trace => GroupBy::Trace,
        }
    }
}

/// The format of a test's report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Human,
    /// One JSON object.
    Json,
    /// JUnit's XML, which CI systems show.
    Junit,
    /// Annotations of GitHub Actions, at the leaking lines.
    Github,
}

/// Parses `500ms`, `10s` or `5m`.
fn parse_interval(text: &str) -> Result<std::time::Duration, String> {
    let split = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let milliseconds = match unit {
        "ms" => 1,
        "s" | "" => 1_000,
        "m" => 60_000,
        _ => return Err("write a number and a unit: 500ms, 10s, 5m".to_owned()),
    };
    let number: u64 = number
        .parse()
        .map_err(|_| "write a number and a unit: 500ms, 10s, 5m".to_owned())?;
    let total = number
        .checked_mul(milliseconds)
        .filter(|total| *total >= 100);
    total
        .map(std::time::Duration::from_millis)
        .ok_or_else(|| "the shortest interval is 100ms".to_owned())
}

/// Parses `4096`, `64KiB`, `64MiB` or `1GiB`.
fn parse_size(text: &str) -> Result<u64, String> {
    let split = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let bytes: u64 = match unit {
        "" | "B" => 1,
        "K" | "KiB" => 1 << 10,
        "M" | "MiB" => 1 << 20,
        "G" | "GiB" => 1 << 30,
        _ => return Err("write a number and a unit: 64MiB, 1GiB".to_owned()),
    };
    let number: u64 = number
        .parse()
        .map_err(|_| "write a number and a unit: 64MiB, 1GiB".to_owned())?;
    let size = number.checked_mul(bytes);
    size.ok_or_else(|| "the size is too large".to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn intervals_have_a_unit_and_a_lower_bound() {
        for (text, wanted) in [
            ("500ms", Some(500)),
            ("10s", Some(10_000)),
            ("5m", Some(300_000)),
            ("2", Some(2_000)),
            ("0s", None),
            ("99ms", None),
            ("s", None),
            ("1h", None),
            ("-1s", None),
            ("99999999999999999999s", None),
        ] {
            let wanted = wanted.map(Duration::from_millis);
            assert_eq!(parse_interval(text).ok(), wanted, "{text}");
        }
    }

    #[test]
    fn sizes_have_a_unit() {
        for (text, wanted) in [
            ("4096", Some(4096)),
            ("64KiB", Some(64 << 10)),
            ("64MiB", Some(64 << 20)),
            ("2G", Some(2 << 30)),
            ("MiB", None),
            ("1TB", None),
            ("99999999999GiB", None),
        ] {
            assert_eq!(parse_size(text).ok(), wanted, "{text}");
        }
    }
}
