//! Which files are meant: those that were named, and the images in folders that were named.

use pinhole_report::Refusal;
use std::borrow::Cow;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// What images are called. Of a folder, other files are left alone; a file that is named is tried, whatever it is called.
const EXTENSIONS: [&str; 6] = ["bmp", "gif", "jpeg", "jpg", "png", "webp"];

/// One thing to classify.
#[derive(Debug, PartialEq)]
pub enum Input {
    /// A file, or `-`.
    File(PathBuf),
    /// A folder that holds nothing to classify.
    Refused(PathBuf, Refusal),
}

impl Input {
    /// As the answer names it.
    pub fn name(&self) -> Cow<'_, str> {
        match self {
            Self::File(path) | Self::Refused(path, _) => path.to_string_lossy(),
        }
    }

    /// The file's bytes, or why there are none: it has more than `limit`, for one. It may be a pipe, as shells make them of
    /// `<(...)`, and is then waited for.
    pub fn read(&self, limit: usize) -> Result<Vec<u8>, Refusal> {
        let path = match self {
            Self::File(path) => path,
            Self::Refused(_, refusal) => return Err(refusal.clone()),
        };
        let bytes = if path.as_os_str() == "-" {
            bounded(std::io::stdin().lock(), limit)
        } else {
            File::open(path).and_then(|file| bounded(file, limit))
        };
        match bytes {
            Ok(bytes) if bytes.len() > limit => Err(Refusal {
                error: format!(
                    "The file is larger than the {} MiB that a sandbox may use: --memory-mib allows more.",
                    limit >> 20
                ),
                code: "image-too-large".into(),
            }),
            Ok(bytes) => Ok(bytes),
            Err(error) => Err(unreadable("file", &error)),
        }
    }
}

/// Up to one byte more than the limit, by which it is known to be passed.
fn bounded(from: impl Read, limit: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The inputs that these paths stand for, in their order; those of a folder by name. What is in a folder's folders is not
/// meant.
pub fn expand(paths: &[PathBuf]) -> Vec<Input> {
    let mut inputs = Vec::new();
    for path in paths {
        if !path.is_dir() {
            inputs.push(Input::File(path.clone()));
            continue;
        }
        match images(path) {
            Ok(images) if images.is_empty() => inputs.push(Input::Refused(
                path.clone(),
                Refusal {
                    error: format!("The folder has no images in it: {}.", EXTENSIONS.join(", ")),
                    code: "empty-folder".into(),
                },
            )),
            Ok(images) => inputs.extend(images.into_iter().map(Input::File)),
            Err(error) => inputs.push(Input::Refused(path.clone(), unreadable("folder", &error))),
        }
    }
    inputs
}

fn images(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut images = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if is_image(&path) && path.is_file() {
            images.push(path);
        }
    }
    images.sort();
    Ok(images)
}

fn is_image(path: &Path) -> bool {
    let hidden = path
        .file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let extension = path.extension().unwrap_or_default();
    !hidden
        && EXTENSIONS
            .iter()
            .any(|known| extension.eq_ignore_ascii_case(known))
}

fn unreadable(what: &str, error: &std::io::Error) -> Refusal {
    Refusal {
        error: format!("The {what} cannot be read: {error}."),
        code: "unreadable-file".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_known_by_their_names() {
        for yes in ["a.jpg", "b.JPEG", "c.d.webp", "über/x.Png"] {
            assert!(is_image(Path::new(yes)), "{yes}");
        }
        for no in ["jpg", "a.jpg.txt", "a.", ".jpg", "._a.jpg", "a.tiff"] {
            assert!(!is_image(Path::new(no)), "{no}");
        }
    }

    #[test]
    fn what_never_ends_is_refused() {
        let input = Input::File("/dev/zero".into());
        let refusal = input.read(1 << 20).unwrap_err();
        assert!(refusal.error.contains("1 MiB"), "{refusal:?}");
        assert_eq!(refusal.code, "image-too-large");
    }

    #[test]
    fn what_is_no_folder_is_taken_as_it_is() {
        let paths = ["-", "b.txt", "a.jpg"].map(PathBuf::from);
        assert_eq!(expand(&paths), paths.map(Input::File));
    }
}
