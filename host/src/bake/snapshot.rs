//! Loading a model into a guest, and freezing the guest's memory into a new component.
//!
//! Everything that the guest could take from outside is fixed (clocks, random numbers), so that the same inputs give the
//! same bytes on every machine.

use super::Progress;
use crate::bindings::Classifier;
use crate::bindings::exports::pinhole::vision::setup::Config;
use crate::engine::state::{State, linker};
use anyhow::{Result, anyhow};
use std::path::Path;
use wasmtime::component::{Component, Instance};
use wasmtime::{Engine, Store};
use wasmtime_wizer::{WasmtimeWizerComponent, Wizer};

/// How much linear memory loading a model may take: all that 32 bits can address.
const MEMORY_BYTES: usize = 4 << 30;

/// Makes the component. The error is one sentence.
pub fn bake(
    engine: &Engine,
    guest: &[u8],
    guest_path: &Path,
    model: &[u8],
    config: &Config,
    progress: &Progress,
) -> Result<Vec<u8>> {
    let no_guest = |error: wasmtime::Error| {
        anyhow!("{} is not a guest that a model can be baked into: {error:#}.", guest_path.display())
    };
    let mut wizer = Wizer::new();
    wizer.keep_init_func(true);
    let (context, instrumented) = wizer.instrument_component(guest).map_err(no_guest)?;
    let component = Component::new(engine, &instrumented).map_err(no_guest)?;
    progress.done("compile", guest.len());

    let mut store = Store::new(engine, State::fixed(MEMORY_BYTES));
    store.limiter(|state| state);
    // Loading takes as long as it takes.
    store.set_epoch_deadline(u64::MAX / 2);
    // The whole memory crosses to us as one list; the default is meant for requests.
    store.set_hostcall_fuel(usize::MAX / 2);
    let instance = linker(engine)
        .and_then(|linker| linker.instantiate(&mut store, &component))
        .map_err(no_guest)?;
    load(&mut store, &instance, model, config).map_err(|error| match error {
        Failure::NoGuest(error) => no_guest(error),
        Failure::Model(sentence) => anyhow!(sentence),
    })?;
    progress.done("load", model.len());

    let mut state = WasmtimeWizerComponent { store: &mut store, instance };
    // The calls behind this never wait: a runtime of one thread is enough to drive them.
    let baked = tokio::runtime::Builder::new_current_thread()
        .build()?
        .block_on(wizer.snapshot_component(&context, &mut state))
        .map_err(no_guest)?;
    progress.done("snapshot", baked.len());
    Ok(baked)
}

enum Failure {
    NoGuest(wasmtime::Error),
    Model(String),
}

fn load(store: &mut Store<State>, instance: &Instance, model: &[u8], config: &Config) -> Result<(), Failure> {
    let guest = Classifier::new(&mut *store, instance).map_err(Failure::NoGuest)?;
    let result = guest.pinhole_vision_setup().call_load(&mut *store, model, config);
    match result {
        Ok(Ok(())) => Ok(()),
        Ok(Err(sentence)) => Err(Failure::Model(sentence)),
        Err(_) if store.data().memory_limit_hit() => {
            Err(Failure::Model("The model needs more than 4 GiB of memory to load: it is too large.".into()))
        }
        Err(error) => {
            let words = store.data().stderr();
            let cause = words.lines().last().map(str::to_string).unwrap_or_else(|| format!("{error:#}"));
            Err(Failure::Model(format!("The model cannot be made ready: loading it failed ({cause}).")))
        }
    }
}
