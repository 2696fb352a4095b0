//! A loaded model: the network with its labels and preprocessing, and the path of an image through it.

use crate::decode::decode;
use crate::error::ClassifyError;
use crate::infer::Network;
use crate::onnx;
use crate::preprocess::{Colour, Interpolation, Layout, Preprocessing};
use crate::rank::{softmax, top_k};
use pinhole_kernels::Precision;
use sha2::{Digest, Sha256};
use std::time::{Duration, Instant};

/// What a model file does not say. What is `None` is read from the model where it says so, and is otherwise what
/// torchvision's ImageNet classifiers use.
#[derive(Clone, Debug)]
pub struct ModelConfig {
    /// The model's name.
    pub name: String,
    /// The model's version.
    pub version: String,
    /// One name a class, in order.
    pub labels: Vec<String>,
    /// The shorter side after resizing, in pixels.
    pub resize: Option<u32>,
    /// Side of the square that the model sees, in pixels.
    pub crop: Option<u32>,
    /// Filter used for resizing.
    pub interpolation: Option<Interpolation>,
    /// One value a channel.
    pub mean: Option<Vec<f32>>,
    /// One value a channel.
    pub std: Option<Vec<f32>>,
    /// Order of the tensor's dimensions.
    pub layout: Option<Layout>,
    /// Order of the channels.
    pub colour: Option<Colour>,
    /// Whether the output holds probabilities already.
    pub probabilities: Option<bool>,
    /// How the arithmetic is done, where our own kernels run the model.
    pub precision: Precision,
    /// Images of more pixels are refused.
    pub max_pixels: u64,
}

/// One class of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// Index of the class.
    pub class_id: u32,
    /// The class's name.
    pub label: String,
    /// From 0 to 1.
    pub probability: f32,
}

/// The answer to one image.
#[derive(Clone, Debug)]
pub struct Classification {
    /// Best first.
    pub predictions: Vec<Prediction>,
    /// From bytes to pixels.
    pub decode: Duration,
    /// From pixels to the tensor.
    pub preprocess: Duration,
    /// From the tensor to scores.
    pub inference: Duration,
}

/// A model, ready to classify.
pub struct Model {
    /// The model's name.
    pub name: String,
    /// The model's version.
    pub version: String,
    /// SHA-256 of the ONNX file, in hexadecimal.
    pub sha256: String,
    /// Name of the model's input.
    pub input: String,
    /// One name a class, in order.
    pub labels: Vec<String>,
    /// What is done to pixels before the network sees them.
    pub preprocessing: Preprocessing,
    /// The network itself.
    pub network: Network,
    probabilities: bool,
    max_pixels: u64,
}

impl Model {
    /// Parses, checks and optimises an ONNX file, and runs it once. The error is one plain sentence.
    pub fn load(file: &[u8], config: ModelConfig) -> Result<Self, String> {
        let onnx = onnx::framework();
        let described = onnx::describe(&onnx, file)?;
        let (preprocessing, shape) = settle(&described, &config)?;
        let input = described.input.clone();
        let probabilities = config.probabilities.unwrap_or(described.ends_in_probabilities);
        let network = Network::new(&onnx, described, preprocessing.layout, shape, config.precision)?;
        if network.classes() != config.labels.len() {
            return Err(format!(
                "The model has {} classes, but there are {} labels: there must be exactly one label a class.",
                network.classes(),
                config.labels.len()
            ));
        }
        Ok(Self {
            name: config.name,
            version: config.version,
            sha256: Sha256::digest(file).iter().map(|byte| format!("{byte:02x}")).collect(),
            input,
            labels: config.labels,
            preprocessing,
            network,
            probabilities,
            max_pixels: config.max_pixels,
        })
    }

