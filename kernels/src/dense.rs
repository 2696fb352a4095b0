//! Fully connected layers: one input vector, so every weight is read once and memory is the limit.

use crate::simd::{F32x4, I8x16, I16x8, I32x4};

/// A fully connected layer, ready to run.
#[derive(Debug)]
pub(crate) struct Dense {
    weights: Weights,
    bias: Vec<f32>,
    inputs: usize,
}

#[derive(Debug)]
enum Weights {
    /// `[out][in]`.
    F32(Vec<f32>),
    /// `[out][in]` in steps of `scale[out]`, each row padded with zeros to whole vectors; inputs are rounded to
    /// `0..=limit` steps, 16-bit numbers.
    I8 {
        steps: Vec<[i8; 16]>,
        scale: Vec<f32>,
        limit: f32,
    },
}

impl Dense {
    /// Packs weights `[out][in]`, which are finite if `integers` are asked for.
    pub(crate) fn new(weights: Vec<f32>, bias: Vec<f32>, integers: bool) -> Self {
        let inputs = weights.len() / bias.len();
        let weights = if integers {
            quantise(&weights, inputs)
        } else {
            Weights::F32(weights)
        };
        Self {
            weights,
            bias,
            inputs,
        }
    }

    pub(crate) fn weights_bytes(&self) -> usize {
        let weights = match &self.weights {
            Weights::F32(weights) => size_of_val(&**weights),
            Weights::I8 { steps, scale, .. } => size_of_val(&**steps) + size_of_val(&**scale),
        };
        weights + size_of_val(&*self.bias)
    }

    /// 16-bit vectors of scratch that [`Self::run`] needs.
    pub(crate) fn scratch_len(&self) -> usize {
        match self.weights {
            Weights::F32(_) => 0,
            Weights::I8 { .. } => self.inputs.div_ceil(16) * 2,
        }
    }

    pub(crate) fn run(&self, input: &[f32], scratch: &mut [[i16; 8]], out: &mut [f32]) {
        match &self.weights {
            Weights::F32(weights) => {
                let rows = weights.chunks_exact(self.inputs);
                for ((out, row), bias) in out.iter_mut().zip(rows).zip(&self.bias) {
                    *out = dot(row, input) + bias;
                }
            }
            Weights::I8 {
                steps,
                scale,
                limit,
            } => {
                let scratch = &mut scratch[..self.scratch_len()];
                let input_scale = quantise_input(input, *limit, scratch);
                let (input, _) = scratch.as_chunks::<2>();
                let rows = steps.chunks_exact(input.len());
                let parts = out.iter_mut().zip(rows).zip(scale.iter().zip(&self.bias));
                for ((out, row), (scale, bias)) in parts {
                    let mut sums = [I32x4::splat(0); 2];
                    for (steps, [low, high]) in row.iter().zip(input) {
                        let (first, second) = I8x16::load(steps).widen();
                        sums[0] = sums[0].add_dot(first, I16x8::load(low));
                        sums[1] = sums[1].add_dot(second, I16x8::load(high));
                    }
                    let sum: i32 = sums
                        .map(|sum| sum.to_array().iter().sum::<i32>())
                        .iter()
                        .sum();
                    *out = sum as f32 * (scale * input_scale) + bias;
                }
            }
        }
    }
}

/// The sum of products of two slices of one length.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [F32x4::splat(0.0); 4];
    let (a_blocks, a_rest) = a.as_chunks::<16>();
    let (b_blocks, b_rest) = b.as_chunks::<16>();
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        for (part, sum) in sums.iter_mut().enumerate() {
            let values = F32x4::from_slice(&a[4 * part..]);
            *sum = values.mul_add(F32x4::from_slice(&b[4 * part..]), *sum);
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    let sum = sums[0].add(sums[1]).add(sums[2].add(sums[3]));
    sum.to_array().iter().sum::<f32>() + rest
}

fn quantise(weights: &[f32], inputs: usize) -> Weights {
    let vectors = inputs.div_ceil(16);
    let mut steps = vec![[0i8; 16]; weights.len() / inputs * vectors];
    let mut scales = Vec::with_capacity(weights.len() / inputs);
    for (row, steps) in weights
        .chunks_exact(inputs)
        .zip(steps.chunks_exact_mut(vectors))
    {
        let largest = row.iter().fold(0.0f32, |most, value| most.max(value.abs()));
        let scale = largest / 127.0;
        scales.push(scale);
        if scale >= f32::MIN_POSITIVE {
            for (step, value) in steps.as_flattened_mut().iter_mut().zip(row) {
                *step = (value / scale).round().clamp(-127.0, 127.0) as i8;
            }
        }
    }
    // Sums stay below 2³¹ whatever the signs: inputs × 127 × limit. Beyond 32767, a number needs more than 16 bits.
    let limit = (i32::MAX as usize / 127 / inputs).min(32767) as f32;
    Weights::I8 {
        steps,
        scale: scales,
        limit,
    }
}

/// Rounds the input to 16-bit steps and returns the size of a step. NaN and infinities become arbitrary values.
fn quantise_input(input: &[f32], limit: f32, steps: &mut [[i16; 8]]) -> f32 {
    let largest = input
        .iter()
        .fold(0.0f32, |most, value| most.max(value.abs()));
    let scale = largest / limit;
    let usable = scale.is_finite() && scale >= f32::MIN_POSITIVE;
    let factor = if usable { 1.0 / scale } else { 0.0 };
    let steps = steps.as_flattened_mut();
    for (step, value) in steps.iter_mut().zip(input) {
        *step = (value * factor).round_ties_even() as i16;
    }
    if usable { scale } else { 0.0 }
}
