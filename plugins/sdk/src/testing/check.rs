//! Checks of the rules that apply to every plugin. Each check takes a [`Driver`] that the test has
//! prepared, and panics if the plugin breaks the rule.
#![expect(clippy::unwrap_used, reason = "a failed check must fail the test")]

use super::Driver;
use crate::{LeakPlugin, SHRINK_STEP, Value};

/// Checks that one request retains one object and `payload_bytes` in total.
///
/// The check creates a new plugin for each combination of a value of `payload_bytes` and a number
/// of `requests`. `tolerance` is the largest allowed deviation: 0.1 is 10 %.
///
/// # Panics
/// If the number of objects differs, or the bytes per request deviate by `tolerance` or more.
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

/// Checks that the reported bytes are exact: during `traffic` they grow by the bytes that the
/// allocator handed out and did not get back. The check runs the leaky variant first and then
/// switches the same plugin to fixed.
///
/// `measure` runs its argument and returns the change of allocated bytes. Pass
/// `|traffic| allocation_counter::measure(traffic).bytes_current`. The counting allocator is a
/// dependency of the test, because every plugin would contain it if it were one of the SDK.
///
/// # Panics
/// If the two numbers differ, or a request fails.
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

/// Checks that a plugin sheds its leaked objects in steps: with the first request after the switch
/// to fixed, the number of objects falls by exactly [`SHRINK_STEP`].
///
/// Before the call, the plugin must hold more than [`SHRINK_STEP`] objects beyond the bound of the
/// fixed variant.
///
/// # Panics
/// If the number of objects falls by more or less, or the request fails.
pub fn sheds_in_steps<P: LeakPlugin>(plugin: &mut Driver<P>) {
    let held = plugin.retained().objects;
    plugin.variant("fixed").unwrap();
    let remaining = plugin.requests(1).unwrap().objects;
    assert_eq!(remaining, held - SHRINK_STEP as u64);
}

/// Checks that a clear drops everything, containers included, and returns how much that was.
///
/// # Panics
/// If the plugin holds nothing before the clear or something after it, or returns wrong numbers.
pub fn clear_leaves_nothing<P: LeakPlugin>(plugin: &mut Driver<P>) {
    let held = plugin.retained();
    assert!(held.objects > 0, "the plugin holds nothing to clear");
    let dropped = plugin.clear();
    assert_eq!((dropped.objects, dropped.bytes), (held.objects, held.bytes));
    let remaining = plugin.retained();
    assert_eq!((remaining.objects, remaining.bytes), (0, 0));
}
