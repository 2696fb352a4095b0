//! Networks of other kinds than our own: baking takes them as PyTorch exports them, and they answer as ONNX Runtime does.
//!
//! `tests/models/zoo.py` makes the files and asks ONNX Runtime. It also finds out how far ONNX Runtime's own answers move
//! when nothing but rounding changes, because no answer can be nearer to another than to itself.

use crate::common::{answer, in_ci, pinhole, root, run, say, shared, skipped};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// On how many pictures a model must agree: those on which ONNX Runtime agrees best with itself.
const PICTURES: usize = 20;
/// How far a probability may be off. Not nearer than rounding alone takes it, twice over.
const TOLERANCE: f64 = 0.01;
/// A best class that leads by less is a tie.
const TIE: f64 = 0.02;

const OPSETS: [u32; 3] = [11, 13, 17];
const BATCHES: [&str; 2] = ["static", "symbolic"];
/// Each architecture, and each opset with each batch, once. `cargo xtask zoo` runs all of them with all of them.
const FEW: [&str; 9] = [
    "squeezenet1_1-11-symbolic-96",
    "resnet18-13-static-96",
    "efficientnet_b0-11-static-96",
    "efficientnet_b0-17-symbolic-224",
    "mobilenet_v3_small-13-symbolic-96",
    "mobilenet_v3_small-17-static-96",
    "shufflenet_v2_x0_5-17-symbolic-96",
    "regnet_y_400mf-13-static-96",
    "densenet121-17-static-96",
];

#[test]
fn models_of_the_mobilenet_v2_kind_answer_as_under_onnx_runtime() {
    let Some(models) = shared("models") else {
        return;
    };
    let own = root().join("models");
    visit(&[
        Model {
            name: "default".into(),
            file: Some(own.join("default.onnx")),
            quantise: None,
            labels: own.join("default.labels.txt"),
            config: Some(own.join("default.toml")),
        },
        imagenet(&models, "mobilenetv2-imagenet"),
    ]);
}

#[test]
fn a_quantised_model_answers_as_under_onnx_runtime() {
    let Some(models) = shared("models") else {
        return;
    };
    visit(&[imagenet(&models, "mobilenetv2-imagenet-int8-qdq")]);
}

/// Where no other decoder's rounding comes between, every step of every tensor is ONNX Runtime's.
#[test]
fn quantised_models_answer_exactly_as_under_onnx_runtime() {
    let (Some(models), Some(images)) = (shared("models"), shared("images")) else {
        return;
    };
    let folder = TempDir::new().unwrap();
    let whole = folder.path().join("whole.toml");
    std::fs::write(&whole, "[preprocess]\nresize = 224\n").unwrap();
    let models = [
        Model {
            config: Some(whole),
            ..imagenet(&models, "mobilenetv2-imagenet-int8-qdq")
        },
        // Another zero point and step for each output channel.
        quantised("quantised"),
        // Activations between two roundings.
        quantised("symmetric"),
    ];
    let Some(folder) = made(&models, &images, &["--crops"]) else {
        return;
    };
    // Sums in integers, in floats, and in floats natively.
    let runs = [Runs::Guest("int8"), Runs::Guest("fp32"), Runs::Host];
    let all = models.iter();
    for (model, runs) in all.flat_map(|model| runs.map(|runs| (model, runs))) {
        let seen = answers(model, folder.path(), runs);
        let off = seen.iter().map(|one| one.off).fold(0.0, f64::max);
        let (name, count) = (&model.name, seen.len());
        say(&format!(
            "{name}, {runs:?}: all {count} pictures within {off:.7}"
        ));
        assert!(count >= PICTURES, "{name}");
        for one in seen {
            // Scores are whole steps: two of them may well be equal.
            assert!(one.same_class || one.lead == 0.0, "{name}: {}", one.image);
            assert!(one.off < 1e-5, "{name}: {} by {}", one.image, one.off);
        }
    }
}

/// The default model, quantised by ONNX Runtime.
fn quantised(how: &'static str) -> Model {
    let own = root().join("models");
    Model {
        name: format!("default-{how}"),
        file: Some(own.join("default.onnx")),
        quantise: Some(how),
        labels: own.join("default.labels.txt"),
        config: Some(own.join("default.toml")),
    }
}

fn imagenet(models: &Path, name: &str) -> Model {
    Model {
        name: name.into(),
        file: Some(models.join(format!("{name}.onnx"))),
        quantise: None,
        labels: models.join("imagenet-labels.txt"),
        config: None,
    }
}

#[test]
fn squeezenet_answers_as_under_onnx_runtime() {
    exported("squeezenet1_1");
}

#[test]
fn resnet_answers_as_under_onnx_runtime() {
    exported("resnet18");
}

#[test]
fn efficientnet_answers_as_under_onnx_runtime() {
    exported("efficientnet_b0");
}

