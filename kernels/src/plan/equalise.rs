//! Cross-layer equalisation: weights of similar size for all channels lose less in 8 bits.

use crate::builder::Layer;
use crate::op::{Precision, Unary};

/// How much each channel a depthwise step makes is multiplied by, so that the convolution that reads it, whose weights
/// are divided by as much, has weights of similar size for all channels: 8-bit weights lose less then. Each of the two
/// steps has the same gains; empty means 1.
pub(super) fn gains(
    layers: &[Option<Layer>],
    made: &[usize],
    uses: &[usize],
    curves: &[Option<Unary>],
    precision: Precision,
) -> Vec<Vec<f32>> {
    let mut gains = vec![Vec::new(); made.len()];
    if precision != Precision::Int8 {
        return gains;
    }
    for (step, &tensor) in made.iter().enumerate() {
        let reader = made.iter().position(|&reader| {
            matches!(
                &layers[reader - 1],
                Some(Layer::Conv { input, geometry, depthwise: false, groups: 1, .. })
                    if input.0 == tensor && geometry.kernel == (1, 1)
            )
        });
        if let Some(Layer::Conv {
            depthwise: true,
            bias,
            ..
        }) = &layers[tensor - 1]
            && curves[tensor - 1].is_none()
            && uses[tensor] == 1
            && let Some(reader) = reader
            && let Some(Layer::Conv { weights, .. }) = &layers[made[reader] - 1]
        {
            gains[step] = balance(weights, bias.len());
            gains[reader] = gains[step].clone();
        }
    }
    gains
}

/// For each input channel of `[out][in]` weights, the square root of its largest weight, relative to their
/// mean.
fn balance(weights: &[f32], channels: usize) -> Vec<f32> {
    let mut largest = vec![0.0f32; channels];
    for row in weights.chunks_exact(channels) {
        for (largest, weight) in largest.iter_mut().zip(row) {
            *largest = largest.max(weight.abs());
        }
    }
    let top = largest.iter().copied().fold(0.0, f32::max);
    if top < f32::MIN_POSITIVE {
        return Vec::new();
    }
    // Square roots are the same on every machine; logarithms are not, and which factor all gains have does not matter.
    let roots = largest
        .iter()
        .map(|&largest| largest.max(top * 1e-3).sqrt());
    let roots: Vec<f32> = roots.collect();
    let mean = roots.iter().sum::<f32>() / channels as f32;
    roots.into_iter().map(|root| root / mean).collect()
}
