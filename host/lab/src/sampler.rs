//! The task that samples process, plugins and heaps once a second.

use std::sync::Arc;

use tokio::time::{MissedTickBehavior, interval};

use crate::heap::Heaps;
use crate::monitor::Monitor;
use crate::samples::SAMPLE_INTERVAL;
use plugin_host::registry::Registry;

/// Samples once a second until the future is dropped. `requests` returns the number of requests
/// that the service has served.
pub async fn run(
    monitor: Arc<Monitor>,
    registry: Arc<Registry>,
    heaps: Arc<Heaps>,
    requests: impl Fn() -> u64,
) {
    let mut ticks = interval(SAMPLE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        sample(&monitor, &registry, &heaps, &requests).await;
    }
}

/// Takes one sample of the process, the plugins and their heaps, and judges it. `requests` returns
/// the number of requests that the service has served.
pub async fn sample(
    monitor: &Monitor,
    registry: &Registry,
    heaps: &Heaps,
    requests: impl FnOnce() -> u64,
) {
    monitor.sample(registry, heaps, requests);
    heaps.sample(registry).await;
    monitor.judge(registry, heaps);
}
