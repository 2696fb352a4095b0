//! Loading components from files that the operator names.
//!
//! A file is opened once. What is run is a copy of it that was checked whole before: what becomes of the file afterwards,
//! if it is copied over or cut short, does not matter.

use super::seal::{self, Flaw, Kind, Seal, Trust};
use super::staged::{self, Staged};
use crate::cli::SandboxArgs;
use crate::files::{self, COMPONENT_BYTES};
use anyhow::{Context, Result, anyhow, bail};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use wasmtime::Engine;
use wasmtime::component::Component;

/// Where a component comes from.
pub struct Source {
    path: PathBuf,
    trust: Trust,
}

impl Source {
    /// The file that was named, or else `other`, or else the one beside this program.
    pub fn new(args: &SandboxArgs, other: Option<&Path>) -> Result<Self> {
        let path = match args.component.as_deref().or(other) {
            Some(path) => path.to_path_buf(),
            None => beside_the_program()?,
        };
        let trust = match args.trust_unsealed {
            true => Trust::Unsealed,
            false => Trust::Sealed,
        };
        Ok(Self { path, trust })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether this file, and what belongs to it, may be without a seal.
    #[cfg(feature = "nn-kernels")]
    pub fn trust(&self) -> Trust {
        self.trust
    }
}

/// The component to run where none is named: `guest.cwasm`, or else `guest.wasm`, beside this program.
fn beside_the_program() -> Result<PathBuf> {
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
pub fn load(engine: &Engine, source: &Source) -> Result<Component> {
    let path = source.path();
    let unreadable = |error| anyhow!("The component {} cannot be read: {error}.", path.display());
    let (mut file, size) = files::open(path, "component", COMPONENT_BYTES)?;
    let mut head = Vec::with_capacity(seal::LEN);
    file.by_ref()
        .take(seal::LEN as u64)
        .read_to_end(&mut head)
        .map_err(unreadable)?;
    let copy = match head.as_slice() {
        // The last two bytes tell a component from a core module.
        [0, b'a', b's', b'm', _, _, 1, 0, ..] => return compile(engine, path, head, file),
        [0, b'a', b's', b'm', ..] => bail!(
            "{} is a core WebAssembly module, not a component.",
            path.display()
        ),
        [0x7f, b'E', b'L', b'F', ..] if source.trust == Trust::Unsealed => {
            aloud(&format!(
                "{} has no checksum and is run all the same, because of --trust-unsealed: if it is damaged, answers are wrong, or worse.",
                path.display()
            ));
            Staged::copy(head.chain(file), |_| ()).map_err(unreadable)?
        }
        [0x7f, b'E', b'L', b'F', ..] => return Err(untaken(path, Flaw::Unsealed)),
        _ => match Seal::read(&head, size, Kind::Code) {
            Ok(seal) => checked(seal, file)
                .map_err(unreadable)?
                .map_err(|flaw| untaken(path, flaw))?,
            Err(Flaw::Unsealed) => bail!(
                "{} is neither a component (.wasm) nor a precompiled one (.cwasm), or it is damaged.",
                path.display()
            ),
            Err(flaw) => return Err(untaken(path, flaw)),
        },
    };
    precompiled(engine, path, &copy)
}

/// A copy of what is sealed, if it is as it was.
fn checked(mut seal: Seal, file: File) -> std::io::Result<Result<Staged, Flaw>> {
    // One byte more than there should be: the file may have grown.
    let rest = file.take(seal.length().saturating_add(1));
    let copy = Staged::copy(rest, |part| seal.update(part))?;
    let length = copy.size()?;
    Ok(seal.check(length).map(|()| copy))
}

fn untaken(path: &Path, flaw: Flaw) -> anyhow::Error {
    let advice = match flaw {
        Flaw::Unsealed => {
            "Make it again with `pinhole bake --precompile`, or add --trust-unsealed if you trust it as you trust this program"
        }
        Flaw::Kind => "Give it to --model if `pinhole bake --network` wrote it",
        Flaw::Version => "Make it again with `pinhole bake --precompile`",
        Flaw::CutShort(_) | Flaw::Longer(_) | Flaw::Damaged => {
            "Copy it again, or make it again with `pinhole bake --precompile`"
        }
    };
    anyhow!(
        "The component {} is refused: {flaw}. {advice}.",
        path.display()
    )
}

/// To the log where there is one, and to whoever sits there where there is none.
pub fn aloud(sentence: &str) {
    if tracing::dispatcher::has_been_set() {
        tracing::warn!("{sentence}");
    } else {
        eprintln!("warning: {sentence}");
    }
}

#[allow(
    unsafe_code,
    reason = "precompiled code is native code: whoever names the file vouches for it"
)]
fn precompiled(engine: &Engine, path: &Path, copy: &Staged) -> Result<Component> {
    // SAFETY: the path is one that the operator gave on the command line, in the environment, or by placing the file
    // beside the program; nobody else can name it. Its checksum is right, or the operator has said that it needs none.
    // Wasmtime checks the version, settings and CPU features that it was made for. The copy cannot change.
    let loaded = unsafe {
        match copy {
            Staged::Shared(file) => Component::deserialize_file(engine, staged::path(file)),
            Staged::Private(bytes) => Component::deserialize(engine, bytes),
        }
    };
    loaded.map_err(|error| match (missing_memory(&error), missing_feature(&error)) {
        (Some((needed, limit)), _) => anyhow!(
            "The model in {} needs {needed} MiB of memory before it sees a picture, and a sandbox may use {limit} MiB: give it more with --memory-mib {}.",
            path.display(),
            needed.next_multiple_of(64) + 128
        ),
        (None, Some(feature)) => anyhow!(
            "This machine's CPU lacks {feature}, and {} was made for CPUs that have it: x86-64-v3 (AVX2 and FMA; Intel since 2013, AMD since 2015) is the least that `pinhole bake --precompile` makes code for. Use a newer CPU, or `wasmtime run` with the .wasm.",
            path.display()
        ),
        (None, None) => anyhow!(
            "{} was precompiled for another CPU or version ({}): make it again with `pinhole bake --precompile`, using this version of pinhole.",
            path.display(),
            error.root_cause().to_string().replace('\n', " ")
        ),
    })
}

