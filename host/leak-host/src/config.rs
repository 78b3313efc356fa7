//! What the command line and the environment say. Parsed once; nothing else reads the environment.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use admin_api::ApiOptions;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};

use plugin_host::conformance;
use plugin_host::settings::{Defaults, HeapProfile};
use process_memory::byte_size::ByteSize;
use telemetry::logs::LogOptions;
use telemetry::options::TelemetryOptions;

/// Hosts leak patterns as WebAssembly components and shows what they do to memory.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub(crate) struct CommandLine {
    /// What to do instead of serving.
    #[command(subcommand)]
    pub(crate) action: Option<Action>,
    /// How to serve.
    #[command(flatten)]
    pub(crate) config: Config,
}

/// What the program can do besides serving.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Checks whether a component keeps the promises of the contract, and exits with 0 if it does, 1 if it does not, 2
    /// if it cannot be checked.
    Check(CheckArgs),
    /// Asks a running host for its health and exits with 0 or 1: for containers without a shell.
    Health {
        /// Where the host listens.
        #[arg(long, env = "LEAK_LISTEN", default_value = "127.0.0.1:8080")]
        listen: SocketAddr,
    },
}

/// What is checked, and how.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The component.
    pub(crate) file: PathBuf,

    /// Prints JSON instead of a table.
    #[arg(long)]
    pub(crate) json: bool,

    /// Requests of each run, 50 to 5000.
    #[arg(long, default_value_t = conformance::REQUESTS, value_parser = requests)]
    pub(crate) requests: u32,

    /// Time that one call may take.
    #[arg(long, default_value = "250ms", value_parser = deadline)]
    pub(crate) plugin_deadline: Duration,

    /// The largest component that is taken.
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = component_size)]
    pub(crate) max_plugin_size: ByteSize,
}

/// How the host serves.
#[derive(Debug, Args)]
pub(crate) struct Config {
    /// Where the service listens; port 0 takes a free one.
    #[arg(long, env = "LEAK_LISTEN", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,

    /// Where the admin API listens, if not with the service.
    #[arg(long, value_name = "ADDR")]
    pub(crate) admin_listen: Option<SocketAddr>,

    /// What a call to the admin API must bring as `Authorization: Bearer TOKEN`.
    #[arg(long, env = "LEAK_ADMIN_TOKEN", hide_env_values = true)]
    pub(crate) admin_token: Option<String>,

    /// The folder of plugins: each *.wasm in it is loaded.
    #[arg(long, env = "LEAK_PLUGINS", value_name = "DIR")]
    pub(crate) plugins: Option<PathBuf>,

    /// The checkout that the plugins were built from: the console shows the source lines that hold memory.
    #[arg(long, env = "LEAK_SOURCE_ROOT", value_name = "DIR")]
    pub(crate) source_root: Option<PathBuf>,

    /// The largest component that is taken, from the folder or by the admin API: 64MiB.
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = component_size)]
    pub(crate) max_plugin_size: ByteSize,

    /// The leaks that are on from the start.
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub(crate) enable: Vec<String>,

    /// The folder of compiled plugins; the user's cache folder by default.
    #[arg(long, env = "LEAK_CACHE", value_name = "DIR")]
    pub(crate) cache: Option<PathBuf>,

    /// Keeps no compiled plugins on disk.
    #[arg(long, conflicts_with = "cache")]
    pub(crate) no_cache: bool,

    /// Where the last readings are kept for after a death; a folder beside the compiled plugins by default,
    /// unless the port is 0.
    #[arg(long, env = "LEAK_POST_MORTEM", value_name = "DIR")]
    pub(crate) post_mortem: Option<PathBuf>,

    /// Keeps nothing for after a death.
    #[arg(long, conflicts_with = "post_mortem")]
    pub(crate) no_post_mortem: bool,

    /// The service's name in answers, metrics and traces.
    #[arg(long, env = "OTEL_SERVICE_NAME", default_value = "leaky-service")]
    pub(crate) service_name: String,

    /// The revision of the sources, for `leak_build_info`. Read at the start: compiled in, it would have the host
    /// compiled anew for each commit.
    #[arg(long, env = "LEAK_REVISION", hide = true, default_value = "unknown")]
    pub(crate) revision: String,

    /// Time that each answer of /api/data takes at least, like `5ms`: a stand-in for real work.
    #[arg(long, default_value = "0ms", value_parser = duration)]
    pub(crate) base_latency: Duration,

    /// Time that a client may take for the headers of a request or between two parts of its body, and may leave a
    /// connection without a request.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = client_timeout)]
    pub(crate) client_timeout: Duration,

    /// Exit with 137 when the process grows over this, as the kernel would kill it in a container: 256MiB.
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory_limit: Option<ByteSize>,

    /// Linear memory that one plugin may have: 64MiB. Without it, what wasm allows (4 GiB).
    #[arg(long, value_name = "SIZE", value_parser = plugin_memory)]
    pub(crate) plugin_memory_limit: Option<ByteSize>,

    /// Time that one call into a plugin may take.
    #[arg(long, default_value = "250ms", value_parser = deadline)]
    pub(crate) plugin_deadline: Duration,

    /// Whether plugins keep live bytes by source line; each can be switched on its own.
    #[arg(long, value_parser = heap_profile(), default_value = HeapProfile::Exact.name())]
    pub(crate) heap_profile: HeapProfile,

    /// What is logged, and how.
    #[command(flatten)]
    pub(crate) log: LogOptions,

    /// Where traces and metrics go.
    #[command(flatten)]
    pub(crate) telemetry: TelemetryOptions,

    /// Where the user's cache folder is.
    #[arg(long, env = "XDG_CACHE_HOME", hide = true)]
    xdg_cache_home: Option<PathBuf>,

    /// Where the user's home is.
    #[arg(long, env = "HOME", hide = true)]
    home: Option<PathBuf>,
}

