//! Loading a model into a guest, and freezing the guest's memory into a new component.
//!
//! Everything that the guest could take from outside is fixed (clocks, random numbers), so that the same inputs give the
//! same bytes on every machine.

use super::stages::Stages;
use super::{Progress, cache};
use crate::bindings::Classifier;
use crate::bindings::exports::pinhole::vision::setup::{Compilation, Config};
use crate::bounded::{Bounds, Over};
use crate::engine::config::baking;
use crate::engine::state::{State, linker};
use crate::engine::ticker::{Ticker, ticks};
use crate::nn;
use anyhow::{Context, Result, anyhow};
use std::sync::Arc;
use wasmtime::component::{Component, Instance};
use wasmtime::{Engine, Store, Trap};
use wasmtime_wasi::cli::StdoutStream;
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wizer::{WasmtimeWizerComponent, Wizer};

/// The most memory that a sandbox can have, in bytes: all that 32 bits can address.
const SANDBOX_BYTES: u64 = 4 << 30;

/// The bare guests' engine, and what a guest may take while it reads a model.
pub struct Kitchen {
    engine: Engine,
    bounds: Bounds,
    /// Without it time would stand still for guests.
    _ticker: Ticker,
}

impl Kitchen {
    /// To be made once: it has a thread.
    pub fn new(bounds: Bounds) -> Result<Self> {
        let engine = super::engine(&baking()?)?;
        Ok(Self {
            _ticker: Ticker::start(&engine)
                .context("The thread for the clock cannot be started")?,
            engine,
            bounds,
        })
    }
}

/// Has a guest compile a model for the smaller guest, or say what is in the way. The error is one sentence.
pub fn compile(
    kitchen: &Kitchen,
    guest: &[u8],
    model: &[u8],
    config: &Config,
    progress: &Arc<Progress>,
) -> Result<Compilation> {
    let component = cache::component(&kitchen.engine, guest).map_err(no_guest)?;
    progress.done("prepare", Some(guest.len()));
    let (mut store, instance) = instantiate(kitchen, &component, Stages::new(progress.clone()))?;
    let guest = Classifier::new(&mut store, &instance).map_err(no_guest)?;
    let compiled = settled(
        guest
            .pinhole_vision_setup()
            .call_compile(&mut store, model, config),
        &store,
        kitchen.bounds,
    )?;
    if let Compilation::Compiled(compiled) = &compiled {
        progress.done("compile", Some(compiled.len()));
    }
    Ok(compiled)
}

/// Loads a model into a guest, and makes a component of the result. The error is one sentence.
pub fn bake(
    kitchen: &Kitchen,
    guest: &[u8],
    model: &[u8],
    config: &Config,
    progress: &Arc<Progress>,
) -> Result<Vec<u8>> {
    let mut wizer = Wizer::new();
    wizer.keep_init_func(true);
    let (context, instrumented) = wizer.instrument_component(guest).map_err(no_guest)?;
    let component = cache::component(&kitchen.engine, &instrumented).map_err(no_guest)?;
    // What is frozen may not have written anywhere: it would keep a handle that means nothing when it wakes up.
    let (mut store, instance) = instantiate(kitchen, &component, MemoryOutputPipe::new(0))?;
    let guest = Classifier::new(&mut store, &instance).map_err(no_guest)?;
    settled(
        guest
            .pinhole_vision_setup()
            .call_load(&mut store, model, config),
        &store,
        kitchen.bounds,
    )?;
    progress.done("load", Some(model.len()));

    let mut state = WasmtimeWizerComponent {
        store: &mut store,
        instance,
    };
    // The calls behind this never wait: a runtime of one thread is enough to drive them.
    let baked = tokio::runtime::Builder::new_current_thread()
        .build()?
        .block_on(wizer.snapshot_component(&context, &mut state))
        .map_err(no_guest)?;
    progress.done("snapshot", Some(baked.len()));
    Ok(baked)
}

fn no_guest(error: wasmtime::Error) -> anyhow::Error {
    anyhow!("The bare guest is not one that this version can bake into: {error:#}.")
}

fn instantiate(
    Kitchen { engine, bounds, .. }: &Kitchen,
    component: &Component,
    stdout: impl StdoutStream + 'static,
) -> Result<(Store<State>, Instance)> {
    let memory = usize::try_from(bounds.memory).unwrap_or(usize::MAX);
    let mut store = Store::new(engine, State::fixed(memory, stdout));
    store.limiter(|state| state);
    store.set_epoch_deadline(ticks(bounds.time));
    // The whole memory crosses to us as one list; the default is meant for requests.
    store.set_hostcall_fuel(usize::MAX / 2);
    let instance = linker(engine)
        .and_then(|mut linker| {
            // Models to ask are linked, and there are none: a guest asks when it serves.
            nn::add_to_linker(&mut linker)?;
            linker.instantiate(&mut store, component)
        })
        .map_err(no_guest)?;
    Ok((store, instance))
}

/// What a call into the guest came to, with a sentence for each way to fail.
fn settled<T>(
    result: wasmtime::Result<Result<T, String>>,
    store: &Store<State>,
    bounds: Bounds,
) -> Result<T> {
    let over = |over: Over| anyhow!("The model cannot be read: {over}.");
    match result {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(sentence)) => Err(anyhow!(sentence)),
        Err(error) if error.downcast_ref() == Some(&Trap::Interrupt) => {
            Err(over(Over::Time(bounds.time)))
        }
        Err(_) if store.data().memory_limit_hit() && bounds.memory < SANDBOX_BYTES => {
            Err(over(Over::Memory(bounds.memory)))
        }
        Err(_) if store.data().memory_limit_hit() => Err(anyhow!(
            "The model needs more than 4 GiB of memory to load: it is too large."
        )),
        Err(error) => {
            let words = store.data().stderr();
            // The last thing that a panic says is how to have it say more.
            let mut said = words.lines().filter(|line| !line.starts_with("note: "));
            let cause = said
                .next_back()
                .map_or_else(|| format!("{error:#}"), str::to_string);
            Err(anyhow!(
                "The model cannot be made ready: loading it failed ({cause})."
            ))
        }
    }
}
