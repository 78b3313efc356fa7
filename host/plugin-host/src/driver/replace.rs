//! Replaces a plugin's component. The new instance is started and configured before the old one is
//! dropped, so a replacement that fails changes nothing.

use std::sync::Arc;

use jiff::Timestamp;

use crate::driver::published_state::{PluginDetails, RunState};
use crate::driver::restart::configure_fresh;
use crate::driver::{Driver, ReplaceOutcome};
use crate::error::PluginError;
use crate::load::started_plugin::StartedPlugin;
use crate::metrics::RecycleReason;
use crate::settings::Settings;

impl Driver {
    /// Goes on with another component. Calls that were made before belong to the old component;
    /// calls that still wait for the driver go to the new one. The switch keeps its state, and so
    /// do the settings whose values the new component accepts.
    ///
    /// # Errors
    ///
    /// [`PluginError::Refused`] when the new component does not survive its configuration. The old
    /// one goes on.
    pub(super) async fn replace(
        &mut self,
        started: StartedPlugin,
    ) -> Result<ReplaceOutcome, PluginError> {
        let manifest = &started.manifest;
        let declared = Settings::new(&manifest.id, manifest.settings.clone(), &self.defaults);
        let (mut settings, mut reset) = declared.keeping(&self.details.settings);
        let profile = settings.policy().heap_profile;
        let mut fresh = started;
        if fresh.component.profile != profile {
            // The profile changed during the compilation of the new component.
            let source = Arc::new(fresh.source().clone());
            let component = self.loader.reload(&source, profile).await?;
            fresh = StartedPlugin::start(component, self.log_name(), &self.defaults).await?;
        }
        fresh
            .instance
            .set_memory_limit(settings.policy().memory_limit);
        let configured = {
            let _call = self
                .published
                .begin_command_call(settings.policy().deadline);
            configure_fresh(&mut fresh.instance, &mut settings).await
        };
        match configured {
            Ok(refused) => reset.extend(refused),
            Err(fault) => {
                return Err(PluginError::Refused(format!(
                    "the component failed when it received its current settings: {fault}"
                )));
            }
        }
        let StartedPlugin {
            component,
            manifest,
            instance,
        } = fresh;
        self.details = PluginDetails {
            profile: component.meta.clone(),
            settings: Arc::new(settings),
            manifest,
            source: Arc::new(component.source.clone()),
            state: RunState::Running,
            loaded_at: Timestamp::now(),
            ..self.details.clone()
        };
        self.component = component;
        self.start_generation(instance, RecycleReason::Reload);
        if self.details.settings.policy().time_to_live.is_none() {
            self.expiry = None;
            self.details.expires_at = None;
            self.publish();
        }
        self.log_reset_settings(&reset);
        let source = &self.details.source;
        tracing::info!(
            plugin = self.id(),
            version = self.details.manifest.version,
            digest = source.digest,
            compile_ms = source.compile_time.as_secs_f64() * 1e3,
            cached = source.cached,
            "plugin replaced"
        );
        Ok(ReplaceOutcome {
            settings_reset: reset,
        })
    }
}
