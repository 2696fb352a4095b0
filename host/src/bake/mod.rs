//! Baking: a model is loaded into a bare guest once, and the guest's memory becomes a new component that wakes up with
//! the model in it.
//!
//! There are three bare guests. One has tract in it: it reads ONNX files, and compiles those that Pinhole's own kernels can
//! run for the second one, which is a tenth of its size and is what serves. A model that only tract can run is baked into
//! the first. The third leaves models to the host, and gets labels and preprocessing only.
//!
//! `cache` keeps compiled guests, `model_config` reads what the model file does not say, `check` tells what rounding costs, `snapshot` loads and freezes, `stages` shows what the guest is at, `output` writes files whole or
//! not at all.

mod cache;
mod check;
mod model_config;
mod output;
mod snapshot;
mod stages;

use crate::bindings::exports::pinhole::vision::setup;
use crate::cli::{BakeArgs, BakedEngine, Precision};
use crate::engine::config::{baking, precompiling};
use crate::engine::seal::{Kind, seal};
use crate::files::{self, MODEL_BYTES};
use anyhow::{Context, Result, anyhow};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
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
    let baking = engine(&baking()?)?;
    let compiled = snapshot::compile(&baking, &tract, &model, &config, &progress)?;
    let baked = match &compiled {
        Some(compiled) => {
            eprintln!(
                "{}",
                match args.engine {
                    BakedEngine::Guest => "this model runs on Pinhole's own kernels",
                    BakedEngine::Nn => "the host is to run this model, natively",
                }
            );
            snapshot::bake(&baking, &served, compiled, &config, &progress)?
        }
        None => {
            eprintln!(
                "this model runs on tract: it is slower, and its component larger, than with our own kernels"
            );
            snapshot::bake(&baking, &tract, &model, &config, &progress)?
        }
    };
    let native = engine(&precompiling()?)?;
    let mut files = vec![output::prepare(&args.output, &baked)?];
    if args.precompile {
        let code = native
            .precompile_component(&baked)
            .map_err(|error| anyhow!("The component cannot be precompiled: {error:#}."))?;
        let code = seal(&code, Kind::Code);
        progress.done("precompile", Some(code.len()));
        files.push(output::prepare(
            &args.output.with_extension("cwasm"),
            &code,
        )?);
    }
    #[cfg(feature = "nn-tract")]
    if let Some(path) = &args.network {
        let side = config.crop.unwrap_or(224) as usize;
        let network =
            crate::nn::write_network(&model, side).map_err(|sentence| anyhow!(sentence))?;
        progress.done("network", Some(network.len()));
        files.push(output::prepare(path, &network)?);
    }
    let asked = args.engine == BakedEngine::Guest && args.precision == Precision::Int8;
    // A quantised file says itself what is rounded: there is nothing to compare with.
    if compiled.is_some() && asked && check::is_int8(&native, &baked)? {
        let full = in_full_precision(&baking, [&tract, &served], &model, config)?;
        let agreement = check::agreement(&native, [&full, &baked], args.check.as_deref())?;
        progress.done("check", None);
        eprintln!("int8 gives {agreement}");
        if agreement.is_poor() {
            eprintln!(
                "warning: that is little. Check with pictures of your own (--check FOLDER), or bake with --precision fp32."
            );
        }
    }
    output::commit(files)
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

/// The same component without rounding, to compare with.
fn in_full_precision(
    engine: &Engine,
    [tract, kernels]: [&[u8]; 2],
    model: &[u8],
    mut config: setup::Config,
) -> Result<Vec<u8>> {
    let silent = Arc::new(Progress::silent());
    config.precision = setup::Precision::Fp32;
    let compiled = snapshot::compile(engine, tract, model, &config, &silent)?
        .context("The model cannot be compiled in full precision")?;
    snapshot::bake(engine, kernels, &compiled, &config, &silent)
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