impl Config {
    /// The folder of compiled plugins, or none.
    pub(crate) fn cache_folder(&self) -> Option<PathBuf> {
        if self.no_cache {
            return None;
        }
        let user = || {
            self.xdg_cache_home
                .clone()
                .or_else(|| Some(self.home.as_ref()?.join(".cache")))
        };
        self.cache
            .clone()
            .or_else(|| Some(user()?.join("leak-lab").join("compiled")))
    }

    /// Where the last readings are kept for after a death, or none. A host on a port of its own choice is found
    /// by nobody afterwards, so it keeps some only if told where.
    pub(crate) fn post_mortem_folder(&self) -> Option<PathBuf> {
        if self.no_post_mortem {
            return None;
        }
        let beside = || {
            let found_again = self.listen.port() != 0;
            let cache = self.cache_folder().filter(|_| found_again)?;
            Some(cache.join("post-mortem"))
        };
        self.post_mortem.clone().or_else(beside)
    }

    /// The options that the HTTP API needs.
    pub(crate) fn api_options(&self) -> ApiOptions {
        ApiOptions {
            service_name: self.service_name.clone(),
            base_latency: self.base_latency,
            client_timeout: self.client_timeout,
            plugin_deadline: self.plugin_deadline,
            admin_token: self.admin_token.clone(),
            source_root: self.source_root.clone(),
        }
    }

    /// What every plugin starts with.
    pub(crate) fn defaults(&self) -> Defaults {
        Defaults {
            deadline: self.plugin_deadline,
            memory_limit: self.plugin_memory_limit.map(ByteSize::bytes),
            heap_profile: self.heap_profile,
        }
    }
}

fn heap_profile() -> impl TypedValueParser<Value = HeapProfile> {
    let value = |profile: HeapProfile| {
        PossibleValue::new(profile.name()).help(match profile {
            HeapProfile::Exact => "Every allocation counts",
            HeapProfile::Off => "Plugins run unmodified",
        })
    };
    PossibleValuesParser::new(HeapProfile::ALL.map(value))
        .try_map(|name| HeapProfile::from_name(&name).ok_or("not a heap profile"))
}

fn duration(text: &str) -> Result<Duration, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale = match unit.trim() {
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        _ => return Err("takes a number with a unit: 500us, 5ms, 1.5s".into()),
    };
    let number: f64 = number
        .parse()
        .map_err(|_| "takes a number with a unit: 5ms".to_owned())?;
    Duration::try_from_secs_f64(number * scale).map_err(|e| e.to_string())
}

fn deadline(text: &str) -> Result<Duration, String> {
    let value = duration(text)?;
    let range = Duration::from_millis(10)..=Duration::from_secs(60);
    if range.contains(&value) {
        Ok(value)
    } else {
        Err("takes 10ms to 60s".into())
    }
}

fn client_timeout(text: &str) -> Result<Duration, String> {
    let value = duration(text)?;
    let range = Duration::from_millis(100)..=Duration::from_secs(3600);
    if range.contains(&value) {
        Ok(value)
    } else {
        Err("takes 100ms to 3600s".into())
    }
}

fn plugin_memory(text: &str) -> Result<ByteSize, String> {
    let size: ByteSize = text.parse().map_err(|e| format!("{e}"))?;
    if (1 << 20..=1 << 32).contains(&size.bytes()) {
        Ok(size)
    } else {
        Err("takes 1MiB to 4GiB".into())
    }
}

fn requests(text: &str) -> Result<u32, String> {
    let range = conformance::REQUESTS_RANGE;
    match text.parse() {
        Ok(requests) if range.contains(&requests) => Ok(requests),
        _ => Err(format!("takes {} to {}", range.start(), range.end())),
    }
}

fn component_size(text: &str) -> Result<ByteSize, String> {
    let size: ByteSize = text.parse().map_err(|e| format!("{e}"))?;
    if (1 << 10..=1 << 30).contains(&size.bytes()) {
        Ok(size)
    } else {
        Err("takes 1KiB to 1GiB".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(duration("5ms"), Ok(Duration::from_millis(5)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("20us"), Ok(Duration::from_micros(20)));
        for bad in ["5", "ms", "-1s", "5 hours", ""] {
            assert!(duration(bad).is_err(), "{bad:?}");
        }
        assert!(deadline("9ms").is_err());
        assert!(client_timeout("0s").is_err() && client_timeout("60s").is_ok());
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        CommandLine::command().debug_assert();
    }
}
