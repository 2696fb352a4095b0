//! The contract's exports: WIT types to the stages' types and back.

use crate::bindings::exports::pinhole::vision::{classify as wit, setup};
#[cfg(feature = "tract")]
use pinhole_guest::Precision;
use pinhole_guest::alloc::zero_freed_memory;
use pinhole_guest::compiled;
use pinhole_guest::error::ClassifyError;
use pinhole_guest::infer::ElementType;
#[cfg(feature = "tract")]
use pinhole_guest::load::ModelConfig;
use pinhole_guest::model::{Classification, Model};
use pinhole_guest::preprocess::{Aspect, Colour, Interpolation, Layout};
#[cfg(feature = "tract")]
use std::io::Write as _;
use std::sync::OnceLock;
use std::time::Duration;

/// The model that was baked in. It lives in linear memory, so that a snapshot carries it.
static MODEL: OnceLock<Model> = OnceLock::new();

/// The model, or the error of a component that was never baked.
pub fn model() -> Result<&'static Model, ClassifyError> {
    MODEL.get().ok_or_else(|| {
        ClassifyError::Inference(
            "No model is in this component: bake one in with `pinhole bake`.".into(),
        )
    })
}

/// Implements the contract; `bindings` exports it.
pub struct Component;

impl wit::Guest for Component {
    fn classify(image: Vec<u8>, top_k: u32) -> Result<wit::Classification, wit::ClassifyError> {
        Ok(model()?.classify(&image, top_k)?.into())
    }

    fn infer(tensor: Vec<f32>) -> Result<Vec<f32>, wit::ClassifyError> {
        Ok(model()?.network.run(&tensor)?)
    }

    fn describe() -> Option<wit::ModelInfo> {
        MODEL.get().map(wit::ModelInfo::from)
    }
}

impl setup::Guest for Component {
    fn load(file: Vec<u8>, config: setup::Config) -> Result<(), String> {
        if MODEL.get().is_some() {
            return Err(
                "A model is in this component already: bake into one that has none.".into(),
            );
        }
        zero_freed_memory(true);
        let loaded = load(file, config);
        zero_freed_memory(false);
        let model = loaded?;
        MODEL.get_or_init(|| model);
        Ok(())
    }

    fn compile(file: Vec<u8>, config: setup::Config) -> Result<setup::Compilation, String> {
        compile(&file, config)
    }
}

fn load(file: Vec<u8>, config: setup::Config) -> Result<Model, String> {
    #[cfg(feature = "nn")]
    if compiled::is_on_host(&file) {
        return compiled::load_on_host(&file, crate::nn::ask);
    }
    #[cfg(feature = "kernels")]
    if compiled::is_compiled(&file) {
        // It lies between the file and the room beside it, and everything in it is in the file as well.
        drop(config);
        return compiled::load(file);
    }
    from_onnx(&file, config)
}

#[cfg(not(feature = "tract"))]
const COMPILED_ONLY: &str =
    "This guest takes only compiled models: ONNX files go through the guest with tract.";

#[cfg(not(feature = "tract"))]
fn from_onnx(_file: &[u8], _config: setup::Config) -> Result<Model, String> {
    Err(COMPILED_ONLY.into())
}

#[cfg(not(feature = "tract"))]
fn compile(_file: &[u8], _config: setup::Config) -> Result<setup::Compilation, String> {
    Err(COMPILED_ONLY.into())
}

#[cfg(feature = "tract")]
fn from_onnx(file: &[u8], config: setup::Config) -> Result<Model, String> {
    pinhole_guest::load::load(file, config.into(), |_| {})
}

#[cfg(feature = "tract")]
fn compile(file: &[u8], config: setup::Config) -> Result<setup::Compilation, String> {
    let ended = |stage: &str| {
        // Nobody may be listening.
        let _ = writeln!(std::io::stdout(), "{stage}");
    };
    if config.engine == setup::Engine::Host {
        return pinhole_guest::load::for_host(file, config.into(), ended)
            .map(setup::Compilation::Compiled);
    }
    let model = pinhole_guest::load::load(file, config.into(), ended)?;
    let obstacle = model.network.obstacle().cloned();
    let compiled = compiled::compile(model)?;
    Ok(compiled.map_or_else(
        || {
            let why = obstacle.unwrap_or_else(|| "nothing is known of it".into());
            setup::Compilation::Obstructed(setup::Obstacle {
                node: why.node,
                operator: why.operator,
                reason: why.reason,
            })
        },
        setup::Compilation::Compiled,
    ))
}

