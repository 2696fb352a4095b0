//! `cargo xtask`: what `cargo build` alone cannot do, because Pinhole is a component inside a host inside an image.
//!
//! One file a command; `workspace` knows where things are and how they are started.

mod bench;
mod build;
mod docker;
mod http;
mod image;
mod image_nn;
mod lint;
mod models;
mod python;
mod soak;
mod test;
mod workspace;

use anyhow::{Result, bail};
use std::ffi::OsString;
use std::process::ExitCode;
use workspace::Workspace;

const USAGE: &str = "\
Builds, runs, tests and packs Pinhole.

Usage: cargo xtask COMMAND

Commands:
  build                    Build dist/pinhole (the host), and dist/guest.wasm and dist/guest.cwasm (the component)
  serve [OPTIONS]          Build what is missing, then run `pinhole serve`
  classify IMAGE... [OPTIONS]
                           Build what is missing, then run `pinhole classify`
  test [ARGUMENTS]         Build everything, then run `cargo test`, which gets the arguments
  zoo [ARGUMENTS]          Build what is missing, then bake models exported from PyTorch in every opset
  soak [--seconds N]       Build everything, then press the service for long: overload, hostile guests and pictures,
                           signals, slow clients; asserts what `test` only prints [default: 60 s of each]
  image [--tag NAME]       Build the scratch image [default name: pinhole]
        [--files]          Only write what goes into it to dist/image/, without Docker
        [--features LIST]  Features of the host that it lacks otherwise: otlp
        [--nn]             The image whose host runs the model [default name: pinhole-nn; files in dist/image-nn/]
        [--engine kernels|tract|onnxruntime]
                           With --nn: what runs it there [default: kernels]; the last one needs --library FILE, ONNX
                           Runtime's own, and makes pinhole-onnxruntime from dist/image-onnxruntime/
        [--model FILE --labels FILE]
                           With --nn: another model than the default one
  http [COMPONENT OUTPUT]  Put a baked component behind HTTP of its own, for `wasmtime serve` and other wasi:http engines
                           [default: dist/guest.wasm, into dist/guest-http.wasm]
  bench [OPTIONS]          Build everything, then measure it beside FastAPI + ONNX Runtime: `cargo xtask bench --help`
  fetch-model [NAME]       Download an ImageNet model and check its SHA-256; without a name, list what there is
  accuracy [OPTIONS]       Build what is missing, then tell how often the component is right on CIFAR-10's test images
  lint                     Formatting, clippy and cargo-deny, as CI checks them

Environment:
  CARGO_TARGET_DIR         Where cargo builds
  DOCKER                   The Docker client to use [default: the first on the PATH that can build the image]
  PINHOLE_PYTHON           A Python with tests/models/requirements.txt [default: installed below the target folder]
  PINHOLE_WASMTIME         A stock `wasmtime` for the tests [default: one on the PATH, else installed below the target folder]
  PINHOLE_PYTHON_CLIENTS   A Python with tests/clients/requirements.txt [default: one made below the target folder]
  PINHOLE_PYTHON_DEPLOY    A Python with tests/deploy/requirements.txt [default: one made below the target folder]
";

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let command = arguments.next().unwrap_or_default();
    let rest: Vec<OsString> = arguments.collect();
    let asks_for_help = |argument: &OsString| argument == "--help" || argument == "-h";
    if command == "help" || asks_for_help(&command) {
        print!("{USAGE}");
        return Ok(ExitCode::SUCCESS);
    }
    match command.to_str() {
        Some("bench") => bench::bench(&Workspace::find()?, &rest)?,
        Some("build") => none_of(&rest).and_then(|()| build::build(&Workspace::find()?))?,
        Some("image") => {
            let options = image::Options::parse(&rest)?;
            image::image(&Workspace::find()?, &options)?;
        }
        Some("http") => http::http(&Workspace::find()?, http::Files::parse(&rest)?)?,
        Some("lint") => none_of(&rest).and_then(|()| lint::lint(&Workspace::find()?))?,
        Some("zoo") => test::zoo(&Workspace::find()?, &rest)?,
        Some("soak") => soak::soak(&Workspace::find()?, soak::seconds(&rest)?)?,
        Some(command @ ("fetch-model" | "accuracy")) => {
            return models::become_models(&Workspace::find()?, command, &rest);
        }
        Some("test") => test::test(&Workspace::find()?, &rest)?,
        Some(command @ ("serve" | "classify")) => {
            let workspace = Workspace::find()?;
            build::build(&workspace)?;
            return workspace::become_program(&workspace.dist("pinhole"), command, &rest);
        }
        _ => {
            eprint!("{USAGE}");
            return Ok(ExitCode::from(2));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn none_of(arguments: &[OsString]) -> Result<()> {
    if let Some(argument) = arguments.first() {
        bail!(
            "{} is not an argument of this command: see `cargo xtask --help`.",
            argument.display()
        );
    }
    Ok(())
}
