//! A copy of a file's contents that nobody can change: what was checked is what runs, whatever becomes of the file.

use std::fs::File;
use std::io::{Read, Result, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// Small enough to stay in the cache between being read, summed up and written.
const CHUNK_BYTES: usize = 64 << 10;

/// The copy.
pub enum Staged {
    /// In a file without a name, which is mapped: instances share its pages.
    Shared(File),
    /// In memory, where the system has no such files.
    Private(Vec<u8>),
}

impl Staged {
    /// Copies to the end of `from`, and shows each part to `look`.
    pub fn copy(mut from: impl Read, mut look: impl FnMut(&[u8])) -> Result<Self> {
        let mut staged = Self::empty();
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let read = match from.read(&mut chunk) {
                Ok(0) => break,
                Ok(read) => &chunk[..read],
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            look(read);
            match &mut staged {
                Self::Shared(file) => file.write_all(read)?,
                Self::Private(bytes) => bytes.extend_from_slice(read),
            }
        }
        staged.freeze()?;
        Ok(staged)
    }

    /// In bytes.
    pub fn size(&self) -> Result<u64> {
        match self {
            Self::Shared(file) => Ok(file.metadata()?.len()),
            Self::Private(bytes) => Ok(bytes.len() as u64),
        }
    }

    #[cfg(target_os = "linux")]
    fn empty() -> Self {
        use rustix::fs::{MemfdFlags, memfd_create};
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        // It is mapped by its path, for which /proc must be there.
        match memfd_create("pinhole-component", flags).map(File::from) {
            Ok(file) if path(&file).exists() => Self::Shared(file),
            _ => Self::Private(Vec::new()),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn empty() -> Self {
        Self::Private(Vec::new())
    }

    /// From now on the kernel refuses every change, whoever asks for it.
    fn freeze(&self) -> Result<()> {
        #[cfg(target_os = "linux")]
        if let Self::Shared(file) = self {
            use rustix::fs::{SealFlags, fcntl_add_seals};
            let all = SealFlags::GROW | SealFlags::SHRINK | SealFlags::WRITE | SealFlags::SEAL;
            fcntl_add_seals(file, all)?;
        }
        Ok(())
    }
}

/// A name under which this process can open an open file once more.
pub fn path(file: &File) -> PathBuf {
    Path::new("/proc/self/fd").join(file.as_raw_fd().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_whole_and_stays_as_it_is() {
        let contents: Vec<u8> = (0..200_001_u32).map(|n| (n >> 3) as u8).collect();
        let mut seen = Vec::new();
        let staged = Staged::copy(&contents[..], |part| seen.extend_from_slice(part)).unwrap();
        assert!(seen == contents);
        assert_eq!(staged.size().unwrap(), 200_001);
        match staged {
            Staged::Private(bytes) => assert!(bytes == contents),
            Staged::Shared(mut file) => {
                assert!(std::fs::read(path(&file)).unwrap() == contents);
                assert!(file.write_all(b"more").is_err());
                assert!(file.set_len(0).is_err());
                let again = std::fs::OpenOptions::new().write(true).open(path(&file));
                assert!(again.and_then(|mut file| file.write_all(b"other")).is_err());
            }
        }
    }
}
