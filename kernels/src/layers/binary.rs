//! Arithmetic of two tensors, value by value; the second one may have one value a channel.

use crate::layout::Layout;
use crate::op::Binary;
use crate::simd::F32x4;

/// Works on `values`, planes of this layout, and `other`: of the same shape, or, with `one_pixel`, of one pixel.
pub(crate) fn apply(
    operator: Binary,
    values: &mut [f32],
    layout: Layout,
    channels: usize,
    (other, one_pixel): (&[f32], bool),
) {
    let other_stride = if one_pixel { 4 } else { layout.stride };
    let planes = values.chunks_exact_mut(layout.stride);
    for (plane, (values, other)) in planes.zip(other.chunks_exact(other_stride)).enumerate() {
        let (values, _) = values[..layout.values()].as_chunks_mut::<4>();
        let (other, _) = other.as_chunks::<4>();
        match operator {
            Binary::Add => each(values, other, one_pixel, F32x4::add),
            Binary::Sub => each(values, other, one_pixel, F32x4::sub),
            Binary::Mul => each(values, other, one_pixel, F32x4::mul),
            Binary::Div => {
                each(values, other, one_pixel, F32x4::div);
                // Lanes that pad the last plane stay finite.
                let used = (channels - plane * 4).min(4);
                for value in values.iter_mut().filter(|_| used < 4) {
                    value[used..].fill(0.0);
                }
            }
        }
    }
}

#[inline(always)]
fn each(
    values: &mut [[f32; 4]],
    other: &[[f32; 4]],
    one_pixel: bool,
    operator: impl Fn(F32x4, F32x4) -> F32x4,
) {
    if one_pixel {
        let other = F32x4::load(&other[0]);
        for value in values {
            operator(F32x4::load(value), other).store(value);
        }
    } else {
        for (value, other) in values.iter_mut().zip(other) {
            operator(F32x4::load(value), F32x4::load(other)).store(value);
        }
    }
}
