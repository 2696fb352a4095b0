//! What is left out, and which layers become one.

use crate::builder::Layer;
use crate::op::{Activation, TensorId, Unary};
use crate::requantise::Finish;
use crate::shape::Geometry;

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

/// Folds factors and terms of channels, written as a depthwise convolution of one pixel, into the layer that makes what they are for.
pub(super) fn fold_factors(
    layers: &mut [Option<Layer>],
    finishes: &[Option<Finish>],
    uses: &[usize],
) {
    for index in 0..layers.len() {
        let Some(Layer::Conv {
            input,
            geometry,
            depthwise: true,
            weights: factors,
            bias: terms,
            activation,
            residual: None,
            ..
        }) = &layers[index]
        else {
            continue;
        };
        let once = Geometry {
            kernel: (1, 1),
            stride: (1, 1),
            padding: (0, 0),
        };
        let Some(made) = input.0.checked_sub(1) else {
            continue;
        };
        let finished = finishes[made].is_some() || finishes[index].is_some();
        if *geometry != once || uses[input.0] != 1 || finished {
            continue;
        }
        let (factors, terms, after) = (factors.clone(), terms.clone(), *activation);
        let scale = |values: &mut [f32], terms: &[f32]| {
            for (value, (factor, term)) in values.iter_mut().zip(factors.iter().zip(terms)) {
                *value = *value * factor + term;
            }
        };
        match &mut layers[made] {
            Some(Layer::Conv {
                depthwise,
                weights,
                bias,
                activation: activation @ Activation::None,
                residual: None,
                ..
            }) => {
                if *depthwise {
                    let none = vec![0.0; factors.len()];
                    weights
                        .chunks_exact_mut(factors.len())
                        .for_each(|tap| scale(tap, &none));
                } else {
                    let window = weights.len() / factors.len();
                    for (filter, factor) in weights.chunks_exact_mut(window).zip(&factors) {
                        filter.iter_mut().for_each(|weight| *weight *= factor);
                    }
                }
                scale(bias, &terms);
                *activation = after;
            }
            Some(Layer::Norm {
                factors: own,
                terms: own_terms,
                ..
            }) if after == Activation::None => {
                let none = vec![0.0; factors.len()];
                scale(own, &none);
                scale(own_terms, &terms);
            }
            _ => continue,
        }
        layers[index] = layers[made].take();
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
