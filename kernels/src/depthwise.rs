//! Depthwise convolutions: one filter a channel, in 32-bit floats.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod windowed;

use std::ops::Range;

#[cfg(feature = "serde")]
use crate::check::ensure;
use crate::fence::Fence;
use crate::layout::{Layout, in_ring};
use crate::op::Activation;
#[cfg(feature = "serde")]
use crate::pack::Windows;
use crate::shape::{Geometry, Shape};
use crate::simd::F32x4;

/// Outputs that a turn of the inner loop makes.
const OUTPUTS: usize = 4;

/// A value of each channel of a plane.
pub(crate) type Quad = [f32; 4];

/// A depthwise convolution, ready to run.
#[derive(Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Depthwise {
    geometry: Geometry,
    input: Shape,
    /// Rows the input's buffer has; row `y` is at `y % rows`.
    rows: usize,
    out_width: usize,
    /// For each group of four channels, for each tap.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::check::exact"))]
    weights: Vec<[f32; 4]>,
    /// For each group of four channels.
    limits: Vec<Limits>,
}

/// What four channels start from, and the range they end in.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct Limits {
    bias: [f32; 4],
    low: [f32; 4],
    high: [f32; 4],
}

impl Depthwise {
    /// Packs weights `[height][width][channel]`. Channel `c` of the output is multiplied by `gains[c]`, which is
    /// positive; none means 1.
    pub(crate) fn new(
        geometry: Geometry,
        input: Shape,
        rows: usize,
        out_width: usize,
        (weights, bias): (&[f32], &[f32]),
        activation: Activation,
        gains: &[f32],
    ) -> Self {
        let gain = |channel: usize| gains.get(channel).copied().unwrap_or(1.0);
        let (low, high) = activation.range();
        let channels = input.channels;
        let taps = geometry.kernel.0 * geometry.kernel.1;
        let groups = channels.div_ceil(4);
        let mut packed = vec![[0.0; 4]; groups * taps];
        let mut limits = vec![
            Limits {
                bias: [0.0; 4],
                low: [low; 4],
                high: [high; 4],
            };
            groups
        ];
        for channel in 0..channels {
            let (group, lane) = (channel / 4, channel % 4);
            let gain = gain(channel);
            for tap in 0..taps {
                packed[group * taps + tap][lane] = weights[tap * channels + channel] * gain;
            }
            limits[group].bias[lane] = bias[channel] * gain;
            limits[group].low[lane] = low * gain;
            limits[group].high[lane] = high * gain;
        }
        Self {
            geometry,
            input,
            rows,
            out_width,
            weights: packed,
            limits,
        }
    }

    /// Whether it fits its layer.
    #[cfg(feature = "serde")]
    pub(crate) fn check(&self, rows: usize, input: Shape, output: Shape) -> Option<()> {
        Windows::new(self.geometry, self.input, Some(self.rows), self.out_width).check(
            Some(rows),
            input,
            output,
        )?;
        let (groups, kernel) = (input.channels.div_ceil(4), self.geometry.kernel);
        ensure(output.channels == input.channels && self.limits.len() == groups)?;
        ensure(self.weights.len() == groups * kernel.0 * kernel.1)
    }

    pub(crate) fn weights_bytes(&self) -> usize {
        size_of_val(&*self.weights) + size_of_val(&*self.limits)
    }

    /// Values of four channels that [`Self::run`] needs as scratch.
    pub(crate) fn scratch_len(&self) -> usize {
        if !self.is_three_by_three() && self.is_windowed() {
            self.padded_len()
        } else {
            0
        }
    }

    /// Computes output rows. `zeros` stands for rows outside the input and is at least four times as long as it is wide.
    pub(crate) fn run(
        &self,
        input: &[f32],
        rows: Range<usize>,
        (zeros, scratch): (&[f32], &mut [Quad]),
        layout: Layout,
        out: &mut [f32],
    ) {
        let zeros = &zeros[..self.input.width * 4];
        let from = Layout::new(self.input, self.rows);
        let planes = input
            .chunks_exact(from.stride)
            .zip(out.chunks_exact_mut(layout.stride));
        let start = layout.row(rows.start);
        let end = start + rows.len() * layout.width * 4;
        for (group, (input, out)) in planes.enumerate() {
            let (input, _) = input.as_chunks::<4>();
            let (out, _) = out[start..end].as_chunks_mut::<4>();
            let (zeros, _) = zeros.as_chunks::<4>();
            if self.is_pointwise() {
                self.pointwise(input, rows.clone(), group, out);
            } else if !self.is_three_by_three() && self.is_windowed() {
                self.windowed(input, rows.clone(), scratch, group, out);
            } else if !self.is_three_by_three() {
                self.any(input, rows.clone(), zeros, group, out);
            } else if self.geometry.stride.1 == 1 {
                self.three_by_three::<1>(input, rows.clone(), zeros, group, out);
            } else {
                self.three_by_three::<2>(input, rows.clone(), zeros, group, out);
            }
        }
    }

