//! The ledger of handles: each handle counts at the line that got it, until it is dropped or passed
//! on.

use std::collections::BTreeMap;
use std::sync::Arc;

use guest_heap::symbols::{SymbolOptions, Symbols};
use guest_heap::{Context, InstrumentedMeta, Options, instrument};
use wasmtime::component::{
    Component, ComponentType, Lift, Linker, Lower, Resource, ResourceAny, ResourceType, Val,
};
use wasmtime::{Engine, StoreContextMut};

use crate::fixtures;
use crate::guest::{Data, Guest, config, linker, store};

/// Resource types of the host.
pub(crate) struct Thing;
pub(crate) struct Other;

#[derive(ComponentType, Lift, Lower)]
#[component(variant)]
enum Choice {
    #[component(name = "nothing")]
    Nothing,
    #[component(name = "number")]
    Number(u64),
    #[component(name = "one")]
    One(Resource<Thing>),
    #[component(name = "both")]
    Both((Resource<Thing>, Resource<Other>)),
    #[component(name = "all")]
    All(Vec<Resource<Thing>>),
}

fn thing() -> Resource<Thing> {
    Resource::new_own(1)
}

fn other() -> Resource<Other> {
    Resource::new_own(2)
}

/// Adds the interface `host` of `handles.wit`.
fn add_host(linker: &mut Linker<Data>) -> wasmtime::Result<()> {
    let mut host = linker.instance("test:handles/host")?;
    host.resource("thing", ResourceType::host::<Thing>(), |_, _| Ok(()))?;
    host.resource("other", ResourceType::host::<Other>(), |_, _| Ok(()))?;
    host.func_wrap("make", |_, (): ()| Ok((thing(),)))?;
    host.func_wrap("pair", |_, (): ()| Ok(((thing(), other()),)))?;
    host.func_wrap("checked", |_, (is_ok,): (bool,)| {
        Ok((if is_ok { Ok(thing()) } else { Err(other()) },))
    })?;
    host.func_wrap("several", |_, (n,): (u32,)| {
        Ok(((0..n).map(|_| thing()).collect::<Vec<_>>(),))
    })?;
    host.func_wrap("nested", |_, (n,): (u32,)| {
        let pair = |i: u32| (i as u8, i.is_multiple_of(2).then(thing));
        Ok(((n > 0).then(|| (0..n).map(pair).collect::<Vec<_>>()),))
    })?;
    host.func_wrap("take", |_, (_,): (Resource<Thing>,)| Ok(()))?;
    host.func_wrap("take-choice", |_, (_,): (Choice,)| Ok(()))?;
    host.func_new("take-many", |_, _, _, _| Ok(()))?;
    host.func_wrap(
        "look-at",
        |_: StoreContextMut<'_, Data>, (_,): (Resource<Thing>,)| Ok(()),
    )?;
    Ok(())
}

fn handles_guest(check_contexts: bool) -> (Guest, Arc<Symbols>) {
    let original = fixtures::rust("handles");
    let mut options = Options::default();
    options.check_contexts = check_contexts;
    let instrumented = instrument(&original, &options).unwrap();
    let symbols = Symbols::new(&original, SymbolOptions::default()).unwrap();
    let bytes = &instrumented.component;
    (instantiate(bytes, instrumented.meta), Arc::new(symbols))
}

fn instantiate(bytes: &[u8], meta: Arc<InstrumentedMeta>) -> Guest {
    let engine = Engine::new(&config()).unwrap();
    let component = Component::new(&engine, bytes).unwrap();
    let mut linker = linker(&engine).unwrap();
    add_host(&mut linker).unwrap();
    let mut store = store(&engine, meta);
    let instance = linker.instantiate(&mut store, &component).unwrap();
    Guest { store, instance }
}

/// `(live, made)` of each type at each place: the line of the guest's source, or the name of a
/// context.
fn by_place(guest: &Guest, symbols: &Symbols) -> BTreeMap<(String, String), (u64, u64)> {
    let recorder = &guest.store.data().recorder;
    let mut places: BTreeMap<_, (u64, u64)> = BTreeMap::new();
    for record in guest.reading().handles.records {
        let context = recorder.context(&guest.store, record.context);
        let place = match &context {
            Context::Synthetic(name) => name.to_string(),
            _ => symbols.site(&context).location.to_string(),
        };
        let sum = places.entry((place, record.ty.to_string())).or_default();
        sum.0 += record.live();
        sum.1 += record.made;
    }
    places
}

/// A line of the fixture with the comment `MADE name`.
fn line(name: &str) -> String {
    let source = std::fs::read_to_string(fixtures::folder().join("handles/src/lib.rs")).unwrap();
    let marker = format!("// MADE {name}");
    let at = source.lines().position(|line| line.ends_with(&marker));
    format!("handles/src/lib.rs:{}", at.unwrap() + 1)
}

