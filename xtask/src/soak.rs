//! `cargo xtask soak`: the end-to-end tests of a service under pressure, for as long as it takes to believe them.

use crate::build;
use crate::workspace::{Workspace, run};
use anyhow::{Context, Result, bail};
use std::ffi::OsString;

/// How long each scenario lasts where nobody says.
const SECONDS: u32 = 60;

/// Reads the command's arguments.
pub fn seconds(arguments: &[OsString]) -> Result<u32> {
    match arguments {
        [] => Ok(SECONDS),
        [name, seconds] if name == "--seconds" => seconds
            .to_str()
            .and_then(|seconds| seconds.parse().ok())
            .filter(|seconds| *seconds > 0)
            .context("--seconds needs a number of at least 1."),
        _ => bail!(
            "This command takes --seconds and a number, and nothing else: see `cargo xtask --help`."
        ),
    }
}

/// Builds what the scenarios need, and runs them one after another: they measure, and would measure each other.
pub fn soak(workspace: &Workspace, seconds: u32) -> Result<()> {
    build::build(workspace)?;
    build::hostile(workspace)?;
    run(workspace
        .cargo(&["test", "--locked", "--release"])
        .args(["--package", "pinhole-tests", "--test", "e2e"])
        .args(["soak::", "--", "--nocapture", "--test-threads", "1"])
        .env("PINHOLE_SOAK_SECONDS", seconds.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_read_or_refused() {
        let parse =
            |arguments: &[&str]| seconds(&arguments.iter().map(OsString::from).collect::<Vec<_>>());
        assert_eq!(parse(&[]).unwrap(), SECONDS);
        assert_eq!(parse(&["--seconds", "5"]).unwrap(), 5);
        for wrong in [
            &["--seconds"][..],
            &["--seconds", "0"],
            &["--seconds", "x"],
            &["5"],
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
