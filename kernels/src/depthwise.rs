//! Depthwise convolutions: one filter a channel, in 32-bit floats.

use std::ops::Range;

use crate::builder::{Activation, Geometry};
use crate::network::Shape;
use crate::simd::F32x4;

/// Cache lines that are counted on to stay in a level 1 cache.
const LINES: usize = 24 * 1024 / 64;

/// A depthwise convolution, ready to run.
#[derive(Debug)]
pub(crate) struct Depthwise {
    geometry: Geometry,
    input: Shape,
    /// Rows the input's buffer has; row `y` is at `y % rows`.
    rows: usize,
    out_width: usize,
    /// For each group of four channels, for each tap.
    weights: Vec<[f32; 4]>,
    /// For each group of four channels.
    limits: Vec<Limits>,
}

/// What four channels start from, and the range they end in.
#[derive(Debug, Clone, Copy)]
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

    pub(crate) fn weights_bytes(&self) -> usize {
        size_of_val(&*self.weights) + size_of_val(&*self.limits)
    }

    /// Computes output rows. `zeros` stands for rows outside the input and has at least as many values as a row.
    pub(crate) fn run(&self, input: &[f32], rows: Range<usize>, zeros: &[f32], out: &mut [f32]) {
        let row_len = self.out_width * self.input.channels;
        // Sixteen channels share a cache line: the lines under as many rows as this stay until all four groups had
        // them.
        let rows_held = LINES / self.input.width;
        let batch = rows_held.saturating_sub(self.geometry.kernel.0) / self.geometry.stride.0;
        let batch = batch.max(1);
        let starts = rows.clone().step_by(batch);
        for (start, out) in starts.zip(out.chunks_mut(batch * row_len)) {
            let rows = start..rows.end.min(start + batch);
            let whole = self.input.channels / 4;
            let mut done = 0;
            if self.is_three_by_three() {
                done = whole;
                for group in 0..whole {
                    if self.geometry.stride.1 == 1 {
                        self.three_by_three::<1>(input, rows.clone(), zeros, group, out);
                    } else {
                        self.three_by_three::<2>(input, rows.clone(), zeros, group, out);
                    }
                }
            }
            if done < self.limits.len() {
                for (y, out) in rows.zip(out.chunks_exact_mut(row_len)) {
                    self.any(input, y, zeros, done, out);
                }
            }
        }
    }

    /// Whether [`Self::three_by_three`] can be used: a row may lack at most its first and last column.
    fn is_three_by_three(&self) -> bool {
        let (stride, left) = (self.geometry.stride.1, self.geometry.padding.1);
        self.geometry.kernel == (3, 3)
            && stride <= 2
            && left <= 1
            && self.out_width > 0
            && (self.out_width - 1) * stride + 1 < self.input.width + left
    }

    /// A row of the padded input.
    #[inline(always)]
    fn input_row<'a>(&self, input: &'a [f32], y: usize, zeros: &'a [f32]) -> &'a [f32] {
        let row_len = self.input.row_len();
        match y.checked_sub(self.geometry.padding.0) {
            Some(y) if y < self.input.height => {
                let start = y % self.rows * row_len;
                &input[start..start + row_len]
            }
            _ => &zeros[..row_len],
        }
    }

    /// Four channels of some output rows. Each column of the input is loaded once and added to the two or three sums
    /// that it is part of: nine weights, two sums and a column fit sixteen registers, nine inputs would not.
    #[inline(never)]
    fn three_by_three<const STRIDE: usize>(
        &self,
        input: &[f32],
        rows: Range<usize>,
        zeros: &[f32],
        group: usize,
        out: &mut [f32],
    ) {
        let (weights, _) = self.weights.as_chunks::<9>();
        let (weights, limits) = (&weights[group], &self.limits[group]);
        let row_len = self.out_width * self.input.channels;
        for (y, out) in rows.zip(out.chunks_exact_mut(row_len)) {
            let top = y * self.geometry.stride.0;
            let rows = [
                self.input_row(input, top, zeros),
                self.input_row(input, top + 1, zeros),
                self.input_row(input, top + 2, zeros),
            ];
            self.three_by_three_row::<STRIDE>(rows, group, weights, limits, out);
        }
    }

    #[inline(always)]
    fn three_by_three_row<const STRIDE: usize>(
        &self,
        rows: [&[f32]; 3],
        group: usize,
        weights: &[[f32; 4]; 9],
        limits: &Limits,
        out: &mut [f32],
    ) {
        let channels = self.input.channels;
        let first = 4 * group;
        let end = self.input.width * channels;
        let rows = [&rows[0][..end], &rows[1][..end], &rows[2][..end]];
        let out = &mut out[..self.out_width * channels];
        let column = |index: usize| {
            debug_assert!(index + 4 <= end);
            #[allow(unsafe_code, reason = "bounds checks here cost as much as the sums")]
            // SAFETY: callers pass a column within the width, times `channels`, plus `first`, which is the start of
            // a whole group of channels: so four more values are within the row.
            unsafe {
                [
                    F32x4::load_at(rows[0], index),
                    F32x4::load_at(rows[1], index),
                    F32x4::load_at(rows[2], index),
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
        let mut targets = out.chunks_exact_mut(channels);

        let mut sum = bias;
        let mut index = first;
        if left == 0 {
            sum = add_column(sum, column(index), w_left);
            index += channels;
        }
        if STRIDE == 1 {
            let middle = column(index);
            sum = add_column(sum, middle, w_middle);
            let mut next = add_column(bias, middle, w_left);
            for target in targets.by_ref().take(full) {
                index += channels;
                let right = column(index);
                let value = add_column(sum, right, w_right);
                sum = add_column(next, right, w_middle);
                next = add_column(bias, right, w_left);
                value
                    .clip(low, high)
                    .to_slice(&mut target[first..first + 4]);
            }
        } else {
            for target in targets.by_ref().take(full) {
                let value = add_column(sum, column(index), w_middle);
                let right = column(index + channels);
                let value = add_column(value, right, w_right);
                sum = add_column(bias, right, w_left);
                index += 2 * channels;
                value
                    .clip(low, high)
                    .to_slice(&mut target[first..first + 4]);
            }
            if full < self.out_width {
                sum = add_column(sum, column(index), w_middle);
            }
        }
        if let Some(target) = targets.next() {
            sum.clip(low, high).to_slice(&mut target[first..first + 4]);
        }
    }

    /// Any kernel, for the groups of channels from `done` on.
    #[inline(never)]
    fn any(&self, input: &[f32], y: usize, zeros: &[f32], done: usize, out: &mut [f32]) {
        let channels = self.input.channels;
        let (kernel, stride) = (self.geometry.kernel, self.geometry.stride);
        let taps = kernel.0 * kernel.1;
        for group in done..self.limits.len() {
            let limits = &self.limits[group];
            let lanes = 4 * group..channels.min(4 * group + 4);
            for (x, out) in out.chunks_exact_mut(channels).enumerate() {
                let mut sum = F32x4::load(&limits.bias);
                for ky in 0..kernel.0 {
                    let row = self.input_row(input, y * stride.0 + ky, zeros);
                    for kx in 0..kernel.1 {
                        let column = (x * stride.1 + kx).checked_sub(self.geometry.padding.1);
                        let Some(column) = column.filter(|&column| column < self.input.width)
                        else {
                            continue;
                        };
                        let start = column * channels;
                        let values = &row[start + lanes.start..start + lanes.end];
                        let values = match values.first_chunk() {
                            Some(values) => F32x4::load(values),
                            None => F32x4::from_partial(values, 0.0),
                        };
                        let weights = &self.weights[group * taps + ky * kernel.1 + kx];
                        sum = values.mul_add(F32x4::load(weights), sum);
                    }
                }
                let sum = sum.clip(F32x4::load(&limits.low), F32x4::load(&limits.high));
                sum.to_partial(&mut out[lanes.clone()]);
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
