//! `cargo xtask image`: the scratch image, from what was built here. With `--nn` one whose host runs the model: `image_nn`.

use crate::workspace::{Workspace, run, say, try_output};
use crate::{build, docker, image_nn};
use anyhow::{Result, anyhow, bail};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Who runs the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runs {
    /// The guest: the usual image.
    Guest,
    /// The host, by our own kernels.
    Kernels,
    /// The host, by tract where those cannot.
    Tract,
    /// The host, by ONNX Runtime.
    OnnxRuntime,
}

impl Runs {
    /// The image's name where none is given, and the Dockerfile's target.
    fn image(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Guest => ("pinhole", None),
            Self::Kernels | Self::Tract => ("pinhole-nn", Some("nn")),
            Self::OnnxRuntime => ("pinhole-onnxruntime", Some("nn-onnxruntime")),
        }
    }
}

/// What was asked for.
pub struct Options {
    tag: Option<String>,
    files_only: bool,
    /// Of the host, separated by commas.
    pub features: String,
    /// Who runs the model.
    pub runs: Runs,
    /// A model and its labels, instead of the default ones.
    pub model: Option<(PathBuf, PathBuf)>,
    /// ONNX Runtime.
    pub library: Option<PathBuf>,
}

impl Options {
    /// Those of the image with the default model.
    pub fn new(runs: Runs) -> Self {
        Self {
            tag: None,
            files_only: false,
            features: String::new(),
            runs,
            model: None,
            library: None,
        }
    }

    /// Reads the command's arguments.
    pub fn parse(arguments: &[OsString]) -> Result<Self> {
        let mut options = Self::new(Runs::Guest);
        let (mut nn, mut engine, mut model, mut labels) = (false, None, None, None);
        let mut arguments = arguments.iter().map(|argument| argument.to_string_lossy());
        while let Some(argument) = arguments.next() {
            let mut value = || {
                arguments
                    .next()
                    .map(|value| value.into_owned())
                    .ok_or_else(|| anyhow!("{argument} needs a value."))
            };
            match &*argument {
                "--files" => options.files_only = true,
                "--nn" => nn = true,
                "--engine" => engine = Some(value()?),
                "--features" => options.features = value()?,
                "--tag" => options.tag = Some(value()?),
                "--model" => model = Some(PathBuf::from(value()?)),
                "--labels" => labels = Some(PathBuf::from(value()?)),
                "--library" => options.library = Some(value()?.into()),
                other => {
                    bail!("{other} is not an argument of this command: see `cargo xtask --help`.")
                }
            }
        }
        options.model = match (model, labels) {
            (Some(model), Some(labels)) => Some((model, labels)),
            (None, None) => None,
            _ => bail!("--model and --labels go together."),
        };
        if !nn && (engine.is_some() || options.model.is_some()) {
            bail!(
                "--engine and --model are for --nn: bake the model into the component otherwise."
            );
        }
        if nn {
            options.runs = match engine.as_deref() {
                None | Some("kernels") => Runs::Kernels,
                Some("tract") => Runs::Tract,
                Some("onnxruntime") => Runs::OnnxRuntime,
                _ => bail!("--engine is kernels, tract or onnxruntime."),
            };
        }
        if (options.runs == Runs::OnnxRuntime) != options.library.is_some() {
            bail!("--engine onnxruntime and --library, which names ONNX Runtime's, go together.");
        }
        Ok(options)
    }
}

/// Builds what goes into the image, and the image.
pub fn image(workspace: &Workspace, options: &Options) -> Result<()> {
    build::build(workspace)?;
    let write = || match options.runs {
        Runs::Guest => files(workspace, &options.features),
        _ => image_nn::files(workspace, options),
    };
    if options.files_only {
        return write();
    }
    let client = docker::find().map_err(|sentence| anyhow!(sentence))?;
    write()?;
    assemble(workspace, &client, options)
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

/// Puts what was written into an image. BuildKit leaves out the stage that would build from source.
pub fn assemble(workspace: &Workspace, client: &Path, options: &Options) -> Result<()> {
    if !cfg!(target_os = "linux") {
        bail!(
            "The image holds Linux programs: build it with `docker build --file Dockerfile.scratch .` instead."
        );
    }
    let (tag, target) = options.runs.image();
    let tag = options.tag.as_deref().unwrap_or(tag);
    say(&format!("building the image {tag}"));
    let mut build = Command::new(client);
    build
        .args(["build", "--file", "Dockerfile.scratch", "--tag", tag])
        .args(["--build-arg", "ARTIFACTS=prebuilt"])
        .args([
            "--build-arg",
            concat!("VERSION=", env!("CARGO_PKG_VERSION")),
        ])
        .args(target.into_iter().flat_map(|target| ["--target", target]))
        .env("DOCKER_BUILDKIT", "1")
        .current_dir(&workspace.root);
    if options.runs == Runs::Tract {
        build.args(["--build-arg", "ENGINE=tract"]);
    }
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
        assert!(parse(&["--model", "m.onnx", "--labels", "l.txt"]).is_err());
        let runs = |engine| parse(&["--nn", "--engine", engine]).map(|options| options.runs);
        assert_eq!(parse(&["--nn"]).unwrap().runs, Runs::Kernels);
        assert_eq!(runs("tract").unwrap(), Runs::Tract);
        assert!(runs("guest").is_err() && runs("onnxruntime").is_err());
        assert!(parse(&["--nn", "--library", "l.so"]).is_err());
        assert!(parse(&["--engine", "tract"]).is_err());
        assert!(parse(&["a:b"]).is_err());
    }
}