    /// Whether there is one factor a channel and nothing else: a batch normalisation that nothing takes in, for example.
    fn is_pointwise(&self) -> bool {
        let Geometry {
            kernel,
            stride,
            padding,
        } = self.geometry;
        kernel == (1, 1) && stride == (1, 1) && padding == (0, 0)
    }

    /// Four channels of some output rows, which depend on the same values of the input.
    #[inline(never)]
    fn pointwise(&self, input: &[Quad], rows: Range<usize>, group: usize, out: &mut [Quad]) {
        let weights = F32x4::load(&self.weights[group]);
        let limits = &self.limits[group];
        let bias = F32x4::load(&limits.bias);
        let (low, high) = (F32x4::load(&limits.low), F32x4::load(&limits.high));
        for (y, out) in rows.zip(out.chunks_exact_mut(self.out_width)) {
            for (value, out) in self.input_row(input, y, &[]).iter().zip(out) {
                let sum = F32x4::load(value).mul_add(weights, bias);
                sum.clip(low, high).store(out);
            }
        }
    }

    /// Whether [`Self::three_by_three`] can be used: a row may lack at most its first and last column.
    fn is_three_by_three(&self) -> bool {
        let (stride, left) = (self.geometry.stride.1, self.geometry.padding.1);
        self.geometry.kernel == (3, 3)
            && (1..=2).contains(&stride)
            && self.input.width > 0
            && left <= 1
            && self.out_width > 0
            && (self.out_width - 1) * stride + 1 < self.input.width + left
    }

    /// A row of a plane of the padded input.
    #[inline(always)]
    fn input_row<'a>(&self, input: &'a [Quad], y: usize, zeros: &'a [Quad]) -> &'a [Quad] {
        match y.checked_sub(self.geometry.padding.0) {
            Some(y) if y < self.input.height => {
                let start = in_ring(y, self.rows) * self.input.width;
                &input[start..start + self.input.width]
            }
            _ => zeros,
        }
    }

    /// Four channels of some output rows. Each column of the input is loaded once and added to the two or three sums
    /// that it is part of: nine weights, two sums and a column fit sixteen registers, nine inputs would not.
    #[inline(never)]
    fn three_by_three<const STRIDE: usize>(
        &self,
        input: &[Quad],
        rows: Range<usize>,
        zeros: &[Quad],
        group: usize,
        out: &mut [Quad],
    ) {
        #[cfg(target_arch = "x86_64")]
        if crate::simd::has_avx2() {
            #[allow(unsafe_code, reason = "the compiler cannot know the processor")]
            // SAFETY: the processor has what the function is compiled for.
            return unsafe { avx2::three_by_three::<STRIDE>(self, input, rows, zeros, group, out) };
        }
        let (weights, _) = self.weights.as_chunks::<9>();
        let (weights, limits) = (&weights[group], &self.limits[group]);
        for (y, out) in rows.zip(out.chunks_exact_mut(self.out_width)) {
            let top = y * self.geometry.stride.0;
            let rows = [
                self.input_row(input, top, zeros),
                self.input_row(input, top + 1, zeros),
                self.input_row(input, top + 2, zeros),
            ];
            self.three_by_three_row::<STRIDE>(rows, weights, limits, out);
        }
    }

