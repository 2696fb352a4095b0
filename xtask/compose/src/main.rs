//! Composes two components into one: `xtask-compose FRONT GUEST OUTPUT`, which `cargo xtask http` runs.
//!
//! The guest's `pinhole:vision/classify` becomes what the front imports; what the front exports is what the result exports.
//! Neither is changed: both are inside as they are.

use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use wac_graph::types::Package;
use wac_graph::{CompositionGraph, EncodeOptions, PackageId, plug};

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask-compose: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[OsString]) -> Result<()> {
    let [front, guest, output] = arguments else {
        bail!("usage: xtask-compose FRONT GUEST OUTPUT");
    };
    let mut graph = CompositionGraph::new();
    let guest = register(&mut graph, "pinhole:guest", Path::new(guest))?;
    let front = register(&mut graph, "pinhole:front", Path::new(front))?;
    plug(&mut graph, vec![guest], front).context(
        "The component does not export pinhole:vision/classify, or another version of it",
    )?;
    let bytes = graph
        .encode(EncodeOptions::default())
        .context("The two components cannot be put together")?;
    write(Path::new(output), &bytes)
}

/// Whole or not at all, and over nothing but a file.
fn write(output: &Path, bytes: &[u8]) -> Result<()> {
    if output
        .symlink_metadata()
        .is_ok_and(|there| !there.is_file())
    {
        bail!(
            "{} is no regular file, and is not replaced",
            output.display()
        );
    }
    let partial = output.with_extension("partial");
    std::fs::write(&partial, bytes)
        .and_then(|()| std::fs::rename(&partial, output))
        .inspect_err(|_| {
            // What cannot be removed, or was never made, is no further trouble.
            let _ = std::fs::remove_file(&partial);
        })
        .with_context(|| format!("{} cannot be written", output.display()))
}

fn register(graph: &mut CompositionGraph, name: &str, file: &Path) -> Result<PackageId> {
    let bytes =
        std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let package = Package::from_bytes(name, None, bytes, graph.types_mut())
        .with_context(|| format!("{} is not a component", file.display()))?;
    graph
        .register_package(package)
        .with_context(|| format!("{} cannot be taken", file.display()))
}
