//! Fresh instances of the same component: after a reset, a recycle, or a change of the heap
//! profile.
//!
//! The fresh instance is started and configured before the old one is dropped. It has hardly any
//! memory of its own yet, and a fresh instance that does not start changes nothing.

use std::sync::Arc;

use crate::driver::journal::{EventKind, RestartReason};
use crate::driver::published_state::{PluginReading, RunState};
use crate::driver::target::TargetTracker;
use crate::driver::{Driver, RecycleOutcome, ResetOutcome};
use crate::error::{Fault, PluginError};
use crate::instance::{Instance, START_DEADLINE};
use crate::load::loader::CompiledComponent;
use crate::metrics::RecycleReason;
use crate::settings::{HeapProfile, SettingReset, Settings};

impl Driver {
    /// Starts a fresh instance. With `everything`, disables the leak and resets all settings too.
    ///
    /// # Errors
    ///
    /// [`PluginError::NotStarted`] when the fresh instance does not start.
    pub(super) async fn reset(&mut self, everything: bool) -> Result<ResetOutcome, PluginError> {
        let linear_before = self.reading.linear.bytes;
        let mut component = self.component.clone();
        let mut settings = Settings::clone(&self.details.settings);
        if everything {
            let heap_profile = settings.policy().heap_profile;
            settings = settings.at_defaults();
            if heap_profile != settings.policy().heap_profile {
                component = self.with_profile(settings.policy().heap_profile).await?;
            }
        }
        self.restart(component, settings, RecycleReason::Reset)
            .await?;
        if everything {
            self.reading.linear_peak = self.reading.linear.bytes;
            self.set_enabled(false);
        }
        tracing::info!(
            plugin = self.id(),
            generation = self.reading.generation,
            "reset"
        );
        Ok(ResetOutcome {
            generation: self.reading.generation,
            linear_before,
            linear_after: self.reading.linear.bytes,
        })
    }

    /// Starts a fresh instance if the old one retains nothing and has grown: linear memory can only
    /// shrink that way.
    pub(super) async fn recycle(&mut self) -> RecycleOutcome {
        let before = self.reading;
        let kept = |reason: String| RecycleOutcome {
            recycled: false,
            linear_before: before.linear.bytes,
            linear_after: before.linear.bytes,
            reason,
        };
        if let Some(fault) = self.details.state.fault() {
            let state = self.details.state.name();
            let id = &self.details.manifest.id;
            return kept(format!(
                "kept for inspection: {state} ({fault}); \
                 POST /admin/leaks/{id}/reset starts a fresh instance"
            ));
        }
        if before.retained.objects > 0 {
            let unit = &self.details.manifest.unit;
            let objects = before.retained.objects;
            return kept(format!("kept: it retains {objects} {unit}"));
        }
        if before.linear.bytes <= before.linear_start {
            return kept("kept: its linear memory has not grown since the start".into());
        }
        let component = self.component.clone();
        let settings = Settings::clone(&self.details.settings);
        match self.restart(component, settings, RecycleReason::Gc).await {
            Ok(()) => RecycleOutcome {
                recycled: true,
                linear_before: before.linear.bytes,
                linear_after: self.reading.linear.bytes,
                reason: "it retained nothing".into(),
            },
            Err(error) => kept(format!("kept: {error}")),
        }
    }

    /// The same component with another heap profile.
    pub(super) fn with_profile(
        &self,
        profile: HeapProfile,
    ) -> impl Future<Output = Result<Arc<CompiledComponent>, PluginError>> + use<> {
        let (loader, source) = (self.loader.clone(), self.details.source.clone());
        async move { Ok(Arc::new(loader.reload(&source, profile).await?)) }
    }

    /// Goes on with a fresh instance of a component and with these settings.
    ///
    /// # Errors
    ///
    /// [`PluginError::NotStarted`] when it does not start or does not survive its configuration.
    /// Nothing has changed then.
    pub(super) async fn restart(
        &mut self,
        component: Arc<CompiledComponent>,
        mut settings: Settings,
        why: RecycleReason,
    ) -> Result<(), PluginError> {
        let not_started = |plugin: &str, fault: Fault| {
            tracing::warn!(plugin, reason = fault.reason, "no fresh instance");
            PluginError::NotStarted {
                plugin: plugin.to_owned(),
                fault,
            }
        };
        let limit = settings.policy().memory_limit;
        let fresh = {
            let _call = self.published.begin_command_call(START_DEADLINE);
            component.start_instance(self.log_name(), limit).await
        };
        let mut fresh = fresh.map_err(|fault| not_started(self.id(), fault))?;
        let reset = {
            let _call = self
                .published
                .begin_command_call(settings.policy().deadline);
            configure_fresh(&mut fresh, &mut settings).await
        };
        let reset = reset.map_err(|fault| not_started(self.id(), fault))?;
        self.log_reset_settings(&reset);
        self.details.settings = Arc::new(settings);
        self.details.profile = component.meta.clone();
        self.details.source = Arc::new(component.source.clone());
        self.component = component;
        self.start_generation(fresh, why);
        Ok(())
    }

    /// Starts the next generation with this instance.
    pub(super) fn start_generation(&mut self, instance: Instance, why: RecycleReason) {
        self.metrics.recycled(why);
        self.details.state = RunState::Running;
        self.target = TargetTracker::default();
        self.forget_pace();
        self.reading = PluginReading {
            // The memory that the start takes does not count as growth.
            linear: instance.linear_memory(),
            linear_peak: self.reading.linear_peak,
            generation: self.reading.generation + 1,
            ..PluginReading::default()
        };
        self.published.journal().record(EventKind::Restarted {
            why: match why {
                RecycleReason::Reset => RestartReason::Reset,
                RecycleReason::Gc => RestartReason::Collected,
                RecycleReason::Reload => RestartReason::Reloaded,
            },
            generation: self.reading.generation,
        });
        self.instance = instance;
        let limit = self.details.settings.policy().memory_limit;
        self.instance.set_memory_limit(limit);
        self.read_memory();
        self.reading.linear_start = self.reading.linear.bytes;
        self.publish();
    }

    pub(super) fn log_reset_settings(&self, reset: &[SettingReset]) {
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

/// Passes the current settings to a fresh instance: those that differ from the declared defaults. A
/// setting that the guest refuses goes back to its default.
///
/// # Errors
///
/// A [`Fault`] when the guest did not survive it.
pub(super) async fn configure_fresh(
    instance: &mut Instance,
    settings: &mut Settings,
) -> Result<Vec<SettingReset>, Fault> {
    let defaults = settings.at_defaults();
    let deadline = settings.policy().deadline;
    let mut reset = Vec::new();
    loop {
        let configured = instance
            .configure(settings.plugin_changes(&defaults), deadline)
            .await?;
        let Err(refusal) = configured else {
            return Ok(reset);
        };
        let reason = refusal.to_string();
        let named = match &refusal {
            PluginError::InvalidValue { name, .. } => settings.reset(name).then(|| name.clone()),
            _ => None,
        };
        match named {
            Some(name) => reset.push(SettingReset { name, reason }),
            None => {
                // The guest does not name a setting, so all of them go back: the plugin must start.
                let refused = settings.plugin_changes(&defaults);
                reset.extend(refused.map(|(spec, _)| SettingReset {
                    name: spec.name.clone(),
                    reason: reason.clone(),
                }));
                *settings = defaults;
                return Ok(reset);
            }
        }
    }
}
