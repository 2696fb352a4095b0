//! The command line of `fetch-model`; downloads themselves are tested beside their code.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{Read, Write};
use std::process::{Command, Output};
use tempfile::TempDir;

/// SHA-256 of `abc`, from the standard.
const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

fn fetch(folder: &TempDir, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask-models"));
    // This machine's own server needs no proxy.
    for name in ["ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    command
        .arg("fetch-model")
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Serves `abc` once, under any name.
fn serve() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc")
            .unwrap();
    });
    format!("http://{address}")
}

#[test]
fn without_a_name_it_lists_what_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let output = fetch(&folder, &[]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    for name in [
        "mobilenetv2-7 ",
        "mobilenetv2-10 ",
        "mobilenetv2-12 ",
        "14.2 MB",
    ] {
        assert!(text.contains(name), "{text}");
    }
}

#[test]
fn a_file_of_ones_own_arrives_in_quiet_steps() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("{}/models/own.onnx", serve());
    let output = fetch(&folder, &["--url", &url, "--sha256", ABC]);
    let text = errors(&output);
    assert!(output.status.success(), "{text}");
    assert_eq!(
        std::fs::read(folder.path().join("own.onnx")).unwrap(),
        b"abc"
    );
    // No terminal, so nothing is drawn over: two plain lines.
    assert_eq!(
        text,
        format!("xtask: downloading {url}\nxtask: own.onnx has the right SHA-256, {ABC}\n")
    );
    // The server has gone; nobody asks it again.
    let output = fetch(&folder, &["--url", &url, "--sha256", ABC]);
    assert_eq!(errors(&output), "xtask: own.onnx is here already\n");
    assert!(output.status.success());
}

#[test]
fn a_mirror_must_have_the_model_itself() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("{}/", serve());
    let output = fetch(&folder, &["mobilenetv2-12", "--url", &url, "-o", "m.onnx"]);
    assert_eq!(output.status.code(), Some(1));
    let text = errors(&output);
    assert!(text.contains("has 3 bytes, not 13964571"), "{text}");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
}

#[test]
fn what_is_not_vouched_for_is_not_downloaded() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, expected, code) in [
        (&["resnet"][..], "There is no model resnet", 1),
        (&["--url", "http://localhost/m.onnx"], "--sha256", 1),
        (&["--url", "http://localhost/", "--sha256", ABC], "-o", 1),
        (&["--sha256", ABC], "--url", 2),
        (
            &["--url", "http://localhost/m", "--sha256", "abc"],
            "64 hexadecimal digits",
            2,
        ),
        (
            &[
                "mobilenetv2-12",
                "--url",
                "http://localhost/m",
                "--sha256",
                ABC,
            ],
            "cannot be used",
            2,
        ),
    ] {
        let output = fetch(&folder, arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        let text = errors(&output);
        assert!(text.contains(expected), "{text}");
    }
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
}
