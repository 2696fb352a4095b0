//! Pooling: the largest or the average value under a window, for each channel.

use std::ops::Range;

#[cfg(feature = "serde")]
use crate::check::ensure;
use crate::layout::Layout;
use crate::op::Pooling;
use crate::shape::{Geometry, Shape};
use crate::simd::F32x4;

/// Pooling, ready to run.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Window {
    pub(crate) geometry: Geometry,
    pub(crate) pooling: Pooling,
    /// Rows and columns of padding below and to the right, for averages that count them.
    pub(crate) end_padding: (usize, usize),
}

impl Window {
    /// Whether it fits its layer.
    #[cfg(feature = "serde")]
    pub(crate) fn check(&self, input: Shape, output: Shape) -> Option<()> {
        let Geometry {
            kernel,
            stride,
            padding,
        } = self.geometry;
        let parts = [kernel.0, kernel.1, stride.0, stride.1];
        ensure(parts.iter().all(|&part| part > 0 && part < 1 << 20))?;
        ensure(padding.0 < kernel.0 && padding.1 < kernel.1)?;
        ensure(self.end_padding.0 < 1 << 20 && self.end_padding.1 < 1 << 20)?;
        ensure(input.channels == output.channels)?;
        // Each window has a value of the input.
        let reaches = |places: usize, stride: usize, padding: usize, size: usize| {
            let last = (places - 1).checked_mul(stride)?;
            ensure(places > 0 && last < size.checked_add(padding)?)
        };
        reaches(output.height, stride.0, padding.0, input.height)?;
        reaches(output.width, stride.1, padding.1, input.width)
    }

    /// Computes output rows that are contiguous in the output's ring.
    pub(crate) fn run(
        &self,
        input: &[f32],
        (shape, from): (Shape, Layout),
        rows: Range<usize>,
        (width, layout): (usize, Layout),
        out: &mut [f32],
    ) {
        let planes = input.chunks_exact(from.stride);
        for (input, out) in planes.zip(out.chunks_exact_mut(layout.stride)) {
            let start = layout.row(rows.start);
            let (out, _) = out[start..start + rows.len() * width * 4].as_chunks_mut::<4>();
            let (input, _) = input.as_chunks::<4>();
            for (y, out) in rows.clone().zip(out.chunks_exact_mut(width)) {
                self.row(input, shape, from, y, out);
            }
        }
    }

    fn row(&self, input: &[[f32; 4]], shape: Shape, from: Layout, y: usize, out: &mut [[f32; 4]]) {
        let Geometry {
            kernel,
            stride,
            padding,
        } = self.geometry;
        let (rows, padded_rows) = span(
            y * stride.0,
            kernel.0,
            (padding.0, self.end_padding.0),
            shape.height,
        );
        for (x, out) in out.iter_mut().enumerate() {
            let (columns, padded_columns) = span(
                x * stride.1,
                kernel.1,
                (padding.1, self.end_padding.1),
                shape.width,
            );
            let values = rows.clone().flat_map(|row| {
                let start = from.row(row) / 4;
                &input[start + columns.start..start + columns.end]
            });
            match self.pooling {
                Pooling::Max => {
                    let lowest = F32x4::splat(f32::NEG_INFINITY);
                    values
                        .fold(lowest, |most, value| F32x4::load(value).at_least(most))
                        .store(out);
                }
                Pooling::Average { count_padding } => {
                    let sum =
                        values.fold(F32x4::splat(0.0), |sum, value| sum.add(F32x4::load(value)));
                    let count = if count_padding {
                        padded_rows * padded_columns
                    } else {
                        rows.len() * columns.len()
                    };
                    sum.div(F32x4::splat(count as f32)).store(out);
                }
            }
        }
    }
}

/// What of a window that starts at a place of the padded input lies within the input, and how much within the padded input.
#[inline(always)]
fn span(
    start: usize,
    kernel: usize,
    (before, after): (usize, usize),
    size: usize,
) -> (Range<usize>, usize) {
    let end = (start + kernel).min(size + before + after);
    let inside = start.saturating_sub(before)..end.saturating_sub(before).min(size);
    (inside, end - start)
}
