//! The options of `leak-host score`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use ground_truth::load_shape::LoadShape;
use ground_truth::time_scale::TimeScale;
use ground_truth::trial::CURVES;

use super::{CodeOptions, CompileOptions, OutputFormat, values};

/// The scenario that stands for every loaded plugin.
const ALL: &str = "all";

#[derive(Debug, Args)]
pub(crate) struct ScoreArgs {
    /// Files of alert rules; recording rules that they need can be in any of them
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    pub(crate) rules: Vec<PathBuf>,

    /// Scenario to play, or `all`: each plugin by itself
    #[arg(long, value_name = "FILE|all", default_value = ALL)]
    scenario: PathBuf,

    /// Play only these plugins, separated by commas
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub(crate) plugin: Vec<String>,

    /// Shapes of the load, separated by commas [default: all five; for a scenario, steady]
    #[arg(long, value_name = "SHAPE,…", value_delimiter = ',', value_parser = load_shape())]
    pub(crate) load: Vec<LoadShape>,

    /// Curves of the leaks, separated by commas
    #[arg(
        long,
        value_name = "CURVE,…",
        value_delimiter = ',',
        default_value = "linear",
        value_parser = PossibleValuesParser::new(CURVES)
    )]
    pub(crate) curve: Vec<String>,

    /// How long each simulation lasts: an hour, or a day and a half
    ///
    /// The default is `lesson` for rules that are evaluated every 10 seconds or more often.
    #[arg(long, value_name = "SCALE", value_parser = time_scale())]
    pub(crate) time_scale: Option<TimeScale>,

    /// Time between two evaluations of the rules, such as 15s [default: the shortest interval of
    /// their groups, and at least that of the scrapes]
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    pub(crate) evaluation_interval: Option<Duration>,

    /// Mean of the requests per second [default: 20 in a lesson, 1 in production]
    #[arg(long, value_name = "RATE")]
    pub(crate) requests_per_second: Option<f64>,

    /// How the score is printed
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = OutputFormat::Human)]
    pub(crate) format: OutputFormat,

    /// Also write a picture of all alerts (SVG)
    #[arg(long, value_name = "FILE")]
    pub(crate) picture: Option<PathBuf>,

    /// The promtool that evaluates the rules [default: the one on PATH, or the one that `cargo
    /// xtask stack tools` built]
    #[arg(long, value_name = "FILE")]
    promtool: Option<PathBuf>,

    /// Where plugins and compiled plugins are.
    #[command(flatten)]
    pub(crate) simulation: SimulationOptions,

    /// Folders of programs
    #[arg(long, env = "PATH", hide = true)]
    path: Option<OsString>,
}

/// What plays plugins without serving.
#[derive(Debug, Args)]
pub(crate) struct SimulationOptions {
    /// Folder of the plugins
    #[arg(long, env = "LEAK_PLUGINS", value_name = "DIR", required = true)]
    pub(crate) plugins: PathBuf,

    /// Whose code frames are.
    #[command(flatten)]
    pub(crate) code: CodeOptions,

    /// The compiler.
    #[command(flatten)]
    pub(crate) compile: CompileOptions,

    /// The user's cache folder
    #[arg(long, env = "XDG_CACHE_HOME", hide = true)]
    xdg_cache_home: Option<PathBuf>,

    /// The user's home
    #[arg(long, env = "HOME", hide = true)]
    home: Option<PathBuf>,
}

impl SimulationOptions {
    /// The lab's folder in the user's cache; `None` if the user has no home.
    pub(crate) fn cache(&self) -> Option<PathBuf> {
        let of_home = || Some(self.home.as_ref()?.join(".cache"));
        let cache = self.xdg_cache_home.clone().or_else(of_home)?;
        Some(cache.join("leak-lab"))
    }
}

impl ScoreArgs {
    /// The file of the scenario; `None` for all plugins.
    pub(crate) fn scenario(&self) -> Option<&PathBuf> {
        Some(&self.scenario).filter(|file| file.as_os_str() != ALL)
    }

    /// promtool, if it was named.
    pub(crate) fn promtool(&self) -> Option<&PathBuf> {
        self.promtool.as_ref()
    }

    /// Where promtool may be: the folders of PATH, and those that `cargo xtask stack tools` makes.
    pub(crate) fn promtool_candidates(&self) -> Vec<PathBuf> {
        let path = self.path.clone().unwrap_or_default();
        let on_path = std::env::split_paths(&path).map(|folder| folder.join("promtool"));
        let tools = self.simulation.cache().map(|cache| cache.join("tools"));
        let built = tools.and_then(|tools| std::fs::read_dir(tools).ok());
        let built = built.into_iter().flatten().flatten();
        let mut built: Vec<PathBuf> = built
            .filter(|entry| {
                entry
                    .file_name()
                    .to_string_lossy()
                    .starts_with("prometheus-")
            })
            .map(|entry| entry.path().join("promtool"))
            .collect();
        // The newest first, as far as names say.
        built.sort();
        on_path.chain(built.into_iter().rev()).collect()
    }
}

pub(super) fn load_shape() -> impl TypedValueParser<Value = LoadShape> {
    PossibleValuesParser::new(LoadShape::ALL.map(LoadShape::name))
        .try_map(|name| LoadShape::from_name(&name).ok_or("not a shape of the load"))
}

fn time_scale() -> impl TypedValueParser<Value = TimeScale> {
    PossibleValuesParser::new(TimeScale::ALL.map(|scale| scale.name))
        .try_map(|name| TimeScale::from_name(&name).ok_or("not a time scale"))
}
