//! Models that the host runs for its guests: the same answers, and nothing that a guest can do with them but ask.

use crate::common::imagenet::{ImageNet, imagenet_nn};
use crate::common::onnx::{COLOURS, Model};
use crate::common::pictures::{jpeg, scene};
use crate::common::server::Server;
use crate::common::{Ended, answer, dist, in_ci, pinhole, root, run, say, skipped, wait};
use crate::golden::{assert_logits, best_of_each_by, npy, reference};
use pinhole_report::Prediction;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use tempfile::TempDir;

/// As `COLOURS`, with the opposite scores.
const OPPOSITE: Model<'static> = Model {
    nodes: &[
        ("GlobalAveragePool", &["image"], &["means"]),
        ("Flatten", &["means"], &["flat"]),
        ("Neg", &["flat"], &["scores"]),
    ],
    ..COLOURS
};

/// Fails midway, unless the image is black: what is not zero is counted, and the count is no index.
const FAILING: Model<'static> = Model {
    nodes: &[
        ("NonZero", &["image"], &["places"]),
        ("Gather", &["image", "places"], &["scores"]),
    ],
    ..COLOURS
};

/// A service of the hostile guest with small models.
struct Hostile {
    server: Server,
    _models: TempDir,
}

impl Hostile {
    fn start(options: &[&str]) -> Self {
        let models = TempDir::new().unwrap();
        let mut arguments: Vec<String> = vec!["--engine".into(), "tract".into()];
        for (name, model) in [
            ("hostile", COLOURS),
            ("other", OPPOSITE),
            ("failing", FAILING),
        ] {
            let file = models.path().join(format!("{name}.onnx"));
            std::fs::write(&file, model.encode()).unwrap();
            arguments.push("--model".into());
            arguments.push(format!("{name}={}", file.display()));
        }
        let arguments: Vec<&str> = arguments
            .iter()
            .map(String::as_str)
            .chain(options.iter().copied())
            .collect();
        Self {
            server: Server::of(&dist("tests/hostile-nn.wasm"), &arguments),
            _models: models,
        }
    }

    /// What the guest has to say to this.
    #[track_caller]
    fn label(&self, image: &str) -> String {
        let mut answer = self.server.client.predict(image.as_bytes()).answer();
        answer.predictions.swap_remove(0).label
    }

    /// Fails unless the model of this name gives its own scores of this value.
    #[track_caller]
    fn assert_right(&self, name: &str, value: u32) {
        let sign = if name == "hostile" { "" } else { "-" };
        let scores: Vec<String> = (value..value + 3)
            .map(|score| format!("{sign}{score}"))
            .collect();
        assert_eq!(
            self.label(&format!("model {name} {value}")),
            scores.join(" ")
        );
    }
}

/// Misdeeds, what the client is told, and a word of the line that says more in the log.
const MISDEEDS: [(&str, &str, &str, &str); 18] = [
    (
        "name",
        "inference",
        "RuntimeError",
        "no tensor for the input `image`",
    ),
    ("type", "inference", "RuntimeError", "elements of"),
    (
        "shape",
        "inference",
        "RuntimeError",
        "the shape [1, 8, 8, 3]",
    ),
    ("rank", "inference", "RuntimeError", "the shape [192]"),
    (
        "product",
        "inference",
        "RuntimeError",
        "the shape [4294967295",
    ),
    ("few-bytes", "inference", "RuntimeError", "767 bytes"),
    ("no-bytes", "inference", "RuntimeError", "0 bytes"),
    ("nan", "inference", "RuntimeError", "not numbers"),
    ("none", "inference", "RuntimeError", "0 tensors"),
    ("twice", "inference", "RuntimeError", "2 tensors"),
    ("graph", "inference", "NotFound", ""),
    ("load", "inference", "InvalidEncoding", ""),
    ("failing", "inference", "RuntimeError", "the engine failed"),
    // Nothing can be told to who makes a tensor, by the interface: the guest ends.
    ("many-bytes", "trap", "failed", "1048576 bytes"),
    ("dimensions", "trap", "failed", "9 dimensions"),
    ("tensors", "trap", "failed", "table has no free keys"),
    // Good ones in between tell that nothing stays behind.
    ("type", "inference", "RuntimeError", "elements of"),
    ("tensors", "trap", "failed", "table has no free keys"),
];

