//! The profiler in an asynchronous host.

use guest_heap::{Options, instrument};
use wasmtime::component::Component;
use wasmtime::{Config, Engine};

use crate::fixtures;
use crate::guest::{linker, store};

fn config() -> Config {
    let mut config = Config::new();
    guest_heap::configure(&mut config);
    config.epoch_interruption(true);
    config.async_stack_size(1 << 20);
    config.max_wasm_stack(512 << 10);
    config
}

/// The engine has no support for concurrent guests, which asynchronous hosts do not need.
#[tokio::test]
async fn an_asynchronous_store_with_epochs_has_the_same_counts() {
    let instrumented = instrument(&fixtures::rust("workload"), &Options::default()).unwrap();
    let engine = Engine::new(config().concurrency_support(false)).unwrap();
    let component = Component::new(&engine, &instrumented.component).unwrap();
    let mut store = store(&engine, instrumented.meta.clone());
    store.set_epoch_deadline(1000);
    let linker = linker(&engine).unwrap();
    let instance = linker
        .instantiate_async(&mut store, &component)
        .await
        .unwrap();
    let keep = instance
        .get_typed_func::<(&str,), ()>(&mut store, "keep")
        .unwrap();
    let before = store.data().recorder.totals(&store);
    for _ in 0..5 {
        keep.call_async(&mut store, ("twelve bytes",))
            .await
            .unwrap();
    }
    let after = store.data().recorder.totals(&store);
    // The strings, and a vector with room for eight of them.
    assert_eq!(after.live_bytes - before.live_bytes, 5 * 12 + 8 * 12);
    assert_eq!(after.live_objects - before.live_objects, 6);

    // The epoch deadline traps the guest. Its counts are still readable.
    store.set_epoch_deadline(1);
    engine.increment_epoch();
    keep.call_async(&mut store, ("twelve bytes",))
        .await
        .unwrap_err();
    let dead = store.data().recorder.totals(&store);
    assert!(dead.live_bytes >= after.live_bytes, "{dead:?}");
}
