//! From rows of an image to the tiles that the matrix multiplications read.

use crate::builder::Geometry;
use crate::gemm_f32::{Column, TILE};
use crate::gemm_i8::{Columns, Scales};
use crate::network::Shape;
use crate::simd::{F32x4, I8x16};

/// Finds the values under a convolution's window for each output pixel.
#[derive(Debug)]
pub(crate) struct Windows {
    geometry: Geometry,
    input: Shape,
    /// Rows the input's buffer has; row `y` is at `y % rows`.
    rows: usize,
    out_width: usize,
}

impl Windows {
    pub(crate) fn new(geometry: Geometry, input: Shape, rows: usize, out_width: usize) -> Self {
        Self {
            geometry,
            input,
            rows,
            out_width,
        }
    }

    /// Values under one window.
    pub(crate) fn len(&self) -> usize {
        self.geometry.kernel.0 * self.geometry.kernel.1 * self.input.channels
    }

    /// Whether windows are single pixels within the input, so that nothing needs to be gathered.
    pub(crate) fn is_pointwise(&self) -> bool {
        self.geometry.kernel == (1, 1) && self.geometry.padding == (0, 0)
    }

    /// Calls `sink` with each tile of `pixels` output pixels from `first` on, as rows and columns of the output. A last
    /// tile repeats its last pixel.
    #[inline(always)]
    pub(crate) fn for_each_tile(
        &self,
        first: usize,
        pixels: usize,
        mut sink: impl FnMut(usize, [(usize, usize); TILE]),
    ) {
        let mut next = (first / self.out_width, first % self.out_width);
        let mut left = pixels;
        for tile in 0..pixels.div_ceil(TILE) {
            let mut positions = [next; TILE];
            for position in &mut positions {
                *position = next;
                if left > 1 {
                    left -= 1;
                    next.1 += 1;
                    if next.1 == self.out_width {
                        next = (next.0 + 1, 0);
                    }
                }
            }
            sink(tile, positions);
        }
    }

    /// The values under a pointwise window.
    #[inline(always)]
    pub(crate) fn pixel<'a>(&self, input: &'a [f32], (y, x): (usize, usize)) -> &'a [f32] {
        let Geometry { stride, .. } = self.geometry;
        let channels = self.input.channels;
        let start = (y * stride.0 % self.rows * self.input.width + x * stride.1) * channels;
        &input[start..start + channels]
    }

    /// The rows a window has.
    pub(crate) fn height(&self) -> usize {
        self.geometry.kernel.0
    }

    /// The values under row `ky` of the window of an output pixel: a part of the input, or, at its border, copied to
    /// `buffer` with zeros for what is outside.
    #[inline(always)]
    pub(crate) fn window_row<'a>(
        &self,
        input: &'a [f32],
        (y, x): (usize, usize),
        ky: usize,
        buffer: &'a mut [f32],
    ) -> &'a [f32] {
        let Geometry {
            kernel,
            stride,
            padding,
        } = self.geometry;
        let (top, left) = (y * stride.0 + ky, x * stride.1);
        let Shape {
            height,
            width,
            channels,
        } = self.input;
        let inside = top >= padding.0
            && top < height + padding.0
            && left >= padding.1
            && left + kernel.1 <= width + padding.1;
        if inside {
            let row = (top - padding.0) % self.rows;
            let start = (row * width + left - padding.1) * channels;
            return &input[start..start + kernel.1 * channels];
        }
        self.copy_window_row(input, (top, left), buffer);
        buffer
    }

    /// Copies the values under whole windows, one after the other.
    #[inline(never)]
    pub(crate) fn gather(
        &self,
        input: &[f32],
        positions: [(usize, usize); TILE],
        target: &mut [f32],
    ) {
        let stride = self.geometry.stride;
        for (target, (y, x)) in target.chunks_exact_mut(self.len()).zip(positions) {
            let rows = target.chunks_exact_mut(self.len() / self.height());
            for (ky, row) in rows.enumerate() {
                self.copy_window_row(input, (y * stride.0 + ky, x * stride.1), row);
            }
        }
    }

    /// Copies a row of a window that starts at a row and column of the padded input.
    #[inline(never)]
    fn copy_window_row(&self, input: &[f32], (top, left): (usize, usize), target: &mut [f32]) {
        let Geometry {
            kernel, padding, ..
        } = self.geometry;
        let (width, channels) = (self.input.width, self.input.channels);
        target.fill(0.0);
        // The columns of the window that are within the input.
        let start = padding.1.saturating_sub(left).min(kernel.1);
        let end = (width + padding.1).saturating_sub(left).min(kernel.1);
        if top < padding.0 || top - padding.0 >= self.input.height || start >= end {
            return;
        }
        let row = (top - padding.0) % self.rows;
        let from = (row * width + left + start - padding.1) * channels;
        let len = (end - start) * channels;
        target[start * channels..end * channels].copy_from_slice(&input[from..from + len]);
    }
}

