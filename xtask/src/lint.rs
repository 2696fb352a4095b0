//! `cargo xtask lint`: what CI checks beside the tests.

use crate::build::add_target;
use crate::workspace::{Workspace, run, say, try_output};
use anyhow::Result;

/// Formatting, clippy with warnings as errors, and what dependencies may be. Stops at the first that fails.
pub fn lint(workspace: &Workspace) -> Result<()> {
    say("checking the formatting");
    run(&mut workspace.cargo(&["fmt", "--all", "--check"]))?;

    // In the tests' own profile, so that build scripts and macros are there already.
    say("running clippy natively");
    run(&mut workspace.cargo(&[
        "clippy",
        "--release",
        "--locked",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))?;
    say("running clippy on the host without its compiler");
    for engine in [&[][..], &["--features", "nn-kernels"]] {
        let mut clippy = workspace.cargo(&[
            "clippy",
            "--release",
            "--locked",
            "--package",
            "pinhole-host",
            "--no-default-features",
        ]);
        run(clippy.args(engine).args(["--", "-D", "warnings"]))?;
    }
    say("running clippy on the guests");
    add_target(workspace)?;
    let nn = "pinhole-guest/nn,pinhole-hostile/nn";
    for features in [&[][..], &["--no-default-features", "--features", nn]] {
        let mut clippy = workspace.cargo(&[
            "clippy",
            "--release",
            "--locked",
            "--package",
            "pinhole-guest",
            "--package",
            "pinhole-front",
            "--package",
            "pinhole-hostile",
            "--target",
            "wasm32-wasip2",
        ]);
        run(clippy.args(features).args(["--", "-D", "warnings"]))?;
    }

    if try_output(&mut workspace.cargo(&["deny", "--version"])).is_none() {
        say(
            "cargo-deny is not installed, so licences and sources are not checked: `cargo install --locked cargo-deny`",
        );
        return Ok(());
    }
    say("checking dependencies, their licences and sources");
    run(&mut workspace.cargo(&[
        "deny",
        "--locked",
        "--all-features",
        "check",
        "bans",
        "licenses",
        "sources",
    ]))
}
