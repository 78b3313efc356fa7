//! Loads the plugins while the host serves already.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail, ensure};

use admin_api::{ApiState, scenario};
use lab::sampler;
use plugin_host::registry::Registry;
use process_memory::allocator;

/// Time between two looks for plugins of `--enable` that are loaded meanwhile.
const ENABLE_INTERVAL: Duration = Duration::from_millis(20);

/// The largest file of a scenario, in bytes: as much as the admin API takes.
const MAX_SCENARIO_BYTES: u64 = 64 << 10;

/// What is on from the start.
#[derive(Debug, Clone)]
pub(super) struct FirstLeaks {
    /// Leaks that are enabled as soon as they are loaded.
    pub(super) enable: Vec<String>,
    /// The scenario that starts when all plugins are loaded.
    pub(super) scenario: Option<Scenario>,
}

/// A scenario and the file that it comes from.
#[derive(Debug, Clone)]
pub(super) struct Scenario {
    file: PathBuf,
    text: String,
}

impl Scenario {
    /// Reads a scenario, and checks what can be checked before the plugins are loaded.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or is no scenario.
    pub(super) fn read(file: &Path) -> anyhow::Result<Self> {
        let name = || format!("--scenario {}", file.display());
        let mut text = String::new();
        let opened = File::open(file).with_context(name)?;
        opened
            .take(MAX_SCENARIO_BYTES + 1)
            .read_to_string(&mut text)
            .with_context(name)?;
        ensure!(
            text.len() as u64 <= MAX_SCENARIO_BYTES,
            "{}: larger than {MAX_SCENARIO_BYTES} bytes",
            name()
        );
        let checked = scenario::check(&text);
        checked
            .map_err(|error| anyhow!("{error}"))
            .with_context(name)?;
        Ok(Scenario {
            file: file.to_owned(),
            text,
        })
    }
}

/// Loads the plugins folder and enables the first leaks, each as soon as it is loaded. Then the
/// scenario starts, and the host is ready.
///
/// # Errors
///
/// When the folder cannot be read, or has no leak of one of these names, or when the scenario does
/// not fit the leaks.
pub(super) async fn load_plugins(state: &ApiState, first: &FirstLeaks) -> anyhow::Result<()> {
    let registry = &state.registry;
    let mut left: Vec<&String> = first.enable.iter().collect();
    let mut loading = std::pin::pin!(registry.load_folder());
    loop {
        tokio::select! {
            loaded = &mut loading => {
                loaded?;
                break;
            }
            () = tokio::time::sleep(ENABLE_INTERVAL), if !left.is_empty() => {
                left = enable_loaded(registry, left).await?;
            }
        }
    }
    if let Some(name) = enable_loaded(registry, left).await?.first() {
        bail!("--enable {name}: unknown leak; {}", loaded(registry));
    }
    // Loading needs more memory than serving.
    allocator::release_free_pages();
    // The first sample of each plugin is from before its first request.
    sampler::sample(&state.monitor, registry, &state.heaps, || state.requests()).await;
    if let Some(scenario) = &first.scenario {
        let started = scenario::start_scenario(state, &scenario.text).await;
        if let Err(error) = started {
            bail!("--scenario {}: {error}", scenario.file.display());
        }
    }
    state.set_ready();
    tracing::info!(plugins = registry.plugins().len(), "ready");
    Ok(())
}

/// Enables those of the leaks that are loaded, and returns the others.
async fn enable_loaded<'a>(
    registry: &Registry,
    names: Vec<&'a String>,
) -> anyhow::Result<Vec<&'a String>> {
    let mut left = Vec::new();
    for name in names {
        match registry.get(name) {
            Some(plugin) => registry.update(&plugin, Some(true), Vec::new()).await?,
            None => left.push(name),
        }
    }
    Ok(left)
}

/// The end of an error message: the plugins that are loaded.
fn loaded(registry: &Registry) -> String {
    let plugins = registry.plugins();
    if plugins.is_empty() {
        return "no plugins are loaded, --plugins names their folder".into();
    }
    let ids: Vec<_> = plugins.iter().map(|plugin| plugin.id()).collect();
    format!("the loaded leaks are {}", ids.join(", "))
}