/// Packs a tile of floats: for each `k`, the values of its four pixels.
#[inline(always)]
pub(crate) fn pack_f32(pixels: [&[f32]; TILE], columns: &mut [Column]) {
    let whole = columns.len() / 4 * 4;
    let (quads, rest) = columns.split_at_mut(whole);
    let [a, b, c, d] = pixels.map(|pixel| &pixel[..whole]);
    let rows = a.as_chunks::<4>().0.iter().zip(b.as_chunks::<4>().0);
    let rows = rows.zip(c.as_chunks::<4>().0.iter().zip(d.as_chunks::<4>().0));
    for (quad, ((a, b), (c, d))) in quads.as_chunks_mut::<4>().0.iter_mut().zip(rows) {
        let loaded = [
            F32x4::load(a),
            F32x4::load(b),
            F32x4::load(c),
            F32x4::load(d),
        ];
        for (column, values) in quad.iter_mut().zip(F32x4::transpose(loaded)) {
            values.store(column);
        }
    }
    for (index, column) in rest.iter_mut().enumerate() {
        *column = pixels.map(|pixel| pixel[whole + index]);
    }
}

/// Quantises and packs a tile. Each pixel has a scale and an offset of its own, from the smallest to the largest of its
/// values, so that one bright spot does not cost the whole image its precision. A NaN is taken for the smallest value;
/// an infinity makes the scale infinite. `exact_zero` asks for a step at zero: without, the many zeros of a window at a
/// border would all be off by the same amount. Unless `SIGNED`, no value is negative, and ranges start at zero.
#[inline(always)]
pub(crate) fn pack_i8<const SIGNED: bool>(
    pixels: [&[f32]; TILE],
    exact_zero: bool,
    columns: &mut [Columns],
) -> Scales {
    let k = pixels[0].len();
    let quads = columns.as_flattened_mut();
    let [a, b, c, d] = pixels;
    let (a, b, c, d) = (&a[..k], &b[..k], &c[..k], &d[..k]);
    let (low_a, high_a) = bounds::<SIGNED>(a);
    let (low_b, high_b) = bounds::<SIGNED>(b);
    let (low_c, high_c) = bounds::<SIGNED>(c);
    let (low_d, high_d) = bounds::<SIGNED>(d);
    let lows = F32x4::transpose([low_a, low_b, low_c, low_d]);
    let highs = F32x4::transpose([high_a, high_b, high_c, high_d]);
    let low = lows[0].at_most(lows[1]).at_most(lows[2].at_most(lows[3]));
    let high = highs[0]
        .at_least(highs[1])
        .at_least(highs[2].at_least(highs[3]));
    let (low, high) = if SIGNED && exact_zero {
        with_step_at_zero(low, high)
    } else {
        (low, high)
    };
    let range = high.sub(low).at_least(F32x4::splat(SMALLEST_RANGE));
    let factor = F32x4::splat(LEVELS).div(range);

    let (low_a, factor_a) = (low.lane::<0>(), factor.lane::<0>());
    let (low_b, factor_b) = (low.lane::<1>(), factor.lane::<1>());
    let (low_c, factor_c) = (low.lane::<2>(), factor.lane::<2>());
    let (low_d, factor_d) = (low.lane::<3>(), factor.lane::<3>());
    // Half a step turns truncation into rounding.
    let half = F32x4::splat(0.5);
    let above = |value: F32x4, low| if SIGNED { value.sub(low) } else { value };
    let quantise = |a: F32x4, b: F32x4, c: F32x4, d: F32x4| {
        I8x16::narrow([
            above(a, low_a).mul_add(factor_a, half).truncate(),
            above(b, low_b).mul_add(factor_b, half).truncate(),
            above(c, low_c).mul_add(factor_c, half).truncate(),
            above(d, low_d).mul_add(factor_d, half).truncate(),
        ])
    };
    let whole = k / 4;
    let (a_quads, a_rest) = a.as_chunks::<4>();
    let (b_quads, b_rest) = b.as_chunks::<4>();
    let (c_quads, c_rest) = c.as_chunks::<4>();
    let (d_quads, d_rest) = d.as_chunks::<4>();
    let left = a_quads.iter().zip(b_quads);
    let right = c_quads.iter().zip(d_quads);
    for (quad, ((a, b), (c, d))) in quads.iter_mut().zip(left.zip(right)) {
        let (a, b) = (F32x4::load(a), F32x4::load(b));
        let (c, d) = (F32x4::load(c), F32x4::load(d));
        quantise(a, b, c, d).store(quad);
    }
    if !a_rest.is_empty() {
        let part = |rest: &[f32]| F32x4::from_partial(rest, rest[0]);
        quantise(part(a_rest), part(b_rest), part(c_rest), part(d_rest)).store(&mut quads[whole]);
    }
    // What lies beyond `k` meets weights of zero: any seven-bit values left there from before will do.
    let mut scales = Scales {
        scale: [0.0; TILE],
        offset: [0.0; TILE],
    };
    range
        .mul(F32x4::splat(1.0 / LEVELS))
        .store(&mut scales.scale);
    low.store(&mut scales.offset);
    scales
}

