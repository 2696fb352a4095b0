//! What has to be there before anything is measured: FastAPI, the model as components, a large picture.
//!
//! All of it lies below the target folder, and is made again only when what it is made from has changed.

use crate::machine::output;
use crate::say;
use anyhow::{Context, Result, bail};
use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A model, baked.
pub struct Component {
    /// For any machine.
    pub wasm: PathBuf,
    /// For this one.
    pub cwasm: PathBuf,
    /// For the host's own kernels, where the host runs the model.
    pub network: PathBuf,
}

/// Makes a Python environment with what FastAPI needs, and returns its Python.
pub fn python(folder: &Path, requirements: &Path) -> Result<PathBuf> {
    let venv = folder.join("venv");
    let python = venv.join("bin/python");
    let stamp = folder.join("venv.stamp");
    let wanted = format!(
        "{}{}",
        output(Command::new("python3").arg("--version"))?,
        read(requirements)?
    );
    if python.is_file() && std::fs::read_to_string(&stamp).is_ok_and(|made| made == wanted) {
        return Ok(python);
    }
    say("installing FastAPI and ONNX Runtime into an environment of their own");
    let _ = std::fs::remove_file(&stamp);
    run(Command::new("python3")
        .args(["-m", "venv", "--clear"])
        .arg(&venv))
    .context(
        "no Python environment can be made: install Python 3.11 or later with its venv module",
    )?;
    run(Command::new(&python)
        .args(["-m", "pip", "install", "--quiet", "--requirement"])
        .arg(requirements))?;
    std::fs::write(&stamp, wanted)
        .with_context(|| format!("{} cannot be written", stamp.display()))?;
    Ok(python)
}

/// ONNX Runtime's library, as it is installed there.
pub fn onnx_runtime(python: &Path) -> Result<PathBuf> {
    let find = "import glob, os, onnxruntime as o; print(glob.glob(os.path.dirname(o.__file__) + '/capi/libonnxruntime.so.*')[0])";
    let path = output(Command::new(python).args(["-c", find]))?;
    Ok(PathBuf::from(path.trim()))
}

/// What is installed there, as `name==version`.
pub fn packages(python: &Path) -> Result<Vec<String>> {
    let version = output(Command::new(python).arg("--version"))?;
    let frozen = output(Command::new(python).args(["-m", "pip", "freeze"]))?;
    let python = version.trim().replace(' ', "==");
    Ok(std::iter::once(python)
        .chain(frozen.lines().map(Into::into))
        .collect())
}

/// Who runs a component's model, and how.
#[derive(Clone, Copy, Debug)]
pub enum Flavour {
    /// The guest, in 32-bit floating point.
    Fp32,
    /// The guest, in 8-bit integers.
    Int8,
    /// The host.
    Nn,
}

/// Bakes a model, unless the same was baked by the same program before.
pub fn component(
    folder: &Path,
    dist: &Path,
    model: &Path,
    labels: &Path,
    flavour: Flavour,
) -> Result<Component> {
    let host = dist.join("pinhole");
    let guests =
        ["guest-kernels.wasm", "guest-tract.wasm", "guest-nn.wasm"].map(|name| dist.join(name));
    let (name, options) = match flavour {
        Flavour::Fp32 => ("fp32", ["--precision", "fp32"]),
        Flavour::Int8 => ("int8", ["--precision", "int8"]),
        Flavour::Nn => ("nn", ["--engine", "nn"]),
    };
    let mut hasher = DefaultHasher::new();
    for file in std::iter::once(&host)
        .chain(&guests)
        .map(PathBuf::as_path)
        .chain([model, labels])
    {
        let bytes =
            std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
        hasher.write_usize(bytes.len());
        hasher.write(&bytes);
    }
    let name = format!("{:016x}-{name}", hasher.finish());
    let component = Component {
        wasm: folder.join(format!("{name}.wasm")),
        cwasm: folder.join(format!("{name}.cwasm")),
        network: folder.join(format!("{name}.network")),
    };
    // Written last, so that half of a bake is never taken for a whole one.
    let stamp = folder.join(format!("{name}.baked"));
    if stamp.is_file() && component.wasm.is_file() && component.cwasm.is_file() {
        return Ok(component);
    }
    say(&format!("baking the model, {name}"));
    let mut bake = Command::new(&host);
    if matches!(flavour, Flavour::Nn) {
        bake.args(["bake", "--network"]).arg(&component.network);
    } else {
        bake.arg("bake");
    }
    run(bake
        .args([Path::new("--model"), model])
        .args([Path::new("--labels"), labels])
        .args(options)
        .args([Path::new("-o"), &component.wasm])
        .arg("--precompile"))?;
    std::fs::write(&stamp, "").with_context(|| format!("{} cannot be written", stamp.display()))?;
    Ok(component)
}

/// Makes a picture of 12 megapixels from a small one. Returns it, and the small one's size as `500x375`.
pub fn large_picture(
    folder: &Path,
    python: &Path,
    app: &Path,
    picture: &Path,
) -> Result<(PathBuf, String)> {
    let large = folder.join("large.jpg");
    let size = output(
        Command::new(python)
            .arg(app.join("enlarge.py"))
            .arg(picture)
            .arg(&large),
    )?;
    Ok((large, size.trim().into()))
}

/// Sizes of files and folders, in bytes.
pub fn size(path: &Path) -> Result<u64> {
    let metadata = std::fs::symlink_metadata(path)
        .with_context(|| format!("{} cannot be read", path.display()))?;
    if !metadata.is_dir() {
        return Ok(metadata.len());
    }
    let mut sum = 0;
    for entry in std::fs::read_dir(path)? {
        sum += size(&entry?.path())?;
    }
    Ok(sum)
}

/// An image that Docker has: its size in bytes, and the commit that it was made from. None where there is no Docker, or
/// no such image.
pub fn image(name: &str) -> Option<(u64, String)> {
    let client = std::env::var_os("DOCKER").unwrap_or_else(|| "docker".into());
    let format = r#"{{.Size}} {{index .Config.Labels "org.opencontainers.image.revision"}}"#;
    let text = output(Command::new(client).args(["image", "inspect", "--format", format, name]));
    let text = text.ok()?;
    let (size, revision) = text.trim().split_once(' ')?;
    Some((size.parse().ok()?, revision.to_string()))
}

fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))
}

fn run(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command
        .stdin(Stdio::null())
        // Results are all that goes to standard output.
        .stdout(std::io::stderr())
        .status()
        .with_context(|| format!("`{name}` cannot be started"))?;
    if !status.success() {
        bail!("`{name}` failed ({status}).");
    }
    Ok(())
}
