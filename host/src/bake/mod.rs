//! Baking: a model is loaded into a bare guest once, and the guest's memory becomes a new component that wakes up with
//! the model in it.
//!
//! `model_config` reads what the model file does not say, `snapshot` loads and freezes, `output` writes files whole or
//! not at all.

mod model_config;
mod output;
mod snapshot;

use crate::cli::BakeArgs;
use crate::engine::config::{baking, precompiling};
use anyhow::{Context, Result, anyhow};
use std::path::{Path, PathBuf};
use std::time::Instant;
use wasmtime::{Config, Engine};

/// Bakes and, where asked, precompiles. Nothing is written before everything has been made.
pub fn run(args: &BakeArgs) -> Result<()> {
    let model = read(&args.model, "model")?;
    let config = model_config::read(args)?;
    let guest_path = match &args.guest {
        Some(path) => path.clone(),
        None => bare_guest()?,
    };
    let guest = read(&guest_path, "guest")?;

    let progress = Progress::start();
    let baked = snapshot::bake(&engine(&baking()?)?, &guest, &guest_path, &model, &config, &progress)?;
    let mut files = vec![output::prepare(&args.output, &baked)?];
    let precompiled_path = args.output.with_extension("cwasm");
    if args.precompile {
        let code = engine(&precompiling()?)?
            .precompile_component(&baked)
            .map_err(|error| anyhow!("The component cannot be precompiled: {error:#}."))?;
        progress.done("precompile", code.len());
        files.push(output::prepare(&precompiled_path, &code)?);
    }
    for file in files {
        file.commit()?;
    }
    Ok(())
}

fn engine(config: &Config) -> Result<Engine> {
    Engine::new(config)
        .map_err(anyhow::Error::from)
        .context("The WebAssembly engine cannot be made")
}

fn read(path: &Path, what: &str) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| anyhow!("The {what} {} cannot be read: {error}.", path.display()))
}

/// The guest that came with this program.
fn bare_guest() -> Result<PathBuf> {
    let program = std::env::current_exe().context("The place of this program cannot be found")?;
    let path = program.with_file_name("guest-unbaked.wasm");
    if path.exists() {
        return Ok(path);
    }
    Err(anyhow!(
        "There is no {}: name the bare guest with --guest, or build it with `cargo xtask build`.",
        path.display()
    ))
}

/// A line for each stage on standard error, with the time it took.
struct Progress {
    stage: std::cell::Cell<Instant>,
}

impl Progress {
    fn start() -> Self {
        Self { stage: std::cell::Cell::new(Instant::now()) }
    }

    fn done(&self, stage: &str, bytes: usize) {
        let took = self.stage.replace(Instant::now()).elapsed();
        eprintln!("{stage:<12} {:6.1} s  {:7.1} MB", took.as_secs_f64(), bytes as f64 / 1e6);
    }
}
