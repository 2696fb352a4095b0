//! `cargo xtask build`: guest, host, and the guest with the default model baked in, into `dist/`.

use crate::workspace::{Workspace, output, run, say};
use anyhow::{Context, Result, bail};
use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

const GUEST_TARGET: &str = "wasm32-wasip2";

/// Brings everything in `dist/` up to date. What has not changed is not built again.
pub fn build(workspace: &Workspace) -> Result<()> {
    add_target(workspace)?;
    guest(workspace, "guest-tract.wasm", &[])?;
    let only = |engine| ["--no-default-features", "--features", engine];
    guest(workspace, "guest-kernels.wasm", &only("kernels"))?;
    guest(workspace, "guest-nn.wasm", &only("nn"))?;
    let host = host(workspace, "release", &[])?;
    install(&host, &workspace.dist("pinhole"))?;
    bake(workspace)
}

/// Builds the host for this very machine in a profile, and returns where cargo left it.
///
/// On glibc it is linked statically: only the last step is told, so that dependencies and macros are built as always.
pub fn host(workspace: &Workspace, profile: &str, options: &[&str]) -> Result<PathBuf> {
    let triple = workspace.host_triple()?;
    say("building the host");
    let mut cargo = workspace.cargo(&[
        "rustc",
        "--locked",
        "--package",
        "pinhole-host",
        "--bin",
        "pinhole",
        "--profile",
        profile,
    ]);
    cargo.args(options);
    if triple.ends_with("-linux-gnu") {
        cargo.args(["--", "-C", "target-feature=+crt-static"]);
    }
    run(&mut cargo)?;
    let name = format!("pinhole{}", std::env::consts::EXE_SUFFIX);
    Ok(workspace.target.join(profile).join(name))
}

/// Builds a host that has ONNX Runtime as an engine, for tests, into `dist/tests/`. It is linked dynamically: it must load that
/// library.
pub fn host_with_onnx_runtime(workspace: &Workspace) -> Result<()> {
    say("building the host with ONNX Runtime");
    run(&mut workspace.cargo(&[
        "build",
        "--locked",
        "--package",
        "pinhole-host",
        "--release",
        "--features",
        "nn-onnxruntime",
    ]))?;
    install(
        &workspace.target.join("release/pinhole"),
        &workspace.dist("tests/pinhole-onnxruntime"),
    )
}

/// Builds the guests that the host is tested against, into `dist/tests/`: with and without models of the host's to ask.
pub fn hostile(workspace: &Workspace) -> Result<()> {
    say("building the hostile guests");
    for (name, options) in [
        ("hostile.wasm", &[][..]),
        ("hostile-nn.wasm", &["--features", "nn"]),
    ] {
        let built = component(workspace, "pinhole-hostile", options)?;
        install(&built, &workspace.dist("tests").join(name))?;
    }
    Ok(())
}

/// Builds a component that is a library, and returns where cargo left it.
pub fn component(workspace: &Workspace, package: &str, options: &[&str]) -> Result<PathBuf> {
    let mut build = workspace.cargo(&[
        "build",
        "--locked",
        "--package",
        package,
        "--target",
        GUEST_TARGET,
        "--profile",
        "guest",
    ]);
    run(build.args(options))?;
    let file = format!("{}.wasm", package.replace('-', "_"));
    Ok(workspace.target.join(GUEST_TARGET).join("guest").join(file))
}

/// Copies a finished file, unless the same is there already. A running program keeps the file that it was started from.
pub fn install(from: &Path, to: &Path) -> Result<()> {
    if to.is_file() && fingerprint(&[from])? == fingerprint(&[to])? {
        return Ok(());
    }
    let folder = to.parent().context("an artifact lies in a folder")?;
    std::fs::create_dir_all(folder)
        .with_context(|| format!("{} cannot be made", folder.display()))?;
    let partial = to.with_extension("partial");
    std::fs::copy(from, &partial)
        .and_then(|_| std::fs::rename(&partial, to))
        .with_context(|| format!("{} cannot be copied to {}", from.display(), to.display()))
}