/// How much memory a component begins with, and how much there is for it, in MiB, where that is too little.
fn missing_memory(error: &wasmtime::Error) -> Option<(u64, u64)> {
    let text = format!("{error:#}");
    let number = |after: &str| {
        let (_, rest) = text.split_once(after)?;
        rest.split_whitespace().next()?.parse::<u64>().ok()
    };
    let needed = number("minimum byte size of")?;
    let limit = number("exceeds the limit of")?;
    Some((needed.div_ceil(1 << 20), limit >> 20))
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
fn compile(engine: &Engine, path: &Path, mut bytes: Vec<u8>, rest: File) -> Result<Component> {
    tracing::info!(
        "compiling {}: a precompiled .cwasm starts at once",
        path.display()
    );
    rest.take(COMPONENT_BYTES)
        .read_to_end(&mut bytes)
        .map_err(|error| anyhow!("The component {} cannot be read: {error}.", path.display()))?;
    Component::new(engine, &bytes)
        .map_err(|error| anyhow!("{} cannot be compiled: {error:#}.", path.display()))
}

#[cfg(not(feature = "bake"))]
fn compile(_engine: &Engine, path: &Path, _head: Vec<u8>, _rest: File) -> Result<Component> {
    bail!(
        "{} is not precompiled, and this build of pinhole has no compiler: make a .cwasm of it with `pinhole bake --precompile`.",
        path.display()
    )
}

#[cfg(test)]
#[cfg(feature = "bake")]
mod tests {
    use super::*;
    use crate::engine::config::precompiling;
    use crate::engine::seal::{seal, tests::spoiled};

    /// A component that has nothing in it.
    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    struct Bench {
        engine: Engine,
        code: Vec<u8>,
        folder: tempfile::TempDir,
    }

    impl Bench {
        fn new() -> Self {
            let engine = Engine::new(&precompiling().unwrap()).unwrap();
            let code = engine.precompile_component(EMPTY).unwrap();
            let folder = tempfile::tempdir().unwrap();
            Self {
                engine,
                code,
                folder,
            }
        }

        fn load(&self, file: &[u8], trust: Trust) -> Result<Component> {
            let path = self.folder.path().join("a.cwasm");
            std::fs::write(&path, file).unwrap();
            load(&self.engine, &Source { path, trust })
        }
    }

    #[test]
    fn what_is_damaged_is_refused_even_if_unsealed_files_are_trusted() {
        let bench = Bench::new();
        let sealed = seal(&bench.code, Kind::Code);
        for (trust, each) in [(Trust::Sealed, 1), (Trust::Unsealed, 9)] {
            assert!(bench.load(&sealed, trust).is_ok());
            for (what, file) in spoiled(&sealed).step_by(each) {
                let error = bench.load(&file, trust).err();
                let said = error.unwrap_or_else(|| panic!("{what}")).to_string();
                assert!(
                    said.ends_with('.') && !said.contains("precompiled for"),
                    "{said}"
                );
            }
        }
    }

    #[test]
    fn code_without_a_seal_is_for_who_trusts_it() {
        let bench = Bench::new();
        let said = bench.load(&bench.code, Trust::Sealed).err().unwrap();
        assert!(said.to_string().contains("--trust-unsealed"), "{said}");
        assert!(bench.load(&bench.code, Trust::Unsealed).is_ok());
        let network = seal(&bench.code, Kind::Network);
        let said = bench.load(&network, Trust::Unsealed).err().unwrap();
        assert!(said.to_string().contains("--model"), "{said}");
    }
}