#[test]
fn a_misdeed_with_a_model_costs_its_own_request() {
    let mut hostile = Hostile::start(&["--workers", "4", "--queue", "100"]);
    let over = AtomicBool::new(false);
    let answered = thread::scope(|scope| {
        let good = scope.spawn(|| {
            let mut answered = 0;
            while !over.load(Ordering::Relaxed) {
                hostile.assert_right("hostile", answered);
                answered += 1;
            }
            answered
        });
        for (misdeed, code, word, logged) in MISDEEDS {
            let image = format!("bad {misdeed}");
            let reply = hostile.server.client.predict(image.as_bytes());
            let sentence = reply.refusal(500, code);
            assert!(sentence.contains(word), "{misdeed}: {sentence}");
            wait("its line in the log", 10, || {
                hostile.server.log().contains(logged).then_some(())
            });
            hostile.assert_right("other", 3);
        }
        over.store(true, Ordering::Relaxed);
        good.join().unwrap()
    });
    assert!(answered > 0);
    assert!(hostile.server.is_alive());
}

#[test]
fn a_guest_cannot_flood_the_log_with_what_it_asks_the_host() {
    let hostile = Hostile::start(&[]);
    let before = hostile.server.log().len();
    assert_eq!(hostile.label("flood"), "flooded");
    hostile.assert_right("hostile", 1);
    let grown = hostile.server.log().len() - before;
    assert!(grown < 4000, "{grown} bytes: {}", hostile.server.log());
}

#[test]
fn two_models_can_be_asked_at_once() {
    let hostile = Hostile::start(&[]);
    assert_eq!(
        hostile.label("both hostile other 5"),
        "5 6 7, -5 -6 -7, 6 7 8, -6 -7 -8"
    );
}

#[test]
fn no_answer_of_one_model_reaches_a_client_of_another() {
    let hostile = Hostile::start(&["--queue", "100"]);
    thread::scope(|scope| {
        for client in 0..8 {
            let hostile = &hostile;
            scope.spawn(move || {
                let name = ["hostile", "other"][client % 2];
                for turn in 0..50 {
                    hostile.assert_right(name, client as u32 * 1000 + turn);
                }
            });
        }
    });
}

fn engine(model: &ImageNet) -> [String; 4] {
    ["--engine", "tract", "--model", model.onnx.to_str().unwrap()].map(str::to_string)
}

/// What tract reads at each start, a host may have written down once, for hosts without tract.
#[test]
fn a_model_written_down_for_the_kernels_gives_the_same_scores() {
    let Some(model) = imagenet_nn() else { return };
    let network = model.network.to_str().unwrap();
    let server = Server::of(&model.cwasm, &["--engine", "kernels", "--model", network]);
    assert_exact(&server, model);
    let size = std::fs::metadata(&model.network).unwrap().len() as f64 / 1e6;
    say(&format!(
        "the model for the host's kernels takes {size:.2} MB"
    ));
}

/// A model that our own kernels cannot run.
fn quantised(model: &ImageNet) -> PathBuf {
    model
        .onnx
        .with_file_name("mobilenetv2-imagenet-int8-qdq.onnx")
}

