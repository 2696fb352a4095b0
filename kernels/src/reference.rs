//! Plain loops that say what the kernels should compute.

use crate::{Activation, Conv, Pool, Pooling, Shape};

pub(crate) fn activate(value: f32, activation: Activation) -> f32 {
    let (low, high) = activation.range();
    let value = if value < low { low } else { value };
    if high < value { high } else { value }
}

/// `input` is NHWC, and so is the result.
pub(crate) fn conv(input: &[f32], shape: Shape, conv: &Conv<'_>) -> (Vec<f32>, Shape) {
    let (top, left, bottom, right) = conv.padding;
    let (kh, kw) = conv.kernel;
    let out = Shape {
        height: (shape.height + top + bottom - (kh - 1) * conv.dilation.0 - 1) / conv.stride.0 + 1,
        width: (shape.width + left + right - (kw - 1) * conv.dilation.1 - 1) / conv.stride.1 + 1,
        channels: conv.out_channels,
    };
    let in_group = shape.channels / conv.groups;
    let out_group = conv.out_channels / conv.groups;
    let mut result = Vec::with_capacity(out.len());
    for y in 0..out.height {
        for x in 0..out.width {
            for channel in 0..out.channels {
                let mut sum = f64::from(conv.bias.get(channel).copied().unwrap_or(0.0));
                for c in 0..in_group {
                    for ky in 0..kh {
                        for kx in 0..kw {
                            let (dy, dx) = (ky * conv.dilation.0, kx * conv.dilation.1);
                            let row = (y * conv.stride.0 + dy).wrapping_sub(top);
                            let column = (x * conv.stride.1 + dx).wrapping_sub(left);
                            if row >= shape.height || column >= shape.width {
                                continue;
                            }
                            let from = channel / out_group * in_group + c;
                            let value = input[(row * shape.width + column) * shape.channels + from];
                            let weight =
                                conv.weights[((channel * in_group + c) * kh + ky) * kw + kx];
                            sum += f64::from(value) * f64::from(weight);
                        }
                    }
                }
                result.push(activate(sum as f32, conv.activation));
            }
        }
    }
    (result, out)
}

pub(crate) fn add(a: &[f32], b: &[f32], activation: Activation) -> Vec<f32> {
    let sums = a.iter().zip(b).map(|(a, b)| activate(a + b, activation));
    sums.collect()
}

/// `input` is NHWC, and so is the result, of this height and width.
pub(crate) fn pool(
    input: &[f32],
    shape: Shape,
    pool: &Pool,
    (height, width): (usize, usize),
) -> Vec<f32> {
    let (top, left, bottom, right) = pool.padding;
    let mut result = Vec::new();
    for y in 0..height {
        for x in 0..width {
            for channel in 0..shape.channels {
                let (mut most, mut sum) = (f32::NEG_INFINITY, 0.0f64);
                let (mut inside, mut padded) = (0, 0);
                for ky in 0..pool.kernel.0 {
                    for kx in 0..pool.kernel.1 {
                        let row = y * pool.stride.0 + ky;
                        let column = x * pool.stride.1 + kx;
                        if row < shape.height + top + bottom && column < shape.width + left + right
                        {
                            padded += 1;
                        }
                        let row = row.wrapping_sub(top);
                        let column = column.wrapping_sub(left);
                        if row < shape.height && column < shape.width {
                            let value =
                                input[(row * shape.width + column) * shape.channels + channel];
                            most = most.max(value);
                            sum += f64::from(value);
                            inside += 1;
                        }
                    }
                }
                result.push(match pool.pooling {
                    Pooling::Max => most,
                    Pooling::Average {
                        count_padding: true,
                    } => (sum / f64::from(padded)) as f32,
                    Pooling::Average {
                        count_padding: false,
                    } => (sum / f64::from(inside)) as f32,
                });
            }
        }
    }
    result
}

pub(crate) fn average(input: &[f32], channels: usize) -> Vec<f32> {
    let pixels = input.len() / channels;
    (0..channels)
        .map(|channel| {
            let values = input.iter().skip(channel).step_by(channels);
            (values.map(|&value| f64::from(value)).sum::<f64>() / pixels as f64) as f32
        })
        .collect()
}

/// `input` is NHWC, `weights` are `[out][channel][row][column]`.
pub(crate) fn dense(input: &[f32], shape: Shape, weights: &[f32], bias: &[f32]) -> Vec<f32> {
    let pixels = shape.height * shape.width;
    let row = |row: &[f32]| -> f64 {
        let products = input.iter().enumerate().map(|(index, &value)| {
            let (pixel, channel) = (index / shape.channels, index % shape.channels);
            f64::from(value) * f64::from(row[channel * pixels + pixel])
        });
        products.sum()
    };
    weights
        .chunks_exact(shape.len())
        .zip(bias)
        .map(|(weights, bias)| (row(weights) + f64::from(*bias)) as f32)
        .collect()
}

/// `input` is NHWC, and so is the result.
pub(crate) fn layer_norm(input: &[f32], factors: &[f32], terms: &[f32], epsilon: f64) -> Vec<f32> {
    let pixels = input.chunks_exact(factors.len());
    let normalised = pixels.flat_map(|pixel| {
        let count = pixel.len() as f64;
        let mean = pixel.iter().map(|&value| f64::from(value)).sum::<f64>() / count;
        let squares = pixel.iter().map(|&value| (f64::from(value) - mean).powi(2));
        let deviation = (squares.sum::<f64>() / count + epsilon).sqrt();
        let parts = pixel.iter().zip(factors.iter().zip(terms));
        parts.map(move |(&value, (&factor, &term))| {
            ((f64::from(value) - mean) / deviation * f64::from(factor) + f64::from(term)) as f32
        })
    });
    normalised.collect()
}

/// Each of the three is `[pixel][channel]` with the heads' channels one behind the other, and so is the result.
pub(crate) fn attention(
    [queries, keys, values]: [&[f32]; 3],
    heads: usize,
    dim: usize,
    scale: f64,
) -> Vec<f32> {
    let width = heads * dim;
    let mut result = Vec::new();
    for query in queries.chunks_exact(width) {
        for head in 0..heads {
            let part = head * dim..(head + 1) * dim;
            let scores: Vec<f64> = keys
                .chunks_exact(width)
                .map(|key| {
                    let pairs = query[part.clone()].iter().zip(&key[part.clone()]);
                    let sum: f64 = pairs.map(|(&q, &k)| f64::from(q) * f64::from(k)).sum();
                    (sum * scale).exp()
                })
                .collect();
            let total: f64 = scores.iter().sum();
            for channel in part {
                let pairs = scores.iter().zip(values.chunks_exact(width));
                let sum: f64 = pairs
                    .map(|(weight, value)| weight * f64::from(value[channel]))
                    .sum();
                result.push((sum / total) as f32);
            }
        }
    }
    result
}

/// Pseudo-random numbers that are the same everywhere.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// Uniform in -1.0..1.0.
    pub(crate) fn value(&mut self) -> f32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    pub(crate) fn values(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.value()).collect()
    }
}
