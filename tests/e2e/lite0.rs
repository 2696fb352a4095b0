//! EfficientNet-Lite0 with real ImageNet weights: TensorFlow's padding and 5x5 depthwise convolutions, on our own kernels.

use crate::common::{answer, pinhole, run, say, shared};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// What its authors prepare pictures with.
const CONFIG: &str = "
[preprocess]
resize = 256
crop = 224
interpolation = \"bilinear\"
mean = [0.498039216, 0.498039216, 0.498039216]
std = [0.501960784, 0.501960784, 0.501960784]
";

#[test]
fn floats_give_the_classes_that_onnx_runtime_gives() {
    let Some(seen) = compared("fp32") else { return };
    assert!(seen.same >= 58, "{}", seen.same);
    assert!(seen.worst <= 0.02, "{}", seen.worst);
}

#[test]
fn eight_bits_keep_the_classes() {
    let Some(seen) = compared("int8") else { return };
    assert!(seen.same >= 57, "{}", seen.same);
}

struct Seen {
    /// How many photographs have the class that ONNX Runtime gives.
    same: usize,
    /// How far the probability of these is off at most.
    worst: f64,
}

fn compared(precision: &str) -> Option<Seen> {
    let (models, images) = (shared("models")?, shared("images")?);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("lite0-{precision}"));
    std::fs::create_dir_all(&folder).unwrap();
    let (config, wasm) = (folder.join("lite0.toml"), folder.join("lite0.wasm"));
    std::fs::write(&config, CONFIG).unwrap();
    let mut bake = pinhole();
    bake.arg("bake")
        .args([
            Path::new("--model"),
            &models.join("efficientnet-lite0.onnx"),
        ])
        .args([Path::new("--labels"), &models.join("imagenet-labels.txt")])
        .args([Path::new("--config"), &config])
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
