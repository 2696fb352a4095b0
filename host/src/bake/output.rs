//! Files that are written whole or not at all.

use anyhow::{Result, anyhow};
use std::io::Write;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// A file that is complete on disk, under another name; dropping it removes it.
pub struct Prepared {
    file: NamedTempFile,
    path: PathBuf,
}

/// Finds out whether a file can be written, before anything is done for it.
pub fn check(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Err(anyhow!(
            "{} is a folder: name a file to write.",
            path.display()
        ));
    }
    NamedTempFile::new_in(folder(path)).map_err(|error| failed(path, &error))?;
    Ok(())
}

/// Writes a file's bytes next to its place.
pub fn prepare(path: &Path, bytes: &[u8]) -> Result<Prepared> {
    let folder = folder(path);
    let write = || -> std::io::Result<NamedTempFile> {
        let mut file = NamedTempFile::new_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        readable(&file)?;
        Ok(file)
    };
    let file = write().map_err(|error| failed(path, &error))?;
    Ok(Prepared {
        file,
        path: path.to_path_buf(),
    })
}

/// Temporary files are their owner's alone; what was baked is for others to read, too.
#[cfg(unix)]
fn readable(file: &NamedTempFile) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.as_file()
        .set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn readable(_file: &NamedTempFile) -> std::io::Result<()> {
    Ok(())
}

impl Prepared {
    /// Puts the file in its place, over one that is there.
    pub fn commit(self) -> Result<()> {
        let path = self.path;
        self.file
            .persist(&path)
            .map_err(|error| failed(&path, &error.error))?;
        Ok(())
    }
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
