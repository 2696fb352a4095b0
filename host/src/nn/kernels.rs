//! Our own kernels, natively: for models of the kind that they are made for, several times as fast as tract.

use super::model::Engine;
use pinhole_kernels::{Arena, Network, Precision};
use serde::{Deserialize, Serialize};
use std::sync::{Mutex, PoisonError};
use wasmtime_wasi_nn::Tensor;
use wasmtime_wasi_nn::wit::TensorType;

/// A model as layers of ours.
#[derive(Serialize, Deserialize)]
pub struct Layers {
    network: Network,
    softmax: bool,
    /// Of the output.
    dimensions: Vec<u32>,
    /// Working memory, as much as has ever been needed at the same time: locked to take some or to give it back, and not
    /// while it is used.
    #[serde(skip)]
    idle: Mutex<Vec<Arena>>,
}

impl Layers {
    /// A network, with a softmax over its scores if the model ends in one, and the dimensions of its output.
    #[cfg(feature = "nn-tract")]
    pub fn new(network: Network, softmax: bool, dimensions: Vec<u32>) -> Self {
        Self {
            network,
            softmax,
            dimensions,
            idle: Mutex::default(),
        }
    }

    /// Whether it takes and gives tensors of these dimensions.
    pub fn fits(&self, input: &[usize]) -> bool {
        let shape = self.network.input_shape();
        let outputs = self.dimensions.iter().map(|size| *size as usize);
        input == [1, shape.channels, shape.height, shape.width]
            && outputs.product::<usize>() == self.network.output_len()
    }

    /// Scores of an image: little-endian values in the model's own order, by channel, row and column.
    pub fn scores(&self, planes: &[[u8; 4]]) -> Vec<f32> {
        let shape = self.network.input_shape();
        let mut pixels = vec![0.0; shape.len()];
        for (channel, plane) in planes.chunks_exact(shape.height * shape.width).enumerate() {
            let pixels = pixels.chunks_exact_mut(shape.channels);
            for (pixel, value) in pixels.zip(plane) {
                pixel[channel] = f32::from_le_bytes(*value);
            }
        }
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = idle().pop();
        let mut arena = taken.unwrap_or_else(|| self.network.arena());
        let mut scores = vec![0.0; self.network.output_len()];
        self.network.run(&mut arena, &pixels, &mut scores);
        idle().push(arena);
        if self.softmax {
            softmax(&mut scores);
        }
        scores
    }
}

impl Engine for Layers {
    fn name(&self) -> &'static str {
        match self.network.precision() {
            Precision::Fp32 => "host-kernels-fp32",
            Precision::Int8 => "host-kernels-int8",
            Precision::Qdq => "host-kernels-qdq",
        }
    }

    fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, String> {
        let [input] = inputs else {
            return Err(format!("{} inputs", inputs.len()));
        };
        let (planes, _) = input.data.as_chunks();
        let scores = self.scores(planes);
        let data = scores
            .iter()
            .flat_map(|score| score.to_le_bytes())
            .collect();
        Ok(vec![Tensor::new(
            self.dimensions.clone(),
            TensorType::Fp32,
            data,
        )])
    }
}

fn softmax(scores: &mut [f32]) {
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    scores
        .iter_mut()
        .for_each(|score| *score = (*score - largest).exp());
    let sum: f32 = scores.iter().sum();
    scores.iter_mut().for_each(|score| *score /= sum);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_softmax_sums_to_one() {
        let mut scores = [1.0, 2.0, 1000.0, 1000.0];
        softmax(&mut scores);
        assert_eq!(scores, [0.0, 0.0, 0.5, 0.5]);
    }
}
