//! The command line and the environment, parsed once. No other module reads the environment.

mod check;
mod clients;
mod code;
mod compile;
mod dataset;
mod fleet;
mod identity;
mod remote;
mod score;
mod values;

pub(crate) use check::CheckArgs;
pub(crate) use clients::ClientOptions;
pub(crate) use code::CodeOptions;
pub(crate) use compile::{CompileArgs, CompileOptions};
pub(crate) use dataset::{DatasetArgs, DatasetFormat};
pub(crate) use fleet::{FleetArgs, FleetCommand, Setting};
pub(crate) use identity::IdentityOptions;
pub(crate) use remote::{McpArgs, OutputFormat, PlayArgs, VerifyArgs};
pub(crate) use score::{ScoreArgs, SimulationOptions};

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use admin_api::ApiOptions;
use clap::{Args, Parser, Subcommand};

use plugin_host::load::cache::CacheLimits;
use plugin_host::settings::{Defaults, HeapProfile};
use process_memory::byte_size::ByteSize;
use telemetry::logs::LogOptions;
use telemetry::options::TelemetryOptions;

/// Runs leak patterns as WebAssembly components and shows their effect on memory
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub(crate) struct CommandLine {
    /// A command that replaces serving.
    #[command(subcommand)]
    pub(crate) action: Option<Action>,
    /// The options for serving.
    #[command(flatten)]
    pub(crate) config: Config,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Check whether a component conforms to the plugin contract
    ///
    /// Exits with 0 if the component conforms, with 1 if it does not, and with 2 if it cannot be
    /// checked.
    Check(CheckArgs),
    /// Ask a running host for its health, for containers without a shell
    ///
    /// Exits with 0 if the host serves and has loaded its plugins, else with 1.
    Health {
        /// Address that the host listens on
        #[arg(
            long,
            env = "LEAK_LISTEN",
            value_name = "ADDR",
            default_value = "127.0.0.1:8080"
        )]
        listen: SocketAddr,

        /// Count a host that still loads its plugins as healthy
        #[arg(long)]
        alive: bool,
    },
    /// Ask a running host whether an exercise is done, and what is missing
    ///
    /// Exits with 0 if it is done, with 1 if it is not, and with 2 if the host cannot be asked.
    Verify(VerifyArgs),
    /// Let an agent play the mystery game of a running host, over MCP on stdin and stdout
    Mcp(McpArgs),
    /// Let the scripted baseline play the mystery game of a running host
    ///
    /// Prints the grade as JSON. Exits with 0 if the answer was graded, else with 1.
    Play(PlayArgs),
    /// Score alert rules on every leak and decoy, in simulated time
    ///
    /// Prometheus's own code evaluates the rules: promtool has to be there. Exits with 0, or with
    /// 2 if the rules cannot be scored.
    Score(Box<ScoreArgs>),
    /// Write labelled series of leaks, decoys and healthy plugins, in simulated time
    ///
    /// The folder gets the series, the labels and a data card. Exits with 0, or with 2 if they
    /// cannot be written.
    Dataset(DatasetArgs),
    /// Ask or change many hosts at once
    ///
    /// Exits with 0, with 1 if `verdict` found a leak, and with 2 if a host did not answer or
    /// refused.
    Fleet(Box<FleetArgs>),
    /// Compile the component on stdin for the host that starts this command
    #[command(hide = true)]
    Compile(CompileArgs),
}

