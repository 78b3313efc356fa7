//! Asynchronous guests with several calls in flight: every block has the call stack of the call
//! that allocated it.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use guest_heap::symbols::{SymbolOptions, Symbols};
use guest_heap::{Attribution, Checked, Context, Options, instrument};
use wasmtime::component::{
    Component, ComponentNamedList, Lift, Linker, Lower, Resource, ResourceType,
};
use wasmtime::{Config, Engine};

use crate::fixtures;
use crate::guest::{Data, store};

const CALLS: u32 = 8;
const ROUNDS: u32 = 4;

/// Live bytes by the name of the innermost function, or of the context.
type Heap = BTreeMap<String, u64>;

/// The text of a fixture.
fn text(name: &str) -> String {
    let path = fixtures::folder().join(format!("async/{name}.wat"));
    std::fs::read_to_string(path).unwrap()
}

/// The text of the fixture `callback`, with another import in the place of `ask`.
fn text_with(import: &str, declared: &str) -> String {
    let ask =
        "(export \"ask\" (func async (param \"ms\" u32) (param \"text\" string) (result string)))";
    let text = text("callback");
    assert!(text.contains(ask));
    let text = text.replace(ask, declared);
    text.replace(
        "(func $host \"ask\")",
        &format!("(func $host \"{import}\")"),
    )
}

/// What the host has.
struct Thing;

/// Makes calls of `work` at once, with these arguments, and reads the heap and the handles that are
/// live.
async fn heap<P, R>(
    text: &str,
    check_contexts: bool,
    arguments: impl Fn(u32) -> P,
) -> (Heap, Heap, Checked)
where
    P: ComponentNamedList + Lower + Send + Sync + 'static,
    R: ComponentNamedList + Lift + Send + Sync + 'static,
{
    let original = wat::parse_str(text).unwrap();
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
    host.func_wrap_concurrent("names", move |_, (ms, text): (u32, String)| {
        Box::pin(async move {
            sleep(ms).await;
            let first = format!("answer to {text}");
            Ok((vec![first, "second".to_owned(), String::new()],))
        })
    })
    .unwrap();
    host.resource("thing", ResourceType::host::<Thing>(), |_, _| Ok(()))
        .unwrap();
    host.func_wrap_concurrent("open", move |_, (ms, _): (u32, String)| {
        Box::pin(async move {
            sleep(ms).await;
            Ok((Resource::<Thing>::new_own(1),))
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
    let name = |context| match recorder.context(&store, context) {
        Context::Stack(frames) => symbols.resolve(frames[0])[0].function.to_string(),
        Context::Synthetic(name) => name.to_string(),
        Context::Interpreted(_) => panic!("the guest has no interpreter"),
    };
    let (mut heap, mut handles) = (Heap::new(), Heap::new());
    let reading = recorder.read(&store);
    assert!(
        reading.handles.gaps.is_empty(),
        "{:?}",
        reading.handles.gaps
    );
    for record in reading.contexts {
        *heap.entry(name(record.index)).or_default() += record.live_bytes();
    }
    for record in &reading.handles.records {
        let of_type = format!("{} of {}", record.ty, name(record.context));
        *handles.entry(of_type).or_default() += record.live();
    }
    heap.retain(|_, bytes| *bytes > 0);
    handles.retain(|_, live| *live > 0);
    (heap, handles, recorder.checked(&store))
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
        let text = text("stackful");
        let (heap, _, checked) =
            heap::<(u32, String, u32), (String,)>(&text, check_contexts, arguments).await;
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
        let (heap, handles, checked) =
            heap::<(u32, String), (u32,)>(&text("callback"), check_contexts, arguments).await;
        let rounds = u64::from(CALLS * ROUNDS);
        assert_eq!(
            heap,
            expected(&[
                ("leak_before", 100 * rounds),
                ("leak_after", 400 * rounds),
                ("work", u64::from(CALLS) * 24),
                ("ask_again", rounds * "answer to call 0".len() as u64),
                (
                    "arguments of work",
                    u64::from(CALLS) * "call 0".len() as u64
                ),
            ])
        );
        assert_eq!(checked.mismatches, 0, "{checked:x?}");
        assert_eq!(checked.events > 50, check_contexts, "{checked:x?}");
        assert_eq!(handles, Heap::new());
    }
}

#[tokio::test]
async fn late_results_belong_to_the_call_that_asked_for_them() {
    let rounds = u64::from(CALLS * ROUNDS);
    let arguments = |call: u32| (ROUNDS, format!("call {call}"));
    let names = "(export \"names\" (func async (param \"ms\" u32) (param \"text\" string) \
                 (result (list string))))";
    let text = text_with("names", names);
    for check_contexts in [false, true] {
        let (heap, _, checked) =
            heap::<(u32, String), (u32,)>(&text, check_contexts, arguments).await;
        // A list of three strings, and the strings.
        let list = 3 * 8 + "answer to call 0".len() + "second".len();
        assert_eq!(
            heap.get("ask_again"),
            Some(&(rounds * list as u64)),
            "{heap:?}"
        );
        assert_eq!(heap.get("results of imports"), None);
        assert_eq!(checked.mismatches, 0, "{checked:x?}");
    }

    let open = "(export \"thing\" (type $thing (sub resource))) (export \"open\" (func async \
                (param \"ms\" u32) (param \"text\" string) (result (own $thing))))";
    let text = text_with("open", open);
    let (_, handles, _) = heap::<(u32, String), (u32,)>(&text, false, arguments).await;
    assert_eq!(
        handles,
        expected(&[("t:a/host.thing of ask_again", rounds)])
    );
}

#[tokio::test]
async fn results_that_a_suspended_call_waits_for_belong_to_their_call() {
    for check_contexts in [false, true] {
        let arguments = |call: u32| (call, format!("call {call}"), ROUNDS);
        let text = text("stackful-waits");
        let (heap, _, checked) =
            heap::<(u32, String, u32), (String,)>(&text, check_contexts, arguments).await;
        let rounds = u64::from(CALLS * ROUNDS);
        assert_eq!(
            heap,
            expected(&[
                ("leak_before", 100 * rounds),
                ("leak_after_sleep", 200 * rounds),
                ("leak_after_ask", 400 * rounds),
                ("ask", rounds * "answer to call 0".len() as u64),
                ("work", u64::from(CALLS) * 8),
                (
                    "arguments of work",
                    u64::from(CALLS) * "call 0".len() as u64
                ),
            ])
        );
        assert_eq!(checked.mismatches, 0, "{checked:x?}");
    }
}
