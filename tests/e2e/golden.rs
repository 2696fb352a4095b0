//! The real ImageNet MobileNetV2 on real photographs: what ONNX Runtime says, we say.

use crate::common::imagenet::{ImageNet, imagenet, imagenet_int8};
use crate::common::say;
use crate::common::server::Server;
use pinhole_report::Prediction;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use wasmtime::component::{Component, Linker, ResourceTable, bindgen};
use wasmtime::{Config, Engine, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

bindgen!({ path: "../wit", world: "classifier" });

#[test]
fn photographs_are_classified_as_onnx_runtime_does() {
    let Some(model) = imagenet() else { return };
    let reference = reference(model);
    let images = reference["images"].as_object().unwrap();
    let best = best_of_each(model);
    let (mut same, mut worst) = (0, 0.0_f32);
    for (name, expected) in images {
        let best = &best[name];
        let expected = &expected["top5"][0];
        if u64::from(best.class_id) != expected["class_id"].as_u64().unwrap() {
            say(&format!("{name}: {best:?} instead of {expected}"));
            continue;
        }
        assert_eq!(best.label, expected["label"].as_str().unwrap());
        same += 1;
        worst =
            worst.max((best.probability - expected["probability"].as_f64().unwrap() as f32).abs());
    }
    say(&format!(
        "{same} of {} photographs have the class that ONNX Runtime gives; probabilities are within {worst:.4}",
        images.len()
    ));
    assert_eq!(images.len(), 59);
    assert!(same >= 58, "{same}");
    assert!(worst <= 0.02, "{worst}");
}

/// The default precision trades digits for speed, and keeps the class.
#[test]
fn rounding_to_eight_bits_keeps_the_class_of_photographs() {
    let Some(model) = imagenet_int8() else { return };
    let reference = reference(model);
    let images = reference["images"].as_object().unwrap();
    let best = best_of_each(model);
    let mut changed = Vec::new();
    let mut worst = 0.0_f32;
    for (name, expected) in images {
        let expected = &expected["top5"][0];
        if u64::from(best[name].class_id) != expected["class_id"].as_u64().unwrap() {
            changed.push(name);
            continue;
        }
        let probability = expected["probability"].as_f64().unwrap() as f32;
        worst = worst.max((best[name].probability - probability).abs());
    }
    say(&format!(
        "int8 changes the class that ONNX Runtime gives in fp32 for {changed:?} of {} photographs; \
         the others' probabilities are within {worst:.4}",
        images.len()
    ));
    assert!(changed.len() <= 1, "{changed:?}");
}

/// What ONNX Runtime says of each photograph.
pub fn reference(model: &ImageNet) -> Value {
    let reference = std::fs::read(model.images.join("reference.json")).unwrap();
    serde_json::from_slice(&reference).unwrap()
}

fn best_of_each(model: &ImageNet) -> BTreeMap<String, Prediction> {
    best_of_each_by(&Server::of(&model.cwasm, &[]), model)
}

/// The best class of each photograph, as this service has it.
pub fn best_of_each_by(server: &Server, model: &ImageNet) -> BTreeMap<String, Prediction> {
    let reference = reference(model);
    let images = reference["images"].as_object().unwrap();
    images
        .keys()
        .map(|name| {
            let image = std::fs::read(model.images.join(name)).unwrap();
            let mut answer = server.client.predict(&image).answer();
            (name.clone(), answer.predictions.swap_remove(0))
        })
        .collect()
}

struct State {
    wasi: WasiCtx,
    table: ResourceTable,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

/// The component in an embedding of our own that links WASI and nothing else: `infer` has no other way in.
#[test]
fn exact_tensors_give_exact_logits() {
    let Some(model) = imagenet() else { return };
    let engine = Engine::new(&Config::new()).unwrap();
    let component = Component::from_file(&engine, &model.wasm).unwrap();
    let mut linker = Linker::new(&engine);
    wasmtime_wasi::p2::add_to_linker_sync(&mut linker).unwrap();
    let state = State {
        wasi: WasiCtxBuilder::new().build(),
        table: ResourceTable::new(),
    };
    let mut store = Store::new(&engine, state);
    let guest = Classifier::instantiate(&mut store, &component, &linker).unwrap();
    let guest = guest.pinhole_vision_classify();

    for name in [
        "n01514859_hen.jpg",
        "n01629819_European_fire_salamander.jpg",
    ] {
        let tensor = npy(&model.images.join(format!("{name}.tensor.npy")));
        let expected = npy(&model.images.join(format!("{name}.logits.npy")));
        let logits = guest.call_infer(&mut store, &tensor).unwrap().unwrap();
        assert_logits(name, &logits, &expected);
    }
    let info = guest.call_describe(&mut store).unwrap().unwrap();
    assert_eq!(
        (info.labels.len(), info.input.shape.as_slice()),
        (1000, &[1, 3, 224, 224][..])
    );
    assert_eq!(info.sha256.len(), 64);
    // Not by way of tract, which would give the same scores, slowly.
    assert_eq!(info.engine, "kernels-fp32");
}

/// Fails where a picture's logits are not ONNX Runtime's; says how near they are.
#[track_caller]
pub fn assert_logits(name: &str, logits: &[f32], expected: &[f32]) {
    assert_eq!(logits.len(), expected.len());
    let worst = logits
        .iter()
        .zip(expected)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max);
    say(&format!("{name}: logits are within {worst:.6}"));
    assert!(worst < 1e-3, "{name}: {worst}");
}

/// A NumPy file of little-endian 32-bit floats in C order.
pub fn npy(path: &Path) -> Vec<f32> {
    let bytes = std::fs::read(path).unwrap();
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\0");
    let data = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = String::from_utf8_lossy(&bytes[10..data]);
    assert!(
        header.contains("'<f4'") && header.contains("'fortran_order': False"),
        "{header}"
    );
    let value = |four: &[u8]| f32::from_le_bytes(four.try_into().unwrap());
    bytes[data..].chunks_exact(4).map(value).collect()
}
