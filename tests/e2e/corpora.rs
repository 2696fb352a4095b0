//! Other people's collections of difficult pictures: all orientations, all of PNG, and what a fuzzer made of JPEG.

use crate::common::imagenet::imagenet;
use crate::common::pictures::encode;
use crate::common::server::Server;
use crate::common::{assert_same, files, say, shared};
use image::{ImageFormat, RgbImage, imageops};
use pinhole_jpeg::Decoder;
use std::collections::BTreeMap;
use std::path::Path;

/// The same pixels, turned by us and stored without EXIF, must give the very same answer. Pictures of one scene cannot be
/// compared with each other: each has its number printed across it, which may be enough for another class.
#[test]
fn pictures_are_turned_upright() {
    let (Some(folder), Some(model)) = (shared("corpora/exif"), imagenet()) else {
        return;
    };
    for server in [Server::start(&[]), Server::of(&model.cwasm, &[])] {
        are_turned_upright(&server, &folder);
    }
}

fn are_turned_upright(server: &Server, folder: &Path) {
    for scene in ["Landscape", "Portrait"] {
        for orientation in 0..=8 {
            let image = std::fs::read(folder.join(format!("{scene}_{orientation}.jpg"))).unwrap();
            let upright = turn(&as_stored(&image), orientation);
            assert_eq!(upright.width() > upright.height(), scene == "Landscape");
            let expected = server
                .client
                .predict(&encode(&upright, ImageFormat::Bmp))
                .answer()
                .predictions;
            assert_same(
                &server.client.predict(&image).answer().predictions,
                &expected,
            );
        }
    }
}

/// Pixels as a file has them.
fn as_stored(jpeg: &[u8]) -> RgbImage {
    let picture = Decoder::new(jpeg).and_then(Decoder::decode).unwrap();
    let (width, height) = (picture.width as u32, picture.height as u32);
    RgbImage::from_raw(width, height, picture.pixels).unwrap()
}

/// Turns pixels as EXIF's orientation says.
fn turn(stored: &RgbImage, orientation: u32) -> RgbImage {
    match orientation {
        2 => imageops::flip_horizontal(stored),
        3 => imageops::rotate180(stored),
        4 => imageops::flip_vertical(stored),
        5 => imageops::flip_horizontal(&imageops::rotate90(stored)),
        6 => imageops::rotate90(stored),
        7 => imageops::flip_horizontal(&imageops::rotate270(stored)),
        8 => imageops::rotate270(stored),
        _ => stored.clone(),
    }
}

/// Asks about every file, and counts the statuses. Fails where one is none of a picture's or a bad picture's.
fn statuses(server: &mut Server, files: &[impl AsRef<Path>]) -> BTreeMap<u16, Vec<String>> {
    let mut statuses: BTreeMap<u16, Vec<String>> = BTreeMap::new();
    for file in files {
        let file = file.as_ref();
        let reply = server.client.predict(&std::fs::read(file).unwrap());
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        match reply.status {
            200 => assert!(!reply.answer().predictions.is_empty()),
            413 => drop(reply.refusal(413, "image-too-large")),
            415 => drop(reply.refusal(415, "unsupported-format")),
            422 => drop(reply.refusal(422, "invalid-image")),
            _ => say(&format!("{name}: {} {}", reply.status, reply.body)),
        }
        statuses.entry(reply.status).or_default().push(name);
        assert!(server.is_alive(), "{}", server.log());
    }
    let unexpected: Vec<_> = statuses
        .iter()
        .filter(|(status, _)| ![200, 413, 415, 422].contains(status))
        .collect();
    assert!(unexpected.is_empty(), "{unexpected:?}\n{}", server.log());
    statuses
}

#[test]
fn good_png_files_are_classified_and_bad_ones_are_422() {
    let Some(folder) = shared("corpora/pngsuite") else {
        return;
    };
    let mut server = Server::start(&[]);
    let is_bad =
        |path: &&std::path::PathBuf| path.file_name().unwrap().to_string_lossy().starts_with('x');
    let all = files(&folder, "png");
    let (bad, good): (Vec<_>, Vec<_>) = all.iter().partition(is_bad);
    assert_eq!(bad.len(), 14);
    let statuses_of_bad = statuses(&mut server, &bad);
    assert_eq!(
        statuses_of_bad.keys().collect::<Vec<_>>(),
        [&422],
        "{statuses_of_bad:?}"
    );
    let statuses_of_good = statuses(&mut server, &good);
    assert_eq!(
        statuses_of_good.keys().collect::<Vec<_>>(),
        [&200],
        "{statuses_of_good:?}"
    );
}

#[test]
fn a_fuzzers_jpegs_do_no_harm() {
    let Some(folder) = shared("corpora/jpeg-fuzz") else {
        return;
    };
    let mut server = Server::start(&[]);
    let statuses = statuses(&mut server, &files(&folder, "jpg"));
    let counts: Vec<String> = statuses
        .iter()
        .map(|(status, names)| format!("{} x {status}", names.len()))
        .collect();
    say(&format!("the answers are {}", counts.join(", ")));
    let good = std::fs::read(files(&folder, "jpg").swap_remove(0)).unwrap();
    server.client.predict(&good);
    assert!(server.is_alive());
}
