//! Other people's clients, as they are on PyPI, against a real service.

use crate::common::imagenet::imagenet;
use crate::common::pictures::{jpeg, scene};
use crate::common::server::Server;
use crate::common::{python, root, run, say};
use std::path::Path;
use std::process::Command;

/// Writes what a script is to send, and what it should get.
fn material(server: &Server, folder: &Path) -> [std::path::PathBuf; 2] {
    let picture = jpeg(&scene(320, 240));
    let expected = server
        .client
        .post("/predict?top_k=100000", "image/jpeg", &picture);
    expected.answer();
    let files = [folder.join("picture.jpg"), folder.join("expected.json")];
    std::fs::write(&files[0], picture).unwrap();
    std::fs::write(&files[1], expected.body).unwrap();
    files
}

/// Has a script ask a service with the default model.
fn is_content(script: &str) {
    let Some(python) = python() else { return };
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(python);
    command
        .arg(root().join("tests/clients").join(script))
        .arg(&server.client.address)
        .args(material(&server, folder.path()));
    say(run(&mut command, b"").ok().trim());
}

#[test]
fn triton_s_client_is_content_with_the_default_model() {
    is_content("triton.py");
}

#[test]
fn openvino_s_client_is_content() {
    is_content("ovms.py");
}

#[test]
fn kserve_s_client_is_content_in_both_versions() {
    is_content("kserve_client.py");
}

#[test]
fn triton_s_client_gets_exact_logits() {
    let (Some(python), Some(model)) = (python(), imagenet()) else {
        return;
    };
    let server = Server::of(&model.cwasm, &[]);
    let folder = tempfile::tempdir().unwrap();
    let of_hen = |end: &str| model.images.join(format!("n01514859_hen.jpg.{end}.npy"));
    let mut script = Command::new(python);
    script
        .arg(root().join("tests/clients/triton.py"))
        .arg(&server.client.address)
        .args(material(&server, folder.path()))
        .args([of_hen("tensor"), of_hen("logits")]);
    say(run(&mut script, b"").ok().trim());
}
