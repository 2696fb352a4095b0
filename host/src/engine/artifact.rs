//! Loading components from files that the operator names.

use super::seal::{self, Seal};
use anyhow::{Context, Result, anyhow, bail};
use std::path::{Path, PathBuf};
use wasmtime::Engine;
use wasmtime::component::Component;

/// What the first bytes of a file are.
enum Kind {
    /// Native code, made by `pinhole bake --precompile` or Wasmtime.
    Precompiled,
    /// A WebAssembly component, for any machine.
    Component,
}

/// The component to run where none is named: `guest.cwasm`, or else `guest.wasm`, beside this program.
pub fn beside_the_program() -> Result<PathBuf> {
    let program = std::env::current_exe().context("The place of this program cannot be found.")?;
    let folder = program.parent().unwrap_or(Path::new("/"));
    ["guest.cwasm", "guest.wasm"]
        .iter()
        .map(|name| folder.join(name))
        .find(|path| path.exists())
        .ok_or_else(|| {
            anyhow!(
                "There is no guest.cwasm and no guest.wasm in {}: name a component with --component.",
                folder.display()
            )
        })
}

/// Loads a component. The error is one sentence that says what to do.
pub fn load(engine: &Engine, path: &Path) -> Result<Component> {
    match kind(path)? {
        Kind::Precompiled => precompiled(engine, path),
        Kind::Component => compile(engine, path),
    }
}

fn kind(path: &Path) -> Result<Kind> {
    let read = || -> std::io::Result<Vec<u8>> {
        use std::io::Read;
        let mut head = Vec::new();
        std::fs::File::open(path)?.take(8).read_to_end(&mut head)?;
        Ok(head)
    };
    let head = read()
        .map_err(|error| anyhow!("The component {} cannot be read: {error}.", path.display()))?;
    match head.as_slice() {
        [0x7f, b'E', b'L', b'F', ..] => Ok(Kind::Precompiled),
        // The last two bytes tell a component from a core module.
        [0, b'a', b's', b'm', _, _, 1, 0] => Ok(Kind::Component),
        [0, b'a', b's', b'm', ..] => bail!(
            "{} is a core WebAssembly module, not a component.",
            path.display()
        ),
        _ => bail!(
            "{} is neither a component (.wasm) nor a precompiled one (.cwasm), or it is damaged.",
            path.display()
        ),
    }
}

#[allow(
    unsafe_code,
    reason = "precompiled code is native code: whoever names the file vouches for it"
)]
fn precompiled(engine: &Engine, path: &Path) -> Result<Component> {
    let seal = seal::check(path)
        .map_err(|error| anyhow!("The component {} cannot be read: {error}.", path.display()))?;
    if seal == Seal::Damaged {
        bail!(
            "{} is damaged: its checksum is wrong. Copy it again, or make it again with `pinhole bake --precompile`.",
            path.display()
        );
    }
    // SAFETY: the path is one that the operator gave on the command line, in the environment, or by placing the file
    // beside the program; nobody else can name it. Wasmtime checks the version, settings and CPU features that the file
    // was made for. The file must not be changed while it is mapped, as README says.
    let loaded = unsafe { Component::deserialize_file(engine, path) };
    loaded.map_err(|error| match missing_feature(&error) {
        Some(feature) => anyhow!(
            "This machine's CPU lacks {feature}, and {} was made for CPUs that have it: x86-64-v3 (AVX2 and FMA; Intel since 2013, AMD since 2015) is the least that `pinhole bake --precompile` makes code for. Use a newer CPU, or `wasmtime run` with the .wasm.",
            path.display()
        ),
        None => anyhow!(
            "{} was precompiled for another CPU or version, or is damaged ({}): make it again with `pinhole bake --precompile`, using this version of pinhole.",
            path.display(),
            error.root_cause().to_string().replace('\n', " ")
        ),
    })
}

/// The CPU feature that code was made for and this machine lacks, where that is what is wrong.
fn missing_feature(error: &wasmtime::Error) -> Option<String> {
    let text = error.root_cause().to_string();
    let (setting, why) = text.split_once(" is enabled")?;
    if !why.contains("not available on the host") {
        return None;
    }
    let name = setting.rsplit(' ').next()?.trim_matches(['"', '\'']);
    Some(name.trim_start_matches("has_").to_uppercase())
}

#[cfg(feature = "bake")]
fn compile(engine: &Engine, path: &Path) -> Result<Component> {
    tracing::info!(
        "compiling {}: a precompiled .cwasm starts at once",
        path.display()
    );
    Component::from_file(engine, path)
        .map_err(|error| anyhow!("{} cannot be compiled: {error:#}.", path.display()))
}

#[cfg(not(feature = "bake"))]
fn compile(_engine: &Engine, path: &Path) -> Result<Component> {
    bail!(
        "{} is not precompiled, and this build of pinhole has no compiler: make a .cwasm of it with `pinhole bake --precompile`.",
        path.display()
    )
}
