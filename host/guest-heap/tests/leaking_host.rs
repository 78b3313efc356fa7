//! A guest that stays the same, in a host that leaks with each call. The test has a process of its
//! own, because it looks at the resident memory.
#![cfg(target_os = "linux")]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use guest_heap::history::History;
use guest_heap::snapshot::Snapshot;
use guest_heap::symbols::{SymbolOptions, Symbols};
use guest_heap::verdict::{HandleGrowth, HostEvidence, Sample, Verdict, Windows};
use guest_heap::{Options, Recorder, instrument};
use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Engine, Store};

/// `work` keeps a buffer from its first call on, and calls the host.
const GUEST: &str = r#"(component
  (import "log" (func $log))
  (core func $log (canon lower (func $log)))
  (core module $main
    (import "" "log" (func $log))
    (memory (export "memory") 2)
    (global $top (mut i32) (i32.const 1024))
    (global $buffer (mut i32) (i32.const 0))
    (func $malloc (export "malloc") (param $size i32) (result i32)
      (global.get $top)
      (global.set $top (i32.add (global.get $top) (local.get $size))))
    (func $free (export "free") (param i32))
    (func (export "work")
      (if (i32.eqz (global.get $buffer))
        (then (global.set $buffer (call $malloc (i32.const 4096)))))
      (call $log)))
  (core instance $main (instantiate $main (with "" (instance (export "log" (func $log))))))
  (func (export "work") (canon lift (core func $main "work"))))"#;

const CALLS: u64 = 40;
const LEAK: usize = 1 << 20;

struct Data {
    recorder: Recorder,
    log: Vec<Vec<u8>>,
}

/// Bytes of the process that are in memory.
fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = text.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

#[test]
fn a_host_that_leaks_is_told_from_its_guest() {
    let original = wat::parse_str(GUEST).unwrap();
    let instrumented = instrument(&original, &Options::default()).unwrap();
    let symbols = Arc::new(Symbols::new(&original, SymbolOptions::default()).unwrap());
    let mut config = Config::new();
    guest_heap::configure(&mut config);
    let engine = Engine::new(&config).unwrap();
    let component = Component::new(&engine, &instrumented.component).unwrap();
    let mut linker: Linker<Data> = Linker::new(&engine);
    guest_heap::add_to_linker(&mut linker, |data| &mut data.recorder).unwrap();
    let keep = |mut store: wasmtime::StoreContextMut<'_, Data>, (): ()| {
        store.data_mut().log.push(vec![1; LEAK]);
        Ok(())
    };
    linker.root().func_wrap("log", keep).unwrap();
    let data = Data {
        recorder: Recorder::new(instrumented.meta),
        log: Vec::new(),
    };
    let mut store = Store::new(&engine, data);
    let instance = linker.instantiate(&mut store, &component).unwrap();
    let work = instance
        .get_typed_func::<(), ()>(&mut store, "work")
        .unwrap();
    work.call(&mut store, ()).unwrap();

    let began = Instant::now();
    let resident_before = resident_bytes();
    let (mut samples, mut history) = (Vec::new(), History::default());
    for calls in 1..=CALLS {
        work.call(&mut store, ()).unwrap();
        let recorder = &store.data().recorder;
        let reading = recorder.read(&store);
        let context = |index| Some(recorder.context(&store, index));
        let snapshot = Snapshot::new(&reading, context, symbols.clone());
        let at = Duration::from_secs(calls);
        samples.push(Sample {
            at,
            calls,
            live_bytes: snapshot.totals().live_bytes,
            linear_bytes: snapshot.coverage().memory_bytes,
            unseen_bytes: snapshot.coverage().heap_unseen_bytes,
        });
        history.push(at, &snapshot);
    }
    let seconds = began.elapsed().as_secs_f64();
    let resident = resident_bytes() as f64 - resident_before as f64;
    let (first, last) = (samples.first().unwrap(), samples.last().unwrap());
    assert_eq!((first.live_bytes, last.live_bytes), (4096, 4096));
    let guests = last.linear_bytes as f64 - first.linear_bytes as f64;

    let windows = Windows::of(samples.into_iter()).unwrap();
    let lines = history.floors(&windows.starts);
    let evidence = windows.evidence(&lines, HandleGrowth::default());
    assert_eq!(Verdict::of_guest(&evidence), Verdict::NoLeak);
    let verdict = Verdict::of_host(HostEvidence {
        resident_bytes_per_second: resident / seconds,
        guests_bytes_per_second: guests / seconds,
    });
    let Some(Verdict::HostLeaks { bytes_per_second }) = verdict else {
        panic!("{verdict:?}");
    };
    let leaked = store.data().log.len() as f64 * LEAK as f64;
    let share = bytes_per_second * seconds / leaked;
    assert!((0.9..1.3).contains(&share), "{share} of {leaked} bytes");
}