impl From<ClassifyError> for wit::ClassifyError {
    fn from(error: ClassifyError) -> Self {
        match error {
            ClassifyError::UnsupportedFormat(sentence) => Self::UnsupportedFormat(sentence),
            ClassifyError::InvalidImage(sentence) => Self::InvalidImage(sentence),
            ClassifyError::ImageTooLarge(sentence) => Self::ImageTooLarge(sentence),
            ClassifyError::InvalidArgument(sentence) => Self::InvalidArgument(sentence),
            ClassifyError::Inference(sentence) => Self::Inference(sentence),
        }
    }
}

impl From<Classification> for wit::Classification {
    fn from(answer: Classification) -> Self {
        Self {
            predictions: answer
                .predictions
                .into_iter()
                .map(|prediction| wit::Prediction {
                    class_id: prediction.class_id,
                    label: prediction.label,
                    probability: prediction.probability,
                })
                .collect(),
            complete: answer.complete,
            timings: wit::Timings {
                decode: nanoseconds(answer.decode),
                preprocess: nanoseconds(answer.preprocess),
                inference: nanoseconds(answer.inference),
            },
        }
    }
}

/// A duration as the contract has it; it saturates after 584 years.
pub fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl From<&Model> for wit::ModelInfo {
    fn from(model: &Model) -> Self {
        let preprocessing = &model.preprocessing;
        Self {
            name: model.name.clone(),
            version: model.version.clone(),
            sha256: model.sha256.clone(),
            input: wit::TensorInfo {
                name: model.network.input.name.clone(),
                shape: model.network.input.shape.map(|size| size as u32).to_vec(),
                element_type: match model.network.input.element_type {
                    ElementType::Float32 => wit::ElementType::Float32,
                    ElementType::Float16 => wit::ElementType::Float16,
                    ElementType::Uint8 => wit::ElementType::Uint8,
                },
            },
            labels: model.labels.clone(),
            preprocessing: wit::Preprocessing {
                resize: preprocessing.resize,
                aspect: match preprocessing.aspect {
                    Aspect::Keep => wit::Aspect::Keep,
                    Aspect::Stretch => wit::Aspect::Stretch,
                },
                crop: preprocessing.crop,
                interpolation: match preprocessing.interpolation {
                    Interpolation::Nearest => wit::Interpolation::Nearest,
                    Interpolation::Bilinear => wit::Interpolation::Bilinear,
                    Interpolation::Bicubic => wit::Interpolation::Bicubic,
                },
                mean: preprocessing.mean.clone(),
                std: preprocessing.std.clone(),
                layout: match preprocessing.layout {
                    Layout::Nchw => wit::Layout::Nchw,
                    Layout::Nhwc => wit::Layout::Nhwc,
                },
                colour: match preprocessing.colour {
                    Colour::Rgb => wit::Colour::Rgb,
                    Colour::Bgr => wit::Colour::Bgr,
                    Colour::Grey => wit::Colour::Grey,
                },
            },
            engine: model.network.engine(),
        }
    }
}

#[cfg(feature = "tract")]
impl From<setup::Config> for ModelConfig {
    fn from(config: setup::Config) -> Self {
        Self {
            name: config.name,
            version: config.version,
            labels: config.labels,
            resize: config.resize,
            aspect: config.aspect.map(|aspect| match aspect {
                wit::Aspect::Keep => Aspect::Keep,
                wit::Aspect::Stretch => Aspect::Stretch,
            }),
            crop: config.crop,
            interpolation: config
                .interpolation
                .map(|interpolation| match interpolation {
                    wit::Interpolation::Nearest => Interpolation::Nearest,
                    wit::Interpolation::Bilinear => Interpolation::Bilinear,
                    wit::Interpolation::Bicubic => Interpolation::Bicubic,
                }),
            mean: config.mean,
            std: config.std,
            layout: config.layout.map(|layout| match layout {
                wit::Layout::Nchw => Layout::Nchw,
                wit::Layout::Nhwc => Layout::Nhwc,
            }),
            colour: config.colour.map(|colour| match colour {
                wit::Colour::Rgb => Colour::Rgb,
                wit::Colour::Bgr => Colour::Bgr,
                wit::Colour::Grey => Colour::Grey,
            }),
            probabilities: config
                .scores
                .map(|scores| scores == setup::Scores::Probabilities),
            precision: match config.precision {
                setup::Precision::Fp32 => Precision::Fp32,
                setup::Precision::Int8 => Precision::Int8,
            },
            max_pixels: config.max_pixels,
        }
    }
}