#[test]
fn mobilenet_v3_answers_as_under_onnx_runtime() {
    exported("mobilenet_v3_small");
}

#[test]
fn shufflenet_answers_as_under_onnx_runtime() {
    exported("shufflenet_v2_x0_5");
}

#[test]
fn regnet_answers_as_under_onnx_runtime() {
    exported("regnet_y_400mf");
}

#[test]
fn densenet_answers_as_under_onnx_runtime() {
    exported("densenet121");
}

/// Layer normalisation is one node from opset 17 on, and spelled out before; symbolic batches add computed shapes.
#[test]
fn vision_transformers_answer_as_under_onnx_runtime() {
    named(["vit-14-symbolic-96", "vit-17-static-96"]);
}

#[test]
fn convnext_answers_as_under_onnx_runtime() {
    named(["convnext-13-static-96", "convnext-17-symbolic-96"]);
}

/// What other tools write where PyTorch's exporter writes a convolution, a Clip or a softmax; channels last, and pixels as bytes.
#[test]
fn other_spellings_answer_as_under_onnx_runtime() {
    named(["keras-13-static-96", "bytes-13-static-96"]);
}

/// Checks an architecture as it is exported: a few ways of doing so, or all of them.
fn exported(architecture: &str) {
    let all = std::env::var_os("PINHOLE_ZOO").is_some_and(|value| value == "all");
    let names: Vec<String> = if all {
        OPSETS
            .iter()
            .flat_map(|opset| BATCHES.map(|batch| (opset, batch)))
            .map(|(opset, batch)| {
                // One of each at the size that it was designed for.
                let full_size = (*opset, batch) == (17, "symbolic");
                let side = if full_size { 224 } else { 96 };
                format!("{architecture}-{opset}-{batch}-{side}")
            })
            .collect()
    } else {
        let few = FEW.iter().filter(|name| name.starts_with(architecture));
        few.map(ToString::to_string).collect()
    };
    assert!(!names.is_empty());
    named(names);
}

fn named(names: impl IntoIterator<Item = impl Into<String>>) {
    let folder = TempDir::new().unwrap();
    let labels = folder.path().join("labels.txt");
    let classes: Vec<String> = (0..1000).map(|class| format!("class {class}")).collect();
    std::fs::write(&labels, classes.join("\n")).unwrap();
    let models = names.into_iter().map(|name| Model {
        name: name.into(),
        file: None,
        quantise: None,
        labels: labels.clone(),
        config: None,
    });
    visit(&models.collect::<Vec<_>>());
}

/// A model that is checked.
struct Model {
    name: String,
    /// Where it is; none for one that zoo.py exports.
    file: Option<PathBuf>,
    /// How zoo.py has it quantised first.
    quantise: Option<&'static str>,
    labels: PathBuf,
    config: Option<PathBuf>,
}

/// Makes models, bakes them, and compares what they say of pictures, unless there are no pictures or there is no Python.
fn visit(models: &[Model]) {
    let Some(images) = shared("images") else {
        return;
    };
    let Some(folder) = made(models, &images, &[]) else {
        return;
    };
    for model in models {
        // What is compared with ONNX Runtime here is the reading of models, not what rounding costs.
        judge(
            &model.name,
            answers(model, folder.path(), Runs::Guest("fp32")),
        );
    }
}

/// Makes models, and asks ONNX Runtime; none where there is no Python. In CI there must be one.
fn made(models: &[Model], images: &Path, options: &[&str]) -> Option<TempDir> {
    let Some(python) = std::env::var_os("PINHOLE_PYTHON") else {
        assert!(
            !in_ci(),
            "PINHOLE_PYTHON names no Python, and in CI it must: run `cargo xtask test`, which makes one"
        );
        skipped("PINHOLE_PYTHON names no Python with tests/models/requirements.txt");
        return None;
    };
    // On the disk of the build: a precompiled model is large.
    let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut zoo = Command::new(python);
    zoo.arg(root().join("tests/models/zoo.py"))
        .args([Path::new("--images"), images])
        .args(options)
        .args([Path::new("--out"), folder.path()])
        .args(models.iter().map(|model| match &model.file {
            Some(file) => {
                let how = model.quantise.map(|how| format!("{how}:"));
                format!(
                    "{}={}{}",
                    model.name,
                    how.unwrap_or_default(),
                    file.display()
                )
            }
            None => model.name.clone(),
        }));
    run(&mut zoo, b"").ok();
    Some(folder)
}

