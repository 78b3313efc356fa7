//! The settings with which a plugin leaks, looks like a leak, or does neither.
//!
//! The settings of plugins that the lab ships are chosen such that a game stays small. Of other
//! plugins only the settings that the host adds are used, with a limit on what they retain.

use std::time::Duration;

use crate::fix::Fix;
use crate::kind::LeakKind;
use crate::order::Difficulty;
use crate::player::{LeakPlan, SettingValue};
use crate::random::Random;

/// What all leaks of a game retain in their payloads by its end, at most. Their collections take
/// some more, up to about 60 MiB in total.
pub(crate) const LEAK_BUDGET_BYTES: f64 = 48.0 * 1024.0 * 1024.0;

/// What a decoy holds at most.
const DECOY_BYTES: f64 = 8.0 * 1024.0 * 1024.0;

/// The limit on what a leak retains, whatever the plan expects: 60 MiB among all leaks.
const MAX_LEAK_MB: u64 = 60;

const KIB: f64 = 1024.0;

/// The setting of each request's bytes.
const PAYLOAD_BYTES: &str = "payload_bytes";

type Settings = Vec<(String, SettingValue)>;

/// The rest of a game, from the time at which a player begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct PlayTime {
    /// The expected number of requests.
    pub(super) requests: f64,
    pub(super) seconds: f64,
    pub(super) error_share: f64,
    pub(super) tenants: u32,
}

/// Whether a pattern retains bytes with each request. Fragmentation does not: its live bytes stay
/// the same, so neither a line nor bytes per request can be asked for.
pub(super) fn can_leak(plugin: &str) -> bool {
    plugin != "fragmentation"
}

/// The settings before the onset, and the plan of the leak. `leaks` is the number of leaks that
/// share the budget.
pub(super) fn leak(
    plugin: &str,
    difficulty: Difficulty,
    onset: Duration,
    time: PlayTime,
    leaks: usize,
    random: &mut Random,
) -> (Settings, LeakPlan) {
    let is_known = !Fix::of_plugin(plugin).is_empty();
    let kinds: Vec<LeakKind> = LeakKind::possible(difficulty)
        .iter()
        .copied()
        .filter(|kind| is_known || kind.works_with_every_plugin())
        .collect();
    let index = random.whole(0, kinds.len().saturating_sub(1) as u64) as usize;
    let kind = kinds.get(index).copied().unwrap_or(LeakKind::EveryRequest);
    let shape = Shape::draw(kind, time, random);
    let budget = LEAK_BUDGET_BYTES / leaks.max(1) as f64;
    let payload = payload(budget / shape.payloads.max(1.0), random);
    let mut before = base_settings(plugin, "fixed");
    if is_known {
        before.push((PAYLOAD_BYTES.to_owned(), SettingValue::whole(payload)));
    }
    let mut settings = vec![("variant".to_owned(), SettingValue::text("leaky"))];
    settings.extend(shape.settings);
    let share = MAX_LEAK_MB / leaks.max(1) as u64;
    settings.push(("max_mb".to_owned(), SettingValue::whole(share)));
    let plan = LeakPlan {
        kind,
        onset,
        settings,
        expected_bytes: (shape.payloads * payload as f64) as u64,
    };
    (before, plan)
}

/// The settings of a decoy, such that what it shows takes a good part of its time.
pub(super) fn decoy(plugin: &str, time: PlayTime, random: &mut Random) -> Settings {
    let share = random.unit();
    let whole = |name: &str, number: f64, low: f64, high: f64| {
        let number = number.clamp(low, high) as u64;
        (name.to_owned(), SettingValue::whole(number))
    };
    // The bytes of one of `count` objects that together take no more than a decoy may.
    let one_of = |count: f64| (DECOY_BYTES / count.max(1.0)).clamp(64.0, 16.0 * KIB);
    let at_share = |low: f64, high: f64| (time.requests * (low + (high - low) * share)).floor();
    let mut settings = base_settings(plugin, "leaky");
    settings.extend(match plugin {
        // Random items: the cache is full after about three times as many requests.
        "warm-up" => {
            let items = at_share(0.1, 0.2).clamp(5.0, 1_000_000.0);
            vec![
                whole("items", items, 5.0, 1e6),
                whole(PAYLOAD_BYTES, one_of(items), 64.0, 16.0 * KIB),
            ]
        }
        "sawtooth" => {
            let records = at_share(0.08, 0.16).clamp(5.0, 10_000.0);
            vec![
                whole("batch_records", records, 5.0, 1e4),
                whole(PAYLOAD_BYTES, one_of(records), 64.0, 16.0 * KIB),
            ]
        }
        "one-off-spike" => vec![
            whole("at_request", at_share(0.2, 0.6), 1.0, 1e6),
            whole("hold_requests", at_share(0.08, 0.16), 1.0, 1e6),
            whole(PAYLOAD_BYTES, DECOY_BYTES, 64.0, DECOY_BYTES),
        ],
        "in-flight" => {
            let work_ms = (time.seconds * (15.0 + 15.0 * share)).clamp(500.0, 20_000.0);
            let buffers = time.requests / time.seconds.max(1.0) * work_ms / 1000.0;
            vec![
                whole("work_ms", work_ms, 1.0, 6e4),
                whole(PAYLOAD_BYTES, one_of(buffers), 64.0, 16.0 * KIB),
            ]
        }
        _ => Vec::new(),
    });
    settings
}

