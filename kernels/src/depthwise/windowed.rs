//! Windows of 3x3, 5x5 and 7x7 that may reach beyond the input on any side.
//!
//! Each row of a plane is copied once to a row with zeros at both ends, so that no output needs to look for borders: one copy for
//! as many multiply-adds as the window has taps.

use super::{Depthwise, Limits, Quad};
use crate::fence::Fence;
use crate::simd::F32x4;
use std::ops::Range;

/// Outputs that are made at a time: as many sums, the weights of a row of the window and a few columns fit sixteen registers.
const OUTPUTS: usize = 4;

impl Depthwise {
    /// Whether [`Self::windowed`] has this kernel.
    pub(super) fn is_windowed(&self) -> bool {
        let (kernel, stride) = (self.geometry.kernel, self.geometry.stride);
        matches!(kernel, (3, 3) | (5, 5) | (7, 7)) && matches!(stride, (_, 1 | 2))
    }

    /// Quads of a row with zeros at both ends.
    fn padded_width(&self) -> usize {
        let (kernel, stride) = (self.geometry.kernel.1, self.geometry.stride.1);
        let reached = (self.out_width - 1) * stride + kernel;
        reached.max(self.geometry.padding.1 + self.input.width)
    }

    /// Quads of scratch that [`Self::windowed`] needs: a row for each of the window, and one of zeros.
    pub(super) fn padded_len(&self) -> usize {
        self.padded_width() * (self.geometry.kernel.0 + 1)
    }

    /// Four channels of some output rows. `padded` is as long as [`Self::padded_len`] says.
    pub(super) fn windowed(
        &self,
        input: &[Quad],
        rows: Range<usize>,
        padded: &mut [Quad],
        group: usize,
        out: &mut [Quad],
    ) {
        match (self.geometry.kernel.1, self.geometry.stride.1) {
            (3, 1) => self.rows::<3, 1>(input, rows, padded, group, out),
            (3, _) => self.rows::<3, 2>(input, rows, padded, group, out),
            (5, 1) => self.rows::<5, 1>(input, rows, padded, group, out),
            (5, _) => self.rows::<5, 2>(input, rows, padded, group, out),
            (_, 1) => self.rows::<7, 1>(input, rows, padded, group, out),
            _ => self.rows::<7, 2>(input, rows, padded, group, out),
        }
    }

    #[inline(never)]
    fn rows<const KERNEL: usize, const STRIDE: usize>(
        &self,
        input: &[Quad],
        rows: Range<usize>,
        padded: &mut [Quad],
        group: usize,
        out: &mut [Quad],
    ) {
        let width = self.padded_width();
        let padded = &mut padded[..width * (KERNEL + 1)];
        padded.fill([0.0; 4]);
        let taps = KERNEL * KERNEL;
        let weights = &self.weights[group * taps..(group + 1) * taps];
        let limits = &self.limits[group];
        // The row of the padded input that is to be copied next: row `y` goes to place `y % KERNEL`.
        let mut next = rows.start * self.geometry.stride.0;
        for (y, out) in rows.zip(out.chunks_exact_mut(self.out_width)) {
            let top = y * self.geometry.stride.0;
            for row in next.max(top)..top + KERNEL {
                if let Some(values) = self.inner_row(input, row) {
                    let start = row % KERNEL * width + self.geometry.padding.1;
                    padded[start..start + values.len()].copy_from_slice(values);
                }
            }
            next = top + KERNEL;
            let padded = &*padded;
            let row = |ky: usize| {
                let row = top + ky;
                let place = match self.is_inner_row(row) {
                    true => row % KERNEL,
                    false => KERNEL,
                };
                &padded[place * width..(place + 1) * width]
            };
            self.row::<KERNEL, STRIDE>(row, weights, limits, out);
        }
    }

    fn is_inner_row(&self, y: usize) -> bool {
        y.checked_sub(self.geometry.padding.0)
            .is_some_and(|y| y < self.input.height)
    }

