//! The Pythons of the tests: one that exports models, one with clients of the service, one with schemas for `deploy/`.

use crate::workspace::{Workspace, on_path, run, say, try_output};
use anyhow::Result;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A Python with certain packages.
pub struct Wanted {
    /// The environment variable that names one, and that tests read.
    pub variable: &'static str,
    requirements: &'static str,
    /// Whether the requirements name everything: dependencies that they leave out are not wanted.
    is_whole: bool,
    folder: &'static str,
    /// What a person waits for.
    says: &'static str,
    /// Only with this folder beside the repository are there tests that need it.
    beside: Option<&'static str>,
}

/// With PyTorch and ONNX Runtime.
pub const MODELS: Wanted = Wanted {
    variable: "PINHOLE_PYTHON",
    requirements: "tests/models/requirements.txt",
    is_whole: false,
    folder: "tools/python",
    says: "installing PyTorch and ONNX Runtime for the tests: some minutes and 6 GB below the target folder, once",
    beside: Some("../shared/images"),
};

/// With Triton's client, OpenVINO's and KServe's.
pub const CLIENTS: Wanted = Wanted {
    variable: "PINHOLE_PYTHON_CLIENTS",
    requirements: "tests/clients/requirements.txt",
    is_whole: false,
    folder: "tools/clients",
    says: "installing clients of the service for the tests: a minute and 0.7 GB below the target folder, once",
    beside: None,
};

/// With kubectl, and the schemas of what a cluster is told.
pub const DEPLOY: Wanted = Wanted {
    variable: "PINHOLE_PYTHON_DEPLOY",
    requirements: "tests/deploy/requirements.txt",
    is_whole: true,
    folder: "tools/deploy",
    says: "installing kubectl and schemas for the tests, once",
    beside: None,
};

/// Succeeds under a Python that the requirements can be installed into, apart from the system's own packages.
const SUITS: &str = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))";

/// The Python in the variable, else one that is made below the target folder, once for each text of the requirements; none
/// where no test needs it.
///
/// The error is a sentence that says what is missing.
pub fn find(workspace: &Workspace, wanted: &Wanted) -> Result<Option<PathBuf>, String> {
    if let Some(named) = std::env::var_os(wanted.variable).filter(|name| !name.is_empty()) {
        return Ok(Some(named.into()));
    }
    if wanted
        .beside
        .is_some_and(|folder| !workspace.root.join(folder).is_dir())
    {
        return Ok(None);
    }
    let requirements = workspace.root.join(wanted.requirements);
    let text = std::fs::read_to_string(&requirements)
        .map_err(|error| format!("{} cannot be read: {error}.", requirements.display()))?;
    let folder = workspace.target.join(wanted.folder);
    let (python, stamp) = (folder.join("bin/python"), folder.join("requirements.txt"));
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == text) {
        return Ok(Some(python));
    }
    let base = ["python3", "python"]
        .into_iter()
        .flat_map(on_path)
        .find(|python| try_output(Command::new(python).args(["-c", SUITS])).is_some())
        .ok_or_else(|| {
            format!(
                "There is no Python 3.11 or newer that can make virtual environments: install one (on Debian python3 and \
                 python3-venv), or name one that has the packages of {} in {}.",
                wanted.requirements, wanted.variable
            )
        })?;
    say(wanted.says);
    let _ = std::fs::remove_dir_all(&folder);
    install(&base, &folder, &python, &requirements, wanted.is_whole)
        .map_err(|error| format!("{error:#}."))?;
    std::fs::write(&stamp, text)
        .map_err(|error| format!("{} cannot be written: {error}.", stamp.display()))?;
    Ok(Some(python))
}

fn install(
    base: &Path,
    folder: &Path,
    python: &Path,
    requirements: &Path,
    is_whole: bool,
) -> Result<()> {
    run(Command::new(base).args(["-m", "venv"]).arg(folder))?;
    run(Command::new(python)
        .args(["-m", "pip", "install", "--quiet", "--no-cache-dir"])
        .args(is_whole.then_some("--no-deps"))
        .arg("--requirement")
        .arg(requirements))
}
