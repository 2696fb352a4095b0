//! Baking: a model is loaded into a bare guest once, and the guest's memory becomes a new component that wakes up with
//! the model in it.
//!
//! There are three bare guests. One has tract in it: it reads ONNX files, and compiles those that Pinhole's own kernels can
//! run for the second one, which is a tenth of its size and is what serves. A model that only tract can run is baked into
//! the first. The third leaves models to the host, and gets labels and preprocessing only.
//!
//! `cache` keeps compiled guests, `model_config` reads what the model file does not say, `check` tries what was made on pictures, `snapshot` loads and freezes, `stages` shows what the guest is at, `output` writes files whole or
//! not at all.

mod cache;
mod check;
mod model_config;
mod output;
mod snapshot;
mod stages;

use crate::bindings::exports::pinhole::vision::setup::{self, Compilation, Obstacle};
use crate::bounded::Bounds;
use crate::cli::{BakeArgs, BakedEngine};
use crate::engine::config::precompiling;
use crate::engine::seal::{Kind, seal};
use crate::files::{self, MODEL_BYTES};
use anyhow::{Context, Result, anyhow};
use check::{Agreement, Bench};
use snapshot::Kitchen;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use wasmtime::component::Component;
use wasmtime::{Config, Engine};

/// The bare guest that reads ONNX files.
const TRACT_GUEST: &str = "guest-tract.wasm";
/// The bare guest that takes compiled models only.
const KERNELS_GUEST: &str = "guest-kernels.wasm";
/// The bare guest that leaves models to the host.
const NN_GUEST: &str = "guest-nn.wasm";

/// Bakes and, where asked, precompiles. Nothing is written before everything has been made.
pub fn run(args: &BakeArgs) -> Result<()> {
    #[cfg(feature = "nn-tract")]
    if args.network.is_some() && args.engine != BakedEngine::Nn {
        return Err(anyhow!(
            "--network writes a model for the host to run: it goes with --engine nn."
        ));
    }
    output::check(&outputs(args), &inputs(args))?;
    output::clear_up_when_interrupted()?;
    let model = read(&args.model, "model")?;
    let config = model_config::read(args)?;
    let served = match args.engine {
        BakedEngine::Guest => KERNELS_GUEST,
        BakedEngine::Nn => NN_GUEST,
    };
    let guests = guests(args.guests.as_deref(), [TRACT_GUEST, served])?;
    let tract = read(&guests.join(TRACT_GUEST), "guest")?;
    let served = read(&guests.join(served), "guest")?;

    let progress = Arc::new(Progress::start());
    let bounds = Bounds::from(args.load);
    let kitchen = Kitchen::new(bounds)?;
    let compiled = snapshot::compile(&kitchen, &tract, &model, &config, &progress)?;
    let baked = match &compiled {
        Compilation::Compiled(compiled) => {
            eprintln!(
                "{}",
                match args.engine {
                    BakedEngine::Guest => "this model runs on Pinhole's own kernels",
                    BakedEngine::Nn => "the host is to run this model, natively",
                }
            );
            snapshot::bake(&kitchen, &served, compiled, &config, &progress)?
        }
        Compilation::Obstructed(why) => {
            eprintln!("this model runs on tract: {}", told(why));
            eprintln!("it is slower, and its component larger, than with our own kernels");
            snapshot::bake(&kitchen, &tract, &model, &config, &progress)?
        }
    };
    let native = engine(&precompiling()?)?;
    let mut made = Made::new(&native, baked)?;
    #[cfg(feature = "nn-tract")]
    let network = match &args.network {
        Some(path) => {
            let side = config.crop.unwrap_or(224) as usize;
            let network = bounds
                .watch(&args.model, || crate::nn::write_network(&model, side))
                .map_err(|sentence| anyhow!(sentence))?;
            progress.done("network", Some(network.len()));
            Some((path, network))
        }
        None => None,
    };
    // On disk before it is tried: what there is no room for need not be.
    let mut component = output::prepare(&args.output, &made.component)?;
    progress.done("translate", None);
    // What the host is to run cannot be run before it serves.
    if args.engine == BakedEngine::Guest {
        let bench = Bench::new(native, bounds)?;
        let in_full = || {
            let full = in_full_precision(&kitchen, [&tract, &served], &model, config.clone())?;
            Made::new(&bench.engine, full)
        };
        if let Some(full) = checked(&bench, &made, args, in_full)? {
            made = full;
            component = output::prepare(&args.output, &made.component)?;
        }
        progress.done("check", None);
    }
    let mut files = vec![component];
    if args.precompile {
        let code = made.code.serialize();
        let code =
            code.map_err(|error| anyhow!("The component cannot be precompiled: {error:#}."))?;
        let code = seal(&code, Kind::Code);
        progress.done("precompile", Some(code.len()));
        files.push(output::prepare(
            &args.output.with_extension("cwasm"),
            &code,
        )?);
    }
    #[cfg(feature = "nn-tract")]
    if let Some((path, network)) = network {
        files.push(output::prepare(path, &network)?);
    }
    output::commit(files)
}