/// Who runs a model.
#[derive(Clone, Copy, Debug)]
enum Runs {
    /// The guest, baked for this precision.
    Guest(&'static str),
    Host,
}

/// Bakes a model of which `folder` has ONNX Runtime's answers, and compares.
fn answers(model: &Model, folder: &Path, runs: Runs) -> Vec<Seen> {
    let name = &model.name;
    let made = folder.join(format!("{name}.onnx"));
    let given = model.file.as_deref().filter(|_| model.quantise.is_none());
    let file = given.unwrap_or(&made);
    let baked = folder.join("baked.wasm");
    let mut bake = pinhole();
    bake.arg("bake")
        .args([Path::new("--model"), file])
        .args([Path::new("--labels"), &model.labels])
        .args([Path::new("-o"), &baked])
        .arg("--precompile");
    match runs {
        Runs::Guest(precision) => bake.args(["--precision", precision]),
        Runs::Host => bake.args(["--engine", "nn"]),
    };
    if let Some(config) = &model.config {
        bake.args([Path::new("--config"), config]);
    }
    let ended = run(&mut bake, b"");
    assert_eq!(ended.code, Some(0), "{name}: {}", ended.stderr);
    if let Runs::Guest(_) = runs {
        // Not by way of tract, which would give the same answers, slowly.
        let own = ended.stderr.contains("runs on Pinhole's own kernels");
        assert!(own, "{name}: {}", ended.stderr);
    }

    let expected = std::fs::read(folder.join(format!("{name}.json"))).unwrap();
    let expected: Vec<Value> = serde_json::from_slice(&expected).unwrap();
    let expected: Vec<Expected> = expected.iter().map(Expected::read).collect();
    let classes = expected[0].probabilities.len();
    let mut classify = pinhole();
    classify
        .args(["classify", "--json", "--top-k", &classes.to_string()])
        .args([Path::new("--component"), &baked.with_extension("cwasm")])
        .args(expected.iter().map(|one| &one.image));
    if let Runs::Host = runs {
        classify.args(["--engine", "tract", "--model"]).arg(file);
    }
    let lines = run(&mut classify, b"").ok();
    assert_eq!(lines.lines().count(), expected.len());
    let seen = expected.iter().zip(lines.lines());
    seen.map(|(expected, line)| expected.compare(line))
        .collect()
}

/// What ONNX Runtime says of a picture.
struct Expected {
    image: String,
    /// How far its probabilities move by rounding alone.
    spread: f64,
    probabilities: Vec<f64>,
}

/// How our answer compares with it.
struct Seen {
    image: String,
    spread: f64,
    /// How far its best class is ahead of the next.
    lead: f64,
    same_class: bool,
    /// The largest difference of a probability.
    off: f64,
}

impl Expected {
    fn read(value: &Value) -> Self {
        let probabilities = value["probabilities"].as_array().unwrap();
        Self {
            image: value["image"].as_str().unwrap().to_string(),
            spread: value["spread"].as_f64().unwrap(),
            probabilities: probabilities
                .iter()
                .map(|one| one.as_f64().unwrap())
                .collect(),
        }
    }

    fn compare(&self, line: &str) -> Seen {
        let answer = answer(line);
        assert_eq!(answer.predictions.len(), self.probabilities.len());
        let off = answer.predictions.iter().map(|one| {
            let expected = self.probabilities[one.class_id as usize];
            (f64::from(one.probability) - expected).abs()
        });
        let mut ranked: Vec<usize> = (0..self.probabilities.len()).collect();
        ranked.sort_by(|a, b| self.probabilities[*b].total_cmp(&self.probabilities[*a]));
        Seen {
            image: self.image.clone(),
            spread: self.spread,
            lead: self.probabilities[ranked[0]] - self.probabilities[ranked[1]],
            same_class: answer.predictions[0].class_id as usize == ranked[0],
            off: off.fold(0.0, f64::max),
        }
    }
}

fn judge(name: &str, mut seen: Vec<Seen>) {
    seen.sort_by(|a, b| a.spread.total_cmp(&b.spread));
    let mean = |of: fn(&Seen) -> f64| seen.iter().map(of).sum::<f64>() / seen.len() as f64;
    let (off, spread) = (mean(|one| one.off), mean(|one| one.spread));
    let same = seen.iter().filter(|one| one.same_class).count();
    let steady: Vec<&Seen> = seen
        .iter()
        .filter(|one| one.lead >= TIE)
        .take(PICTURES)
        .collect();
    let worst = |of: fn(&Seen) -> f64| steady.iter().map(|one| of(one)).fold(0.0, f64::max);
    say(&format!(
        "{name}: {PICTURES} pictures within {:.4} (ONNX Runtime of itself: {:.4}); of all {}, the same class for {same}, \
         on average within {off:.4} ({spread:.4})",
        worst(|one| one.off),
        worst(|one| one.spread),
        seen.len(),
    ));
    assert_eq!(steady.len(), PICTURES, "{name}");
    for one in steady {
        assert!(one.same_class, "{name}: another class for {}", one.image);
        assert!(
            one.off <= TOLERANCE.max(2.0 * one.spread),
            "{name}: {} is off by {}, and ONNX Runtime by itself by {}",
            one.image,
            one.off,
            one.spread
        );
    }
    assert!(
        off <= spread,
        "{name}: off by {off} on average, and ONNX Runtime by itself by {spread}"
    );
}
