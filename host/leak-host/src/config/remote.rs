//! The options of the commands that ask a running host.

use clap::{Args, ValueEnum};

/// Which host to ask.
#[derive(Debug, Args)]
pub(crate) struct RemoteOptions {
    /// Address of the host's admin API
    #[arg(
        long,
        env = "LEAK_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:8080"
    )]
    pub(crate) url: String,

    /// Token of the admin API, if the host was started with --admin-token
    #[arg(
        long,
        env = "LEAK_ADMIN_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true
    )]
    #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) token: Option<String>,
}

/// How an answer is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// Text for people.
    Human,
    /// The JSON of the admin API.
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Number of the exercise [default: all exercises]
    #[arg(value_name = "NUMBER")]
    pub(crate) exercise: Option<u32>,

    /// Which host to ask.
    #[command(flatten)]
    pub(crate) remote: RemoteOptions,

    /// How the answer is printed
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = OutputFormat::Human)]
    pub(crate) format: OutputFormat,
}
