//! `cargo xtask bench`: builds what is compared, and the benchmark, which is a crate of its own so that nobody else waits for it.

use crate::image::{self, Options, Runs};
use crate::workspace::{Workspace, run, say};
use crate::{build, image_nn};
use anyhow::Result;
use std::ffi::OsString;

/// Builds everything, then runs the benchmark, which gets the arguments.
pub fn bench(workspace: &Workspace, arguments: &[OsString]) -> Result<()> {
    build::build(workspace)?;
    // The host that is measured is the one that is shipped: without a compiler.
    image::files(workspace, "")?;
    image_nn::host(workspace, &Options::new(Runs::Kernels))?;
    build::host_with_onnx_runtime(workspace)?;
    say("building the benchmark");
    run(workspace
        .cargo(&[
            "run",
            "--quiet",
            "--locked",
            "--release",
            "--package",
            "pinhole-bench",
            "--",
        ])
        .args(arguments))
}
