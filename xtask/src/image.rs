//! `cargo xtask image`: the scratch image, from what was built here.

use crate::workspace::{Workspace, run, say, try_output};
use crate::{build, docker};
use anyhow::{Result, anyhow, bail};
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

/// What was asked for.
pub struct Options {
    tag: String,
    files_only: bool,
    features: String,
}

impl Options {
    /// Reads the command's arguments.
    pub fn parse(arguments: &[OsString]) -> Result<Self> {
        let mut options = Self {
            tag: "pinhole".into(),
            files_only: false,
            features: String::new(),
        };
        let mut arguments = arguments.iter().map(|argument| argument.to_string_lossy());
        while let Some(argument) = arguments.next() {
            match &*argument {
                "--files" => options.files_only = true,
                "--features" => {
                    let features = arguments
                        .next()
                        .ok_or_else(|| anyhow!("--features needs a list, such as otlp."))?;
                    options.features = features.into_owned();
                }
                "--tag" => {
                    let tag = arguments
                        .next()
                        .ok_or_else(|| anyhow!("--tag needs a name."))?;
                    options.tag = tag.into_owned();
                }
                other => {
                    bail!("{other} is not an argument of this command: see `cargo xtask --help`.")
                }
            }
        }
        Ok(options)
    }
}

/// Builds what goes into the image, and the image.
pub fn image(workspace: &Workspace, options: &Options) -> Result<()> {
    build::build(workspace)?;
    if options.files_only {
        return files(workspace, &options.features);
    }
    let client = docker::find().map_err(|sentence| anyhow!(sentence))?;
    files(workspace, &options.features)?;
    assemble(workspace, &client, &options.tag)
}

/// Writes what goes into the image to `dist/image/`: the host without a compiler, and the precompiled component.
/// Features of the host are those that are named, separated by commas.
pub fn files(workspace: &Workspace, features: &str) -> Result<()> {
    let host = build::host(
        workspace,
        "image",
        &["--no-default-features", "--features", features],
    )?;
    build::install(&host, &workspace.dist("image/pinhole"))?;
    build::install(
        &workspace.dist("guest.cwasm"),
        &workspace.dist("image/guest.cwasm"),
    )
}

/// Puts `dist/image/` into an image. BuildKit leaves out the stage that would build from source.
pub fn assemble(workspace: &Workspace, client: &Path, tag: &str) -> Result<()> {
    if !cfg!(target_os = "linux") {
        bail!(
            "The image holds Linux programs: build it with `docker build --file Dockerfile.scratch .` instead."
        );
    }
    say(&format!("building the image {tag}"));
    let mut build = Command::new(client);
    build
        .args(["build", "--file", "Dockerfile.scratch", "--tag", tag])
        .args(["--build-arg", "ARTIFACTS=prebuilt"])
        .args([
            "--build-arg",
            concat!("VERSION=", env!("CARGO_PKG_VERSION")),
        ])
        .env("DOCKER_BUILDKIT", "1")
        .current_dir(&workspace.root);
    let mut git = Command::new("git");
    git.args(["rev-parse", "HEAD"]).current_dir(&workspace.root);
    // Sources from an archive have no history, and no revision.
    if let Some(revision) = try_output(&mut git) {
        build.args(["--build-arg", &format!("REVISION={}", revision.trim())]);
    }
    run(build.arg("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Options> {
        Options::parse(&arguments.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn arguments_are_read_or_refused() {
        assert_eq!(parse(&[]).unwrap().tag, "pinhole");
        assert_eq!(parse(&["--tag", "a:b"]).unwrap().tag, "a:b");
        assert!(parse(&["--files"]).unwrap().files_only);
        assert!(parse(&["--tag"]).is_err());
        assert!(parse(&["a:b"]).is_err());
    }
}
