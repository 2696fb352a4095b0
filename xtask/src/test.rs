//! `cargo xtask test`: unit tests, and end-to-end tests on the real artifacts.

use crate::image::{self, Options, Runs};
use crate::workspace::{Workspace, on_path, run, say, try_output};
use crate::{build, docker, http, image_nn, python};
use anyhow::{Context, Result, anyhow};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The stock Wasmtime that the component is tried under: the same version as the host embeds.
const WASMTIME: &str = "48.0.8";

/// The variable that has the tests export and bake every kind of model, instead of a few.
const ZOO: &str = "PINHOLE_ZOO";

/// Runs the tests on models exported from PyTorch, in every opset and with every kind of batch.
pub fn zoo(workspace: &Workspace, arguments: &[OsString]) -> Result<()> {
    build::build(workspace)?;
    let mut tests = workspace.cargo(&["test", "--locked", "--workspace", "--release"]);
    tests.args(["--test", "e2e", "zoo::"]);
    let python = python::find(workspace, &python::MODELS).map_err(|sentence| anyhow!(sentence))?;
    let python = python.context("There is no ../shared/images to try the models on.")?;
    tests.env(python::MODELS.variable, python).env(ZOO, "all");
    run(tests.args(arguments))
}

/// Builds everything, then runs the tests. Arguments go to `cargo test`.
pub fn test(workspace: &Workspace, arguments: &[OsString]) -> Result<()> {
    build::build(workspace)?;
    build::hostile(workspace)?;
    http::http(workspace, None)?;
    // In the host's own profile: its dependencies, a compiler among them, are built once.
    let mut tests = workspace.cargo(&["test", "--locked", "--workspace", "--release"]);
    // No tests, and a feature of a small crate that would have Wasmtime built again.
    tests.args(["--exclude", "xtask-compose"]);
    // For its unit tests: what is built for real is one flavour at a time.
    tests.args(["--features", "pinhole-guest/nn"]);
    match docker::find() {
        Ok(client) => {
            image::files(workspace, "")?;
            image::assemble(workspace, &client, &Options::new(Runs::Guest))?;
            let nn = Options::new(Runs::Kernels);
            image_nn::files(workspace, &nn)?;
            image::assemble(workspace, &client, &nn)?;
            tests.env("DOCKER", client);
        }
        // The tests say themselves what they skip, and fail in CI.
        Err(sentence) => say(&format!("no image is built. {sentence}")),
    }
    tests.env("PINHOLE_WASMTIME", wasmtime(workspace)?);
    for wanted in [&python::CLIENTS, &python::DEPLOY, &python::MODELS] {
        // As with Docker: the tests say themselves what they skip, and fail in CI.
        match python::find(workspace, wanted) {
            Ok(Some(python)) => {
                tests.env(wanted.variable, python);
                if wanted.variable == python::MODELS.variable {
                    // Its library is among these packages.
                    build::host_with_onnx_runtime(workspace)?;
                }
            }
            Ok(None) => {}
            Err(sentence) => say(&sentence),
        }
    }
    run(tests.args(arguments))
}

/// Finds the stock Wasmtime, or installs it below the target folder, where the next run finds it.
fn wasmtime(workspace: &Workspace) -> Result<PathBuf> {
    let tools = workspace.target.join("tools");
    let installed = tools
        .join("bin")
        .join(format!("wasmtime{}", std::env::consts::EXE_SUFFIX));
    let named = std::env::var_os("PINHOLE_WASMTIME").map(PathBuf::from);
    let found = named
        .into_iter()
        .chain(on_path("wasmtime"))
        .chain([installed.clone()])
        .find(|file| is_right(file));
    if let Some(file) = found {
        return Ok(file);
    }
    say(&format!(
        "installing wasmtime {WASMTIME} for the tests: some minutes, once"
    ));
    run(workspace
        .cargo(&[
            "install",
            "wasmtime-cli",
            "--version",
            WASMTIME,
            "--locked",
            "--no-default-features",
        ])
        .args([
            "--features",
            "run,serve,compile,cranelift,parallel-compilation,component-model,component-model-async,wat",
            "--root",
        ])
        .arg(&tools)
        // Apart from our own builds, so that it can be removed as a whole.
        .arg("--target-dir")
        .arg(tools.join("build")))?;
    // What was left from building it is larger than all the rest.
    let _ = std::fs::remove_dir_all(tools.join("build"));
    Ok(installed)
}

/// Of this version, and able to serve, which is a feature of it.
fn is_right(file: &Path) -> bool {
    try_output(Command::new(file).arg("--version"))
        .is_some_and(|version| version.split_whitespace().nth(1) == Some(WASMTIME))
        // A command that lacks its argument is wrong usage; without the feature, it is a file that is not there.
        && Command::new(file)
            .arg("serve")
            .stdin(Stdio::null())
            .output()
            .is_ok_and(|output| output.status.code() == Some(2))
}
