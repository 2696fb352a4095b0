//! `accuracy` against the real `dist/pinhole`: what it counts is what `pinhole classify` answers.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn pinhole() -> PathBuf {
    let program = root()
        .join("dist/pinhole")
        .with_extension(std::env::consts::EXE_EXTENSION);
    assert!(
        program.is_file(),
        "dist/pinhole is not there: `cargo xtask build` makes it"
    );
    program
}

fn accuracy(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask-models"))
        .arg("accuracy")
        .args(arguments)
        .output()
        .unwrap()
}

fn printed(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A BMP of 32x32 pixels whose colours move with `seed`.
fn bmp(seed: u32) -> Vec<u8> {
    let pixels: Vec<u8> = (0..32 * 32)
        .flat_map(|i: u32| {
            let (x, y) = (i % 32, i / 32);
            [x * seed, y * 8, (x + y) * seed].map(|value| value as u8)
        })
        .collect();
    let mut file = b"BM".to_vec();
    let word = |file: &mut Vec<u8>, value: u32| file.extend(value.to_le_bytes());
    for value in [54 + pixels.len() as u32, 0, 54, 40, 32, 32] {
        word(&mut file, value);
    }
    // One plane of 24 bits a pixel, not compressed.
    word(&mut file, 1 | 24 << 16);
    for value in [0, pixels.len() as u32, 2835, 2835, 0, 0] {
        word(&mut file, value);
    }
    file.extend(pixels);
    file
}

/// What the default component says to an image.
fn class_of(bytes: &[u8], folder: &TempDir) -> String {
    let path = folder.path().join("one.bmp");
    std::fs::write(&path, bytes).unwrap();
    let output = Command::new(pinhole())
        .args(["classify", "--json", "--top-k", "1"])
        .arg(&path)
        .output()
        .unwrap();
    let line: serde_json::Value = serde_json::from_str(&printed(&output)).unwrap();
    line["predictions"][0]["label"]
        .as_str()
        .unwrap()
        .to_string()
}

#[test]
fn answers_of_the_real_component_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    // More than one process gets, so that several run and their answers are put in order again.
    let images: Vec<_> = (0..300).map(|i| bmp(i % 7)).collect();
    let classes: Vec<_> = (0..7).map(|seed| class_of(&bmp(seed), &folder)).collect();
    let zip = folder.path().join("data.zip");
    let mut writer = zip::ZipWriter::new(std::fs::File::create(&zip).unwrap());
    let mut add = |name: String, bytes: &[u8]| {
        writer
            .start_file(name, zip::write::SimpleFileOptions::default())
            .unwrap();
        writer.write_all(bytes).unwrap();
    };
    for (index, image) in images.iter().enumerate() {
        // Every third one is said to be what no model knows.
        let label = match index % 3 {
            0 => "unicorn",
            _ => &classes[index % 7],
        };
        add(format!("test/{label}/{index}.bmp"), image);
    }
    add("test/dog/broken.jpg".into(), b"no image");
    writer.finish().unwrap();

    let zip = zip.to_str().unwrap();
    let guest = root().join("dist/guest.cwasm");
    let text = printed(&accuracy(&[
        "--data",
        zip,
        "--against",
        guest.to_str().unwrap(),
    ]));
    assert!(text.contains("unicorn    0 of 100\n"), "{text}");
    assert_eq!(
        text.matches("top-1 66.45 %, 200 of 301\n").count(),
        2,
        "{text}"
    );
    assert!(
        text.contains("1 got no answer, and count as wrong"),
        "{text}"
    );
    assert!(text.ends_with("\n0 of 301 answers differ\n"), "{text}");
}

#[test]
fn photographs_get_a_line_each() {
    let folder = tempfile::tempdir().unwrap();
    let class = class_of(&bmp(3), &folder);
    // A known class that this is not.
    let other = if class == "cat" { "dog" } else { "cat" };
    for label in [class.as_str(), other] {
        std::fs::create_dir(folder.path().join(label)).unwrap();
        // What a file is, its bytes tell, not its name.
        std::fs::write(folder.path().join(label).join("a.jpg"), bmp(3)).unwrap();
    }
    let text = printed(&accuracy(&["--photos", folder.path().to_str().unwrap()]));
    assert!(text.contains(&format!("right  a.jpg: {class} ")), "{text}");
    assert!(text.contains(&format!("WRONG  a.jpg: {class} ")), "{text}");
    assert!(text.contains(&format!(", is {other}\n")), "{text}");
    assert!(text.ends_with("top-1 50.00 %, 1 of 2\n"), "{text}");
}

#[test]
fn a_component_that_cannot_run_is_told() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("cat")).unwrap();
    std::fs::write(folder.path().join("cat/a.jpg"), bmp(1)).unwrap();
    let output = accuracy(&[
        "--photos",
        folder.path().to_str().unwrap(),
        "--component",
        "/nowhere/guest.cwasm",
    ]);
    assert!(!output.status.success());
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("/nowhere/guest.cwasm"), "{errors}");
}