/// Steps from the smallest to the largest value of a pixel.
const LEVELS: f32 = 127.0;
/// What a range is taken for if it is smaller, so that dividing by it stays finite.
const SMALLEST_RANGE: f32 = 1e-30;

/// Widens ranges a little so that zero is a whole number of steps from their lower end.
#[inline(never)]
fn with_step_at_zero(low: F32x4, high: F32x4) -> (F32x4, F32x4) {
    let (mut lows, mut highs) = (low.to_array(), high.to_array());
    for (low, high) in lows.iter_mut().zip(&mut highs) {
        (*low, *high) = (low.min(0.0), high.max(0.0));
        // One level is kept in hand for what rounding the lower end away from zero adds.
        let step = ((*high - *low) / (LEVELS - 1.0)).max(SMALLEST_RANGE);
        *low = (*low / step).floor() * step;
        *high = *low + step * LEVELS;
    }
    (F32x4::load(&lows), F32x4::load(&highs))
}

/// The smallest and the largest values of a slice, one for each lane. NaN is passed over. Unless `SIGNED`, the smallest
/// is taken to be zero.
#[inline(always)]
fn bounds<const SIGNED: bool>(values: &[f32]) -> (F32x4, F32x4) {
    let mut low = F32x4::splat(if SIGNED { f32::INFINITY } else { 0.0 });
    let mut high = F32x4::splat(f32::NEG_INFINITY);
    let (quads, rest) = values.as_chunks::<4>();
    for quad in quads {
        let values = F32x4::load(quad);
        if SIGNED {
            low = low.at_most(values);
        }
        high = high.at_least(values);
    }
    if let Some(&first) = rest.first() {
        let values = F32x4::from_partial(rest, first);
        if SIGNED {
            low = low.at_most(values);
        }
        high = high.at_least(values);
    }
    (low, high)
}
