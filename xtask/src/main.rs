//! `cargo xtask`: what `cargo build` alone cannot do, because Pinhole is a component inside a host inside an image.
//!
//! One file a command; `workspace` knows where things are and how they are started.

mod build;
mod docker;
mod image;
mod lint;
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
  image [--tag NAME]       Build the scratch image [default name: pinhole]
        [--files]          Only write what goes into it to dist/image/, without Docker
  lint                     Formatting, clippy and cargo-deny, as CI checks them

Environment:
  CARGO_TARGET_DIR         Where cargo builds
  DOCKER                   The Docker client to use [default: the first on the PATH that can build the image]
  PINHOLE_WASMTIME         A stock `wasmtime` for the tests [default: one on the PATH, else installed below the target folder]
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
        Some("build") => none_of(&rest).and_then(|()| build::build(&Workspace::find()?))?,
        Some("image") => {
            let options = image::Options::parse(&rest)?;
            image::image(&Workspace::find()?, &options)?;
        }
        Some("lint") => none_of(&rest).and_then(|()| lint::lint(&Workspace::find()?))?,
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
