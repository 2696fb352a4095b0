//! Files that the operator names: they are looked at before they are read. What is no file is refused at once, where reading
//! it would wait for a writer or never end, and what is too large is not read into memory.

use anyhow::{Result, anyhow};
use rustix::fs::OFlags;
use std::fs::{File, FileType, Metadata, OpenOptions};
#[cfg(feature = "nn")]
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// The largest model that is read, in bytes: a protobuf message, which an ONNX file is, cannot be larger.
#[cfg(feature = "nn")]
pub const MODEL_BYTES: u64 = 2 << 30;

/// The largest component, in bytes: code, and a memory of up to 4 GiB.
pub const COMPONENT_BYTES: u64 = 5 << 30;

/// The largest text, in bytes: labels, a configuration.
#[cfg(feature = "bake")]
const TEXT_BYTES: u64 = 64 << 20;

/// Opens a regular file of at most `limit` bytes, or what a symbolic link to one names, and tells its size. `what` it is to be
/// is a word of the error, which is a sentence.
pub fn open(path: &Path, what: &str, limit: u64) -> Result<(File, u64)> {
    let unreadable = |error| anyhow!("The {what} {} cannot be read: {error}.", path.display());
    // Before it is opened: opening some devices does something.
    let named = std::fs::metadata(path).map_err(unreadable)?;
    regular(path, what, &named)?;
    // Whatever has taken its place meanwhile is not waited for, and does not become this process's terminal.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .map_err(unreadable)?;
    let opened = file.metadata().map_err(unreadable)?;
    regular(path, what, &opened)?;
    if opened.len() > limit {
        return Err(too_large(path, what, limit));
    }
    Ok((file, opened.len()))
}

fn regular(path: &Path, what: &str, found: &Metadata) -> Result<()> {
    match special(found.file_type()) {
        Some(kind) => Err(anyhow!(
            "The {what} {} is {kind}: name a regular file.",
            path.display()
        )),
        None => Ok(()),
    }
}

fn too_large(path: &Path, what: &str, limit: u64) -> anyhow::Error {
    anyhow!(
        "The {what} {} is over the limit of {} MiB.",
        path.display(),
        limit >> 20
    )
}

/// Reads such a file.
#[cfg(feature = "nn")]
pub fn read(path: &Path, what: &str, limit: u64) -> Result<Vec<u8>> {
    let (file, size) = open(path, what, limit)?;
    let mut bytes = Vec::new();
    let room = usize::try_from(size).unwrap_or(usize::MAX);
    if bytes.try_reserve_exact(room).is_err() {
        return Err(anyhow!(
            "The {what} {} does not fit into memory.",
            path.display()
        ));
    }
    // It may grow while it is read.
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| anyhow!("The {what} {} cannot be read: {error}.", path.display()))?;
    if bytes.len() as u64 > limit {
        return Err(too_large(path, what, limit));
    }
    Ok(bytes)
}

/// Reads a text.
#[cfg(feature = "bake")]
pub fn read_text(path: &Path, what: &str) -> Result<String> {
    let mut bytes = read(path, what, TEXT_BYTES)?;
    // Some editors begin a file with a byte order mark, which is no part of its first line.
    if bytes.starts_with("\u{feff}".as_bytes()) {
        bytes.drain(.."\u{feff}".len());
    }
    String::from_utf8(bytes).map_err(|_| {
        anyhow!(
            "The {what} {} cannot be read: it is not a text in UTF-8.",
            path.display()
        )
    })
}

/// What something is, where it is no regular file.
pub fn special(kind: FileType) -> Option<&'static str> {
    if kind.is_file() {
        None
    } else if kind.is_dir() {
        Some("a folder")
    } else if kind.is_symlink() {
        Some("a symbolic link")
    } else if kind.is_fifo() {
        Some("a named pipe")
    } else if kind.is_socket() {
        Some("a socket")
    } else {
        Some("a device")
    }
}

#[cfg(test)]
#[cfg(feature = "bake")]
mod tests {
    use super::*;
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use std::os::unix::net::UnixListener;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    /// What reading a path came to. Fails where it waits.
    fn said(path: &Path, limit: u64) -> String {
        let (sender, receiver) = channel();
        let path = path.to_path_buf();
        std::thread::spawn(move || sender.send(read(&path, "model", limit)));
        match receiver.recv_timeout(Duration::from_secs(20)) {
            Ok(Ok(bytes)) => String::from_utf8(bytes).unwrap(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => panic!("it waits"),
        }
    }

    #[test]
    fn only_regular_files_are_read_and_none_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("file"), "text").unwrap();
        std::os::unix::fs::symlink(at("file"), at("link")).unwrap();
        std::os::unix::fs::symlink(at("none"), at("dangling")).unwrap();
        mknodat(CWD, at("fifo"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        assert_eq!(said(&at("file"), 4), "text");
        assert_eq!(said(&at("link"), 4), "text");
        for (path, words) in [
            (at("file"), "over the limit"),
            (at("none"), "cannot be read"),
            (at("dangling"), "cannot be read"),
            (at("fifo"), "is a named pipe"),
            (at("socket"), "is a socket"),
            (folder.path().to_path_buf(), "is a folder"),
            ("/dev/zero".into(), "is a device"),
        ] {
            let said = said(&path, 3);
            assert!(said.contains(words), "{said}");
            assert!(
                said.starts_with("The model /") && said.ends_with('.'),
                "{said}"
            );
        }
    }

    #[test]
    fn a_file_with_holes_takes_no_memory() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(1 << 42).unwrap();
        let said = said(file.path(), MODEL_BYTES);
        assert!(said.contains("over the limit of 2048 MiB"), "{said}");
    }

    #[test]
    fn a_text_is_utf_8() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), [0xff, 0xfe, 0]).unwrap();
        let error = read_text(file.path(), "labels").unwrap_err();
        assert!(error.to_string().contains("UTF-8"), "{error}");
    }
}
