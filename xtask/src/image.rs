//! `cargo xtask image`: the scratch image, from what was built here. With `--nn` the one whose host runs the model.

use crate::workspace::{Workspace, run, say, try_output};
use crate::{build, docker};
use anyhow::{Context, Result, anyhow, bail};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What was asked for.
pub struct Options {
    tag: Option<String>,
    files_only: bool,
    features: String,
    nn: bool,
    /// Whether tract is in the host of that one.
    tract: bool,
    /// A model and its labels, instead of the default ones.
    model: Option<PathBuf>,
    labels: Option<PathBuf>,
}

impl Options {
    /// Those of the image whose host runs the model.
    pub fn nn() -> Self {
        Self {
            nn: true,
            ..Self::none()
        }
    }

    fn none() -> Self {
        Self {
            tag: None,
            files_only: false,
            features: String::new(),
            nn: false,
            tract: false,
            model: None,
            labels: None,
        }
    }

    /// Reads the command's arguments.
    pub fn parse(arguments: &[OsString]) -> Result<Self> {
        let mut options = Self::none();
        let mut arguments = arguments.iter().map(|argument| argument.to_string_lossy());
        while let Some(argument) = arguments.next() {
            match &*argument {
                "--files" => options.files_only = true,
                "--nn" => options.nn = true,
                option @ ("--engine" | "--features" | "--tag" | "--model" | "--labels") => {
                    let value = arguments
                        .next()
                        .ok_or_else(|| anyhow!("{option} needs a value."))?
                        .into_owned();
                    match option {
                        "--engine" => {
                            options.tract = match &*value {
                                "kernels" => false,
                                "tract" => true,
                                _ => bail!("--engine is kernels or tract."),
                            }
                        }
                        "--features" => options.features = value,
                        "--tag" => options.tag = Some(value),
                        "--model" => options.model = Some(value.into()),
                        _ => options.labels = Some(value.into()),
                    }
                }
                other => {
                    bail!("{other} is not an argument of this command: see `cargo xtask --help`.")
                }
            }
        }
        if options.model.is_some() != options.labels.is_some() {
            bail!("--model and --labels go together.");
        }
        if options.model.is_some() && !options.nn {
            bail!("--model is for --nn: bake it into the component otherwise.");
        }
        if options.tract && !options.nn {
            bail!("--engine is for --nn.");
        }
        Ok(options)
    }
}

/// Builds what goes into the image, and the image.
pub fn image(workspace: &Workspace, options: &Options) -> Result<()> {
    build::build(workspace)?;
    let write = || {
        if options.nn {
            files_nn(workspace, options)
        } else {
            files(workspace, &options.features)
        }
    };
    if options.files_only {
        return write();
    }
    let client = docker::find().map_err(|sentence| anyhow!(sentence))?;
    write()?;
    let (tag, target) = if options.nn {
        ("pinhole-nn", Some("nn"))
    } else {
        ("pinhole", None)
    };
    let tag = options.tag.as_deref().unwrap_or(tag);
    assemble(workspace, &client, tag, target, options.tract)
}

/// Writes what goes into the image whose host runs the model to `dist/image-nn/`: the host, the precompiled component, and
/// the model, as an ONNX file where tract is to read it.
pub fn files_nn(workspace: &Workspace, options: &Options) -> Result<()> {
    host_nn(workspace, options.tract, &options.features)?;
    let default = |end: &str| workspace.root.join("models").join(format!("default.{end}"));
    let model = options.model.clone().unwrap_or_else(|| default("onnx"));
    let labels = options
        .labels
        .clone()
        .unwrap_or_else(|| default("labels.txt"));
    let wasm = workspace.dist("tests/image-nn.wasm");
    let folder = wasm.parent().context("an artifact lies in a folder")?;
    std::fs::create_dir_all(folder)?;
    let mut bake = Command::new(workspace.dist("pinhole"));
    bake.args(["bake", "--engine", "nn", "--precompile"])
        .args([Path::new("--model"), &model])
        .args([Path::new("--labels"), &labels])
        .args([Path::new("-o"), &wasm]);
    if options.model.is_none() {
        bake.args([Path::new("--config"), &default("toml")]);
    }
    let place = workspace.dist("image-nn/model");
    if !options.tract {
        bake.args([Path::new("--network"), &place]);
    }
    run(&mut bake)?;
    build::install(
        &wasm.with_extension("cwasm"),
        &workspace.dist("image-nn/guest.cwasm"),
    )?;
    if options.tract {
        build::install(&model, &place)?;
    }
    Ok(())
}

/// Writes the host of that image.
pub fn host_nn(workspace: &Workspace, tract: bool, features: &str) -> Result<()> {
    let engine = if tract { "nn-tract" } else { "nn-kernels" };
    let features = format!("{engine},{features}");
    let features = ["--no-default-features", "--features", &features];
    let host = build::host(workspace, "image", &features)?;
    build::install(&host, &workspace.dist("image-nn/pinhole"))
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

/// Puts `dist/image/` into an image, or what another target of the Dockerfile takes. BuildKit leaves out the stage that would build from source.
pub fn assemble(
    workspace: &Workspace,
    client: &Path,
    tag: &str,
    target: Option<&str>,
    tract: bool,
) -> Result<()> {
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
        .args(
            tract
                .then_some(["--build-arg", "ENGINE=tract"])
                .into_iter()
                .flatten(),
        )
        .args(target.into_iter().flat_map(|target| ["--target", target]))
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
        assert_eq!(parse(&[]).unwrap().tag, None);
        let tag = parse(&["--tag", "a:b"]).unwrap().tag;
        assert_eq!(tag.as_deref(), Some("a:b"));
        assert!(parse(&["--files"]).unwrap().files_only);
        assert!(parse(&["--tag"]).is_err());
        assert!(parse(&["--nn", "--model", "m.onnx", "--labels", "l.txt"]).is_ok());
        assert!(parse(&["--nn", "--model", "m.onnx"]).is_err());
        assert!(parse(&["--nn", "--engine", "tract"]).unwrap().tract);
        assert!(parse(&["--nn", "--engine", "guest"]).is_err());
        assert!(parse(&["--engine", "tract"]).is_err());
        assert!(parse(&["--model", "m.onnx", "--labels", "l.txt"]).is_err());
        assert!(parse(&["a:b"]).is_err());
    }
}
