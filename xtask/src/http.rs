//! `cargo xtask http`: the component behind an HTTP front of its own, for engines that know `wasi:http` and not our host.

use crate::build;
use crate::workspace::{Workspace, run, say};
use anyhow::{Result, bail};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is composed, and into what.
#[derive(Debug, PartialEq)]
pub struct Files {
    component: PathBuf,
    output: PathBuf,
}

impl Files {
    /// Reads the command's arguments: two files, or none for those of `dist/`. Names mean what they say in the user's folder.
    pub fn parse(arguments: &[OsString]) -> Result<Option<Self>> {
        match arguments {
            [] => Ok(None),
            [component, output] => Ok(Some(Self {
                component: std::path::absolute(component)?,
                output: std::path::absolute(output)?,
            })),
            _ => bail!(
                "This command takes a baked component and the file to write, or nothing: see `cargo xtask --help`."
            ),
        }
    }
}

/// Builds the front into `dist/front.wasm`, and composes it with a baked component.
pub fn http(workspace: &Workspace, files: Option<Files>) -> Result<()> {
    let files = match files {
        Some(files) => files,
        None => {
            build::build(workspace)?;
            Files {
                component: workspace.dist("guest.wasm"),
                output: workspace.dist("guest-http.wasm"),
            }
        }
    };
    build::add_target(workspace)?;
    say("building the HTTP front");
    let front = workspace.dist("front.wasm");
    build::install(&build::component(workspace, "pinhole-front", &[])?, &front)?;
    compose(workspace, &front, &files)
}

fn compose(workspace: &Workspace, front: &Path, files: &Files) -> Result<()> {
    say("composing it with the component");
    run(&mut workspace.cargo(&[
        "build",
        "--quiet",
        "--locked",
        "--release",
        "--package",
        "xtask-compose",
    ]))?;
    let name = format!("xtask-compose{}", std::env::consts::EXE_SUFFIX);
    run(
        Command::new(workspace.target.join("release").join(name)).args([
            front,
            &files.component,
            &files.output,
        ]),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_files_or_none_are_taken() {
        let parse = |arguments: &[&str]| {
            Files::parse(&arguments.iter().map(OsString::from).collect::<Vec<_>>())
        };
        assert_eq!(parse(&[]).unwrap(), None);
        let files = parse(&["/a.wasm", "/b.wasm"]).unwrap().unwrap();
        assert_eq!(files.output, PathBuf::from("/b.wasm"));
        assert!(parse(&["/a.wasm"]).is_err());
        assert!(parse(&["a", "b", "c"]).is_err());
    }
}
