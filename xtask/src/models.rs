//! `cargo xtask fetch-model` and `cargo xtask accuracy`, which a crate of their own does: it brings TLS and ZIP along, and
//! only who wants them waits for those to be compiled.

use crate::build;
use crate::workspace::{Workspace, become_program, run, say};
use anyhow::Result;
use std::ffi::OsString;
use std::process::ExitCode;

/// Goes on as the crate's program, in the user's own folder, so that file names mean what they say.
pub fn become_models(
    workspace: &Workspace,
    command: &str,
    arguments: &[OsString],
) -> Result<ExitCode> {
    let asks_for_help = |argument: &OsString| argument == "--help" || argument == "-h";
    if command == "accuracy" && !arguments.iter().any(asks_for_help) {
        build::build(workspace)?;
    }
    let name = format!("xtask-models{}", std::env::consts::EXE_SUFFIX);
    let program = workspace.target.join("release").join(name);
    if !program.is_file() {
        say("building what fetches and judges models");
    }
    run(&mut workspace.cargo(&[
        "build",
        "--quiet",
        "--locked",
        "--release",
        "--package",
        "xtask-models",
    ]))?;
    become_program(&program, command, arguments)
}
