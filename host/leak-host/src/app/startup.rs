//! Loads the plugins while the host serves already.

use std::time::Duration;

use anyhow::bail;

use admin_api::ApiState;
use lab::sampler;
use plugin_host::registry::Registry;
use process_memory::allocator;

/// Time between two looks for plugins of `--enable` that are loaded meanwhile.
const ENABLE_INTERVAL: Duration = Duration::from_millis(20);

/// Loads the plugins folder and enables these leaks, each as soon as it is loaded. Then the host is
/// ready.
///
/// # Errors
///
/// When the folder cannot be read, or has no leak of one of these names.
pub(super) async fn load_plugins(state: &ApiState, enable: &[String]) -> anyhow::Result<()> {
    let registry = &state.registry;
    let mut left: Vec<&String> = enable.iter().collect();
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