#[derive(Debug, Args)]
pub(crate) struct Config {
    /// Address of the service; port 0 takes a free port
    #[arg(
        long,
        env = "LEAK_LISTEN",
        value_name = "ADDR",
        default_value = "127.0.0.1:8080"
    )]
    pub(crate) listen: SocketAddr,

    /// Separate address for the admin API and the console [default: the service's address]
    #[arg(long, value_name = "ADDR")]
    pub(crate) admin_listen: Option<SocketAddr>,

    /// Require this token in calls to the admin API, as `Authorization: Bearer TOKEN`
    #[arg(long, env = "LEAK_ADMIN_TOKEN", value_name = "TOKEN")]
    #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
    #[arg(hide_env_values = true)]
    pub(crate) admin_token: Option<String>,

    /// The token of the instructor of a mystery, who starts and ends it and sees its truth
    #[arg(long, env = "LEAK_INSTRUCTOR_TOKEN", value_name = "TOKEN")]
    #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
    #[arg(hide_env_values = true)]
    pub(crate) instructor_token: Option<String>,

    /// Folder of the plugins: every *.wasm file in it is loaded, and changes are followed
    #[arg(long, env = "LEAK_PLUGINS", value_name = "DIR")]
    pub(crate) plugins: Option<PathBuf>,

    /// Checkout that the plugins were built from; the console shows their source lines from it.
    /// For Python, the folder of the program. May be repeated: the first that has a file wins
    #[arg(
        long,
        env = "LEAK_SOURCE_ROOT",
        value_name = "DIR",
        value_delimiter = ':'
    )]
    pub(crate) source_root: Vec<PathBuf>,

    /// Largest component that is loaded, from the folder or by the admin API, 1KiB to 1GiB
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "64MiB",
        value_parser = values::component_size
    )]
    pub(crate) max_plugin_size: ByteSize,

    /// Leaks that are enabled at the start, separated by commas
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub(crate) enable: Vec<String>,

    /// Scenario to start when the plugins are loaded: which leaks are on, when, and how
    #[arg(long, value_name = "FILE")]
    pub(crate) scenario: Option<PathBuf>,

    /// Folder for compiled plugins [default: leak-lab/compiled in the user's cache folder]
    #[arg(long, env = "LEAK_CACHE", value_name = "DIR")]
    pub(crate) cache: Option<PathBuf>,

    /// Most bytes of compiled plugins on disk, 1MiB to 1TiB
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "1GiB",
        value_parser = values::cache_size
    )]
    pub(crate) max_cache_size: ByteSize,

    /// Store no compiled plugins on disk
    #[arg(long, conflicts_with = "cache")]
    pub(crate) no_cache: bool,

    /// Folder for the last readings, which the next host shows after a kill
    ///
    /// The default is the folder `post-mortem` in the folder for compiled plugins. With port 0
    /// there is no default, and no readings are stored.
    #[arg(long, env = "LEAK_POST_MORTEM", value_name = "DIR")]
    pub(crate) post_mortem: Option<PathBuf>,

    /// Store no readings for a post-mortem
    #[arg(long, conflicts_with = "post_mortem")]
    pub(crate) no_post_mortem: bool,

    /// Name of the service in answers, metrics and traces
    #[arg(
        long,
        env = "OTEL_SERVICE_NAME",
        value_name = "NAME",
        default_value = "leaky-service"
    )]
    pub(crate) service_name: String,

    /// Who this host is.
    #[command(flatten)]
    pub(crate) identity: IdentityOptions,

    /// Least time that /api/data takes to answer, to simulate work: 500us, 5ms, 1.5s
    #[arg(long, value_name = "TIME", default_value = "0ms", value_parser = values::duration)]
    pub(crate) base_latency: Duration,

    /// Memory limit of the process, such as 256MiB [default: the limit of the container, if any]
    ///
    /// When the resident memory exceeds it, the host exits with status 137, like a container that
    /// the kernel kills.
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory_limit: Option<ByteSize>,

    /// Linear memory limit of each plugin, 1MiB to 4GiB [default: 4GiB, the most that wasm allows]
    #[arg(long, value_name = "SIZE", value_parser = values::plugin_memory)]
    pub(crate) plugin_memory_limit: Option<ByteSize>,

    /// Time limit of one call into a plugin, 10ms to 60s
    #[arg(long, value_name = "TIME", default_value = "250ms", value_parser = values::deadline)]
    pub(crate) plugin_deadline: Duration,

    /// Whether plugin heaps are profiled by source line; each plugin's settings can override it
    #[arg(long, value_name = "PROFILE", value_parser = values::heap_profile(), default_value = HeapProfile::Exact.name())]
    pub(crate) heap_profile: HeapProfile,

    /// What bounds clients.
    #[command(flatten)]
    pub(crate) clients: ClientOptions,

    /// Whose code frames are.
    #[command(flatten)]
    pub(crate) code: CodeOptions,

    /// The compiler.
    #[command(flatten)]
    pub(crate) compile: CompileOptions,

    /// The log.
    #[command(flatten)]
    pub(crate) log: LogOptions,

    /// Export of traces and metrics.
    #[command(flatten)]
    pub(crate) telemetry: TelemetryOptions,

    /// The user's cache folder
    #[arg(long, env = "XDG_CACHE_HOME", hide = true)]
    xdg_cache_home: Option<PathBuf>,

    /// The user's home
    #[arg(long, env = "HOME", hide = true)]
    home: Option<PathBuf>,
}

