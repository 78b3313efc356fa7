//! Going on with another component: the new one is started and told the settings before the old one is given up,
//! so that a replacement that fails changes nothing.

use std::sync::Arc;

use jiff::Timestamp;

use super::Driver;
use crate::driver::published_state::{Details, State};
use crate::error::{Fault, PluginError};
use crate::instance::{Instance, told_at_start};
use crate::load::loader::{Loaded, Origin, Profile};
use crate::load::manifest::Manifest;
use crate::metrics::RecycleReason;
use crate::registry::blocking;
use crate::settings::{Defaults, SettingReset, Settings, WASM32_MEMORY_MAX};

/// A component to go on with.
pub struct Replacement {
    pub(crate) loaded: Arc<Loaded>,
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) instance: Instance,
}

/// What a replacement did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced {
    /// Settings whose values the new component does not take: they are at their defaults.
    pub settings_reset: Vec<SettingReset>,
}

impl std::fmt::Debug for Replacement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replacement")
            .field("manifest", &self.manifest)
            .finish_non_exhaustive()
    }
}

impl Replacement {
    /// Starts an instance of a component and asks it what it is.
    ///
    /// # Errors
    ///
    /// [`PluginError::Refused`] when it does not start or does not answer as the contract wants.
    pub async fn start(
        loaded: Loaded,
        log_name: &str,
        defaults: Defaults,
    ) -> Result<Self, PluginError> {
        let limit = defaults.memory_limit.unwrap_or(WASM32_MEMORY_MAX);
        let mut instance = Instance::start(&loaded, log_name, limit)
            .await
            .map_err(|fault| {
                PluginError::Refused(format!("the component does not start: {fault}"))
            })?;
        let manifest = instance.describe().await?;
        loaded.release_pages();
        Ok(Replacement {
            loaded: Arc::new(loaded),
            manifest: Arc::new(manifest),
            instance,
        })
    }

    /// The id that it describes itself with.
    pub fn id(&self) -> &str {
        &self.manifest.id
    }

    /// Where it came from.
    pub fn origin(&self) -> &Origin {
        &self.loaded.origin
    }
}

impl Driver {
    /// Calls that were made before this are the old component's, those that still wait for the driver are for the new
    /// one. The switch stays, and so do the settings that the new one takes.
    ///
    /// # Errors
    ///
    /// [`PluginError::Refused`] when the new one does not survive being told its settings: the old one goes on.
    pub(crate) async fn replace(
        &mut self,
        replacement: Replacement,
    ) -> Result<Replaced, PluginError> {
        let manifest = &replacement.manifest;
        let declared = Settings::new(&manifest.id, manifest.settings.clone(), self.defaults);
        let (mut settings, mut reset) = declared.keeping(&self.details.settings);
        let profile = Profile::wanted(settings.policy().heap_profile);
        let mut fresh = replacement;
        if fresh.loaded.profile != profile {
            // Switched while the new one was compiled.
            let (loader, origin) = (self.loader.clone(), fresh.origin().clone());
            let loaded = blocking(move || loader.reload(&origin, profile)).await?;
            fresh = Replacement::start(loaded, &self.name, self.defaults).await?;
        }
        fresh
            .instance
            .set_memory_limit(settings.policy().memory_limit);
        match tell(&mut fresh.instance, &mut settings).await {
            Ok(refused) => reset.extend(refused),
            Err(fault) => {
                return Err(PluginError::Refused(format!(
                    "the component failed when it was told the settings in force: {fault}"
                )));
            }
        }
        let Replacement {
            loaded,
            manifest,
            instance,
        } = fresh;
        self.details = Details {
            attribution: loaded.meta.attribution().clone(),
            settings: Arc::new(settings),
            manifest,
            origin: Arc::new(loaded.origin.clone()),
            state: State::Running,
            loaded_at: Timestamp::now(),
            ..self.details.clone()
        };
        self.loaded = loaded;
        self.install(instance, RecycleReason::Reload);
        if self.details.settings.policy().time_to_live.is_none() {
            self.expiry = None;
            self.details.expires_at = None;
            self.publish();
        }
        self.warn_of(&reset);
        let origin = &self.details.origin;
        tracing::info!(
            plugin = self.id(),
            version = self.details.manifest.version,
            digest = origin.digest,
            compile_ms = origin.compile_time.as_secs_f64() * 1e3,
            cached = origin.cached,
            "plugin replaced"
        );
        Ok(Replaced {
            settings_reset: reset,
        })
    }

    /// Says which settings are not as they were.
    pub(crate) fn warn_of(&self, reset: &[SettingReset]) {
        for setting in reset {
            tracing::warn!(
                plugin = self.id(),
                setting = setting.name,
                reason = setting.reason,
                "setting back at its default"
            );
        }
    }
}

/// Tells an instance the settings in force. One that it refuses goes back to its default.
pub(crate) async fn tell(
    instance: &mut Instance,
    settings: &mut Settings,
) -> Result<Vec<SettingReset>, Fault> {
    let defaults = settings.at_defaults();
    let deadline = settings.policy().deadline;
    let mut reset = Vec::new();
    loop {
        let told = instance
            .configure(told_at_start(settings, &defaults), deadline)
            .await?;
        let Err(refusal) = told else {
            return Ok(reset);
        };
        let reason = refusal.to_string();
        let named = match &refusal {
            PluginError::InvalidValue { name, .. } => settings.put_back(name).then(|| name.clone()),
            _ => None,
        };
        match named {
            Some(name) => reset.push(SettingReset { name, reason }),
            None => {
                // It does not say which: none of them is worth a plugin that does not start.
                reset.extend(
                    told_at_start(settings, &defaults).map(|(spec, _)| SettingReset {
                        name: spec.name.clone(),
                        reason: reason.clone(),
                    }),
                );
                *settings = defaults;
                return Ok(reset);
            }
        }
    }
}
