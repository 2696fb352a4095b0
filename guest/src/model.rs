//! A loaded model: the network with its labels and preprocessing, and the path of an image through it.

use crate::decode::{Decoded, decode};
use crate::error::ClassifyError;
use crate::infer::Network;
use crate::preprocess::Preprocessing;
use crate::rank::{probabilities, top_k};
use std::time::{Duration, Instant};

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
    /// Whether the file was whole: false where its end is missing, but every row was there.
    pub complete: bool,
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
    /// One name a class, in order.
    pub labels: Vec<String>,
    /// What is done to pixels before the network sees them.
    pub preprocessing: Preprocessing,
    /// Whether the network's scores are probabilities already.
    pub scores_are_probabilities: bool,
    /// Images of more pixels are refused.
    pub max_pixels: u64,
    /// The network itself.
    pub network: Network,
}

impl Model {
    /// The whole path: decode, preprocess, infer, rank.
    pub fn classify(&self, image: &[u8], k: u32) -> Result<Classification, ClassifyError> {
        if k == 0 {
            return Err(ClassifyError::InvalidArgument(
                "top-k is 0: ask for at least one class.".into(),
            ));
        }
        let start = Instant::now();
        let Decoded { pixels, complete } = decode(image, self.max_pixels, &|width, height| {
            self.preprocessing.is_enough(width, height)
        })?;
        let decoded = Instant::now();
        let tensor = self
            .preprocessing
            .apply(&pixels, self.network.prepared_layout())?;
        drop(pixels);
        let prepared = Instant::now();
        let scores = self.network.run_prepared(&tensor)?;
        let predictions = self.rank(&scores, k)?;
        Ok(Classification {
            predictions,
            complete,
            decode: decoded - start,
            preprocess: prepared - decoded,
            inference: prepared.elapsed(),
        })
    }

    fn rank(&self, scores: &[f32], k: u32) -> Result<Vec<Prediction>, ClassifyError> {
        let probabilities = if self.scores_are_probabilities {
            scores.to_vec()
        } else {
            probabilities(scores)
        };
        if probabilities
            .iter()
            .any(|probability| !probability.is_finite())
        {
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
