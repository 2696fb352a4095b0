//! What baking finds out before it writes: whether int8 changes answers, what serving will need, and models that would take all
//! time or memory there is.

use crate::common::onnx::{COLOURS, Model, floats, integers};
use crate::common::pictures::{encode, jpeg, scene};
use crate::common::server::Server;
use crate::common::{Ended, pinhole, run};
use image::ImageFormat;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const LABELS: &str = "red\ngreen\nblue\n";

fn file(folder: &TempDir, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// Bakes a model to `baked.wasm` and `baked.cwasm`.
fn bake(folder: &TempDir, model: &Path, more: &[&str]) -> Ended {
    let labels = file(folder, "labels.txt", LABELS);
    let mut bake = pinhole();
    bake.arg("bake").arg("--model").arg(model);
    bake.arg("--labels").arg(labels).args(more);
    bake.arg("-o").arg(folder.path().join("baked.wasm"));
    run(bake.arg("--precompile"), b"")
}

#[track_caller]
fn refused(ended: &Ended, words: &str) {
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    let sentence = ended.stderr.lines().last().unwrap_or_default();
    assert!(
        sentence.contains(words) && sentence.ends_with('.'),
        "{}",
        ended.stderr
    );
}

/// Channels of which one is a thousand times as large as the others, which alone decide: rounded together, these are gone.
fn rounds_badly() -> Vec<u8> {
    const WIDE: usize = 64;
    let mut first = vec![0.0; WIDE * 3];
    first[..3].fill(1000.0);
    for channel in 1..WIDE {
        first[channel * 3 + channel % 3] = 0.5;
    }
    let mut offset = vec![0.5; WIDE];
    offset[0] = 10_000.0;
    let mut second = vec![0.0; WIDE * WIDE];
    for channel in 1..WIDE {
        second[channel * WIDE + channel] = 1.0;
    }
    let mut last = vec![0.0; WIDE * 3];
    for channel in 1..WIDE {
        last[channel * 3 + channel % 3] = 40.0;
    }
    let wide = WIDE as u64;
    let model = Model {
        nodes: &[
            ("Conv", &["image", "first", "offset"], &["a"]),
            ("HardSigmoid", &["a"], &["b"]),
            ("Mul", &["a", "b"], &["c"]),
            ("Conv", &["c", "second"], &["d"]),
            ("GlobalAveragePool", &["d"], &["e"]),
            ("Flatten", &["e"], &["f"]),
            ("MatMul", &["f", "last"], &["scores"]),
        ],
        inputs: &[("image", &[1, 3, 32, 32])],
        outputs: &[("scores", &[1, 3])],
    };
    [
        model.encode(),
        floats("first", &[wide, 3, 1, 1], &first),
        floats("offset", &[wide], &offset),
        floats("second", &[wide, wide, 1, 1], &second),
        floats("last", &[wide, 3], &last),
    ]
    .concat()
}

#[test]
fn int8_that_changes_answers_is_not_what_is_written() {
    let folder = TempDir::new().unwrap();
    let model = file(&folder, "model.onnx", rounds_badly());
    let engine = || {
        let server = Server::of(&folder.path().join("baked.cwasm"), &[]);
        let metrics = server.client.get("/metrics").body;
        let info = metrics
            .lines()
            .find(|line| line.starts_with("pinhole_model_info{"));
        info.unwrap().to_string()
    };
    let ended = bake(&folder, &model, &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("baked in fp32"), "{}", ended.stderr);
    assert!(engine().contains("kernels-fp32"));

    // Whoever asks for it has it, and is told.
    let ended = bake(&folder, &model, &["--precision", "int8"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("warning: that is far"),
        "{}",
        ended.stderr
    );
    assert!(engine().contains("kernels-int8"));
}

/// Pixels of a large picture, each of which becomes several tensors: more than a sandbox usually has.
const LARGE: Model<'static> = Model {
    nodes: &[
        ("Neg", &["image"], &["a"]),
        ("Exp", &["a"], &["b"]),
        ("Mul", &["a", "b"], &["c"]),
        ("GlobalAveragePool", &["c"], &["d"]),
        ("Flatten", &["d"], &["scores"]),
    ],
    inputs: &[("image", &[1, 3, 4096, 4096])],
    outputs: &[("scores", &[1, 3])],
};

#[test]
fn a_model_that_needs_more_memory_than_usual_says_how_much() {
    let folder = TempDir::new().unwrap();
    let model = file(&folder, "model.onnx", LARGE.encode());
    let pictures = TempDir::new().unwrap();
    file(
        &pictures,
        "one.png",
        encode(&scene(64, 64), ImageFormat::Png),
    );
    let ended = bake(
        &folder,
        &model,
        &["--check", pictures.path().to_str().unwrap()],
    );
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let asked = ended.stderr.split_once("serve it with --memory-mib ");
    let (_, asked) = asked.unwrap_or_else(|| panic!("{}", ended.stderr));
    let asked = asked.lines().next().unwrap().trim_end_matches('.');

    let component = folder.path().join("baked.cwasm");
    let mut usual = pinhole();
    usual
        .args(["classify", "--component"])
        .arg(&component)
        .arg(pictures.path().join("one.png"));
    let usual = run(&mut usual, b"");
    assert_ne!(usual.code, Some(0));
    assert!(usual.stderr.contains("memory"), "{}", usual.stderr);
    let server = Server::of(
        &component,
        &[
            "--workers",
            "1",
            "--memory-mib",
            asked,
            "--deadline-ms",
            "60000",
        ],
    );
    server.client.predict(&jpeg(&scene(640, 480))).answer();
}

/// Few bytes, and a picture that they make larger by so much a side.
fn padded(
    by: i64,
    nodes: &'static [(
        &'static str,
        &'static [&'static str],
        &'static [&'static str],
    )],
) -> Vec<u8> {
    let model = Model { nodes, ..COLOURS };
    let pads = integers("pads", &[0, 0, 0, 0, 0, 0, by, by]);
    [model.encode(), pads].concat()
}

