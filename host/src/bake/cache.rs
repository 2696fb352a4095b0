//! The guests' compiled code, kept for the next time: the one that reads ONNX takes ten seconds to compile. It is in the user's
//! cache folder, sealed as every native code is; what is damaged there is made again, and where there is no such folder,
//! everything is.

use crate::engine::seal::{self, Kind};
use crate::files::{self, COMPONENT_BYTES};
use std::hash::{Hash, Hasher};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use wasmtime::Engine;
use wasmtime::component::Component;

/// Of every version that was used lately there are a few guests; older ones are removed.
const KEPT: usize = 8;

/// Compiles a component, or takes what was made of it before.
pub fn component(engine: &Engine, wasm: &[u8]) -> wasmtime::Result<Component> {
    match folder() {
        Some(folder) => cached(&folder, engine, wasm),
        None => Component::new(engine, wasm),
    }
}

fn cached(folder: &Path, engine: &Engine, wasm: &[u8]) -> wasmtime::Result<Component> {
    let entry = folder.join(name(engine, wasm));
    if let Some(component) = read(engine, &entry) {
        return Ok(component);
    }
    let component = Component::new(engine, wasm)?;
    let code = component.serialize()?;
    // A full disk, or a folder that cannot be written to, only makes the next time as slow as this one.
    let _ = write(folder, &entry, &seal::seal(&code, Kind::Code));
    Ok(component)
}

/// In the folder for what can be made again.
fn folder() -> Option<PathBuf> {
    let absolute = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let caches = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(caches.join("pinhole"))
}

/// Of the code that this engine makes of a component.
fn name(engine: &Engine, wasm: &[u8]) -> String {
    struct Digest(blake3::Hasher);
    impl Hasher for Digest {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
        fn finish(&self) -> u64 {
            0
        }
    }
    let mut digest = Digest(blake3::Hasher::new());
    engine.precompile_compatibility_hash().hash(&mut digest);
    digest.0.update(wasm);
    format!("{}.cwasm", digest.0.finalize().to_hex())
}

#[allow(
    unsafe_code,
    reason = "precompiled code is native code: this program wrote it into its user's own folder"
)]
fn read(engine: &Engine, entry: &Path) -> Option<Component> {
    let file = files::read(entry, "cached code", COMPONENT_BYTES).ok()?;
    let code = seal::open(&file, Kind::Code).ok()?;
    // SAFETY: the bytes are those that `cached` has sealed, by their checksum, in a folder that is the user's as this
    // process is. Wasmtime checks the version, settings and CPU features that they were made for.
    let component = unsafe { Component::deserialize(engine, code) }.ok()?;
    // The one that is removed is the one that was not used for longest.
    let _ = std::fs::File::open(entry).and_then(|file| file.set_modified(SystemTime::now()));
    Some(component)
}

fn write(folder: &Path, entry: &Path, bytes: &[u8]) -> std::io::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    let partial = tempfile::NamedTempFile::new_in(folder)?;
    std::fs::write(partial.path(), bytes)?;
    partial.persist(entry)?;
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let modified = entry.metadata()?.modified()?;
        entries.push((modified, entry.path()));
    }
    entries.sort();
    for (_, old) in entries.iter().rev().skip(KEPT) {
        std::fs::remove_file(old)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::config::baking;

    /// A component that has nothing in it.
    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    /// What is in a folder, by name.
    fn entries(folder: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    #[test]
    fn code_is_made_once_and_again_where_it_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::new(&baking().unwrap()).unwrap();
        // The folder itself need not be there.
        let folder = folder.path().join("a/b");
        let entry = folder.join(name(&engine, EMPTY));
        assert!(read(&engine, &entry).is_none());
        cached(&folder, &engine, EMPTY).unwrap();
        assert_eq!(entries(&folder), std::slice::from_ref(&entry));
        assert!(read(&engine, &entry).is_some());
        let good = std::fs::read(&entry).unwrap();
        for place in [0, seal::LEN + 1, good.len() / 2, good.len() - 1] {
            let mut damaged = good.clone();
            damaged[place] ^= 0x10;
            std::fs::write(&entry, damaged).unwrap();
            assert!(read(&engine, &entry).is_none(), "{place}");
            cached(&folder, &engine, EMPTY).unwrap();
            assert!(std::fs::read(&entry).unwrap() == good, "{place}");
        }
    }

    #[test]
    fn what_was_not_used_for_longest_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let old = folder.path().join("old");
        for number in 0..KEPT {
            let path = folder.path().join(number.to_string());
            write(folder.path(), &path, b"code").unwrap();
        }
        std::fs::write(&old, b"code").unwrap();
        let file = std::fs::File::open(&old).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        write(folder.path(), &folder.path().join("new"), b"code").unwrap();
        let left = entries(folder.path());
        assert_eq!(left.len(), KEPT);
        assert!(!left.contains(&old));
    }

    #[test]
    fn other_code_has_another_name() {
        let engine = Engine::new(&baking().unwrap()).unwrap();
        let other = Engine::new(&crate::engine::config::precompiling().unwrap()).unwrap();
        let names = [
            name(&engine, EMPTY),
            name(&engine, b"another"),
            name(&other, EMPTY),
        ];
        assert_eq!(names[0], name(&engine, EMPTY));
        assert!(names[0] != names[1] && names[0] != names[2]);
    }
}
