//! Files that are written whole or not at all, and that replace nothing but files.

use crate::files::special;
use anyhow::{Context, Result, anyhow};
use std::fs::{File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tempfile::{Builder, NamedTempFile, TempPath};
use tokio::signal::unix::{SignalKind, signal};

/// Files that are not in their places yet. Locked while one is made or moved, so that whoever interrupts knows them all.
static PARTIALS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// A file that is complete on disk, under another name; dropping it removes it.
pub struct Prepared {
    partial: TempPath,
    path: PathBuf,
}

/// Finds out whether these files can be written, before anything is done for them, and that they replace neither each other
/// nor what is read.
pub fn check(outputs: &[PathBuf], inputs: &[&Path]) -> Result<()> {
    for (index, output) in outputs.iter().enumerate() {
        replaceable(output)?;
        let same = |other: &Path| same(output, other);
        if outputs[..index].iter().any(|other| same(other)) {
            return Err(anyhow!(
                "{} would be written twice: name another file.",
                output.display()
            ));
        }
        if inputs.iter().any(|input| same(input)) {
            return Err(anyhow!(
                "{} is read as well, and would be replaced: name another file to write.",
                output.display()
            ));
        }
        partial(output).map_err(|error| failed(output, &error))?;
    }
    Ok(())
}

/// Refuses what is no regular file: a device, a pipe, a folder, or a link, whose file was not named.
fn replaceable(path: &Path) -> Result<()> {
    let kind = match std::fs::symlink_metadata(path) {
        Ok(there) => special(there.file_type()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => path
            .as_os_str()
            .as_encoded_bytes()
            .ends_with(b"/")
            .then_some("a folder"),
        Err(error) => return Err(failed(path, &error)),
    };
    match kind {
        Some(kind) => Err(anyhow!(
            "{} is {kind}, and is not replaced: name a file to write.",
            path.display()
        )),
        None => Ok(()),
    }
}

/// Whether two paths, of which the first may not be there yet, name the same file.
fn same(output: &Path, other: &Path) -> bool {
    let place = |path: &Path| {
        let folder = folder(path).canonicalize().ok()?;
        Some(folder.join(path.file_name()?))
    };
    let there = |path: &Path| path.canonicalize().ok();
    place(output).is_some_and(|output| Some(&output) == place(other).as_ref())
        || there(output).is_some_and(|output| Some(&output) == there(other).as_ref())
}

/// From now on Ctrl-C and SIGTERM end the process only after they have removed what is not in its place yet.
pub fn clear_up_when_interrupted() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .context("Signals cannot be waited for")?;
    let (mut interrupts, mut terminations) = {
        let _inside = runtime.enter();
        let take = |kind| signal(kind).context("Signals cannot be taken over");
        (
            take(SignalKind::interrupt())?,
            take(SignalKind::terminate())?,
        )
    };
    let wait = async move {
        let signal = tokio::select! {
            _ = interrupts.recv() => SignalKind::interrupt(),
            _ = terminations.recv() => SignalKind::terminate(),
        };
        // Held to the end: nothing is begun, or put in its place, any more.
        let partials = partials();
        for partial in partials.iter() {
            // What cannot be removed stays.
            let _ = std::fs::remove_file(partial);
        }
        std::process::exit(128 + signal.as_raw_value());
    };
    std::thread::Builder::new()
        .name("interrupt".into())
        .spawn(move || runtime.block_on(wait))
        .context("The thread for signals cannot be started")?;
    Ok(())
}

/// Writes a file's bytes next to its place.
pub fn prepare(path: &Path, bytes: &[u8]) -> Result<Prepared> {
    let write = || -> std::io::Result<TempPath> {
        let mut file = {
            let mut partials = partials();
            let file = partial(path)?;
            partials.push(file.path().to_path_buf());
            file
        };
        file.write_all(bytes)?;
        if let Ok(there) = std::fs::symlink_metadata(path) {
            // As if it had been written to.
            let mode = there.permissions().mode() & 0o777;
            file.as_file()
                .set_permissions(Permissions::from_mode(mode))?;
        }
        file.as_file().sync_all()?;
        Ok(file.into_temp_path())
    };
    Ok(Prepared {
        partial: write().map_err(|error| failed(path, &error))?,
        path: path.to_path_buf(),
    })
}

/// Puts files in their places, over those that are there.
pub fn commit(files: Vec<Prepared>) -> Result<()> {
    let _interruptions_wait = partials();
    // All before one is moved.
    for file in &files {
        replaceable(&file.path)?;
    }
    for Prepared { partial, path } in files {
        partial
            .persist(&path)
            .map_err(|error| failed(&path, &error.error))?;
        // So that the name outlives a loss of power. Not every file system can do it, and the file is there.
        let _ = File::open(folder(&path)).and_then(|folder| folder.sync_all());
    }
    Ok(())
}

fn partials() -> MutexGuard<'static, Vec<PathBuf>> {
    PARTIALS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A new file, in the same folder so that it can be renamed, for whom the user's mask lets read it.
fn partial(path: &Path) -> std::io::Result<NamedTempFile> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Builder::new()
        .prefix(&format!(".{name}."))
        .suffix(".partial")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder(path))
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn failed(path: &Path, error: &std::io::Error) -> anyhow::Error {
    anyhow!("{} cannot be written: {error}.", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    fn write(path: &Path, text: &str) -> Result<()> {
        commit(vec![prepare(path, text.as_bytes())?])
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name();
        let mut names: Vec<_> = entries
            .map(|entry| name(entry).into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn only_files_are_replaced_and_keep_who_may_read_them() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        write(&at("new"), "1").unwrap();
        std::fs::set_permissions(at("new"), Permissions::from_mode(0o604)).unwrap();
        write(&at("new"), "2").unwrap();
        assert_eq!(std::fs::read_to_string(at("new")).unwrap(), "2");
        let mode = std::fs::metadata(at("new")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o604);

        symlink(at("new"), at("link")).unwrap();
        symlink(at("none"), at("dangling")).unwrap();
        std::fs::create_dir(at("folder")).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        let before = names(folder.path());
        for (path, kind) in [
            (at("link"), "a symbolic link"),
            (at("dangling"), "a symbolic link"),
            (at("folder"), "a folder"),
            (at("other/"), "a folder"),
            (at("socket"), "a socket"),
            ("/dev/null".into(), "a device"),
        ] {
            for error in [
                check(std::slice::from_ref(&path), &[]).unwrap_err(),
                commit(vec![Prepared {
                    partial: partial(&at("new")).unwrap().into_temp_path(),
                    path,
                }])
                .unwrap_err(),
            ] {
                assert!(error.to_string().contains(kind), "{error}");
            }
        }
        assert_eq!(names(folder.path()), before);
        assert_eq!(std::fs::read_to_string(at("new")).unwrap(), "2");
    }

    #[test]
    fn nothing_is_written_twice_or_over_what_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("model"), "").unwrap();
        std::fs::create_dir(at("sub")).unwrap();
        symlink(at("model"), at("link")).unwrap();
        let check = |outputs: &[PathBuf], input: PathBuf| {
            check(outputs, &[&input]).map_err(|error| error.to_string())
        };
        assert_eq!(check(&[at("a"), at("b")], at("model")), Ok(()));
        let twice = check(&[at("a"), at("sub/../a")], at("model"));
        assert!(twice.unwrap_err().contains("twice"));
        for input in [at("model"), at("sub/../model"), at("link")] {
            let over = check(&[at("a"), at("model")], input);
            assert!(over.unwrap_err().contains("would be replaced"));
        }
    }
}
