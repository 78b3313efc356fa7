//! Changes of a running plugin: its switch, its settings, a clear.

use std::sync::Arc;
use std::time::Duration;

use crate::driver::journal::EventKind;
use crate::driver::{ClearOutcome, Driver};
use crate::error::{Fault, PluginError};
use crate::instance::{Retained, timed_out};
use crate::load::loader::CompiledComponent;
use crate::metrics::RecycleReason;
use crate::settings::{Settings, Value};

/// The shortest deadline of a clear: a drop of very many objects may take longer than a request
/// may.
const MIN_CLEAR_DEADLINE: Duration = Duration::from_secs(10);

impl Driver {
    /// Enables or disables the leak and changes settings: all or nothing.
    ///
    /// # Errors
    ///
    /// A refused setting, or [`PluginError::NotRunning`] when the guest would have to be called.
    pub(super) async fn update(
        &mut self,
        enabled: Option<bool>,
        changes: Vec<(String, Value)>,
        compiled: Option<Box<CompiledComponent>>,
    ) -> Result<(), PluginError> {
        if enabled == Some(true) {
            self.details.state.ensure_running(self.id())?;
        }
        let old = self.details.settings.clone();
        let changed = !changes.is_empty();
        let next = Arc::new(old.with(changes)?);
        let (before, after) = (old.policy(), next.policy());
        if before.heap_profile != after.heap_profile {
            // The fresh instance receives all settings at its start.
            let profile = after.heap_profile;
            let source = &self.component.source;
            let compiled =
                compiled.filter(|other| other.profile == profile && other.source.is_same(source));
            let component = match compiled {
                Some(component) => Arc::from(component),
                // The component or its profile changed during the compilation.
                None => self.with_profile(profile).await?,
            };
            self.restart(component, Settings::clone(&next), RecycleReason::Reload)
                .await?;
        } else {
            self.configure_changes(&old, &next).await?;
            self.details.settings = next;
            if changed {
                // With other settings, its calls may take another time.
                self.forget_pace();
            }
            if before.memory_limit != after.memory_limit {
                self.instance.set_memory_limit(after.memory_limit);
            }
        }
        if enabled.is_some() || before.target != after.target {
            self.target.restart();
        }
        if changed {
            self.published.journal().record(EventKind::Configured);
        }
        if let Some(enabled) = enabled {
            self.set_enabled(enabled);
            return Ok(());
        }
        if before.time_to_live != after.time_to_live {
            self.restart_expiry(self.published.enabled());
        }
        if before.schedule != after.schedule {
            self.start_schedule();
        }
        self.publish();
        Ok(())
    }

    /// Passes changed settings of the plugin to its instance.
    async fn configure_changes(
        &mut self,
        old: &Settings,
        next: &Settings,
    ) -> Result<(), PluginError> {
        if next.plugin_changes(old).next().is_none() {
            return Ok(());
        }
        self.details.state.ensure_running(self.id())?;
        let deadline = next.policy().deadline;
        let configured = {
            let _call = self.published.begin_command_call(deadline);
            let changes = next.plugin_changes(old);
            self.instance.configure(changes, deadline).await
        };
        self.check_given_up(configured, deadline)
            .unwrap_or_else(|fault| Err(self.failed(fault)))
    }

    /// Has the guest clear its pattern. Returns what the pattern retained before, and what it
    /// retains now.
    async fn clear_guest(&mut self, deadline: Duration) -> Result<(Retained, Retained), Fault> {
        let _call = self.published.begin_command_call(deadline);
        let removed = self.instance.clear(deadline).await?;
        let left = self.instance.retained(deadline).await?;
        Ok((removed, left))
    }

    /// The result of a guest call, or a fault if the plugin was given up during the call: everyone
    /// has seen it as faulted.
    fn check_given_up<T>(&self, result: Result<T, Fault>, deadline: Duration) -> Result<T, Fault> {
        if self.published.take_given_up() {
            return Err(timed_out(deadline));
        }
        result
    }

    /// Drops what the pattern retains, inside the guest.
    ///
    /// # Errors
    ///
    /// [`PluginError::NotRunning`], or [`PluginError::Failed`] when the guest did not survive it.
    pub(super) async fn clear(&mut self) -> Result<ClearOutcome, PluginError> {
        self.details.state.ensure_running(self.id())?;
        let deadline = self.details.settings.policy().deadline;
        let deadline = deadline.max(MIN_CLEAR_DEADLINE);
        let cleared = self.clear_guest(deadline).await;
        let cleared = self.check_given_up(cleared, deadline);
        let (removed, left) = cleared.map_err(|fault| self.failed(fault))?;
        self.reading.retained = left;
        self.reading.requests_since_clear = 0;
        self.target.restart();
        self.metrics.cleared();
        self.publish();
        self.published.journal().record(EventKind::Cleared {
            objects: removed.objects,
            bytes: removed.bytes,
        });
        tracing::info!(
            plugin = self.id(),
            objects = removed.objects,
            bytes = removed.bytes,
            "cleared"
        );
        Ok(ClearOutcome { removed })
    }
}