    /// A row of a plane of the padded input, unless it is all zeros.
    fn inner_row<'a>(&self, input: &'a [Quad], y: usize) -> Option<&'a [Quad]> {
        self.is_inner_row(y).then(|| self.input_row(input, y, &[]))
    }

    #[inline(always)]
    fn row<'a, const KERNEL: usize, const STRIDE: usize>(
        &self,
        row: impl Fn(usize) -> &'a [Quad],
        weights: &[Quad],
        limits: &Limits,
        out: &mut [Quad],
    ) {
        let bias = F32x4::load(&limits.bias);
        let (low, high) = (F32x4::load(&limits.low), F32x4::load(&limits.high));
        let width = self.padded_width();
        // The last row of the window is never used by smaller ones.
        let rows: [&[Quad]; 7] = [0, 1, 2, 3, 4, 5, 6].map(|ky| row(ky.min(KERNEL - 1)));
        let (weights, _) = weights.as_chunks::<KERNEL>();
        let fence = Fence::new();
        let mut first = 0;
        while first + OUTPUTS <= out.len() {
            let start = first * STRIDE;
            let mut sums = [[bias; OUTPUTS]];
            add_row::<1, KERNEL, STRIDE>(&mut sums, &rows[0][start..], &weights[0], fence);
            add_row::<11, KERNEL, STRIDE>(&mut sums, &rows[1][start..], &weights[1], fence);
            add_row::<21, KERNEL, STRIDE>(&mut sums, &rows[2][start..], &weights[2], fence);
            if KERNEL > 3 {
                add_row::<31, KERNEL, STRIDE>(&mut sums, &rows[3][start..], &weights[3], fence);
                add_row::<41, KERNEL, STRIDE>(&mut sums, &rows[4][start..], &weights[4], fence);
            }
            if KERNEL > 5 {
                add_row::<51, KERNEL, STRIDE>(&mut sums, &rows[5][start..], &weights[5], fence);
                add_row::<61, KERNEL, STRIDE>(&mut sums, &rows[6][start..], &weights[6], fence);
            }
            let [[a, b, c, d]] = sums;
            a.clip(low, high).store(&mut out[first]);
            b.clip(low, high).store(&mut out[first + 1]);
            c.clip(low, high).store(&mut out[first + 2]);
            d.clip(low, high).store(&mut out[first + 3]);
            first += OUTPUTS;
            // The last outputs are made together with some that are there already.
            if first < out.len() && out.len() >= OUTPUTS {
                first = first.min(out.len() - OUTPUTS);
            }
        }
        if out.len() < OUTPUTS {
            debug_assert!((out.len() - 1) * STRIDE + KERNEL <= width);
            for (x, out) in out.iter_mut().enumerate() {
                let mut sum = bias;
                for (row, weights) in rows.iter().zip(weights) {
                    let values = &row[x * STRIDE..];
                    for (value, weight) in values.iter().zip(weights) {
                        sum = F32x4::load(value).mul_add(F32x4::load(weight), sum);
                    }
                }
                sum.clip(low, high).store(out);
            }
        }
    }
}

/// Adds the products of one row of the window: each column is loaded once and added to all the sums it is part of. `FENCE` and the
/// numbers after it are for the fences between columns.
#[inline(always)]
#[allow(
    clippy::needless_range_loop,
    reason = "iterators keep the values in memory"
)]
fn add_row<const FENCE: u32, const KERNEL: usize, const STRIDE: usize>(
    sums: &mut [[F32x4; OUTPUTS]; 1],
    columns: &[Quad],
    weights: &[Quad; KERNEL],
    fence: Fence,
) {
    let columns = &columns[..(OUTPUTS - 1) * STRIDE + KERNEL];
    let mut held = [F32x4::splat(0.0); KERNEL];
    for tap in 0..KERNEL {
        held[tap] = F32x4::load(&weights[tap]);
    }
    for column in 0..(OUTPUTS - 1) * STRIDE + KERNEL {
        let values = F32x4::load(&columns[column]);
        for output in 0..OUTPUTS {
            if column >= output * STRIDE && column - output * STRIDE < KERNEL {
                let weight = held[column - output * STRIDE];
                sums[0][output] = values.mul_add(weight, sums[0][output]);
            }
        }
        if column % 4 == 3 {
            fence.hold(FENCE + (column / 4) as u32, sums);
        }
    }
    fence.hold(FENCE + 9, sums);
}