/// The settings of a pattern that does not leak.
pub(super) fn bystander(plugin: &str, random: &mut Random) -> Settings {
    let payload = payload(16.0 * KIB, random);
    let mut settings = base_settings(plugin, "fixed");
    if can_leak(plugin) && !Fix::of_plugin(plugin).is_empty() {
        settings.push((PAYLOAD_BYTES.to_owned(), SettingValue::whole(payload)));
    }
    settings
}

/// The variant, and what a pattern needs to leak for a whole game. Bystanders have it, too: a
/// setting must not tell who leaks.
fn base_settings(plugin: &str, variant: &str) -> Settings {
    let mut settings = vec![("variant".to_owned(), SettingValue::text(variant))];
    match plugin {
        // With a consumer, the queue of a slow leak would stay empty.
        "unbounded-queue" => {
            settings.push(("jobs_per_second".to_owned(), SettingValue::Number(0.0)));
        }
        // Each connection leaks once, and a request uses the next one: more than MAX_REQUESTS.
        "peak-buffers" => {
            settings.push(("connections".to_owned(), SettingValue::whole(25_000)));
        }
        _ => {}
    }
    settings
}

/// The bytes of one request: 2 to 32 KiB, with as many small values as large ones on a logarithmic
/// scale. `most` limits them; it may be less than 2 KiB.
fn payload(most: f64, random: &mut Random) -> u64 {
    let high = (32.0 * KIB).min(most).max(256.0);
    let low = (2.0 * KIB).min(high);
    let exponent = random.between(low.log2(), high.log2());
    // A multiple of 64 bytes, rounded down.
    (exponent.exp2() / 64.0).floor() as u64 * 64
}

/// How a leak spreads over its requests.
struct Shape {
    settings: Settings,
    /// What it retains by the end of the game, in units of `payload_bytes`.
    payloads: f64,
}

impl Shape {
    fn draw(kind: LeakKind, time: PlayTime, random: &mut Random) -> Self {
        let requests = time.requests.max(1.0);
        let curve = |curve: &str, every: f64| {
            let every = every.clamp(1.0, 100_000.0) as u64;
            vec![
                ("curve".to_owned(), SettingValue::text(curve)),
                ("curve_every".to_owned(), SettingValue::whole(every)),
            ]
        };
        match kind {
            LeakKind::EveryRequest => Shape {
                settings: Vec::new(),
                payloads: requests,
            },
            LeakKind::SomeRequests => {
                let probability = (random.between(0.2, 0.5) * 100.0).round() / 100.0;
                let value = SettingValue::Number(probability);
                Shape {
                    settings: vec![("probability".to_owned(), value)],
                    payloads: requests * probability,
                }
            }
            LeakKind::OnError => Shape {
                settings: curve("on-error", 1.0),
                payloads: requests * time.error_share,
            },
            // Tenants count from 1, so more than half of their number divides one of them only.
            LeakKind::OneTenant => {
                let tenants = u64::from(time.tenants.max(1));
                let tenant = random.whole(tenants / 2 + 1, tenants);
                Shape {
                    settings: curve("one-tenant", tenant as f64),
                    payloads: requests / tenants as f64,
                }
            }
            LeakKind::Steps => Shape {
                settings: curve("step", (requests / random.between(6.0, 10.0)).max(2.0)),
                payloads: requests,
            },
            // The sum of 2^(n / N) over the requests.
            LeakKind::Accelerating => {
                let doublings = random.between(3.0, 3.6);
                let every = (requests / doublings).max(1.0);
                Shape {
                    settings: curve("exponential", every),
                    payloads: every / std::f64::consts::LN_2 * (doublings.exp2() - 1.0),
                }
            }
        }
    }
}