#[test]
fn what_would_take_all_memory_or_time_is_refused_while_it_is_read() {
    let folder = TempDir::new().unwrap();
    let large = padded(
        12_000,
        &[
            ("Pad", &["image", "pads"], &["a"]),
            ("GlobalAveragePool", &["a"], &["b"]),
            ("Flatten", &["b"], &["scores"]),
        ],
    );
    let large = file(&folder, "large.onnx", large);
    refused(
        &bake(&folder, &large, &["--load-memory-mib", "256"]),
        "--load-memory-mib",
    );
    // More than can be counted in a sandbox.
    let huge = padded(
        40_000,
        &[
            ("Pad", &["image", "pads"], &["a"]),
            ("GlobalAveragePool", &["a"], &["b"]),
            ("Flatten", &["b"], &["scores"]),
        ],
    );
    let huge = file(&folder, "huge.onnx", huge);
    refused(&bake(&folder, &huge, &[]), "cannot be made ready");

    let long = padded(
        3_000,
        &[
            ("Pad", &["image", "pads"], &["a"]),
            ("MatMul", &["a", "a"], &["b"]),
            ("MatMul", &["b", "b"], &["c"]),
            ("GlobalAveragePool", &["c"], &["d"]),
            ("Flatten", &["d"], &["scores"]),
        ],
    );
    let long = file(&folder, "long.onnx", long);
    refused(
        &bake(&folder, &long, &["--load-time-s", "1"]),
        "--load-time-s",
    );
    assert!(!folder.path().join("baked.wasm").exists());
}

#[test]
fn what_is_read_natively_is_bounded_too() {
    let folder = TempDir::new().unwrap();
    let good = file(&folder, "good.onnx", COLOURS.encode());
    let ended = bake(&folder, &good, &["--engine", "nn"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let component = folder.path().join("baked.cwasm");
    let huge = padded(
        1 << 31,
        &[
            ("Pad", &["image", "pads"], &["a"]),
            ("GlobalAveragePool", &["a"], &["b"]),
            ("Flatten", &["b"], &["scores"]),
        ],
    );
    let huge = file(&folder, "huge.onnx", huge);
    let mut serve = pinhole();
    serve.args(["serve", "--listen", "127.0.0.1:0", "--engine", "tract"]);
    serve.args(["--load-time-s", "2", "--load-memory-mib", "512"]);
    serve.arg("--component").arg(component);
    serve.arg("--model").arg(&good);
    serve
        .arg("--model")
        .arg(format!("other={}", huge.display()));
    let ended = run(&mut serve, b"");
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    let sentence = ended.stderr.lines().last().unwrap_or_default();
    assert!(sentence.contains("huge.onnx"), "{}", ended.stderr);
}

#[test]
fn whole_numbers_are_no_scores() {
    let folder = TempDir::new().unwrap();
    let classes = Model {
        nodes: &[
            ("GlobalAveragePool", &["image"], &["a"]),
            ("Flatten", &["a"], &["b"]),
            ("ArgMax", &["b"], &["scores"]),
        ],
        ..COLOURS
    };
    // As exporters write it: 64-bit integers.
    let bytes = classes.encode_with_outputs_of(7);
    let model = file(&folder, "model.onnx", bytes);
    refused(&bake(&folder, &model, &[]), "ArgMax");
}

/// Whoever bakes learns which node keeps a model from the kernels.
#[test]
fn what_keeps_a_model_from_the_kernels_is_told() {
    let folder = TempDir::new().unwrap();
    let model = Model {
        nodes: &[
            ("Sinh", &["image"], &["stretched"]),
            ("GlobalAveragePool", &["stretched"], &["mean"]),
            ("Flatten", &["mean"], &["scores"]),
        ],
        ..COLOURS
    };
    let path = file(&folder, "model.onnx", model.encode());
    let ended = bake(&folder, &path, &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let told = "this model runs on tract: the operator Sinh is none of the kernels' (the Sinh at node `Sinh_stretched`)";
    assert!(
        ended.stderr.lines().any(|line| line == told),
        "{}",
        ended.stderr
    );
}
