//! What holds for every plugin, as checks for its tests. Each takes a driver that the test has set up as the
//! pattern needs it, and panics where a promise is not kept.
#![expect(
    clippy::unwrap_used,
    reason = "a check that fails has to fail the test"
)]

use super::Driver;
use crate::{LeakPlugin, SHRINK_STEP, Value};

/// One request retains one object and, all in all, `payload_bytes`, within `tolerance` (0.1 is 10 %): for each of
/// these sizes, a new plugin after each of these numbers of requests.
pub fn retains_payload_bytes<P: LeakPlugin>(
    new: impl Fn() -> Driver<P>,
    payload_bytes: &[u32],
    requests: &[u64],
    tolerance: f64,
) {
    for &payload_bytes in payload_bytes {
        for &requests in requests {
            let mut plugin = new();
            plugin
                .set("payload_bytes", Value::Integer(payload_bytes.into()))
                .unwrap();
            let retained = plugin.requests(requests).unwrap();
            assert_eq!(retained.objects, requests);
            let each = retained.bytes as f64 / requests as f64;
            assert!(
                (each / f64::from(payload_bytes) - 1.0).abs() < tolerance,
                "{each} for {payload_bytes} after {requests} requests"
            );
        }
    }
}

/// What is reported grows, to the byte, by what the allocator has handed out and not got back during `traffic`:
/// leaky first, then the same plugin switched to fixed. `measure` runs what it is given and says how many bytes
/// that was: `|traffic| allocation_counter::measure(traffic).bytes_current`. The counting allocator is the test's
/// own and not the SDK's, or every plugin would have it.
pub fn reports_what_is_allocated<P: LeakPlugin, T>(
    plugin: &mut Driver<P>,
    traffic: impl Fn(&mut Driver<P>) -> Result<T, String>,
    measure: impl Fn(&mut dyn FnMut()) -> i64,
) {
    for variant in ["leaky", "fixed"] {
        plugin.variant(variant).unwrap();
        let before = plugin.retained().bytes as i64;
        let allocated = measure(&mut || {
            traffic(plugin).unwrap();
        });
        assert_eq!(
            plugin.retained().bytes as i64 - before,
            allocated,
            "{variant}"
        );
    }
}

/// Switched to fixed, a plugin that holds more than it may comes down by [`SHRINK_STEP`] objects with the next
/// request, and by no more.
pub fn sheds_in_steps<P: LeakPlugin>(plugin: &mut Driver<P>) {
    let held = plugin.retained().objects;
    plugin.variant("fixed").unwrap();
    let left = plugin.requests(1).unwrap().objects;
    assert_eq!(left, held - SHRINK_STEP as u64);
}

/// A clear drops what is held, says how much that was, and leaves nothing, containers included. The plugin has to
/// hold something before.
pub fn clear_leaves_nothing<P: LeakPlugin>(plugin: &mut Driver<P>) {
    let held = plugin.retained();
    assert!(held.objects > 0, "there is nothing to clear");
    let dropped = plugin.clear();
    assert_eq!((dropped.objects, dropped.bytes), (held.objects, held.bytes));
    let left = plugin.retained();
    assert_eq!((left.objects, left.bytes), (0, 0));
}
