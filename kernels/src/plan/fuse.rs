//! What is left out, and which layers become one.

use crate::builder::Layer;
use crate::op::{Activation, TensorId, Unary};
use crate::requantise::Finish;

pub(super) fn drop_unused(layers: &mut [Option<Layer>], output: TensorId) {
    let mut used = vec![false; layers.len() + 1];
    used[output.0] = true;
    for index in (0..layers.len()).rev() {
        if !used[index + 1] {
            layers[index] = None;
        }
        for input in layers[index].iter().flat_map(Layer::inputs) {
            used[input.0] = true;
        }
    }
}

/// Moves an addition into the convolution that makes one of its inputs, if nothing else reads that, and nothing else becomes
/// of it.
pub(super) fn fuse_additions(
    layers: &mut [Option<Layer>],
    finishes: &[Option<Finish>],
    uses: &[usize],
) {
    for index in 0..layers.len() {
        let Some(Layer::Add { a, b, activation }) = layers[index] else {
            continue;
        };
        for (made, other) in [(b, a), (a, b)] {
            if made.0 == 0 || uses[made.0] != 1 || finishes[made.0 - 1].is_some() {
                continue;
            }
            if let Some(Layer::Conv {
                depthwise: false,
                activation: own @ Activation::None,
                residual: residual @ None,
                ..
            }) = &mut layers[made.0 - 1]
            {
                *own = activation;
                *residual = Some(other);
                // It runs where the addition was, when the other input exists.
                layers[index] = layers[made.0 - 1].take();
                break;
            }
        }
    }
}

/// Moves functions of single values into the layers that make their inputs, if nothing else reads those; returns what is left to
/// compute of each layer's values.
pub(super) fn fuse_functions(
    layers: &mut [Option<Layer>],
    finishes: &[Option<Finish>],
    uses: &[usize],
) -> Vec<Option<Unary>> {
    let mut curves: Vec<Option<Unary>> = vec![None; layers.len()];
    for index in 0..layers.len() {
        let Some(Layer::Unary { input, function }) = layers[index] else {
            continue;
        };
        curves[index] = Some(function);
        let Some(made) = input.0.checked_sub(1) else {
            continue;
        };
        let is_unary = matches!(layers[made], Some(Layer::Unary { .. }));
        if uses[input.0] != 1 || finishes[made].is_some() || curves[made].is_some() || is_unary {
            continue;
        }
        if let (
            Unary::Clip { min, max },
            Some(
                Layer::Conv {
                    activation: activation @ Activation::None,
                    ..
                }
                | Layer::Add {
                    activation: activation @ Activation::None,
                    ..
                },
            ),
        ) = (function, &mut layers[made])
        {
            *activation = Activation::Clip { min, max };
            curves[index] = None;
        }
        // It runs where the function was: nothing reads it before.
        layers[index] = layers[made].take();
    }
    curves
}
