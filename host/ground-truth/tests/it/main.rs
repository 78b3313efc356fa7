//! Simulations of real plugins.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise"
)]

use ground_truth::load_shape::{Load, LoadShape};
use ground_truth::plan::{Inactive, Plan, PluginPlan};
use ground_truth::recording::Recording;
use ground_truth::scrape::{PROCESS_LIMIT_BYTES, Scrape};
use ground_truth::simulated_host::SimulatedHost;
use ground_truth::simulation::RESTART_SECONDS;
use ground_truth::truth::{RestartCause, Role};
use plugin_host::engine;
use plugin_host::load::cache::{Cache, CacheLimits};
use plugin_host::load::compiler::Compiler;
use plugin_host::load::loader::Loader;
use plugin_host::settings::Value;
use test_support::components::component;

async fn host(plugins: &[&str]) -> SimulatedHost {
    let engine = engine::start().unwrap();
    let cache = Cache::open(None, CacheLimits::default(), &engine);
    let loader = Loader::new(engine, cache, Compiler::in_process(), 64 << 20).unwrap();
    let components: Vec<_> = plugins
        .iter()
        .map(|name| component(name).to_owned())
        .collect();
    SimulatedHost::start(loader, &components).await.unwrap()
}

fn plan(plugin: &str, settings: &[(&str, i64)], shape: LoadShape) -> Plan {
    let settings = settings.iter();
    Plan {
        plugins: vec![PluginPlan {
            plugin: plugin.to_owned(),
            settings: settings
                .map(|(name, value)| ((*name).to_owned(), Value::Integer(*value)))
                .collect(),
            inactive: Inactive::Fixed,
            active: vec![(300, 1201)],
        }],
        load: Load {
            shape,
            requests_per_second: 2.0,
            day_seconds: 1200,
        },
        seconds: 1200,
        scrape_seconds: 5,
    }
}

fn at(recording: &Recording, second: usize) -> Option<&Scrape> {
    recording.scrapes[second / 5].as_ref()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leak_grows_from_its_onset_until_the_process_is_killed_and_starts_again() {
    let host = host(&["cache"]).await;
    let plan = plan("cache", &[("payload_bytes", 200_000)], LoadShape::Steady);
    let recording = Recording::play(&host, &plan).await.unwrap();
    assert_eq!(recording.scrapes.len(), 241);
    let live = |second| at(&recording, second).unwrap().plugins[0].live_bytes;
    // The fixed cache holds at most 100 entries.
    assert!(live(290) < 25_000_000, "{}", live(290));
    assert!(live(500) > live(290) + 50_000_000, "{}", live(500));

    let truth = &recording.outcome.truths[0];
    assert_eq!((truth.role, truth.onset), (Role::Leak, Some(300)));
    assert!(
        (truth.bytes_per_request - 200_000.0).abs() < 2_000.0,
        "{truth:?}"
    );
    let killed = truth.limit_reached.unwrap();
    let restart = recording.outcome.restarts[0];
    assert_eq!((restart.at, restart.cause), (killed, RestartCause::Killed));
    // The scrapes in between miss the process, and the next one begins from 0.
    let second = killed as usize;
    let down = second.next_multiple_of(5);
    assert_eq!(at(&recording, down), None);
    let before = at(&recording, down - 5).unwrap();
    assert!(before.resident_bytes > PROCESS_LIMIT_BYTES * 9 / 10);
    let back = at(&recording, second + RESTART_SECONDS as usize + 10).unwrap();
    assert!(back.resident_bytes < before.resident_bytes / 2);
    assert!(back.requests < before.requests);
    assert_eq!(back.started_seconds, killed + RESTART_SECONDS);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_plan_gives_the_same_scrapes() {
    let host = host(&["sessions"]).await;
    let plan = plan("sessions", &[], LoadShape::Burst);
    let first = Recording::play(&host, &plan).await.unwrap();
    let second = Recording::play(&host, &plan).await.unwrap();
    let all = |_: &str| true;
    assert_eq!(first.series(all), second.series(all));
    let only_up = first.series(|name| name == "up");
    assert_eq!(only_up.len(), 1);
    assert_eq!(first.outcome.truths, second.outcome.truths);
    assert!(first.outcome.truths[0].limit_expected.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_begins_a_new_process_and_the_bug_goes_on() {
    let host = host(&["cache"]).await;
    let mut plan = plan("cache", &[], LoadShape::Deploy);
    plan.load.day_seconds = 1600;
    let recording = Recording::play(&host, &plan).await.unwrap();
    let restarts: Vec<_> = recording
        .outcome
        .restarts
        .iter()
        .map(|r| (r.at, r.cause))
        .collect();
    let deployed = RestartCause::Deployed;
    assert_eq!(restarts, [(400, deployed)]);
    let live = |second| at(&recording, second).unwrap().plugins[0].live_bytes;
    assert!(live(420) < live(395) / 4);
    assert!(live(1200) > live(420) + 1_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_floor_of_a_decoy_is_below_its_live_bytes() {
    let host = host(&["sawtooth"]).await;
    let recording = Recording::play(&host, &plan("sawtooth", &[], LoadShape::Steady)).await;
    let recording = recording.unwrap();
    let scrapes = recording
        .scrapes
        .iter()
        .flatten()
        .map(|scrape| scrape.plugins[0]);
    let late: Vec<_> = scrapes.skip(150).collect();
    assert!(
        late.iter()
            .all(|plugin| plugin.floor_bytes <= plugin.live_bytes)
    );
    let teeth = late
        .iter()
        .filter(|p| p.floor_bytes + 100_000 < p.live_bytes);
    assert!(teeth.count() > 20);
    assert_eq!(recording.outcome.truths[0].role, Role::Decoy);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_simulation_cannot_play_is_refused() {
    let host = host(&["cache"]).await;
    let ttl = plan("cache", &[("ttl_seconds", 5)], LoadShape::Steady);
    let error = Recording::play(&host, &ttl).await.unwrap_err().to_string();
    assert!(error.contains("ttl_seconds"), "{error}");
    let unknown = plan("nothing", &[], LoadShape::Steady);
    let error = Recording::play(&host, &unknown)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("loaded are cache"), "{error}");
}
