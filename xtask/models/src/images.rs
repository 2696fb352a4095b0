//! Images of which somebody says what they show.

use anyhow::{Context, Result, bail};
use std::io::Read;
use std::path::{Path, PathBuf};

/// An image and its class.
pub struct Labelled {
    /// As a person knows it.
    pub name: String,
    /// The class's name.
    pub label: String,
    /// Where it lies.
    pub path: PathBuf,
}

/// ImageNet's classes, as in `n02113023_Pembroke.jpg`, that are one of CIFAR-10's: the table of models/train/evaluate.py,
/// which tells why these.
const IMAGENET: [(&str, &[&str]); 6] = [
    ("bird", &["hen", "hornbill", "white_stork", "pelican"]),
    (
        "dog",
        &[
            "basset",
            "Weimaraner",
            "Boston_bull",
            "English_setter",
            "Old_English_sheepdog",
            "Great_Dane",
            "Pembroke",
        ],
    ),
    ("ship", &["catamaran"]),
    ("truck", &["garbage_truck", "half_track"]),
    ("automobile", &["minibus"]),
    ("horse", &["horse_cart"]),
];

/// CIFAR-10's test images from a ZIP of `test/<class>/<name>`, written into a folder.
pub fn cifar(zip: &Path, into: &Path) -> Result<Vec<Labelled>> {
    let file = std::fs::File::open(zip).with_context(|| {
        format!(
            "{} cannot be read: name a ZIP of test/<class>/*.jpg with --data",
            zip.display()
        )
    })?;
    let broken = || format!("{} is not a ZIP that can be read", zip.display());
    let mut archive = zip::ZipArchive::new(std::io::BufReader::new(file)).with_context(broken)?;
    let mut images = Vec::new();
    let mut bytes = Vec::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).with_context(broken)?;
        let name = entry.name().with_context(broken)?.into_owned();
        let ["test", label, image] = name.split('/').collect::<Vec<_>>()[..] else {
            continue;
        };
        if image.is_empty() {
            continue;
        }
        bytes.clear();
        entry.read_to_end(&mut bytes).with_context(broken)?;
        // A name of ours: an archive does not choose where its files go.
        let path = into.join(format!("{:05}", images.len()));
        std::fs::write(&path, &bytes)
            .with_context(|| format!("{} cannot be written", path.display()))?;
        images.push(Labelled {
            label: label.to_string(),
            name,
            path,
        });
    }
    if images.is_empty() {
        bail!(
            "{} has no test/<class>/*.jpg in it: name another with --data.",
            zip.display()
        );
    }
    Ok(images)
}

/// Photographs in a folder: `<label>/*.jpg`, or with an ImageNet class in their names. Others are left out.
pub fn photographs(folder: &Path, labels: &[String]) -> Result<Vec<Labelled>> {
    let mut images = Vec::new();
    for path in files(folder)? {
        let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
        if !["jpg", "jpeg", "png"]
            .iter()
            .any(|known| extension == *known)
        {
            continue;
        }
        if let Some(label) = label(&path, labels) {
            images.push(Labelled {
                name: path.file_name().unwrap_or_default().display().to_string(),
                label: label.to_string(),
                path,
            });
        }
    }
    if images.is_empty() {
        bail!(
            "{} has no photographs in folders that are named as a label is: name another with --photos.",
            folder.display()
        );
    }
    Ok(images)
}

/// The class that a photograph's folder or name tells.
fn label<'a>(path: &Path, labels: &'a [String]) -> Option<&'a str> {
    let among = |name: &str| labels.iter().find(|label| *label == name);
    let folder = path.parent()?.file_name().unwrap_or_default().to_str();
    let found = folder.and_then(among).or_else(|| {
        let (_, class) = path.file_stem()?.to_str()?.split_once('_')?;
        let is_one = |(_, classes): &&(&str, &[&str])| classes.contains(&class);
        among(IMAGENET.iter().find(is_one)?.0)
    });
    found.map(String::as_str)
}

