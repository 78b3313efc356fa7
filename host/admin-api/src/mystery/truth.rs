//! The measured part of a mystery's truth.

use mystery::{LeakTruth, Measured};

use super::function_name::visible_function;
use super::heap_point;
use crate::mystery_run::{Gain, Session};
use crate::state::ApiState;

/// Requests since the onset that it takes to say how much one of them leaves behind.
const MIN_REQUESTS: u64 = 10;

/// A leak with what it has left behind.
struct MeasuredLeak {
    truth: LeakTruth,
    gain: Gain,
}

/// What the host has measured of each leak up to now.
pub(crate) async fn measured(state: &ApiState, session: &Session) -> Vec<Measured> {
    let mut leaks = Vec::new();
    for truth in session.game.truth() {
        let gain = gain(state, session, &truth.alias).await;
        leaks.push(MeasuredLeak { truth, gain });
    }
    let rate = session.requests_per_second(session.elapsed());
    let growth = |leak: &MeasuredLeak| leak.gain.bytes_per_request() * rate;
    let limit = state.monitor.budget().limit_bytes();
    let seconds = seconds_to_limit(state, limit, leaks.iter().map(growth).sum());
    let leaks = leaks.iter().map(|leak| {
        let lines = leak.gain.lines();
        let enough = leak.gain.requests >= MIN_REQUESTS;
        let mut functions: Vec<_> = lines
            .iter()
            .map(|l| visible_function(&l.function))
            .collect();
        functions.sort_unstable();
        functions.dedup();
        Measured {
            alias: leak.truth.alias.clone(),
            bytes_per_request: enough.then(|| leak.gain.bytes_per_request()),
            location: lines.into_iter().map(|line| line.location).collect(),
            functions,
            growth_bytes_per_second: growth(leak),
            seconds_to_limit: seconds,
            limit_bytes: limit,
        }
    });
    leaks.collect()
}

/// What a leak has left behind since its onset; nothing before it.
async fn gain(state: &ApiState, session: &Session, alias: &str) -> Gain {
    let Some(plugin) = state.registry.get(alias) else {
        return Gain::default();
    };
    let now = heap_point::read(state, &plugin).await;
    let ledgers = session.ledgers();
    ledgers
        .get(alias)
        .map(|ledger| ledger.gain_until(&now))
        .unwrap_or_default()
}

fn seconds_to_limit(state: &ApiState, limit: Option<u64>, growth: f64) -> Option<f64> {
    let resident = state.monitor.resident_bytes().ok()?;
    let room = limit?.saturating_sub(resident);
    (growth > 0.0).then(|| room as f64 / growth)
}
