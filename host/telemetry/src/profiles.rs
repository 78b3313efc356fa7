//! The export of profiles, by the version `v1development` of the signal.
//!
//! The signal is not stable: a later version may have other messages. A failed export is not
//! retried, because the next one replaces it.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::profiles::v1development::ExportProfilesServiceRequest;
use opentelemetry_proto::tonic::profiles::v1development::{
    Profile, ProfilesDictionary, ResourceProfiles, ScopeProfiles,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use super::instrumentation_scope;
use super::otlp_client::OtlpClient;
use super::outage_log::OutageLog;

/// The profiles of one program, and the tables that they refer to.
#[derive(Debug, Clone, Default)]
pub struct ProfileBatch {
    /// One profile for each sample type.
    pub profiles: Vec<Profile>,
    /// The tables. The first item of each is its zero value.
    pub dictionary: ProfilesDictionary,
}

/// Where the exported profiles come from.
pub trait ProfileSource: Send + Sync + 'static {
    /// A program that can be profiled.
    type Program: Send;

    /// All programs that exist now.
    fn programs(&self) -> Vec<Self::Program>;

    /// The profiles of a program; `None` if it has none to show.
    fn read(&self, program: Self::Program) -> impl Future<Output = Option<ProfileBatch>> + Send;
}

pub(crate) struct ProfileExporter<S> {
    pub(crate) source: S,
    pub(crate) client: OtlpClient,
    pub(crate) interval: Duration,
    pub(crate) resource: Resource,
    pub(crate) outage: Arc<OutageLog>,
}

impl<S: ProfileSource> ProfileExporter<S> {
    /// Exports at each interval until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut ticks = interval_at(Instant::now() + self.interval, self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut refused = false;
        let export = async {
            loop {
                ticks.tick().await;
                self.export(&mut refused).await;
            }
        };
        tokio::select! {
            () = export => {}
            () = stop.cancelled() => {}
        }
    }

    /// Sends one request for each program, so that only one is in memory. `refused` says whether
    /// the collector did not know the signal the last time.
    async fn export(&self, refused: &mut bool) {
        let collector = self.client.url();
        for program in self.source.programs() {
            let Some(batch) = self.source.read(program).await else {
                continue;
            };
            match self.client.send_profiles(&self.request(batch)).await {
                Ok(rejected) => {
                    *refused = false;
                    self.outage.lost(collector, rejected);
                }
                Err(error) if error.unsupported => {
                    if !*refused {
                        tracing::warn!(%collector, %error, "the collector does not take profiles: \
                            give it a pipeline for profiles and start it with \
                            --feature-gates=service.profilesSupport, or set LEAK_OTLP_PROFILES=off");
                    }
                    *refused = true;
                    return;
                }
                Err(error) => {
                    self.outage.export_failed(collector, &error);
                    // The others would wait for the same collector.
                    if error.retryable {
                        return;
                    }
                }
            }
        }
    }

    fn request(&self, batch: ProfileBatch) -> ExportProfilesServiceRequest {
        let scope_profiles = ScopeProfiles {
            scope: Some((instrumentation_scope(), None).into()),
            profiles: batch.profiles,
            ..ScopeProfiles::default()
        };
        let resource_profiles = ResourceProfiles {
            resource: Some(self.resource.clone()),
            scope_profiles: vec![scope_profiles],
            ..ResourceProfiles::default()
        };
        ExportProfilesServiceRequest {
            resource_profiles: vec![resource_profiles],
            dictionary: Some(batch.dictionary),
        }
    }
}