/// Every file below a folder, in the order of names.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let cannot_be_read = || format!("{} cannot be read", folder.display());
        for entry in std::fs::read_dir(&folder).with_context(cannot_be_read)? {
            let path = entry.with_context(cannot_be_read)?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use zip::CompressionMethod::{Deflated, Stored};
    use zip::write::SimpleFileOptions;

    #[test]
    fn test_images_are_taken_out_stored_or_deflated() {
        let folder = tempfile::tempdir().unwrap();
        let zip = folder.path().join("data.zip");
        let mut writer = zip::ZipWriter::new(std::fs::File::create(&zip).unwrap());
        let text = "deflate me ".repeat(100);
        for (name, method, bytes) in [
            ("train/cat/0.jpg", Stored, "not this"),
            ("test/", Stored, ""),
            ("test/cat/0.jpg", Stored, "cat"),
            ("test/dog/0.jpg", Deflated, &text),
            ("test/dog/../../../escaped.jpg", Stored, "nor this"),
            ("test/README", Stored, "nor this"),
        ] {
            let options = SimpleFileOptions::default().compression_method(method);
            writer.start_file(name, options).unwrap();
            writer.write_all(bytes.as_bytes()).unwrap();
        }
        writer.finish().unwrap();

        let images = cifar(&zip, folder.path()).unwrap();
        let found = images.iter().map(|image| {
            (
                &*image.name,
                &*image.label,
                std::fs::read_to_string(&image.path).unwrap(),
            )
        });
        assert_eq!(
            found.collect::<Vec<_>>(),
            [
                ("test/cat/0.jpg", "cat", "cat".to_string()),
                ("test/dog/0.jpg", "dog", text)
            ]
        );
    }

    #[test]
    fn what_has_no_test_images_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let zip = folder.path().join("data.zip");
        for bytes in [&b"no ZIP"[..], b""] {
            std::fs::write(&zip, bytes).unwrap();
            assert!(cifar(&zip, folder.path()).is_err());
        }
        zip::ZipWriter::new(std::fs::File::create(&zip).unwrap())
            .finish()
            .unwrap();
        let error = cifar(&zip, folder.path()).err().unwrap();
        assert!(error.to_string().contains("--data"), "{error}");
        let error = cifar(&folder.path().join("none"), folder.path())
            .err()
            .unwrap();
        assert!(error.to_string().contains("--data"), "{error}");
    }

    #[test]
    fn photographs_are_labelled_by_their_folder_or_their_imagenet_class() {
        let labels = ["dog", "truck", "cat"].map(String::from);
        for (path, expected) in [
            ("photos/dog/1.jpg", Some("dog")),
            // The folder counts more.
            ("photos/cat/n02113023_Pembroke.jpg", Some("cat")),
            ("photos/n02113023_Pembroke.jpg", Some("dog")),
            ("n03417042_garbage_truck.jpg", Some("truck")),
            // One of CIFAR-10's, but none of this model's.
            ("photos/n01514859_hen.jpg", None),
            ("photos/n03642806_laptop.jpg", None),
            ("photos/1.jpg", None),
        ] {
            assert_eq!(label(Path::new(path), &labels), expected, "{path}");
        }
    }

    #[test]
    fn photographs_are_found_below_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let cats = folder.path().join("cat");
        std::fs::create_dir(&cats).unwrap();
        for name in ["2.jpg", "1.PNG", "notes.txt"] {
            std::fs::write(cats.join(name), "").unwrap();
        }
        let labels = ["cat".to_string()];
        let images = photographs(folder.path(), &labels).unwrap();
        let names: Vec<_> = images.iter().map(|image| &*image.name).collect();
        assert_eq!(names, ["1.PNG", "2.jpg"]);
        assert!(photographs(&cats, &["dog".into()]).is_err());
    }
}
