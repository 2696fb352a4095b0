//! Pictures of every kind, through the real program: the answer must be that of the right pixels.
//!
//! `tests/clients/pictures.py` writes them, with Pillow's pixels beside them.

use crate::common::imagenet::imagenet;
use crate::common::pictures::{encode, jpeg, scene};
use crate::common::server::Server;
use crate::common::{assert_same, python, root, run, say, shared};
use image::{ImageFormat, RgbImage};
use pinhole_jpeg::Decoder;
use pinhole_report::Answer;
use serde_json::Value;
use std::path::Path;
use std::process::Command;

fn list(file: &Path) -> Vec<Value> {
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

/// What is wrong with the answer to a file, if anything is.
fn wrong(server: &Server, folder: &Path, entry: &Value) -> Option<String> {
    let name = entry["file"].as_str().unwrap();
    let reply = server
        .client
        .predict(&std::fs::read(folder.join(name)).unwrap());
    let status = entry["status"].as_u64().unwrap_or(200);
    if u64::from(reply.status) != status {
        return Some(format!("{name}: {} {}", reply.status, reply.body));
    }
    if status != 200 {
        reply.refusal(422, "invalid-image");
        return None;
    }
    let answer = reply.answer();
    if answer.complete != entry["complete"].as_bool().unwrap_or(true) {
        return Some(format!("{name}: complete is {}", answer.complete));
    }
    let right = folder.join(entry["right"].as_str().unwrap());
    let expected = server.client.predict(&std::fs::read(right).unwrap());
    (answer.predictions != expected.answer().predictions)
        .then(|| format!("{name}: {}, not {}", reply.body, expected.body))
}

#[test]
fn every_kind_is_answered_as_its_pixels_are() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut script = Command::new(python);
    script
        .arg(root().join("tests/clients/pictures.py"))
        .arg(folder.path());
    say(run(&mut script, b"").ok().trim());
    let server = Server::start(&[]);
    let all = list(&folder.path().join("list.json"));
    assert!(all.len() > 1000, "{}", all.len());
    let wrong: Vec<String> = all
        .iter()
        .filter_map(|entry| wrong(&server, folder.path(), entry))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Others' reports.
#[test]
fn pictures_that_went_wrong_elsewhere_are_right_here() {
    let Some(folder) = shared("cases") else {
        return;
    };
    let server = Server::start(&[]);
    for entry in list(&folder.join("pictures.json")) {
        let name = entry["file"].as_str().unwrap();
        let reply = server
            .client
            .predict(&std::fs::read(folder.join(name)).unwrap());
        if entry["expect"] == "refuse422" {
            reply.refusal(422, "invalid-image");
            continue;
        }
        let right = folder.join(entry["right"].as_str().unwrap());
        let expected = server.client.predict(&std::fs::read(right).unwrap());
        let (answer, expected) = (reply.answer(), expected.answer());
        // The right pixels are not this file's own, but those that it was made of, or of a decoder that enlarges colours in another
        // way.
        if ["j82-", "j85-", "j95-"]
            .iter()
            .any(|kind| name.starts_with(kind))
        {
            let best = |answer: &Answer| answer.predictions[0].class_id;
            assert_eq!(best(&answer), best(&expected), "{name}");
        } else {
            assert_same(&answer.predictions, &expected.predictions);
        }
    }
}

#[test]
fn what_is_no_picture_is_called_by_its_name() {
    let server = Server::start(&[]);
    let heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic";
    let told = server
        .client
        .predict(heic)
        .refusal(415, "unsupported-format");
    assert!(
        told.starts_with(
            "This is a HEIC picture, as iPhones take them: set the camera to \"Most Compatible\""
        ),
        "{told}"
    );
    let told = server
        .client
        .predict(b"%PDF-1.7\n")
        .refusal(415, "unsupported-format");
    assert!(told.starts_with("This is a PDF document: "), "{told}");
}

/// Of a phone's photograph a quarter is made: what it is answered is what all of its pixels are.
#[test]
fn a_large_photograph_is_answered_as_all_of_its_pixels_are() {
    let (Some(folder), Some(model)) = (shared("photos"), imagenet()) else {
        return;
    };
    let jpeg = std::fs::read(folder.join("phone-12mp.jpg")).unwrap();
    let picture = Decoder::new(&jpeg).and_then(Decoder::decode).unwrap();
    let (width, height) = (picture.width as u32, picture.height as u32);
    let pixels = RgbImage::from_raw(width, height, picture.pixels).unwrap();
    let server = Server::of(&model.cwasm, &["--max-body-bytes", "50000000"]);
    let whole = server
        .client
        .predict(&encode(&pixels, ImageFormat::Bmp))
        .answer();
    let small = server.client.predict(&jpeg).answer();
    for (one, other) in small.predictions.iter().zip(&whole.predictions).take(2) {
        assert_eq!(one.class_id, other.class_id);
        let difference = (one.probability - other.probability).abs();
        assert!(difference < 0.03, "{one:?} {other:?}");
    }
}

/// Bytes of good pictures turned: they are answered or refused, and nothing else comes of it.
#[test]
fn spoiled_pictures_do_no_harm() {
    let mut server = Server::start(&[]);
    let picture = scene(61, 43);
    let mut all: Vec<Vec<u8>> = [
        ImageFormat::Png,
        ImageFormat::WebP,
        ImageFormat::Gif,
        ImageFormat::Bmp,
    ]
    .map(|format| encode(&picture, format))
    .into();
    all.push(jpeg(&picture));
    let mut state = 7u32;
    let mut random = |below: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize % below
    };
    let mut answered = 0;
    for good in &all {
        for turn in 0..80 {
            let mut bytes = good.clone();
            for _ in 0..1 + turn % 4 {
                let place = random(bytes.len());
                match turn % 3 {
                    0 => bytes[place] ^= 1 << random(8),
                    1 => bytes[place] = [0, 0xff][random(2)],
                    _ => drop(bytes.drain(place..(place + random(9)).min(bytes.len()))),
                }
                if bytes.is_empty() {
                    bytes.push(0);
                }
            }
            let reply = server.client.predict(&bytes);
            let is_known = [200, 413, 415, 422].contains(&reply.status);
            assert!(is_known, "{} {}", reply.status, reply.body);
            answered += usize::from(reply.status == 200);
        }
    }
    // Among so many some hit what does not matter, and some what does.
    assert!((1..all.len() * 80).contains(&answered), "{answered}");
    assert!(server.is_alive());
}
