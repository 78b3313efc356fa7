//! The options of `leak-host fleet`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use fleet::HostAddress;
use fleet::calls::{DEFAULT_CONCURRENCY, FleetOptions, READ_TIMEOUT};
use fleet::client::Timeouts;
use fleet::selection::{Amount, LabelFilter, Selection};
use fleet::source::Source;

use super::values;

/// `leak-host fleet`.
#[derive(Debug, Args)]
pub(crate) struct FleetArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: FleetCommand,
}

/// Where the hosts are.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct SourceOptions {
    /// DNS name whose addresses are the hosts, such as a headless service of Kubernetes
    #[arg(long, value_name = "NAME[:PORT]")]
    service: Option<HostAddress>,

    /// Addresses of the hosts, separated by commas; the default port is 8080
    #[arg(long, value_name = "ADDR,…", value_delimiter = ',')]
    hosts: Option<Vec<HostAddress>>,

    /// File with one address in each line
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Which hosts, and how they are asked.
#[derive(Debug, Args)]
pub(crate) struct TargetOptions {
    /// Where the hosts are.
    #[command(flatten)]
    source: SourceOptions,

    /// Only so many hosts, the first ones in the order of their addresses
    #[arg(long, value_name = "COUNT", conflicts_with = "percent", value_parser = clap::value_parser!(u16).range(1..))]
    only: Option<u16>,

    /// Only this share of the hosts, 1 to 100, rounded up
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=100))]
    percent: Option<u8>,

    /// Only hosts with this label, before --only and --percent count; can be repeated
    ///
    /// `name`, `service`, `version` and `revision` are those of the host.
    #[arg(long, value_name = "NAME=VALUE")]
    label: Vec<LabelFilter>,

    /// Token of the admin API, if the hosts were started with --admin-token
    #[arg(
        long,
        env = "LEAK_ADMIN_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true
    )]
    #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
    token: Option<String>,

    /// Time limit for each host, 100ms to 3600s; a change or a diff gets at least 30s
    #[arg(long, value_name = "TIME", value_parser = values::client_timeout)]
    timeout: Option<Duration>,

    /// Hosts that are asked at once, 1 to 1024
    #[arg(long, value_name = "COUNT", default_value_t = DEFAULT_CONCURRENCY as u16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    parallel: u16,

    /// Print JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

/// A setting to change: `payload_bytes=102400`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Setting {
    pub(crate) name: String,
    pub(crate) value: serde_json::Value,
}

#[derive(Debug, Subcommand)]
pub(crate) enum FleetCommand {
    /// Show each host: memory, leaks that are on, verdict
    Status {
        /// Which hosts.
        #[command(flatten)]
        target: TargetOptions,
    },
    /// Switch a leak on, and change its settings
    Enable {
        /// Name of the leak
        leak: String,
        /// Settings, such as payload_bytes=102400
        #[arg(value_name = "NAME=VALUE", value_parser = setting)]
        settings: Vec<Setting>,
        /// Which hosts.
        #[command(flatten)]
        target: TargetOptions,
    },
    /// Switch a leak off
    Disable {
        /// Name of the leak
        leak: String,
        /// Which hosts.
        #[command(flatten)]
        target: TargetOptions,
    },
    /// Change settings of a leak
    Set {
        /// Name of the leak
        leak: String,
        /// Settings, such as payload_bytes=102400
        #[arg(value_name = "NAME=VALUE", value_parser = setting, required = true)]
        settings: Vec<Setting>,
        /// Which hosts.
        #[command(flatten)]
        target: TargetOptions,
    },
    /// Drop what one leak retains, or all leaks
    Clear {
        /// Name of the leak [default: all leaks]
        leak: Option<String>,
        /// Which hosts.
        #[command(flatten)]
        target: TargetOptions,
    },
    /// Give back the memory that can be given back
    Gc {
        /// Which hosts.
        #[command(flatten)]
        target: TargetOptions,
    },
    /// Start a fresh instance of one leak, or reset each host to its state at the start
    Reset {
        /// Name of the leak [default: everything]
        leak: Option<String>,
        /// Which hosts.
        #[command(flatten)]
        target: TargetOptions,
    },
    /// Show what leaks on each host
    ///
    /// Exits with 1 if a host leaks.
    Verdict {
        /// Which hosts.
        #[command(flatten)]
        target: TargetOptions,
    },
    /// Show which lines grew, added up over the hosts
    Diff {
        /// Compare with this long ago: 1s to 15m
        #[arg(
            long,
            value_name = "TIME",
            default_value = "5m",
            conflicts_with = "baseline"
        )]
        since: String,
        /// Compare with this baseline, which each host has
        #[arg(long, value_name = "NAME")]
        baseline: Option<String>,
        /// Only this plugin
        #[arg(long, value_name = "NAME")]
        plugin: Option<String>,
        /// Lines of the table, 1 to 1000
        #[arg(long, value_name = "COUNT", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
        /// Which hosts.
        #[command(flatten)]
        target: TargetOptions,
    },
    /// Load another version of a plugin for a time, and then the old one again
    ///
    /// Ctrl-C brings the old version back at once. So does a host that refuses the new version.
    Rollout {
        /// Id of the plugin
        plugin: String,
        /// The version to roll out (*.wasm)
        #[arg(long, value_name = "FILE")]
        new: PathBuf,
        /// The version to bring back (*.wasm)
        #[arg(long, value_name = "FILE")]
        old: PathBuf,
        /// How long the new version stays, such as 90s or 10m, 1s to 24h
        #[arg(long = "for", value_name = "TIME", value_parser = values::rollout_time)]
        duration: Duration,
        /// Which hosts.
        #[command(flatten)]
        target: TargetOptions,
    },
}