    #[inline(always)]
    fn three_by_three_row<const STRIDE: usize>(
        &self,
        rows: [&[Quad]; 3],
        weights: &[Quad; 9],
        limits: &Limits,
        out: &mut [Quad],
    ) {
        let end = self.input.width;
        let rows = [&rows[0][..end], &rows[1][..end], &rows[2][..end]];
        let out = &mut out[..self.out_width];
        let column = |index: usize| {
            debug_assert!(index < end);
            #[allow(unsafe_code, reason = "bounds checks here cost as much as the sums")]
            // SAFETY: callers pass a column within the width, as `is_three_by_three` made sure.
            unsafe {
                [
                    F32x4::load(rows[0].get_unchecked(index)),
                    F32x4::load(rows[1].get_unchecked(index)),
                    F32x4::load(rows[2].get_unchecked(index)),
                ]
            }
        };
        let weights = |tap: usize| {
            [
                F32x4::load(&weights[tap]),
                F32x4::load(&weights[tap + 3]),
                F32x4::load(&weights[tap + 6]),
            ]
        };
        let (w_left, w_middle, w_right) = (weights(0), weights(1), weights(2));
        let bias = F32x4::load(&limits.bias);
        let (low, high) = (F32x4::load(&limits.low), F32x4::load(&limits.high));
        let left = self.geometry.padding.1;
        // Outputs that have a right column; the last one may not.
        let full =
            ((self.input.width + left).saturating_sub(2).div_ceil(STRIDE)).min(self.out_width);
        let (out, last) = out.split_at_mut(full);
        let (turns, rest) = out.as_chunks_mut::<OUTPUTS>();
        let fence = Fence::new();

        let mut sum = bias;
        let mut index = 0;
        if left == 0 {
            sum = add_column(sum, column(index), w_left);
            index += 1;
        }
        if STRIDE == 1 {
            let middle = column(index);
            sum = add_column(sum, middle, w_middle);
            let mut sums = [[sum, add_column(bias, middle, w_left)]];
            let mut output = |sums: &mut [[F32x4; 2]; 1], target: &mut Quad| {
                index += 1;
                let right = column(index);
                let value = add_column(sums[0][0], right, w_right);
                sums[0][0] = add_column(sums[0][1], right, w_middle);
                sums[0][1] = add_column(bias, right, w_left);
                value.clip(low, high).store(target);
            };
            for [a, b, c, d] in turns {
                output(&mut sums, a);
                fence.hold(1, &mut sums);
                output(&mut sums, b);
                fence.hold(2, &mut sums);
                output(&mut sums, c);
                fence.hold(3, &mut sums);
                output(&mut sums, d);
            }
            for target in rest {
                output(&mut sums, target);
            }
            sum = sums[0][0];
        } else {
            let mut output = |sum: &mut F32x4, target: &mut Quad| {
                let value = add_column(*sum, column(index), w_middle);
                let right = column(index + 1);
                let value = add_column(value, right, w_right);
                *sum = add_column(bias, right, w_left);
                index += 2;
                value.clip(low, high).store(target);
            };
            for [a, b, c, d] in turns {
                output(&mut sum, a);
                output(&mut sum, b);
                output(&mut sum, c);
                output(&mut sum, d);
            }
            for target in rest {
                output(&mut sum, target);
            }
            if full < self.out_width {
                sum = add_column(sum, column(index), w_middle);
            }
        }
        if let Some(target) = last.first_mut() {
            sum.clip(low, high).store(target);
        }
    }

    /// Any kernel.
    #[inline(never)]
    fn any(
        &self,
        input: &[Quad],
        rows: Range<usize>,
        zeros: &[Quad],
        group: usize,
        out: &mut [Quad],
    ) {
        let (kernel, stride) = (self.geometry.kernel, self.geometry.stride);
        let taps = kernel.0 * kernel.1;
        let weights = &self.weights[group * taps..(group + 1) * taps];
        let limits = &self.limits[group];
        for (y, out) in rows.zip(out.chunks_exact_mut(self.out_width)) {
            for (x, out) in out.iter_mut().enumerate() {
                let mut sum = F32x4::load(&limits.bias);
                for ky in 0..kernel.0 {
                    let row = self.input_row(input, y * stride.0 + ky, zeros);
                    for kx in 0..kernel.1 {
                        let column = (x * stride.1 + kx).checked_sub(self.geometry.padding.1);
                        if let Some(values) = column.and_then(|column| row.get(column)) {
                            let weights = F32x4::load(&weights[ky * kernel.1 + kx]);
                            sum = F32x4::load(values).mul_add(weights, sum);
                        }
                    }
                }
                let (low, high) = (F32x4::load(&limits.low), F32x4::load(&limits.high));
                sum.clip(low, high).store(out);
            }
        }
    }
}

/// Adds the products of a column of the window and its weights.
#[inline(always)]
fn add_column(sum: F32x4, [a, b, c]: [F32x4; 3], weights: [F32x4; 3]) -> F32x4 {
    let sum = a.mul_add(weights[0], sum);
    let sum = b.mul_add(weights[1], sum);
    c.mul_add(weights[2], sum)
}
