//! The running component: its store, its instance and its heap.

use std::time::Duration;

use anyhow::{Context as _, Result};
use wasmtime::component::{Component, Instance, InstancePre, Linker};
use wasmtime::{Engine, Store, StoreContextMut, UpdateDeadline};

use crate::arguments::ComponentArguments;
use crate::engine::engine_error;
use crate::heap::{Heap, RawHeap};
use crate::host_state::{HostState, World};
use crate::imports;
use crate::load::LoadedComponent;
use crate::trap::GuestError;

/// Time between two interruptions of the guest, at which Ctrl-C and `--every` have their turn.
pub(crate) const TICK: Duration = Duration::from_millis(20);

/// An instance with its store.
pub(crate) struct Guest {
    pub(crate) store: Store<HostState>,
    pub(crate) instance: Instance,
    pub(crate) loaded: LoadedComponent,
}

impl Guest {
    /// Instantiates a component. `on_tick` runs now and then while the guest runs.
    ///
    /// # Errors
    /// When the component imports something other than WASI, traps, or a folder cannot be opened.
    pub(crate) async fn start(
        engine: &Engine,
        loaded: LoadedComponent,
        arguments: &ComponentArguments,
        guest_arguments: &[String],
        world: World,
        on_tick: impl FnMut(&StoreContextMut<'_, HostState>) + Send + Sync + 'static,
    ) -> Result<Self> {
        let linker = linker(engine)?;
        let state = HostState::new(&loaded, arguments, guest_arguments, world, u64::MAX)?;
        let mut store = store(engine, state, on_tick);
        start_clock(engine)?;
        let prepared = prepare(engine, &linker, &loaded.component)?;
        let instance = prepared.instantiate_async(&mut store).await;
        let instance = instance.map_err(|error| start_error(error, &loaded))?;
        Ok(Self {
            store,
            instance,
            loaded,
        })
    }

    /// Reads the heap. It also works after a trap.
    pub(crate) fn heap(&self) -> Heap {
        RawHeap::read(&self.store).symbolize(&self.loaded.symbols)
    }
}

/// Finds the imports of a component.
///
/// # Errors
/// When one is not provided. The error says what to do.
pub(crate) fn prepare(
    engine: &Engine,
    linker: &Linker<HostState>,
    component: &Component,
) -> Result<InstancePre<HostState>> {
    linker.instantiate_pre(component).map_err(|error| {
        let advice = imports::advice(component, engine);
        match advice.is_empty() {
            true => engine_error(error).context("the component cannot be started"),
            false => anyhow::anyhow!("the component cannot be started: {error:#}\n{advice}"),
        }
    })
}

/// The error of a component that traps at its start.
pub(crate) fn start_error(error: wasmtime::Error, loaded: &LoadedComponent) -> anyhow::Error {
    let error = GuestError::of(&engine_error(error), &loaded.meta);
    let text = error.describe(&loaded.symbols);
    anyhow::anyhow!("the component cannot be started: {}", text.trim_end())
}

/// A linker with WASI and the profiler.
///
/// # Errors
/// When two of the interfaces have the same name, which is a mistake of this program.
pub(crate) fn linker(engine: &Engine) -> Result<Linker<HostState>> {
    let mut linker: Linker<HostState> = Linker::new(engine);
    let add_all = |linker: &mut Linker<HostState>| {
        wasmtime_wasi::p2::add_to_linker_async(linker)?;
        wasmtime_wasi::p3::add_to_linker(linker)?;
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
        wasmtime_wasi_http::p3::add_to_linker(linker)?;
        guest_heap::add_to_linker(linker, |state| &mut state.recorder)
    };
    add_all(&mut linker).map_err(engine_error)?;
    Ok(linker)
}

/// A store whose guest is interrupted at each tick of the engine. `on_tick` runs then.
pub(crate) fn store(
    engine: &Engine,
    state: HostState,
    mut on_tick: impl FnMut(&StoreContextMut<'_, HostState>) + Send + Sync + 'static,
) -> Store<HostState> {
    let mut store = Store::new(engine, state);
    store.limiter(|state| &mut state.memory);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(move |context| {
        on_tick(&context);
        Ok(UpdateDeadline::Yield(1))
    });
    store
}

/// Lets the engine's clock tick until the engine is dropped. It has a thread of its own: a guest
/// that computes can keep the runtime from looking at its timers.
///
/// # Errors
/// When the system has no thread left.
pub(crate) fn start_clock(engine: &Engine) -> Result<()> {
    let engine = engine.weak();
    let clock = std::thread::Builder::new().name("epoch".to_owned());
    let tick = move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            std::thread::sleep(TICK);
        }
    };
    clock.spawn(tick).context("cannot start the clock")?;
    Ok(())
}
