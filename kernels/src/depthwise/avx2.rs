//! The usual window on x86-64 processors with AVX2 and fused multiply-add: two neighbouring outputs are one vector.

use super::{Depthwise, Limits, Quad};
use std::arch::x86_64::{
    __m128, __m256, _mm_fmadd_ps, _mm_loadu_ps, _mm_max_ps, _mm_min_ps, _mm_storeu_ps,
    _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_max_ps, _mm256_min_ps, _mm256_set_m128,
    _mm256_storeu_ps,
};
use std::ops::Range;

/// As [`Depthwise::three_by_three`].
#[target_feature(enable = "avx2,fma")]
pub(super) fn three_by_three<const STRIDE: usize>(
    depthwise: &Depthwise,
    input: &[Quad],
    rows: Range<usize>,
    zeros: &[Quad],
    group: usize,
    out: &mut [Quad],
) {
    let (weights, _) = depthwise.weights.as_chunks::<9>();
    let (weights, limits) = (&weights[group], &depthwise.limits[group]);
    let twice = |values: &Quad| _mm256_set_m128(quad(values), quad(values));
    let both: [__m256; 9] = std::array::from_fn(|tap| twice(&weights[tap]));
    let (bias, low, high) = (twice(&limits.bias), twice(&limits.low), twice(&limits.high));
    // Outputs whose windows lie within the row: pairs of these are vectors.
    let (width, left) = (depthwise.input.width, depthwise.geometry.padding.1);
    let begin = left.div_ceil(STRIDE).min(depthwise.out_width);
    let end = (width + left)
        .checked_sub(3)
        .map_or(0, |last| last / STRIDE + 1)
        .clamp(begin, depthwise.out_width);
    for (y, out) in rows.zip(out.chunks_exact_mut(depthwise.out_width)) {
        let top = y * depthwise.geometry.stride.0;
        let rows = [0, 1, 2].map(|row| &depthwise.input_row(input, top + row, zeros)[..width]);
        let (first, rest) = out.split_at_mut(begin);
        let (inner, last) = rest.split_at_mut(end - begin);
        for (index, out) in first.iter_mut().enumerate() {
            *out = edge::<STRIDE>(rows, weights, limits, left, index);
        }
        let (pairs, odd) = inner.as_chunks_mut::<2>();
        for (pair, out) in pairs.iter_mut().enumerate() {
            let column = (begin + pair * 2) * STRIDE - left;
            let mut sum = bias;
            for (row, values) in rows.iter().enumerate() {
                for tap in 0..3 {
                    let at = column + tap;
                    debug_assert!(at + STRIDE < values.len());
                    #[allow(unsafe_code, reason = "bounds checks here cost as much as the sums")]
                    // SAFETY: `end` is such that the last window of a pair ends within the row.
                    let values = unsafe {
                        if STRIDE == 1 {
                            _mm256_loadu_ps(values.as_ptr().add(at).cast())
                        } else {
                            let next = values.get_unchecked(at + STRIDE);
                            _mm256_set_m128(quad(next), quad(values.get_unchecked(at)))
                        }
                    };
                    sum = _mm256_fmadd_ps(values, both[row * 3 + tap], sum);
                }
            }
            // A NaN in the second operand stays one.
            let sum = _mm256_min_ps(high, _mm256_max_ps(low, sum));
            #[allow(unsafe_code, reason = "there is no safe store of a vector")]
            // SAFETY: these are eight floats.
            unsafe {
                _mm256_storeu_ps(out.as_flattened_mut().as_mut_ptr(), sum);
            }
        }
        let done = end - odd.len();
        for (index, out) in odd.iter_mut().chain(last).enumerate() {
            *out = edge::<STRIDE>(rows, weights, limits, left, done + index);
        }
    }
}

/// An output whose window may reach beyond the row.
#[target_feature(enable = "avx2,fma")]
fn edge<const STRIDE: usize>(
    rows: [&[Quad]; 3],
    weights: &[Quad; 9],
    limits: &Limits,
    left: usize,
    index: usize,
) -> Quad {
    let mut sum = quad(&limits.bias);
    for (row, weights) in rows.iter().zip(weights.as_chunks::<3>().0) {
        for (tap, weights) in weights.iter().enumerate() {
            let column = (index * STRIDE + tap).checked_sub(left);
            if let Some(values) = column.and_then(|column| row.get(column)) {
                sum = _mm_fmadd_ps(quad(values), quad(weights), sum);
            }
        }
    }
    let sum = _mm_min_ps(quad(&limits.high), _mm_max_ps(quad(&limits.low), sum));
    let mut out = Quad::default();
    #[allow(unsafe_code, reason = "there is no safe store of a vector")]
    // SAFETY: these are four floats.
    unsafe {
        _mm_storeu_ps(out.as_mut_ptr(), sum);
    }
    out
}

#[target_feature(enable = "avx2,fma")]
fn quad(values: &Quad) -> __m128 {
    #[allow(unsafe_code, reason = "there is no safe load of a vector")]
    // SAFETY: these are four floats.
    unsafe {
        _mm_loadu_ps(values.as_ptr())
    }
}