/// A component that is not written yet, and what the compiler made of it.
struct Made {
    component: Vec<u8>,
    code: Component,
}

impl Made {
    fn new(engine: &Engine, component: Vec<u8>) -> Result<Self> {
        let code = Component::new(engine, &component)
            .map_err(|error| anyhow!("The component cannot be precompiled: {error:#}."))?;
        Ok(Self { component, code })
    }
}

/// Tries what was made on pictures, and says what is odd about it. Where int8 was not asked for, and changes answers, this gives the
/// same in full precision, to take its place.
fn checked(
    bench: &Bench,
    made: &Made,
    args: &BakeArgs,
    in_full: impl FnOnce() -> Result<Made>,
) -> Result<Option<Made>> {
    let pictures = check::pictures(args.check.as_deref())?;
    let mut tried = bench.run(&made.code, &pictures)?;
    let mut instead = None;
    if tried.engine == "kernels-int8" {
        let full = in_full()?;
        let exact = bench.run(&full.code, &pictures)?;
        let agreement = Agreement::of(&exact.answers, &tried.answers, args.check.is_none());
        eprintln!("int8 gives {agreement}");
        if agreement.is_poor() && args.precision.is_none() {
            eprintln!(
                "that is too far: the model is baked in fp32 (--precision int8 bakes it in int8 all the same)"
            );
            (tried, instead) = (exact, Some(full));
        } else if agreement.is_poor() {
            eprintln!(
                "warning: that is far. Check with pictures of your own (--check FOLDER), or bake with --precision fp32."
            );
        }
    }
    for warning in tried.warnings() {
        eprintln!("warning: {warning}");
    }
    Ok(instead)
}

/// What is to be written.
fn outputs(args: &BakeArgs) -> Vec<PathBuf> {
    let mut outputs = vec![args.output.clone()];
    if args.precompile {
        outputs.push(args.output.with_extension("cwasm"));
    }
    #[cfg(feature = "nn-tract")]
    outputs.extend(args.network.clone());
    outputs
}

/// What is read, and must stay.
fn inputs(args: &BakeArgs) -> Vec<&Path> {
    let mut inputs = vec![args.model.as_path(), &args.labels];
    inputs.extend(args.config.as_deref());
    inputs
}

/// What keeps a model from our own kernels, and where.
fn told(why: &Obstacle) -> String {
    let Obstacle {
        node,
        operator,
        reason,
    } = why;
    if operator.is_empty() {
        return reason.clone();
    }
    format!("{reason} (the {operator} at node `{node}`)")
}

/// The same component without rounding, to compare with.
fn in_full_precision(
    kitchen: &Kitchen,
    [tract, kernels]: [&[u8]; 2],
    model: &[u8],
    mut config: setup::Config,
) -> Result<Vec<u8>> {
    let silent = Arc::new(Progress::silent());
    config.precision = setup::Precision::Fp32;
    let Compilation::Compiled(compiled) =
        snapshot::compile(kitchen, tract, model, &config, &silent)?
    else {
        return Err(anyhow!("The model cannot be compiled in full precision."));
    };
    snapshot::bake(kitchen, kernels, &compiled, &config, &silent)
}

fn engine(config: &Config) -> Result<Engine> {
    Engine::new(config)
        .map_err(anyhow::Error::from)
        .context("The WebAssembly engine cannot be made")
}

fn read(path: &Path, what: &str) -> Result<Vec<u8>> {
    files::read(path, what, MODEL_BYTES)
}

/// The folder of the bare guests: the one that was named, or this program's own.
fn guests(named: Option<&Path>, needed: [&str; 2]) -> Result<PathBuf> {
    let folder = match named {
        Some(folder) => folder.to_path_buf(),
        None => std::env::current_exe()
            .context("The place of this program cannot be found")?
            .parent()
            .unwrap_or(Path::new("/"))
            .to_path_buf(),
    };
    for name in needed {
        if !folder.join(name).exists() {
            return Err(anyhow!(
                "There is no {name} in {}: name the folder of the bare guests with --guests, or build them with `cargo xtask build`.",
                folder.display()
            ));
        }
    }
    Ok(folder)
}

/// A line for each stage on standard error, with the time it took.
struct Progress {
    stage: Mutex<Instant>,
    silent: bool,
}

impl Progress {
    fn start() -> Self {
        Self {
            stage: Mutex::new(Instant::now()),
            silent: false,
        }
    }

    fn silent() -> Self {
        Self {
            silent: true,
            ..Self::start()
        }
    }

    /// Tells that a stage has ended, and how large its result is, where it has one.
    fn done(&self, stage: &str, bytes: Option<usize>) {
        let mut begun = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        let took = begun.elapsed().as_secs_f64();
        *begun = Instant::now();
        match bytes {
            _ if self.silent => {}
            Some(bytes) => eprintln!("{stage:<12} {took:6.1} s  {:7.1} MB", bytes as f64 / 1e6),
            None => eprintln!("{stage:<12} {took:6.1} s"),
        }
    }
}
