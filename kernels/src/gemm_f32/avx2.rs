//! The multiplication on x86-64 processors with AVX2 and fused multiply-add, which run natively what a sandbox runs
//! elsewhere: a panel's eight channels are one vector.

use super::{Column, Panels};
use crate::epilogue::{TILE, Target};
use crate::simd::F32x4;
use std::arch::x86_64::{
    __m128, __m256, _mm_add_ps, _mm_loadu_ps, _mm_max_ps, _mm_min_ps, _mm_set1_ps, _mm_storeu_ps,
    _mm256_castps256_ps128, _mm256_extractf128_ps, _mm256_fmadd_ps, _mm256_loadu_ps,
    _mm256_set1_ps, _mm256_storeu_ps,
};

/// As [`Panels::multiply`]. `wide` says that the processor has AVX-512's registers, too.
#[target_feature(enable = "avx2,fma")]
pub(super) fn multiply(
    weights: &Panels<'_>,
    packed: &[Column],
    target: &mut Target<'_>,
    wide: bool,
) {
    let count = weights.epilogue.bias.len();
    let mut panel = 0;
    while panel < count {
        let left = count - panel;
        // Sums of a group are as many as registers allow; two and two are quicker than three and one.
        panel += if wide && left >= 3 && left != 4 {
            #[allow(unsafe_code, reason = "the compiler cannot know the processor")]
            // SAFETY: the caller says that the processor has what the function is compiled for.
            unsafe {
                three(weights, panel, packed, target);
            }
            3
        } else if left >= 2 {
            two(weights, panel, packed, target);
            2
        } else {
            one(weights, panel, packed, target);
            1
        };
    }
}

/// A function that multiplies so many panels from the `first` on by all tiles.
macro_rules! group {
    ($name:ident, $panels:literal, $features:literal) => {
        #[target_feature(enable = $features)]
        fn $name(weights: &Panels<'_>, first: usize, packed: &[Column], target: &mut Target<'_>) {
            let k = weights.k;
            let panels: [&[[[f32; 4]; 2]]; $panels] =
                std::array::from_fn(|panel| &weights.panels[(first + panel) * k..][..k]);
            let bias: [__m256; $panels] =
                std::array::from_fn(|panel| load(&weights.epilogue.bias[first + panel]));
            for (index, columns) in packed.chunks_exact(k).enumerate() {
                let mut sums = [bias; TILE];
                for step in 0..k {
                    #[allow(unsafe_code, reason = "bounds checks here cost as much as the sums")]
                    // SAFETY: all of these have `k` steps.
                    let (column, values) = unsafe {
                        let values = panels.map(|panel| load(panel.get_unchecked(step)));
                        (columns.get_unchecked(step), values)
                    };
                    for pixel in 0..TILE {
                        let value = _mm256_set1_ps(column[pixel]);
                        for panel in 0..$panels {
                            sums[pixel][panel] =
                                _mm256_fmadd_ps(value, values[panel], sums[pixel][panel]);
                        }
                    }
                }
                store(weights, index * TILE, first, &sums, target);
            }
        }
    };
}

group!(one, 1, "avx2,fma");
group!(two, 2, "avx2,fma");
// Twelve sums, three weights and what the compiler has on the way there are more than AVX2's sixteen registers.
group!(three, 3, "avx2,fma,avx512f,avx512vl");

/// Adds the residual, limits the sums, and writes them to two planes a panel.
#[allow(
    clippy::needless_range_loop,
    reason = "the loop goes over columns, not rows"
)]
#[target_feature(enable = "avx2,fma")]
fn store<const P: usize>(
    weights: &Panels<'_>,
    pixel: usize,
    panel: usize,
    sums: &[[__m256; P]; TILE],
    target: &mut Target<'_>,
) {
    let epilogue = &weights.epilogue;
    if pixel + TILE > target.pixels || (panel + P) * 2 > target.planes {
        for index in 0..P {
            let part = std::array::from_fn(|pixel| halves(sums[pixel][index]));
            epilogue.store_part(&part, (panel + index) * 2, pixel, target);
        }
        return;
    }
    let (low, high) = (_mm_set1_ps(epilogue.low), _mm_set1_ps(epilogue.high));
    for (at, sums) in sums.iter().enumerate() {
        for (index, sum) in sums.iter().enumerate() {
            let (left, right) = (
                _mm256_castps256_ps128(*sum),
                _mm256_extractf128_ps::<1>(*sum),
            );
            for (half, value) in [left, right].into_iter().enumerate() {
                let plane = (panel + index) * 2 + half;
                let offset =
                    |stride: usize, first: usize| plane * stride + (first + pixel + at) * 4;
                #[allow(
                    unsafe_code,
                    reason = "bounds checks here cost as much as a step of the inner loop"
                )]
                // SAFETY: `Target::new` checked that each plane has `pixels` pixels from `first` on; this is one of
                // them, and the plane exists.
                unsafe {
                    let mut value: __m128 = value;
                    if let Some(residual) = &target.residual {
                        let start = offset(residual.stride, residual.first);
                        value =
                            _mm_add_ps(value, _mm_loadu_ps(residual.values.as_ptr().add(start)));
                    }
                    // A NaN in the second operand stays one.
                    let value = _mm_min_ps(high, _mm_max_ps(low, value));
                    let start = offset(target.stride, target.first);
                    _mm_storeu_ps(target.out.as_mut_ptr().add(start), value);
                }
            }
        }
    }
}

#[target_feature(enable = "avx2,fma")]
fn load(values: &[[f32; 4]; 2]) -> __m256 {
    #[allow(unsafe_code, reason = "there is no safe load of a vector")]
    // SAFETY: these are eight floats.
    unsafe {
        _mm256_loadu_ps(values.as_flattened().as_ptr())
    }
}

#[target_feature(enable = "avx2,fma")]
fn halves(sum: __m256) -> [F32x4; 2] {
    let mut values = [[0.0; 4]; 2];
    #[allow(unsafe_code, reason = "there is no safe store of a vector")]
    // SAFETY: these are eight floats.
    unsafe {
        _mm256_storeu_ps(values.as_flattened_mut().as_mut_ptr(), sum);
    }
    [F32x4::load(&values[0]), F32x4::load(&values[1])]
}
