//! A file from the network, which gets its name only once its SHA-256 is right.
//!
//! Until then it is `NAME.partial`, which the next attempt goes on with.

use crate::digest::{Digest, Hasher};
use crate::http::{Http, range_start};
use crate::progress::{Progress, megabytes, say};
use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};

/// More than any ONNX file has (protobuf ends at 2 GiB): a server does not get to fill the disk.
const MOST: u64 = 2 << 30;

/// The file that is meant.
pub struct Wanted {
    /// Where it is.
    pub url: String,
    /// What it is.
    pub sha256: Digest,
    /// In bytes, where that is known.
    pub size: Option<u64>,
}

/// Brings the file to `to`, unless it is there already. Whatever fails, nothing else is ever found under that name.
pub fn fetch(wanted: &Wanted, to: &Path, http: &Http) -> Result<()> {
    if let Some(found) = digest_of(to)? {
        if found == wanted.sha256 {
            say(&format!("{} is here already", to.display()));
            return Ok(());
        }
        bail!(
            "{} is here already, but its SHA-256 is {found}, not {}: move it away, or name another file with -o.",
            to.display(),
            wanted.sha256
        );
    }
    let mut partial = Partial::open(to)?;
    match complete(&mut partial, wanted, http) {
        Ok(()) => {
            partial.finish(to)?;
            say(&format!(
                "{} has the right SHA-256, {}",
                to.display(),
                wanted.sha256
            ));
            Ok(())
        }
        Err(error) => {
            partial.discard_if_empty();
            Err(error)
        }
    }
}

/// Downloads what is missing, and checks the whole.
fn complete(partial: &mut Partial, wanted: &Wanted, http: &Http) -> Result<()> {
    // An earlier run may have ended between the last byte and the new name.
    if partial.bytes.digest() == wanted.sha256 {
        return Ok(());
    }
    if wanted
        .size
        .is_some_and(|size| partial.bytes.length() >= size)
    {
        partial.restart()?;
    }
    let continued = download(partial, wanted, http)?;
    if partial.bytes.digest() == wanted.sha256 {
        return Ok(());
    }
    if continued {
        // The two parts do not belong together. This, too, is why no ETag is kept: a digest tells more.
        say("what an earlier download left is of another file: downloading all of it");
        partial.restart()?;
        download(partial, wanted, http)?;
    }
    let found = partial.bytes.digest();
    if found != wanted.sha256 {
        partial.restart()?;
        bail!(
            "{} has the SHA-256 {found}, not {}: it is not the file that was meant, and nothing of it was kept.",
            wanted.url,
            wanted.sha256
        );
    }
    Ok(())
}

/// Downloads from where the partial file ends to the end; true when there was something to go on from, and the server did.
fn download(partial: &mut Partial, wanted: &Wanted, http: &Http) -> Result<bool> {
    let url = &wanted.url;
    let from = partial.bytes.length();
    say(&match from {
        0 => format!("downloading {url}"),
        _ => format!("downloading {url}, from {} on", megabytes(from)),
    });
    let mut response = http.get(url, from)?;
    let continues = response.status() == 206 && range_start(&response) == Some(from);
    if from > 0 && !continues {
        partial.restart()?;
        if response.status() != 200 {
            // Another part than we asked for, or none.
            response = http.get(url, 0)?;
        }
    }
    let from = partial.bytes.length();
    let announced = response.body().content_length().map(|rest| from + rest);
    if let (Some(announced), Some(size)) = (announced, wanted.size)
        && announced != size
    {
        partial.restart()?;
        bail!(
            "{url} has {announced} bytes, not {size}: it is not the file that was meant, and nothing of it was kept."
        );
    }

    let end = announced.or(wanted.size);
    let most = end.unwrap_or(MOST);
    let mut body = response.body_mut().as_reader();
    let mut buffer = vec![0; 1 << 16];
    let mut progress = Progress::new();
    let broken = loop {
        match body.read(&mut buffer) {
            Ok(0) => break "The connection was closed".to_string(),
            Ok(read) => partial.append(&buffer[..read])?,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => break http.broken(error),
        }
        let length = partial.bytes.length();
        if length > most {
            partial.restart()?;
            bail!("{url} sends more than {most} bytes: it is not the file that was meant.");
        }
        progress.show(|| match end {
            Some(end) => format!("{} of {}", megabytes(length), megabytes(end)),
            None => megabytes(length),
        });
    };
    drop(progress);
    let length = partial.bytes.length();
    match end {
        Some(end) if length < end => bail!(
            "{broken} after {length} of {end} bytes of {url}: the same command again goes on from there."
        ),
        _ => Ok(continues),
    }
}

/// What there is of the file, and its SHA-256 so far.
struct Partial {
    path: PathBuf,
    file: File,
    bytes: Hasher,
}

impl Partial {
    /// Opens what an earlier attempt left, or an empty file. No other process gets it until we are done.
    fn open(to: &Path) -> Result<Self> {
        let mut path = OsString::from(to);
        path.push(".partial");
        let path = PathBuf::from(path);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .with_context(|| {
                format!(
                    "{} cannot be written: choose another place with -o",
                    path.display()
                )
            })?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!(
                "Another process is downloading to {}: wait for it.",
                path.display()
            ),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("{} cannot be locked", path.display()));
            }
        }
        let mut bytes = Hasher::default();
        bytes
            .update_from(&mut file)
            .with_context(|| format!("{} cannot be read", path.display()))?;
        Ok(Self { path, file, bytes })
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.file
            .write_all(bytes)
            .with_context(|| format!("{} cannot be written", self.path.display()))?;
        self.bytes.update(bytes);
        Ok(())
    }

    /// Forgets everything.
    fn restart(&mut self) -> Result<()> {
        self.bytes = Hasher::default();
        self.file
            .set_len(0)
            .and_then(|()| self.file.rewind())
            .with_context(|| format!("{} cannot be emptied", self.path.display()))
    }

    /// Gives the file its name, once it is on the disk.
    fn finish(self, to: &Path) -> Result<()> {
        self.file
            .sync_all()
            .and_then(|()| std::fs::rename(&self.path, to))
            .with_context(|| format!("{} cannot become {}", self.path.display(), to.display()))
    }

    fn discard_if_empty(self) {
        if self.bytes.length() == 0 {
            // An empty file that stays does no harm.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// The SHA-256 of a file, where there is one.
fn digest_of(path: &Path) -> Result<Option<Digest>> {
    let cannot_be_read = || format!("{} cannot be read", path.display());
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.with_context(cannot_be_read)?,
    };
    let mut hasher = Hasher::default();
    hasher.update_from(file).with_context(cannot_be_read)?;
    Ok(Some(hasher.digest()))
}

#[cfg(test)]
mod server;
#[cfg(test)]
mod tests;
