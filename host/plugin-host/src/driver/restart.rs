//! Fresh instances: a reset, a recycling, another profile.
//!
//! The fresh one is started and told the settings before the old one is given up: it has hardly any memory of its own
//! yet, and one that does not start changes nothing.

use std::sync::Arc;

use super::replace::tell;
use super::{Driver, Recycling, Resetting};
use crate::driver::journal::{EventKind, Restart};
use crate::driver::published_state::{Reading, State};
use crate::driver::target::Course;
use crate::error::{Fault, PluginError};
use crate::instance::Instance;
use crate::load::loader::{Loaded, Profile};
use crate::metrics::RecycleReason;
use crate::registry::blocking;
use crate::settings::Settings;

impl Driver {
    pub(crate) async fn reset(&mut self, everything: bool) -> Result<Resetting, PluginError> {
        let linear_before = self.reading.linear.bytes;
        let mut loaded = self.loaded.clone();
        let mut settings = Settings::clone(&self.details.settings);
        if everything {
            let heap_profile = settings.policy().heap_profile;
            settings = settings.at_defaults();
            if heap_profile != settings.policy().heap_profile {
                let profile = Profile::wanted(settings.policy().heap_profile);
                loaded = self.with_profile(profile).await?;
            }
        }
        self.restart(loaded, settings, RecycleReason::Reset).await?;
        if everything {
            self.reading.linear_peak = self.reading.linear.bytes;
            self.set_enabled(false);
        }
        tracing::info!(
            plugin = self.id(),
            generation = self.reading.generation,
            "reset"
        );
        Ok(Resetting {
            generation: self.reading.generation,
            linear_before,
            linear_after: self.reading.linear.bytes,
        })
    }

    pub(crate) async fn recycle(&mut self) -> Recycling {
        let before = self.reading;
        let kept = |reason: String| Recycling {
            recycled: false,
            linear_before: before.linear.bytes,
            linear_after: before.linear.bytes,
            reason,
        };
        if let Some(fault) = self.details.state.fault() {
            return kept(format!(
                "kept as evidence: {} ({fault}); reset starts it anew",
                self.details.state.name()
            ));
        }
        if before.retained.objects > 0 {
            let unit = &self.details.manifest.unit;
            return kept(format!(
                "kept: it retains {} {unit}",
                before.retained.objects
            ));
        }
        if before.linear.bytes <= before.linear_start {
            return kept("nothing to give back".into());
        }
        let (loaded, settings) = (self.loaded.clone(), self.details.settings.clone());
        let settings = Settings::clone(&settings);
        match self.restart(loaded, settings, RecycleReason::Gc).await {
            Ok(()) => Recycling {
                recycled: true,
                linear_before: before.linear.bytes,
                linear_after: self.reading.linear.bytes,
                reason: "it retained nothing".into(),
            },
            Err(error) => kept(format!("kept: {error}")),
        }
    }

    /// The same component with another profile, instrumented and compiled off the async threads.
    pub(crate) fn with_profile(
        &self,
        profile: Profile,
    ) -> impl Future<Output = Result<Arc<Loaded>, PluginError>> + use<> {
        let (loader, origin) = (self.loader.clone(), self.details.origin.clone());
        let loading = blocking(move || loader.reload(&origin, profile));
        async { Ok(Arc::new(loading.await?)) }
    }

    /// Goes on with a fresh instance of a component and with these settings, or with everything as it was.
    ///
    /// # Errors
    ///
    /// [`PluginError::NotStarted`] when it does not start or does not survive being told its settings.
    pub(crate) async fn restart(
        &mut self,
        loaded: Arc<Loaded>,
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
        let mut fresh = Instance::start(&loaded, &self.name, limit)
            .await
            .map_err(|fault| not_started(self.id(), fault))?;
        let reset = tell(&mut fresh, &mut settings)
            .await
            .map_err(|fault| not_started(self.id(), fault))?;
        self.warn_of(&reset);
        self.details.settings = Arc::new(settings);
        self.take(loaded);
        self.install(fresh, why);
        Ok(())
    }

    fn take(&mut self, loaded: Arc<Loaded>) {
        self.details.attribution = loaded.meta.attribution().clone();
        self.details.origin = Arc::new(loaded.origin.clone());
        self.loaded = loaded;
    }

    /// Begins the next generation with this instance.
    pub(crate) fn install(&mut self, instance: Instance, why: RecycleReason) {
        self.metrics.recycled(why);
        self.details.state = State::Running;
        self.course = Course::default();
        self.reading = Reading {
            // What it took to start is no growth.
            linear: instance.linear_memory(),
            linear_peak: self.reading.linear_peak,
            generation: self.reading.generation + 1,
            ..Reading::default()
        };
        self.board.journal().note(EventKind::Restarted {
            why: match why {
                RecycleReason::Reset => Restart::Reset,
                RecycleReason::Gc => Restart::Collected,
                RecycleReason::Reload => Restart::Reloaded,
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
}
