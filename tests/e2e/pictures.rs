//! Pictures of every kind, through the real program: the answer must be that of the right pixels.
//!
//! `tests/clients/pictures.py` writes them, with Pillow's pixels beside them.

use crate::common::server::Server;
use crate::common::{assert_same, python, root, run, say, shared};
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
    assert!(all.len() > 400, "{}", all.len());
    let wrong: Vec<String> = all
        .iter()
        .filter_map(|entry| wrong(&server, folder.path(), entry))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// JPEG files that are refused with a sentence, since their pixels would be wrong: scans of single colours, colours finer than
/// brightness, factors of three.
const UNREAD: [&str; 6] = ["j33-", "j37-", "j38-", "j60-", "j61-", "j65-"];

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
        let unread = UNREAD.iter().any(|kind| name.starts_with(kind));
        if unread || entry["expect"] == "refuse422" {
            reply.refusal(422, "invalid-image");
            continue;
        }
        let right = folder.join(entry["right"].as_str().unwrap());
        let expected = server.client.predict(&std::fs::read(right).unwrap());
        if name.ends_with(".jpg") {
            // Decoders of JPEG differ by a level or two.
            assert_eq!(
                reply.answer().predictions[0].class_id,
                expected.answer().predictions[0].class_id,
                "{name}"
            );
        } else {
            assert_same(&reply.answer().predictions, &expected.answer().predictions);
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