impl FleetCommand {
    /// Which hosts it is for.
    pub(crate) fn target(&self) -> &TargetOptions {
        match self {
            FleetCommand::Status { target }
            | FleetCommand::Enable { target, .. }
            | FleetCommand::Disable { target, .. }
            | FleetCommand::Set { target, .. }
            | FleetCommand::Clear { target, .. }
            | FleetCommand::Gc { target }
            | FleetCommand::Reset { target, .. }
            | FleetCommand::Verdict { target }
            | FleetCommand::Diff { target, .. }
            | FleetCommand::Rollout { target, .. } => target,
        }
    }
}

impl TargetOptions {
    /// The same for the library.
    pub(crate) fn options(&self) -> FleetOptions {
        let SourceOptions {
            service,
            hosts,
            file,
        } = &self.source;
        let source = match (service, file) {
            (Some(service), _) => Source::Service(service.clone()),
            (None, Some(file)) => Source::File(file.clone()),
            (None, None) => Source::Hosts(hosts.clone().unwrap_or_default()),
        };
        let call = self.timeout.unwrap_or(READ_TIMEOUT);
        FleetOptions {
            source,
            selection: Selection {
                labels: self.label.clone(),
                amount: match (self.only, self.percent) {
                    (Some(count), _) => Amount::First(count.into()),
                    (None, Some(percent)) => Amount::Percent(percent),
                    (None, None) => Amount::All,
                },
            },
            token: self.token.clone(),
            timeouts: Timeouts {
                connect: call.min(READ_TIMEOUT),
                call,
            },
            concurrency: self.parallel.into(),
        }
    }
}

/// `NAME=VALUE`. The value is JSON, or else a text.
fn setting(text: &str) -> Result<Setting, String> {
    let invalid = || "must be NAME=VALUE, such as payload_bytes=102400".to_owned();
    let (name, value) = text.split_once('=').ok_or_else(invalid)?;
    if name.is_empty() || value.is_empty() {
        return Err(invalid());
    }
    let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
    Ok(Setting {
        name: name.to_owned(),
        value,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_value_of_a_setting_is_json_or_else_a_text() {
        let value = |text: &str| setting(text).map(|setting| setting.value);
        assert_eq!(value("payload_bytes=1024"), Ok(json!(1024)));
        assert_eq!(value("fixed=true"), Ok(json!(true)));
        assert_eq!(value("curve=linear"), Ok(json!("linear")));
        assert_eq!(value("note=a=b"), Ok(json!("a=b")));
        for wrong in ["", "a", "=1", "a="] {
            assert!(value(wrong).is_err(), "{wrong:?}");
        }
    }
}
