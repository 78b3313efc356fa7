//! A component that has been started once and has described itself, ready for a driver.

use std::fmt;
use std::sync::Arc;

use crate::blocking::on_own_thread;
use crate::error::PluginError;
use crate::instance::Instance;
use crate::load::component_source::ComponentSource;
use crate::load::loader::CompiledComponent;
use crate::load::manifest::Manifest;
use crate::settings::{Defaults, WASM32_MEMORY_MAX};

/// A component with its manifest and its first instance.
pub(crate) struct StartedPlugin {
    pub(crate) component: Arc<CompiledComponent>,
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) instance: Instance,
}

impl fmt::Debug for StartedPlugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StartedPlugin")
            .field("manifest", &self.manifest)
            .finish_non_exhaustive()
    }
}

impl StartedPlugin {
    /// Starts an instance of a component and reads its manifest. The guest's output is logged under
    /// `log_name`, or dropped without one.
    ///
    /// # Errors
    ///
    /// [`PluginError::Refused`] when it does not start, or when its manifest is invalid.
    pub(crate) async fn start(
        component: CompiledComponent,
        log_name: Option<&str>,
        defaults: &Defaults,
    ) -> Result<Self, PluginError> {
        let limit = defaults.memory_limit.unwrap_or(WASM32_MEMORY_MAX);
        let log_name = log_name.map(str::to_owned);
        let starting = on_own_thread(async move {
            let started = start_and_describe(&component, log_name.as_deref(), limit).await;
            started.map(|(instance, manifest)| (component, instance, manifest))
        });
        let (component, instance, manifest) = starting.await??;
        component.release_pages();
        Ok(StartedPlugin {
            component: Arc::new(component),
            manifest: Arc::new(manifest),
            instance,
        })
    }

    /// Gives it another id, and takes away every text that says what it is.
    ///
    /// # Errors
    ///
    /// [`PluginError::Refused`] for an id that is not valid.
    pub(crate) fn mask(&mut self, alias: &str) -> Result<(), PluginError> {
        self.manifest = Arc::new(self.manifest.masked(alias)?);
        Ok(())
    }

    /// The id in the manifest.
    pub(crate) fn id(&self) -> &str {
        &self.manifest.id
    }

    pub(crate) fn source(&self) -> &ComponentSource {
        &self.component.source
    }
}

/// Starts an instance with at most `memory_limit` bytes of linear memory and reads its manifest.
///
/// # Errors
///
/// [`PluginError::Refused`] when it does not start, or when its manifest is invalid.
pub(crate) async fn start_and_describe(
    component: &CompiledComponent,
    log_name: Option<&str>,
    memory_limit: u64,
) -> Result<(Instance, Manifest), PluginError> {
    let mut instance = component
        .start_instance(log_name, memory_limit)
        .await
        .map_err(|fault| PluginError::Refused(format!("the component does not start: {fault}")))?;
    let manifest = instance.describe().await.map_err(|fault| {
        PluginError::Refused(format!(
            "the component failed when the host asked for its manifest: {fault}"
        ))
    })?;
    Ok((instance, Manifest::check(manifest)?))
}
