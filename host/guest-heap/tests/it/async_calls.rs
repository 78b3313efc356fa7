//! Asynchronous guests with several calls in flight: every block has the call stack of the call
//! that allocated it.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use guest_heap::symbols::{SymbolOptions, Symbols};
use guest_heap::{Attribution, Checked, Context, Options, instrument};
use wasmtime::component::{Component, ComponentNamedList, Lift, Linker, Lower};
use wasmtime::{Config, Engine};

use crate::fixtures;
use crate::guest::{Data, store};

const CALLS: u32 = 8;
const ROUNDS: u32 = 4;

/// Live bytes by the name of the innermost function, or of the context.
type Heap = BTreeMap<String, u64>;

/// Makes calls of `work` at once, with these arguments, and reads the heap.
async fn heap<P, R>(
    name: &str,
    check_contexts: bool,
    arguments: impl Fn(u32) -> P,
) -> (Heap, Checked)
where
    P: ComponentNamedList + Lower + Send + Sync + 'static,
    R: ComponentNamedList + Lift + Send + Sync + 'static,
{
    let path = fixtures::folder().join(format!("async/{name}.wat"));
    let original = wat::parse_file(path).unwrap();
    let mut options = Options::default();
    options.check_contexts = check_contexts;
    let instrumented = instrument(&original, &options).unwrap();
    assert_eq!(*instrumented.attribution(), Attribution::Exact);
    let mut config = Config::new();
    guest_heap::configure(&mut config);
    config.wasm_component_model_async(true);
    config.wasm_component_model_async_stackful(true);
    config.wasm_component_model_more_async_builtins(true);
    let engine = Engine::new(&config).unwrap();
    let component = Component::new(&engine, &instrumented.component).unwrap();
    let mut linker: Linker<Data> = Linker::new(&engine);
    guest_heap::add_to_linker(&mut linker, |data| &mut data.recorder).unwrap();
    let mut host = linker.instance("t:a/host").unwrap();
    let sleep = |ms: u32| tokio::time::sleep(Duration::from_millis(u64::from(ms)));
    host.func_wrap_concurrent("sleep", move |_, (ms,): (u32,)| {
        Box::pin(async move {
            sleep(ms).await;
            Ok(())
        })
    })
    .unwrap();
    host.func_wrap_concurrent("ask", move |_, (ms, text): (u32, String)| {
        Box::pin(async move {
            sleep(ms).await;
            Ok((format!("answer to {text}"),))
        })
    })
    .unwrap();
    let mut store = store(&engine, instrumented.meta.clone());
    let instance = linker
        .instantiate_async(&mut store, &component)
        .await
        .unwrap();
    let work = instance.get_typed_func::<P, R>(&mut store, "work").unwrap();
    let results = store
        .run_concurrent(async |accessor| {
            join_all((0..CALLS).map(|call| work.call_concurrent(accessor, arguments(call)))).await
        })
        .await
        .unwrap();
    assert_eq!(results.len(), CALLS as usize);
    for result in results {
        result.unwrap();
    }

    let recorder = &store.data().recorder;
    let symbols = Symbols::new(&original, SymbolOptions::default()).unwrap();
    let mut heap = Heap::new();
    for record in recorder.read(&store).contexts {
        let name = match recorder.context(&store, record.index) {
            Context::Stack(frames) => symbols.resolve(frames[0])[0].function.to_string(),
            Context::Synthetic(name) => name.to_string(),
            Context::Interpreted(_) => panic!("the guest has no interpreter"),
        };
        *heap.entry(name).or_default() += record.live_bytes();
    }
    heap.retain(|_, bytes| *bytes > 0);
    (heap, recorder.checked(&store))
}

fn expected(pairs: &[(&str, u64)]) -> Heap {
    pairs
        .iter()
        .map(|(name, bytes)| ((*name).to_owned(), *bytes))
        .collect()
}

#[tokio::test]
async fn stackful_calls_keep_their_call_stacks_while_others_run() {
    for check_contexts in [false, true] {
        let arguments = |call: u32| (call, format!("call {call}"), ROUNDS);
        let (heap, checked) =
            heap::<(u32, String, u32), (String,)>("stackful", check_contexts, arguments).await;
        let rounds = u64::from(CALLS * ROUNDS);
        // `work` keeps the answers and a block of 8 bytes for each call.
        let answers = rounds * "answer to call 0".len() as u64 + u64::from(CALLS) * 8;
        assert_eq!(
            heap,
            expected(&[
                ("leak_before", 100 * rounds),
                ("leak_after_sleep", 200 * rounds),
                ("leak_after_ask", 400 * rounds),
                ("work", answers),
                (
                    "arguments of work",
                    u64::from(CALLS) * "call 0".len() as u64
                ),
            ])
        );
        assert_eq!(checked.mismatches, 0, "{checked:x?}");
        assert_eq!(checked.events > 100, check_contexts, "{checked:x?}");
        assert!(
            checked.uncompared < checked.events || !check_contexts,
            "{checked:x?}"
        );
    }
}

#[tokio::test]
async fn callbacks_begin_call_stacks_while_other_calls_wait() {
    for check_contexts in [false, true] {
        let arguments = |call: u32| (ROUNDS, format!("call {call}"));
        let (heap, checked) =
            heap::<(u32, String), (u32,)>("callback", check_contexts, arguments).await;
        let rounds = u64::from(CALLS * ROUNDS);
        assert_eq!(
            heap,
            expected(&[
                ("leak_before", 100 * rounds),
                ("leak_after", 400 * rounds),
                ("work", u64::from(CALLS) * 24),
                (
                    "results of imports",
                    rounds * "answer to call 0".len() as u64
                ),
                (
                    "arguments of work",
                    u64::from(CALLS) * "call 0".len() as u64
                ),
            ])
        );
        assert_eq!(checked.mismatches, 0, "{checked:x?}");
        assert_eq!(checked.events > 50, check_contexts, "{checked:x?}");
    }
}
