//! How a model ends decides what its scores mean: the same picture has the same probabilities, however the file writes them.

use crate::common::onnx::{COLOURS, Model};
use crate::common::pictures::encode;
use crate::common::{Ended, answer, pinhole, run};
use image::{ImageFormat, Rgb, RgbImage};
use std::path::Path;
use tempfile::TempDir;

/// Pixels as they are, from 0 to 1.
const PLAIN: &str = "[preprocess]\nmean = [0.0, 0.0, 0.0]\nstd = [1.0, 1.0, 1.0]\n";

fn bake(folder: &Path, model: &Model<'_>, labels: &str, config: &str) -> Ended {
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let mut bake = pinhole();
    bake.arg("bake")
        .arg("--model")
        .arg(file("model.onnx", &model.encode()))
        .arg("--labels")
        .arg(file("labels.txt", labels.as_bytes()))
        .arg("--config")
        .arg(file("config.toml", config.as_bytes()))
        .arg("-o")
        .arg(folder.join("baked.wasm"))
        .arg("--precompile");
    run(&mut bake, b"")
}

/// The best label and its probability for a picture of one colour.
fn best(folder: &Path, colour: [u8; 3]) -> (String, f32) {
    let picture = folder.join("picture.png");
    let image = RgbImage::from_pixel(32, 32, Rgb(colour));
    std::fs::write(&picture, encode(&image, ImageFormat::Png)).unwrap();
    let mut classify = pinhole();
    classify
        .args(["classify", "--json", "--component"])
        .arg(folder.join("baked.cwasm"))
        .arg(&picture);
    let line = run(&mut classify, b"").ok();
    let best = answer(&line).predictions.swap_remove(0);
    (best.label, best.probability)
}

/// Scores, and the nodes that come behind them.
fn ending(
    nodes: &'static [(
        &'static str,
        &'static [&'static str],
        &'static [&'static str],
    )],
) -> Model<'static> {
    Model { nodes, ..COLOURS }
}

#[test]
fn a_softmax_is_done_once_however_it_is_written() {
    const MEANS: (&str, &[&str], &[&str]) = ("GlobalAveragePool", &["image"], &["means"]);
    const FLAT: (&str, &[&str], &[&str]) = ("Flatten", &["means"], &["flat"]);
    let endings = [
        ("none", COLOURS),
        (
            "one",
            ending(&[MEANS, FLAT, ("Softmax", &["flat"], &["scores"])]),
        ),
        (
            "one, and Identity",
            ending(&[
                MEANS,
                FLAT,
                ("Softmax", &["flat"], &["soft"]),
                ("Identity", &["soft"], &["scores"]),
            ]),
        ),
        (
            "spelled out",
            ending(&[
                MEANS,
                FLAT,
                ("Exp", &["flat"], &["e"]),
                ("ReduceSum", &["e"], &["sum"]),
                ("Div", &["e", "sum"], &["scores"]),
            ]),
        ),
        (
            "spelled out in another way",
            ending(&[
                MEANS,
                FLAT,
                ("Exp", &["flat"], &["e"]),
                ("ReduceSum", &["e"], &["sum"]),
                ("Reciprocal", &["sum"], &["part"]),
                ("Mul", &["e", "part"], &["scores"]),
            ]),
        ),
        (
            "its logarithm",
            ending(&[MEANS, FLAT, ("LogSoftmax", &["flat"], &["scores"])]),
        ),
    ];
    // The largest of the softmax of 1, 0 and 0.
    let expected = (1f64.exp() / (1f64.exp() + 2.0)) as f32;
    for (name, model) in endings {
        let folder = TempDir::new().unwrap();
        let ended = bake(folder.path(), &model, "red\ngreen\nblue\n", PLAIN);
        assert_eq!(ended.code, Some(0), "{name}: {}", ended.stderr);
        let (label, probability) = best(folder.path(), [255, 0, 0]);
        assert_eq!(label, "red", "{name}");
        assert!(
            (probability - expected).abs() < 1e-3,
            "{name}: {probability}"
        );
    }
}

#[test]
fn a_configuration_that_contradicts_the_scores_is_refused() {
    let folder = TempDir::new().unwrap();
    let config = format!("{PLAIN}[output]\nsoftmax = false\n");
    let ended = bake(folder.path(), &COLOURS, "red\ngreen\nblue\n", &config);
    assert_eq!(ended.code, Some(3));
    assert!(
        ended.stderr.contains("`softmax = false`"),
        "{}",
        ended.stderr
    );
    assert!(!folder.path().join("baked.wasm").exists());

    let soft = ending(&[
        ("GlobalAveragePool", &["image"], &["means"]),
        ("Flatten", &["means"], &["flat"]),
        ("Softmax", &["flat"], &["scores"]),
    ]);
    let config = format!("{PLAIN}[output]\nsoftmax = true\n");
    let ended = bake(folder.path(), &soft, "red\ngreen\nblue\n", &config);
    assert_eq!(ended.code, Some(3));
    assert!(
        ended.stderr.contains("`softmax = true`"),
        "{}",
        ended.stderr
    );
}

#[test]
fn one_score_is_the_probability_of_one_class() {
    let one = Model {
        outputs: &[("scores", &[1, 1])],
        ..ending(&[
            ("GlobalAveragePool", &["image"], &["means"]),
            ("Flatten", &["means"], &["flat"]),
            ("ReduceMean", &["flat"], &["scores"]),
        ])
    };
    let folder = TempDir::new().unwrap();
    let ended = bake(folder.path(), &one, "\u{feff}bright\r\n", PLAIN);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    for (grey, expected) in [(255, 0.731_058_6), (0, 0.5)] {
        let (label, probability) = best(folder.path(), [grey; 3]);
        assert_eq!(label, "bright");
        assert!(
            (probability - expected).abs() < 1e-3,
            "{grey}: {probability}"
        );
    }
}