#[test]
fn kept_and_dropped_handles_count_by_line_and_type() {
    const POLLABLE: &str = "wasi:io/poll.pollable";
    const STREAM: &str = "wasi:io/streams.output-stream";
    let (mut guest, symbols) = handles_guest(false);
    assert_eq!(guest.reading().handles.gaps.len(), 0);
    let use_and_drop = |guest: &mut Guest| guest.call::<_, ()>("use-and-drop", (10_u32,)).unwrap();
    use_and_drop(&mut guest);
    assert_eq!(guest.reading().handles.live(), 0);
    guest.call::<_, ()>("leak", (10_u32,)).unwrap();
    use_and_drop(&mut guest);
    let places = by_place(&guest, &symbols);
    let kept: Vec<_> = places.iter().filter(|(_, (live, _))| *live > 0).collect();
    let mut expected = [
        ((line("pollables"), POLLABLE.to_owned()), (10, 10)),
        ((line("other pollables"), POLLABLE.to_owned()), (20, 20)),
        ((line("streams"), STREAM.to_owned()), (30, 30)),
        ((line("kept streams"), STREAM.to_owned()), (4, 4)),
        ((line("pollables of streams"), POLLABLE.to_owned()), (4, 4)),
    ];
    expected.sort();
    assert_eq!(
        kept,
        expected.iter().map(|(k, v)| (k, v)).collect::<Vec<_>>()
    );
    for ty in [POLLABLE, STREAM] {
        let of_type = places.iter().filter(|((_, it), _)| it == ty);
        let sum = of_type.fold((0, 0), |sum, (_, n)| (sum.0 + n.0, sum.1 + n.1));
        assert_eq!(sum, (34, 54), "{ty}");
    }
}

#[test]
fn handles_in_return_areas_count() {
    let (mut guest, symbols) = handles_guest(false);
    guest.call::<_, ()>("areas", (5_u32,)).unwrap();
    let place = |name: &str, ty: &str| (line(name), format!("test:handles/host.{ty}"));
    assert_eq!(
        by_place(&guest, &symbols),
        BTreeMap::from([
            (place("pairs", "thing"), (5, 5)),
            (place("pairs", "other"), (0, 5)),
            (place("results", "thing"), (3, 3)),
            (place("results", "other"), (2, 2)),
            (place("lists", "thing"), (4, 5)),
            (place("nested", "thing"), (3, 3)),
        ])
    );
}

#[test]
fn handles_that_are_passed_on_end() {
    let (mut guest, _) = handles_guest(false);
    guest.call::<_, ()>("pass", (10_u32,)).unwrap();
    let handles = guest.reading().handles;
    let made: u64 = handles.records.iter().map(|record| record.made).sum();
    // 10 to take, 2 in one, 2 pairs, 2 lists of 3, and 5 of 10 in records.
    assert_eq!((handles.live(), made), (0, 10 + 2 + 4 + 6 + 5));
    guest.call::<_, (Resource<Thing>,)>("give", ()).unwrap();
    guest
        .call::<_, (Vec<Resource<Thing>>,)>("give-several", (7_u32,))
        .unwrap();
    let handles = guest.reading().handles;
    let made: u64 = handles.records.iter().map(|record| record.made).sum();
    assert_eq!((handles.live(), made), (0, 27 + 8));
}

#[test]
fn handles_in_arguments_count() {
    let (mut guest, symbols) = handles_guest(false);
    let all = Choice::All(vec![thing(), thing()]);
    let both = Choice::Both((thing(), other()));
    let choices = [
        Choice::Nothing,
        Choice::Number(9),
        Choice::One(thing()),
        both,
        all,
    ];
    for choice in choices {
        guest.call::<_, ()>("receive", (thing(), choice)).unwrap();
    }
    let place = |ty: &str| {
        (
            "arguments of receive".to_owned(),
            format!("test:handles/host.{ty}"),
        )
    };
    assert_eq!(
        by_place(&guest, &symbols),
        BTreeMap::from([
            (place("thing"), (5 + 1 + 1 + 2, 9)),
            (place("other"), (1, 1))
        ])
    );
}

#[test]
fn resources_of_the_component_count() {
    let (mut guest, symbols) = handles_guest(false);
    let counters = guest
        .instance
        .get_export_index(&mut guest.store, None, "test:handles/counters");
    let counters = counters.unwrap();
    let mut function = |name: &str| {
        let index = guest
            .instance
            .get_export_index(&mut guest.store, Some(&counters), name);
        guest
            .instance
            .get_func(&mut guest.store, index.unwrap())
            .unwrap()
    };
    let (keep, make) = (function("keep"), function("[constructor]counter"));
    keep.call(&mut guest.store, &[Val::U32(6)], &mut [])
        .unwrap();
    let mut made = [Val::Bool(false)];
    make.call(&mut guest.store, &[Val::U32(6)], &mut made)
        .unwrap();
    let [Val::Resource(made)] = made else {
        panic!("{made:?}")
    };
    ResourceAny::resource_drop(made, &mut guest.store).unwrap();
    let counter = "test:handles/counters.counter".to_owned();
    let places = by_place(&guest, &symbols);
    assert_eq!(places.get(&(line("counters"), counter)), Some(&(6, 6)));
    let sum = places
        .values()
        .fold((0, 0), |sum, n| (sum.0 + n.0, sum.1 + n.1));
    assert_eq!(sum, (6, 7), "{places:?}");
}

#[test]
fn contexts_of_handles_are_their_call_stacks() {
    let (mut guest, _) = handles_guest(true);
    guest.call::<_, ()>("leak", (3_u32,)).unwrap();
    guest.call::<_, ()>("areas", (3_u32,)).unwrap();
    let recorder = &guest.store.data().recorder;
    assert_eq!(recorder.checked(&guest.store).mismatches, 0);
    for record in guest.reading().handles.records {
        let context = recorder.context(&guest.store, record.context);
        assert!(matches!(context, Context::Stack(_)), "{context:?}");
    }
}