/// Builds one of the bare guests: they differ in features, and cargo leaves all of them in the same place.
fn guest(workspace: &Workspace, name: &str, options: &[&str]) -> Result<()> {
    say(&format!("building {name}"));
    run(workspace
        .cargo(&[
            "build",
            "--locked",
            "--package",
            "pinhole-guest",
            "--target",
            GUEST_TARGET,
            "--profile",
            "guest",
        ])
        .args(options))?;
    let built = workspace
        .target
        .join(GUEST_TARGET)
        .join("guest")
        .join("guest.wasm");
    install(&built, &workspace.dist(name))
}

/// Adds the guest's target to the toolchain. `rust-toolchain.toml` names it, but only some rustups act on that, and a
/// distribution's toolchain has no rustup at all.
pub fn add_target(workspace: &Workspace) -> Result<()> {
    let sysroot = output(
        Command::new("rustc")
            .args(["--print", "sysroot"])
            .current_dir(&workspace.root),
    )?;
    let library = Path::new(sysroot.trim())
        .join("lib/rustlib")
        .join(GUEST_TARGET)
        .join("lib");
    if library.is_dir() {
        return Ok(());
    }
    say(&format!(
        "adding the {GUEST_TARGET} target to the Rust toolchain"
    ));
    let mut rustup = Command::new("rustup");
    rustup
        .args(["target", "add", GUEST_TARGET])
        .current_dir(&workspace.root);
    match rustup.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => bail!("The target {GUEST_TARGET} cannot be added: see rustup's message above."),
        Err(_) => bail!(
            "The Rust toolchain in {} cannot build for {GUEST_TARGET}, and there is no rustup to add it: install rustup \
             from https://rustup.rs, or your distribution's package of the standard library for {GUEST_TARGET}.",
            sysroot.trim()
        ),
    }
}

/// Bakes the default model into the guest, unless that was done with the very same files before.
fn bake(workspace: &Workspace) -> Result<()> {
    let model = |end: &str| workspace.root.join("models").join(format!("default.{end}"));
    let (onnx, labels, config) = (model("onnx"), model("labels.txt"), model("toml"));
    let host = workspace.dist("pinhole");
    let (tract, kernels) = (
        workspace.dist("guest-tract.wasm"),
        workspace.dist("guest-kernels.wasm"),
    );
    let (wasm, cwasm) = (workspace.dist("guest.wasm"), workspace.dist("guest.cwasm"));
    let files = [
        &host, &tract, &kernels, &onnx, &labels, &config, &wasm, &cwasm,
    ]
    .map(PathBuf::as_path);

    // Contents, not times: a checkout sets times as it likes.
    let stamp = workspace.dist(".baked");
    let outputs_exist = wasm.is_file() && cwasm.is_file();
    if outputs_exist
        && std::fs::read_to_string(&stamp)
            .is_ok_and(|old| fingerprint(&files).is_ok_and(|new| old == new))
    {
        return Ok(());
    }
    say("baking the default model into the guest");
    // Made to fail while there is no whole result: a later build must not take half of one for good.
    let _ = std::fs::remove_file(&stamp);
    run(Command::new(&host)
        .arg("bake")
        .args([Path::new("--model"), &onnx])
        .args([Path::new("--labels"), &labels])
        .args([Path::new("--config"), &config])
        .args([Path::new("-o"), &wasm])
        .arg("--precompile"))?;
    std::fs::write(&stamp, fingerprint(&files)?)
        .with_context(|| format!("{} cannot be written", stamp.display()))
}

/// Tells whether files are the same ones as before. It guards against change, not against malice.
pub fn fingerprint(files: &[&Path]) -> Result<String> {
    let mut hasher = DefaultHasher::new();
    for file in files {
        let bytes =
            std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
        hasher.write_usize(bytes.len());
        hasher.write(&bytes);
    }
    Ok(format!("{:016x}", hasher.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_of_contents_and_their_borders() {
        let folder = std::env::temp_dir().join(format!("pinhole-xtask-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let (ab, c) = (file("1", "ab"), file("2", "c"));
        let (a, bc) = (file("3", "a"), file("4", "bc"));
        let copy = folder.join("5");
        install(&ab, &copy).unwrap();
        assert_eq!(
            fingerprint(&[&ab, &c]).unwrap(),
            fingerprint(&[&copy, &c]).unwrap()
        );
        assert_ne!(
            fingerprint(&[&ab, &c]).unwrap(),
            fingerprint(&[&a, &bc]).unwrap()
        );
        assert!(fingerprint(&[&folder.join("none")]).is_err());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
