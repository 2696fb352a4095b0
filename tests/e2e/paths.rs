//! What is no regular file is neither read nor replaced where a file is meant, and is not waited for; and nothing is left of
//! what was not finished.

use crate::common::onnx::COLOURS;
use crate::common::pictures::{jpeg, scene};
use crate::common::{Ended, dist, pinhole, root, run, wait};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// Runs a command that must come to an end by itself.
#[track_caller]
fn ends(command: &mut Command) -> Ended {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let waited = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        wait("the end of a command that must not wait", 60, || {
            child.try_wait().unwrap()
        })
    }));
    if waited.is_err() {
        child.kill().unwrap();
    }
    let output = child.wait_with_output().unwrap();
    assert!(waited.is_ok(), "{command:?} waits");
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A folder with files to bake from, and with what is no file.
struct Kitchen(TempDir);

impl Kitchen {
    fn new() -> Self {
        let kitchen = Self(TempDir::new().unwrap());
        std::fs::write(kitchen.at("colours.onnx"), COLOURS.encode()).unwrap();
        std::fs::write(kitchen.at("labels.txt"), "red\ngreen\nblue\n").unwrap();
        std::fs::create_dir(kitchen.at("folder")).unwrap();
        run(Command::new("mkfifo").arg(kitchen.at("pipe")), b"").ok();
        // It stays when its listener goes.
        UnixListener::bind(kitchen.at("socket")).unwrap();
        kitchen
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// What is no file, with what it is called.
    fn specials(&self) -> [(PathBuf, &'static str); 4] {
        [
            (self.at("pipe"), "a named pipe"),
            (self.at("socket"), "a socket"),
            (self.at("folder"), "a folder"),
            ("/dev/zero".into(), "a device"),
        ]
    }

    /// Baking, with one of the files elsewhere.
    fn bake(&self, flag: &str, path: &Path) -> Ended {
        let mut command = pinhole();
        command.arg("bake");
        for (own, name) in [
            ("--model", "colours.onnx"),
            ("--labels", "labels.txt"),
            ("-o", "out.wasm"),
        ] {
            if own != flag {
                command.arg(own).arg(self.at(name));
            }
        }
        ends(command.arg(flag).arg(path))
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

#[track_caller]
fn refused(ended: &Ended, path: &Path, kind: &str) {
    let Ended { code, stderr, .. } = ended;
    assert_eq!(*code, Some(3), "{}: {stderr}", path.display());
    let told = stderr.contains(kind) && stderr.contains(&*path.to_string_lossy());
    assert!(told && stderr.ends_with(".\n"), "{kind}: {stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

#[test]
fn only_regular_files_are_read() {
    let kitchen = Kitchen::new();
    for (path, kind) in kitchen.specials() {
        let classify = ["classify", "x.jpg", "--component"];
        refused(&ends(pinhole().args(classify).arg(&path)), &path, kind);
        let mut serve = pinhole();
        serve.args(["serve", "--log-level", "error", "--listen", "127.0.0.1:0"]);
        refused(&ends(serve.arg("--component").arg(&path)), &path, kind);
        for flag in ["--model", "--labels", "--config"] {
            refused(&kitchen.bake(flag, &path), &path, kind);
        }
    }
    // The host's own models, too.
    let component = kitchen.at("nn.wasm");
    let mut bake = pinhole();
    bake.args(["bake", "--engine", "nn", "--precompile", "--model"])
        .arg(kitchen.at("colours.onnx"))
        .arg("--labels")
        .arg(kitchen.at("labels.txt"));
    run(bake.arg("-o").arg(&component), b"").ok();
    for (path, kind) in kitchen.specials() {
        for engine in ["tract", "kernels"] {
            let mut classify = pinhole();
            classify.args(["classify", "x.jpg", "--engine", engine, "--model"]);
            classify.arg(&path).arg("--component");
            let ended = ends(classify.arg(component.with_extension("cwasm")));
            refused(&ended, &path, kind);
        }
    }
}

#[test]
fn pictures_may_come_through_a_pipe() {
    let kitchen = Kitchen::new();
    let picture = kitchen.at("picture.jpg");
    std::fs::write(&picture, jpeg(&scene(64, 64))).unwrap();
    let mut writer = Command::new("cp")
        .args([&picture, &kitchen.at("pipe")])
        .spawn()
        .unwrap();
    let mut classify = pinhole();
    classify.arg("classify").arg(kitchen.at("pipe"));
    ends(&mut classify).ok();
    assert!(writer.wait().unwrap().success());
    // One that never ends is not read to its end.
    let ended = ends(pinhole().args(["classify", "/dev/zero"]));
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("512 MiB"), "{}", ended.stderr);
}

#[test]
fn only_regular_files_are_replaced() {
    let kitchen = Kitchen::new();
    std::fs::write(kitchen.at("precious"), "precious").unwrap();
    symlink(kitchen.at("precious"), kitchen.at("link")).unwrap();
    symlink(kitchen.at("none"), kitchen.at("dangling")).unwrap();
    let before = kitchen.names();
    let links = ["link", "dangling"].map(|name| (kitchen.at(name), "a symbolic link"));
    for (path, kind) in kitchen.specials().into_iter().chain(links) {
        refused(&kitchen.bake("-o", &path), &path, kind);
        let mut bake = pinhole();
        bake.args(["bake", "--engine", "nn", "--model"])
            .arg(kitchen.at("colours.onnx"))
            .arg("--labels")
            .arg(kitchen.at("labels.txt"))
            .arg("-o")
            .arg(kitchen.at("out.wasm"));
        refused(&ends(bake.arg("--network").arg(&path)), &path, kind);
    }
    let model = kitchen.at("colours.onnx");
    let ended = kitchen.bake("-o", &model);
    refused(&ended, &model, "would be replaced");
    assert_eq!(kitchen.names(), before);
    let kept = std::fs::read_to_string(kitchen.at("precious")).unwrap();
    assert_eq!(kept, "precious");
    assert_eq!(std::fs::read(&model).unwrap(), COLOURS.encode());
    let pipe = std::fs::symlink_metadata(kitchen.at("pipe")).unwrap();
    assert!(pipe.file_type().is_fifo());
    // The code beside the component is written, too.
    let code = kitchen.at("out.cwasm");
    symlink(kitchen.at("precious"), &code).unwrap();
    let mut bake = pinhole();
    bake.args(["bake", "--precompile", "--model"])
        .arg(&model)
        .arg("--labels")
        .arg(kitchen.at("labels.txt"));
    let ended = ends(bake.arg("-o").arg(kitchen.at("out.wasm")));
    refused(&ended, &code, "a symbolic link");
}

#[test]
fn what_is_baked_is_for_those_whom_the_mask_lets() {
    let kitchen = Kitchen::new();
    let bake = |mask: &str| {
        let script = r#"umask "$1"; exec "$2" bake --model "$3" --labels "$4" -o "$5""#;
        let mut shell = Command::new("sh");
        shell.args(["-c", script, "sh", mask]).arg(dist("pinhole"));
        let names = ["colours.onnx", "labels.txt", "out.wasm"];
        run(shell.args(names.map(|name| kitchen.at(name))), b"").ok();
        let file = std::fs::metadata(kitchen.at("out.wasm")).unwrap();
        file.permissions().mode() & 0o777
    };
    assert_eq!(bake("027"), 0o640);
    // One that is there keeps what it has.
    assert_eq!(bake("077"), 0o640);
}

#[test]
fn an_interrupted_bake_leaves_nothing() {
    let kitchen = Kitchen::new();
    let file = |end: &str| root().join("models").join(format!("default.{end}"));
    let before = kitchen.names();
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let mut child = pinhole()
            .args(["bake", "--precompile"])
            .args([Path::new("--model"), &file("onnx")])
            .args([Path::new("--labels"), &file("labels.txt")])
            .args([Path::new("--config"), &file("toml")])
            .args([Path::new("-o"), &kitchen.at("out.wasm")])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        // The component is on disk then, under another name, and is about to be tried.
        let mut line = String::new();
        while !line.starts_with("translate") {
            line.clear();
            assert_ne!(stderr.read_line(&mut line).unwrap(), 0, "it has ended");
        }
        assert!(kitchen.names().len() > before.len());
        run(
            Command::new("kill").args([signal, &child.id().to_string()]),
            b"",
        )
        .ok();
        let ended = wait("its end", 60, || child.try_wait().unwrap());
        let mut rest = String::new();
        stderr.read_to_string(&mut rest).unwrap();
        assert_eq!(ended.code(), Some(code), "{rest}");
        assert_eq!(kitchen.names(), before);
    }
}