#[test]
fn a_model_that_the_kernels_cannot_run_is_not_written_down() {
    let Some(model) = imagenet_nn() else { return };
    let folder = TempDir::new().unwrap();
    let labels = model.onnx.with_file_name("imagenet-labels.txt");
    for (onnx, engine, words) in [
        (quantised(model), "nn", "serve it with --engine tract"),
        (model.onnx.clone(), "guest", "goes with --engine nn"),
    ] {
        let mut command = pinhole();
        command.args(["bake", "--engine", engine, "--model"]);
        command.arg(onnx).arg("--labels").arg(&labels);
        command.arg("-o").arg(folder.path().join("model.wasm"));
        command
            .arg("--network")
            .arg(folder.path().join("model.network"));
        let ended = run(&mut command, b"");
        assert_eq!(ended.code, Some(3), "{}", ended.stderr);
        assert!(ended.stderr.contains(words), "{}", ended.stderr);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

#[test]
fn tract_runs_what_the_kernels_cannot() {
    let Some(model) = imagenet_nn() else { return };
    let other = format!("mobilenetv2-imagenet={}", quantised(model).display());
    let server = Server::of(&model.cwasm, &["--engine", "tract", "--model", &other]);
    assert!(server.log().contains("host-tract"), "{}", server.log());
    let picture = std::fs::read(model.images.join("n01514859_hen.jpg")).unwrap();
    let best = server.client.predict(&picture).answer().predictions;
    assert_eq!(best[0].label, "hen");
}

fn serve(model: &ImageNet, options: &[&str]) -> Server {
    let engine = engine(model);
    let options: Vec<&str> = engine
        .iter()
        .map(String::as_str)
        .chain(options.iter().copied())
        .collect();
    Server::of(&model.cwasm, &options)
}

#[test]
fn photographs_are_classified_as_onnx_runtime_does() {
    let Some(model) = imagenet_nn() else { return };
    let server = serve(model, &[]);
    agree("tract", 0.02, &best_of_each_by(&server, model), model);
    let metrics = server.client.get("/metrics").body;
    let info = metrics
        .lines()
        .find(|line| line.starts_with("pinhole_model_info{"));
    let engine = "host-kernels-fp32";
    assert!(info.unwrap().contains(engine), "{info:?}");
    assert!(server.log().contains(engine), "{}", server.log());
    let size = |path: &Path| std::fs::metadata(path).unwrap().len() as f64 / 1e6;
    say(&format!(
        "the component takes {:.2} MB, precompiled {:.2} MB",
        size(&model.wasm),
        size(&model.cwasm)
    ));
}

/// The same by ONNX Runtime itself: what is left of a difference is how pictures are decoded and resized.
#[test]
fn onnx_runtime_can_be_the_engine() {
    let Some(model) = imagenet_nn() else { return };
    let (Some(tract), Some(onnx_runtime)) = (onnx_runtime("tract"), onnx_runtime("onnxruntime"))
    else {
        return;
    };
    let reference = reference(model);
    let names: Vec<&String> = reference["images"].as_object().unwrap().keys().collect();
    let best = |mut host: Command| -> BTreeMap<String, Prediction> {
        host.args([Path::new("--component"), &model.cwasm])
            .args([Path::new("--model"), &model.onnx])
            .args(names.iter().map(|name| model.images.join(name)));
        let lines = run(&mut host, b"").ok();
        names
            .iter()
            .zip(lines.lines())
            .map(|(name, line)| (name.to_string(), answer(line).predictions.swap_remove(0)))
            .collect()
    };
    let (tract, onnx_runtime) = (best(tract), best(onnx_runtime));
    agree("ONNX Runtime", 0.01, &onnx_runtime, model);
    let apart = |name: &str| (tract[name].probability - onnx_runtime[name].probability).abs();
    let worst = names.iter().map(|name| apart(name)).fold(0.0, f32::max);
    say(&format!("tract and ONNX Runtime are within {worst:.6}"));
    assert!(worst < 1e-3, "{worst}");
}

/// A host that has ONNX Runtime as well, about to classify with this engine; none, said aloud, where it or the library is
/// missing. In CI neither may be.
fn onnx_runtime(engine: &str) -> Option<Command> {
    let host = root().join("dist/tests/pinhole-onnxruntime");
    let Some(python) = std::env::var_os("PINHOLE_PYTHON").filter(|_| host.is_file()) else {
        assert!(
            !in_ci(),
            "there is no host with ONNX Runtime, and in CI there must be: run `cargo xtask test`"
        );
        skipped("there is no host with ONNX Runtime: run `cargo xtask test`");
        return None;
    };
    let find = "import glob, os, onnxruntime as o; print(glob.glob(os.path.dirname(o.__file__) + '/capi/libonnxruntime.so.*')[0])";
    let library = run(Command::new(python).args(["-c", find]), b"").ok();
    let mut command = Command::new(host);
    command
        .env("ORT_DYLIB_PATH", library.trim())
        .args(["classify", "--json", "--engine", engine]);
    Some(command)
}

/// Fails unless these are ONNX Runtime's classes, with probabilities that are this close.
#[track_caller]
fn agree(engine: &str, tolerance: f32, best: &BTreeMap<String, Prediction>, model: &ImageNet) {
    let reference = reference(model);
    let images = reference["images"].as_object().unwrap();
    let (mut same, mut worst) = (0, 0.0_f32);
    for (name, expected) in images {
        let (best, expected) = (&best[name], &expected["top5"][0]);
        if u64::from(best.class_id) != expected["class_id"].as_u64().unwrap() {
            say(&format!("{name}: {best:?} instead of {expected}"));
            continue;
        }
        same += 1;
        let probability = expected["probability"].as_f64().unwrap() as f32;
        worst = worst.max((best.probability - probability).abs());
    }
    say(&format!(
        "{engine}: {same} of {} photographs have the class that ONNX Runtime gives; probabilities are within {worst:.4}",
        images.len()
    ));
    assert_eq!(images.len(), 59);
    // One is a tie, which how a picture is decoded and resized decides.
    assert!(same >= 58, "{same}");
    assert!(worst <= tolerance, "{worst}");
}

#[test]
fn exact_tensors_give_exact_logits() {
    let Some(model) = imagenet_nn() else { return };
    assert_exact(&serve(model, &[]), model);
}

/// Fails unless an exact tensor is answered with ONNX Runtime's logits.
fn assert_exact(server: &Server, model: &ImageNet) {
    let infer = |data: &[f32]| {
        let request = serde_json::json!({"inputs": [
            {"name": "input", "datatype": "FP32", "shape": [1, 3, 224, 224], "data": data}
        ]});
        let path = "/v2/models/mobilenetv2-imagenet/infer";
        server
            .client
            .post(path, "application/json", request.to_string().as_bytes())
    };
    let name = "n01514859_hen.jpg";
    let tensor = npy(&model.images.join(format!("{name}.tensor.npy")));
    let expected = npy(&model.images.join(format!("{name}.logits.npy")));
    let reply = infer(&tensor);
    assert_eq!(reply.status, 200, "{}", reply.body);
    let reply: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
    let logits: Vec<f32> = serde_json::from_value(reply["outputs"][0]["data"].clone()).unwrap();
    assert_logits(name, &logits, &expected);
}

#[test]
fn a_deadline_that_passes_in_the_engine_is_told_afterwards() {
    let Some(model) = imagenet_nn() else { return };
    let slow = format!("slow={}", quantised(model).display());
    let hostile = Hostile::start(&["--model", &slow, "--deadline-ms", "10"]);
    // The guest itself takes a fraction of that, and the engine several times as long.
    let reply = hostile.server.client.predict(b"slow");
    reply.refusal(504, "deadline");
    wait("a good answer", 10, || {
        let reply = hostile.server.client.predict(b"model hostile 1");
        (reply.status == 200).then_some(())
    });
}

/// Runs `pinhole classify` on a picture.
fn classify(component: &Path, options: &[&str]) -> Ended {
    let mut command = pinhole();
    command.args(["classify", "--json", "--component"]);
    run(
        command.arg(component).args(options).arg("-"),
        &jpeg(&scene(64, 64)),
    )
}

/// A component for the host, and the model that it was baked for.
fn colours(folder: &Path) -> (PathBuf, PathBuf) {
    let (model, labels) = (folder.join("colours.onnx"), folder.join("labels.txt"));
    std::fs::write(&model, COLOURS.encode()).unwrap();
    std::fs::write(&labels, "red\ngreen\nblue\n").unwrap();
    let component = folder.join("colours.wasm");
    let mut command = pinhole();
    command.args(["bake", "--engine", "nn", "--precompile", "--model"]);
    command.arg(&model).arg("--labels").arg(&labels);
    run(command.arg("-o").arg(&component), b"").ok();
    (component.with_extension("cwasm"), model)
}

#[test]
fn who_runs_the_model_is_settled_before_anything_is_run() {
    let folder = TempDir::new().unwrap();
    let (component, model) = colours(folder.path());
    let other = folder.path().join("other.onnx");
    std::fs::write(&other, OPPOSITE.encode()).unwrap();
    let (model, other) = (model.to_str().unwrap(), other.to_str().unwrap());
    let named = format!("colours={other}");
    let stranger = format!("stranger={model}");

    let best = |options: &[&str]| {
        let answer = answer(&classify(&component, options).ok());
        answer.predictions[0].label.clone()
    };
    let tract = ["--engine", "tract", "--model"];
    let own = best(&[&tract[..], &[model]].concat());
    // The opposite scores, under a name that the operator vouches for.
    assert_ne!(best(&[&tract[..], &[&named]].concat()), own);

    let kernels = ["--engine", "kernels", "--model"];
    let default = dist("guest.cwasm");
    for (component, options, words) in [
        (&component, vec![], "leaves its model to the host"),
        (&component, vec!["--engine", "tract"], "there is none"),
        (
            &component,
            vec!["--model", model],
            "--engine says that the guest runs",
        ),
        (
            &component,
            [&tract[..], &[other]].concat(),
            "is not the file that",
        ),
        (
            &component,
            [&tract[..], &["no/such.onnx"]].concat(),
            "cannot be read",
        ),
        (
            &component,
            [&tract[..], &[&stranger]].concat(),
            "named `colours`",
        ),
        (
            &component,
            [&tract[..], &[model, "--model", &named]].concat(),
            "Two models are named `colours`",
        ),
        (
            &component,
            [&kernels[..], &[model]].concat(),
            "`pinhole bake --network`",
        ),
        (
            &default,
            [&tract[..], &[model]].concat(),
            "runs its model itself",
        ),
    ] {
        let ended = classify(component, &options);
        assert_eq!(ended.code, Some(3), "{options:?}: {}", ended.stderr);
        assert!(
            ended.stderr.contains(words),
            "{options:?}: {}",
            ended.stderr
        );
        assert_eq!(
            ended.stderr.trim_end().lines().count(),
            1,
            "{}",
            ended.stderr
        );
    }

    let damaged = folder.path().join("damaged.onnx");
    std::fs::write(&damaged, b"\x08no model").unwrap();
    let damaged = format!("colours={}", damaged.display());
    let ended = classify(&component, &[&tract[..], &[&damaged]].concat());
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("cannot be made ready"),
        "{}",
        ended.stderr
    );
}