impl Config {
    /// What the compiled plugins may take on disk.
    pub(crate) fn cache_limits(&self) -> CacheLimits {
        CacheLimits {
            bytes: self.max_cache_size.bytes(),
            ..CacheLimits::default()
        }
    }

    /// The folder for compiled plugins. `None` with `--no-cache`, or if the user has no home.
    pub(crate) fn cache_folder(&self) -> Option<PathBuf> {
        if self.no_cache {
            return None;
        }
        let user_cache = || {
            self.xdg_cache_home
                .clone()
                .or_else(|| Some(self.home.as_ref()?.join(".cache")))
        };
        self.cache
            .clone()
            .or_else(|| Some(user_cache()?.join("leak-lab").join("compiled")))
    }

    /// The folder for the last readings. With port 0 there is no default folder, because no later
    /// host would use the same port and find the readings.
    pub(crate) fn post_mortem_folder(&self) -> Option<PathBuf> {
        if self.no_post_mortem {
            return None;
        }
        let default = || {
            let has_fixed_port = self.listen.port() != 0;
            let cache = self.cache_folder().filter(|_| has_fixed_port)?;
            Some(cache.join("post-mortem"))
        };
        self.post_mortem.clone().or_else(default)
    }

    /// The options of the HTTP API.
    pub(crate) fn api_options(&self) -> ApiOptions {
        ApiOptions {
            identity: self.identity.identity(),
            has_fleet_view: self.identity.fleet.is_some(),
            service_name: self.service_name.clone(),
            base_latency: self.base_latency,
            client_timeout: self.clients.client_timeout,
            upload_budget: self.clients.upload_budget.bytes(),
            plugin_deadline: self.plugin_deadline,
            admin_token: self.admin_token.clone(),
            instructor_token: self.instructor_token.clone(),
            allowed_hosts: self.clients.allowed_host.clone(),
            source_roots: self.source_root.clone(),
        }
    }

    /// The settings that every plugin starts with.
    pub(crate) fn defaults(&self) -> Defaults {
        Defaults {
            deadline: self.plugin_deadline,
            queue_timeout: self.clients.queue_timeout,
            memory_limit: self.plugin_memory_limit.map(ByteSize::bytes),
            heap_profile: self.heap_profile,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::builder::Resettable;
    use clap::{CommandFactory, FromArgMatches};

    use super::*;

    /// Parses options without the environment of the test.
    fn parse(args: &[&str]) -> Config {
        let command = CommandLine::command().mut_args(|arg| arg.env(Resettable::Reset));
        let args = ["leak-host", "--home", "/home/me"].iter().chain(args);
        let matches = command.try_get_matches_from(args).unwrap();
        CommandLine::from_arg_matches(&matches).unwrap().config
    }

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn compiled_plugins_are_stored_in_the_users_cache_folder() {
        let folder = |args: &[&str]| parse(args).cache_folder();
        let path = |path: &str| Some(PathBuf::from(path));
        assert_eq!(folder(&[]), path("/home/me/.cache/leak-lab/compiled"));
        assert_eq!(
            folder(&["--xdg-cache-home", "/c"]),
            path("/c/leak-lab/compiled")
        );
        assert_eq!(folder(&["--cache", "/elsewhere"]), path("/elsewhere"));
        assert_eq!(folder(&["--no-cache"]), None);
    }

    #[test]
    fn readings_are_stored_with_the_compiled_plugins_unless_the_port_is_free() {
        let folder = |args: &[&str]| parse(args).post_mortem_folder();
        let path = |path: &str| Some(PathBuf::from(path));
        assert_eq!(folder(&["--cache", "/c"]), path("/c/post-mortem"));
        let free_port = ["--cache", "/c", "--listen", "127.0.0.1:0"];
        assert_eq!(folder(&free_port), None);
        let named = ["--listen", "127.0.0.1:0", "--post-mortem", "/p"];
        assert_eq!(folder(&named), path("/p"));
        assert_eq!(folder(&["--no-post-mortem"]), None);
    }
}
