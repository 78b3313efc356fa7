//! The options of the commands that ask a running host.

use clap::{Args, ValueEnum};
use fleet::{AdminClient, AskError};

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

impl RemoteOptions {
    /// A client of this host. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// [`AskError::InvalidUrl`].
    pub(crate) fn client(&self) -> Result<AdminClient, AskError> {
        AdminClient::new(&self.url, self.token.clone())
    }
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

#[derive(Debug, Args)]
pub(crate) struct McpArgs {
    /// Which host to ask.
    #[command(flatten)]
    pub(crate) remote: RemoteOptions,

    /// Name on the leader board, to play in a class
    #[arg(long, value_name = "NAME")]
    pub(crate) player: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct PlayArgs {
    /// Which host to ask.
    #[command(flatten)]
    pub(crate) remote: RemoteOptions,

    /// Name on the leader board
    #[arg(long, value_name = "NAME")]
    pub(crate) player: Option<String>,

    /// Start a game of this difficulty, 1 to 5 [default: play the game that runs]
    #[arg(long, value_name = "LEVEL", value_parser = clap::value_parser!(u8).range(1..=5))]
    pub(crate) difficulty: Option<u8>,

    /// Seed of the game to start [default: the host draws one]
    #[arg(long, requires = "difficulty")]
    pub(crate) seed: Option<u64>,

    /// Length of the game to start, such as 10m
    #[arg(long, value_name = "TIME", requires = "difficulty")]
    pub(crate) duration: Option<String>,
}
