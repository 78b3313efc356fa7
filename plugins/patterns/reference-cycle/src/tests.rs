use leak_plugin_sdk::testing::{Driver, check};

use super::*;

#[test]
fn each_request_retains_payload_bytes() {
    check::retains_payload_bytes(
        Driver::<ReferenceCycle>::default,
        &[1024, 4096, 20_480],
        &[1000],
        0.05,
    );
}

#[test]
fn reports_the_bytes_that_the_allocator_handed_out() {
    let mut plugin = Driver::<ReferenceCycle>::default();
    check::reports_what_is_allocated(
        &mut plugin,
        |plugin| plugin.requests(777),
        |traffic| allocation_counter::measure(traffic).bytes_current,
    );
}

#[test]
fn a_tree_without_a_cycle_is_freed_with_its_request() {
    let mut plugin = Driver::<ReferenceCycle>::default();
    plugin.variant("fixed").unwrap();
    let allocated = allocation_counter::measure(|| {
        plugin.requests(1000).unwrap();
    });
    assert_eq!((plugin.retained().objects, allocated.bytes_current), (0, 0));
}

#[test]
fn a_switch_to_fixed_breaks_the_leaked_cycles_in_steps() {
    let mut plugin = Driver::<ReferenceCycle>::default();
    assert_eq!(plugin.requests(1000).unwrap().objects, 1000);
    check::sheds_in_steps(&mut plugin);
    assert_eq!(plugin.requests(4).unwrap().objects, 0);
}

#[test]
fn clear_frees_every_byte() {
    let mut plugin = Driver::<ReferenceCycle>::default();
    let allocated = allocation_counter::measure(|| {
        assert_eq!(plugin.requests(100).unwrap().objects, 100);
        check::clear_leaves_nothing(&mut plugin);
    });
    assert_eq!(allocated.bytes_current, 0);
}
