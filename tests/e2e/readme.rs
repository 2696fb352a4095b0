//! README's commands do what it says: each is run here as it stands, or named here with what runs it instead.

use crate::common::pictures::{jpeg, scene};
use crate::common::server::Server;
use crate::common::{dist, in_ci, pinhole, python, root, run, shared, skipped, wasmtime};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How a command is tried.
enum Tried {
    /// Here; its output has this in it.
    Here(&'static str),
    /// It is the service, which the commands after it ask.
    Service,
    /// Not here, for this reason.
    Elsewhere(&'static str),
}
use Tried::{Elsewhere, Here, Service};

/// Every command of README's `sh` blocks.
const COMMANDS: &[(&str, Tried)] = &[
    (
        "cargo xtask classify photo.jpg",
        Elsewhere("it is what `dist/pinhole classify` is, after a build"),
    ),
    ("cargo xtask test", Elsewhere("it is what runs this")),
    (
        "cargo xtask soak",
        Elsewhere("soak/ runs the same for a short time"),
    ),
    ("wasmtime run --dir . dist/guest.wasm cat.jpg", Here(" %  ")),
    (
        "dist/pinhole classify cat.jpg --top-k 3 --json",
        Here("predictions"),
    ),
    (
        "dist/pinhole classify pictures/ --format csv > answers.csv",
        Here(""),
    ),
    ("dist/pinhole serve", Service),
    (
        "curl -F image=@cat.jpg localhost:8000/predict",
        Here("predictions"),
    ),
    (
        "curl --data-binary @cat.jpg -H 'Content-Type: image/jpeg' 'localhost:8000/predict?top_k=1'",
        Here("predictions"),
    ),
    (
        "cargo xtask image",
        Elsewhere("`cargo xtask test` builds the image, and container.rs tries it"),
    ),
    (
        "docker run --rm -p 8000:8000 --read-only --cap-drop ALL pinhole",
        Elsewhere("container.rs runs it, on a port that is free"),
    ),
    (
        "cargo xtask image && docker compose -f deploy/compose.yaml up",
        Elsewhere(
            "no registry that has Prometheus and Grafana is reached from a test; metrics.rs checks what it configures",
        ),
    ),
    (
        "kubectl apply -k deploy/kubernetes/overlays/local",
        Elsewhere("there is no cluster; deploy/ checks what it would apply"),
    ),
    (
        "cargo xtask http",
        Elsewhere("`cargo xtask test` composes the component"),
    ),
    (
        "wasmtime serve -S cli --addr 127.0.0.1:8000 dist/guest-http.wasm",
        Elsewhere("wasi_http.rs runs it, on a port that is free"),
    ),
    (
        "cargo xtask fetch-model efficientnet-lite0",
        Elsewhere("lite0.rs runs it"),
    ),
    (
        "dist/pinhole bake --model efficientnet-lite0.onnx --config efficientnet-lite0.toml --labels models/imagenet.labels.txt -o imagenet.wasm --precompile",
        Elsewhere("lite0.rs bakes it, with these labels and that configuration"),
    ),
    (
        "dist/pinhole classify --component imagenet.cwasm cat.jpg",
        Elsewhere("lite0.rs classifies photographs with it"),
    ),
    (
        "cargo xtask fetch-model mobilenetv2-12",
        Elsewhere("xtask/models/tests fetch from a server of their own"),
    ),
    (
        "dist/pinhole bake --model mobilenetv2-12.onnx --labels models/imagenet.labels.txt -o mobilenet.wasm --precompile",
        Here(""),
    ),
    ("dist/pinhole serve --component mobilenet.cwasm", Service),
    (
        "dist/pinhole bake --engine nn --model mobilenetv2-12.onnx --labels models/imagenet.labels.txt -o mobilenet-nn.wasm --precompile --network mobilenet.network",
        Here(""),
    ),
    (
        "dist/pinhole serve --component mobilenet-nn.cwasm --engine tract --model mobilenetv2-12.onnx",
        Elsewhere("nn/ serves such a component, with such a model"),
    ),
    (
        "dist/pinhole serve --component mobilenet-nn.cwasm --engine kernels --model mobilenet.network",
        Elsewhere("nn/ serves such a component, with such a model"),
    ),
    (
        "wasmtime run -S nn,nn-graph=onnx::FOLDER --dir . mobilenet-nn.wasm cat.jpg",
        Elsewhere("it takes a Wasmtime of one's own making; README says how it was tried"),
    ),
];

/// The blocks of README in this language, in order.
fn blocks(language: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join("README.md")).unwrap();
    let fence = format!("```{language}\n");
    let open = text.split(&fence).skip(1);
    let blocks: Vec<String> = open
        .map(|rest| rest.split("```").next().unwrap().to_string())
        .collect();
    assert!(!blocks.is_empty(), "README has no block of {language}");
    blocks
}

/// The commands of a block, without what is said about them.
fn commands(block: &str) -> impl Iterator<Item = &str> {
    block
        .lines()
        .map(|line| line.split(" #").next().unwrap().trim())
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// A folder in which README's commands find what they name.
fn clone() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for name in ["dist", "models"] {
        std::os::unix::fs::symlink(root().join(name), path(name)).unwrap();
    }
    let picture = jpeg(&scene(320, 240));
    std::fs::write(path("cat.jpg"), &picture).unwrap();
    std::fs::create_dir(path("pictures")).unwrap();
    std::fs::write(path("pictures/cat.jpg"), &picture).unwrap();
    folder
}

/// A shell in this folder, whose `wasmtime` is the right one, free of the tester's own configuration.
fn shell(folder: &Path, command: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-e", "-c", command]).current_dir(folder);
    for (name, value) in pinhole().get_envs() {
        assert!(value.is_none());
        shell.env_remove(name);
    }
    let wasmtime = PathBuf::from(wasmtime().get_program());
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(wasmtime.parent().unwrap().to_path_buf())
        .chain(std::env::split_paths(&path));
    shell.env("PATH", std::env::join_paths(folders).unwrap());
    shell
}

#[test]
fn every_command_does_what_it_says() {
    if Command::new("curl").arg("--version").output().is_err() {
        assert!(!in_ci(), "there is no curl, and in CI there must be");
        return skipped("there is no curl");
    }
    let folder = clone();
    let models =
        shared("models").filter(|models| models.join("mobilenetv2-imagenet.onnx").is_file());
    if let Some(models) = &models {
        // The same file, as `fetch-model` names it.
        let model = models
            .canonicalize()
            .unwrap()
            .join("mobilenetv2-imagenet.onnx");
        std::os::unix::fs::symlink(model, folder.path().join("mobilenetv2-12.onnx")).unwrap();
    }
    let mut service: Option<Server> = None;
    let mut unknown = Vec::new();
    let mut seen = BTreeSet::new();
    for command in blocks("sh").iter().flat_map(|block| commands(block)) {
        let Some((_, tried)) = COMMANDS.iter().find(|(known, _)| *known == command) else {
            unknown.push(command.to_string());
            continue;
        };
        seen.insert(command.to_string());
        if models.is_none() && command.contains("mobilenet") {
            // Said aloud above.
            continue;
        }
        match tried {
            Elsewhere(why) => assert!(!why.is_empty()),
            Service => {
                let component = command
                    .split_once(" --component ")
                    .map(|(_, name)| folder.path().join(name));
                service = Some(Server::of(
                    &component.unwrap_or_else(|| dist("guest.cwasm")),
                    &[],
                ));
            }
            Here(expected) => {
                let address = service
                    .as_ref()
                    .map_or("localhost:8000", |service| &service.client.address);
                let ended = run(
                    &mut shell(folder.path(), &command.replace("localhost:8000", address)),
                    b"",
                );
                assert_eq!(ended.code, Some(0), "{command}: {}", ended.stderr);
                assert!(
                    ended.stdout.contains(expected),
                    "{command}: {}",
                    ended.stdout
                );
            }
        }
    }
    assert!(
        unknown.is_empty(),
        "say in tests/e2e/readme.rs how README's {unknown:#?} are tried"
    );
    let known: BTreeSet<String> = COMMANDS
        .iter()
        .map(|(known, _)| known.to_string())
        .collect();
    let gone: Vec<&String> = known.difference(&seen).collect();
    assert!(
        gone.is_empty(),
        "README has no {gone:#?} any more: remove them from tests/e2e/readme.rs"
    );
}

#[test]
fn the_python_works() {
    let Some(python) = python() else { return };
    let folder = clone();
    let server = Server::start(&[]);
    for block in blocks("python") {
        let script = block.replace("localhost:8000", &server.client.address);
        let ended = run(
            Command::new(&python)
                .current_dir(&folder)
                .args(["-c", &script]),
            b"",
        );
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert!(!ended.stdout.trim().is_empty());
    }
}
