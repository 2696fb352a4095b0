//! A guest gone bad. It keeps the contract of `pinhole:vision`, until the image is the name of a misdeed: then it does that.
//!
//! Every other image is answered with one prediction for each image that this instance has ever seen, the image's own
//! text as its label. From a host that keeps its word that is exactly one.

#![cfg(target_family = "wasm")]

mod bindings;
mod misdeeds;
#[cfg(feature = "nn")]
mod nn;

use bindings::exports::pinhole::vision::{classify, setup};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// Implements the contract; `bindings` exports it.
pub struct Component;

/// Set by the image `break`: from then on this instance answers nothing.
static BROKEN: AtomicBool = AtomicBool::new(false);

/// Every image of this instance's life, most recent first.
static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());

impl classify::Guest for Component {
    fn classify(
        image: Vec<u8>,
        _top_k: u32,
    ) -> Result<classify::Classification, classify::ClassifyError> {
        let image = String::from_utf8_lossy(&image).into_owned();
        if let Some(answer) = misdeeds::commit(&image) {
            return answer;
        }
        #[cfg(feature = "nn")]
        if let Some(answer) = nn::commit(&image) {
            return answer;
        }
        if image == "break" {
            BROKEN.store(true, Ordering::Relaxed);
        }
        if BROKEN.load(Ordering::Relaxed) {
            let sentence = "The model broke.".into();
            return Err(classify::ClassifyError::Inference(sentence));
        }
        let broken = |_| classify::ClassifyError::Inference("An earlier call panicked.".into());
        let mut seen = SEEN.lock().map_err(broken)?;
        seen.insert(0, image);
        Ok(answer(seen.iter().cloned()))
    }

    fn infer(_tensor: Vec<f32>) -> Result<Vec<f32>, classify::ClassifyError> {
        Ok(vec![1.0])
    }

    fn describe() -> Option<classify::ModelInfo> {
        Some(classify::ModelInfo {
            name: "hostile".into(),
            version: "1".into(),
            sha256: "0".repeat(64),
            input: classify::TensorInfo {
                name: "input".into(),
                shape: vec![1, 3, 8, 8],
                element_type: classify::ElementType::Float32,
            },
            labels: vec!["harmless".into()],
            preprocessing: classify::Preprocessing {
                resize: 8,
                aspect: classify::Aspect::Keep,
                crop: 8,
                interpolation: classify::Interpolation::Nearest,
                mean: vec![0.0; 3],
                std: vec![1.0; 3],
                layout: classify::Layout::Nchw,
                colour: classify::Colour::Rgb,
            },
            engine: "none".into(),
        })
    }
}

/// An answer with these labels.
fn answer(labels: impl Iterator<Item = String>) -> classify::Classification {
    let predictions = labels
        .map(|label| classify::Prediction {
            class_id: 0,
            label,
            probability: 1.0,
        })
        .collect();
    classify::Classification {
        predictions,
        complete: true,
        timings: classify::Timings {
            decode: 0,
            preprocess: 0,
            inference: 0,
        },
    }
}

impl setup::Guest for Component {
    fn load(_model: Vec<u8>, _config: setup::Config) -> Result<(), String> {
        Err("This guest takes no model.".into())
    }

    fn compile(_model: Vec<u8>, _config: setup::Config) -> Result<setup::Compilation, String> {
        Ok(setup::Compilation::Obstructed(setup::Obstacle {
            node: String::new(),
            operator: String::new(),
            reason: "this guest takes no model".into(),
        }))
    }
}