    /// The whole path: decode, preprocess, infer, rank.
    pub fn classify(&self, image: &[u8], k: u32) -> Result<Classification, ClassifyError> {
        if k == 0 {
            return Err(ClassifyError::InvalidArgument(
                "top-k is 0: ask for at least one class.".into(),
            ));
        }
        let start = Instant::now();
        let pixels = decode(image, self.max_pixels)?;
        let decoded = Instant::now();
        let tensor = self.preprocessing.apply(&pixels, self.network.prepared_layout())?;
        drop(pixels);
        let prepared = Instant::now();
        let scores = self.network.run_prepared(&tensor)?;
        let predictions = self.rank(&scores, k)?;
        Ok(Classification {
            predictions,
            decode: decoded - start,
            preprocess: prepared - decoded,
            inference: prepared.elapsed(),
        })
    }

    fn rank(&self, scores: &[f32], k: u32) -> Result<Vec<Prediction>, ClassifyError> {
        let probabilities = if self.probabilities { scores.to_vec() } else { softmax(scores) };
        if probabilities.iter().any(|probability| !probability.is_finite()) {
            return Err(ClassifyError::Inference(
                "The model gave scores that are not numbers.".into(),
            ));
        }
        let k = usize::try_from(k).unwrap_or(usize::MAX);
        let name = |class: usize| self.labels.get(class).cloned().unwrap_or_default();
        Ok(top_k(&probabilities, k)
            .into_iter()
            .map(|ranked| Prediction {
                class_id: ranked.class as u32,
                label: name(ranked.class),
                probability: ranked.probability,
            })
            .collect())
    }
}

/// Settles what the configuration leaves open from what the file says, and checks that the two agree.
fn settle(
    model: &onnx::Described,
    config: &ModelConfig,
) -> Result<(Preprocessing, [usize; 4]), String> {
    let layout = config.layout.or_else(|| model.layout()).ok_or(
        "The model's input does not say where its channels are: give `layout` in the configuration.",
    )?;
    let [batch, channels, height, width] = match layout {
        Layout::Nchw => model.dims,
        Layout::Nhwc => [model.dims[0], model.dims[3], model.dims[1], model.dims[2]],
    };
    if batch.is_some_and(|size| size != 1) {
        return Err(format!(
            "The model takes batches of exactly {}: export it for a batch of 1, or of any size.",
            batch.unwrap_or_default()
        ));
    }
    let colour = config.colour.unwrap_or(if channels == Some(1) { Colour::Grey } else { Colour::Rgb });
    if channels.is_some_and(|channels| channels != colour.channels()) {
        return Err(format!(
            "The model's input has {} channels, but the configuration gives it {}.",
            channels.unwrap_or_default(),
            colour.channels()
        ));
    }
    if let (Some(height), Some(width)) = (height, width) && height != width {
        return Err(format!(
            "The model takes images of {width} x {height} pixels; only square inputs are supported."
        ));
    }
    let size = height.or(width).and_then(|size| u32::try_from(size).ok());
    if let (Some(size), Some(crop)) = (size, config.crop) && size != crop {
        return Err(format!(
            "The model takes images of {size} pixels a side, but the configuration crops to {crop}."
        ));
    }
    let crop = size.or(config.crop).unwrap_or(224);
    let (mean, std): (&[f32], &[f32]) = match colour {
        Colour::Rgb => (&[0.485, 0.456, 0.406], &[0.229, 0.224, 0.225]),
        Colour::Bgr => (&[0.406, 0.456, 0.485], &[0.225, 0.224, 0.229]),
        Colour::Grey => (&[0.5], &[0.5]),
    };
    let preprocessing = Preprocessing {
        resize: config.resize.unwrap_or_else(|| crop.saturating_mul(8).div_ceil(7)),
        crop,
        interpolation: config.interpolation.unwrap_or(Interpolation::Bilinear),
        mean: config.mean.clone().unwrap_or_else(|| mean.to_vec()),
        std: config.std.clone().unwrap_or_else(|| std.to_vec()),
        layout,
        colour,
    };
    preprocessing.check()?;
    let (side, channels) = (crop as usize, colour.channels());
    let shape = match layout {
        Layout::Nchw => [1, channels, side, side],
        Layout::Nhwc => [1, side, side, channels],
    };
    Ok((preprocessing, shape))
}
