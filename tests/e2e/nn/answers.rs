//! What each engine of the host answers, against ONNX Runtime.

use super::for_tract;
use crate::common::imagenet::{ImageNet, imagenet_nn};
use crate::common::server::Server;
use crate::common::{answer, in_ci, root, run, say, skipped};
use crate::golden::{assert_logits, best_of_each_by, npy, reference};
use pinhole_report::Prediction;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

fn engine(model: &ImageNet) -> [String; 4] {
    ["--engine", "tract", "--model", model.onnx.to_str().unwrap()].map(str::to_string)
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

#[test]
fn tract_runs_what_the_kernels_cannot() {
    let Some(model) = imagenet_nn() else { return };
    let other = format!("mobilenetv2-imagenet={}", for_tract(model).display());
    let server = Server::of(&model.cwasm, &["--engine", "tract", "--model", &other]);
    assert!(server.log().contains("host-tract"), "{}", server.log());
    let picture = std::fs::read(model.images.join("n01514859_hen.jpg")).unwrap();
    let best = server.client.predict(&picture).answer().predictions;
    assert_eq!(best[0].label, "hen");
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
