//! What goes into the images whose host runs the model: the host, the precompiled component without a model, and the model.

use crate::build;
use crate::image::{Options, Runs};
use crate::workspace::{Workspace, output, run, say};
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Writes it to `dist/image-nn/`, or to `dist/image-onnxruntime/`, with all the libraries that ONNX Runtime needs.
pub fn files(workspace: &Workspace, options: &Options) -> Result<()> {
    let folder = match &options.library {
        Some(library) => {
            let folder = workspace.dist("image-onnxruntime");
            let host = host_with_onnx_runtime(workspace, options)?;
            // In the places where the loader looks for them.
            for needed in needed([&host, library])? {
                let place = needed.strip_prefix("/").unwrap_or(&needed);
                build::install(&needed, &folder.join(place))?;
            }
            build::install(library, &folder.join("lib/libonnxruntime.so"))?;
            build::install(&host, &folder.join("pinhole"))?;
            folder
        }
        None => {
            host(workspace, options)?;
            workspace.dist("image-nn")
        }
    };
    let default = |end: &str| workspace.root.join("models").join(format!("default.{end}"));
    let (model, labels) = match &options.model {
        Some(named) => named.clone(),
        None => (default("onnx"), default("labels.txt")),
    };
    let wasm = workspace.dist("tests/image-nn.wasm");
    let parent = wasm.parent().context("an artifact lies in a folder")?;
    std::fs::create_dir_all(parent)?;
    let mut bake = Command::new(workspace.dist("pinhole"));
    bake.args(["bake", "--engine", "nn", "--precompile"])
        .args([Path::new("--model"), &model])
        .args([Path::new("--labels"), &labels])
        .args([Path::new("-o"), &wasm]);
    if options.model.is_none() {
        bake.args([Path::new("--config"), &default("toml")]);
    }
    let place = folder.join("model");
    if options.runs == Runs::Kernels {
        bake.args([Path::new("--network"), &place]);
    } else {
        build::install(&model, &place)?;
    }
    run(&mut bake)?;
    build::install(&wasm.with_extension("cwasm"), &folder.join("guest.cwasm"))
}

/// Writes the host that runs the model by our own kernels, or by tract.
pub fn host(workspace: &Workspace, options: &Options) -> Result<()> {
    let engine = match options.runs {
        Runs::Tract => "nn-tract",
        _ => "nn-kernels",
    };
    let features = format!("{engine},{}", options.features);
    let features = ["--no-default-features", "--features", &features];
    let host = build::host(workspace, "image", &features)?;
    build::install(&host, &workspace.dist("image-nn/pinhole"))
}

/// Builds the host that loads ONNX Runtime, linked dynamically, and returns where cargo left it.
fn host_with_onnx_runtime(workspace: &Workspace, options: &Options) -> Result<PathBuf> {
    say("building the host with ONNX Runtime");
    let features = format!("nn-onnxruntime,{}", options.features);
    run(&mut workspace.cargo(&[
        "build",
        "--locked",
        "--package",
        "pinhole-host",
        "--profile",
        "image",
        "--no-default-features",
        "--features",
        &features,
    ]))?;
    Ok(workspace.target.join("image/pinhole"))
}

/// The loader and every library that these files need, by `ldd`.
fn needed(files: [&Path; 2]) -> Result<BTreeSet<PathBuf>> {
    let mut all = BTreeSet::new();
    for file in files {
        let list = output(Command::new("ldd").arg(file))?;
        // `libm.so.6 => /lib/libm.so.6 (0x...)`, or the loader's path alone.
        let paths = list
            .lines()
            .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
        all.extend(paths.map(PathBuf::from));
    }
    Ok(all)
}
