//! The layers that need no packing.

pub(crate) mod attention;
pub(crate) mod binary;
pub(crate) mod norm;
pub(crate) mod positions;
pub(crate) mod select;
pub(crate) mod unary;
pub(crate) mod window;

use crate::layout::Layout;
use crate::op::Activation;
use crate::simd::F32x4;

/// Adds `other` to `values` and applies the activation.
pub(crate) fn add_in_place(values: &mut [f32], other: &[f32], activation: Activation) {
    let (low, high) = activation.range();
    let (low, high) = (F32x4::splat(low), F32x4::splat(high));
    let (quads, rest) = values.as_chunks_mut::<4>();
    let (others, other_rest) = other.as_chunks::<4>();
    for (value, other) in quads.iter_mut().zip(others) {
        let sum = F32x4::load(value).add(F32x4::load(other));
        sum.clip(low, high).store(value);
    }
    let sum = F32x4::from_partial(rest, 0.0).add(F32x4::from_partial(other_rest, 0.0));
    sum.clip(low, high).to_partial(rest);
}

/// The sum of each channel over all pixels of `input`, divided by `divisor`.
pub(crate) fn pool(input: &[f32], layout: Layout, divisor: f32, out: &mut [f32]) {
    let divisor = F32x4::splat(divisor);
    let planes = input.chunks_exact(layout.stride);
    for (plane, out) in planes.zip(out.as_chunks_mut::<4>().0) {
        let mut sum = F32x4::splat(0.0);
        for pixel in plane[..layout.values()].as_chunks::<4>().0 {
            sum = sum.add(F32x4::load(pixel));
        }
        sum.div(divisor).store(out);
    }
}
