//! From rows of an image to the tiles that the matrix multiplications read.

#[cfg(feature = "serde")]
use crate::check::ensure;
use crate::epilogue::TILE;
use crate::fence::Fence;
use crate::gemm_f32::Column;
use crate::gemm_i8::{Columns, Scales};
use crate::gemm_i16::Pair;
use crate::layout::Layout;
use crate::shape::{Geometry, Shape};
use crate::simd::{F32x4, I8x16, I16x8};

/// Finds the values under a convolution's window for each output pixel.
#[derive(Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Windows {
    geometry: Geometry,
    input: Shape,
    /// Rows the input's buffer has; row `y` is at `y % rows`. Nothing if the input is an image, which is not in planes.
    rows: Option<usize>,
    out_width: usize,
}

impl Windows {
    pub(crate) fn new(
        geometry: Geometry,
        input: Shape,
        rows: Option<usize>,
        out_width: usize,
    ) -> Self {
        Self {
            geometry,
            input,
            rows,
            out_width,
        }
    }

    /// Whether it fits its layer.
    #[cfg(feature = "serde")]
    pub(crate) fn check(&self, rows: Option<usize>, input: Shape, output: Shape) -> Option<()> {
        let Geometry {
            kernel,
            stride,
            padding,
        } = self.geometry;
        let shapes = (self.input, self.rows, self.out_width);
        ensure(shapes == (input, rows, output.width))?;
        ensure(stride.0 > 0 && stride.1 > 0)?;
        // Far from where sums of these could overflow.
        let parts = [kernel.0, kernel.1, stride.0, stride.1, padding.0, padding.1];
        ensure(parts.iter().all(|&part| part < 1 << 10) && kernel.0 * kernel.1 > 0)?;
        ensure(input.channels < 1 << 20 && input.width < 1 << 20 && input.height < 1 << 20)?;
        self.len().checked_mul(1 << 10).map(|_| ())
    }

    /// Values under one window.
    pub(crate) fn len(&self) -> usize {
        self.geometry.kernel.0 * self.geometry.kernel.1 * self.depth()
    }

    /// Values a pixel of the input has, those that pad planes counted.
    pub(crate) fn depth(&self) -> usize {
        match self.rows {
            Some(_) => self.input.channels.next_multiple_of(4),
            None => self.input.channels,
        }
    }

    /// The input's layout, unless it is an image.
    pub(crate) fn layout(&self) -> Option<Layout> {
        self.rows.map(|rows| Layout::new(self.input, rows))
    }

    /// Whether windows are single pixels within the input, so that nothing needs to be gathered.
    pub(crate) fn is_pointwise(&self) -> bool {
        self.rows.is_some() && self.geometry.kernel == (1, 1) && self.geometry.padding == (0, 0)
    }

    /// Whether there is a window at each pixel.
    pub(crate) fn is_dense(&self) -> bool {
        self.geometry.stride == (1, 1)
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

    /// Where the value under a pointwise window is within each plane.
    #[inline(always)]
    pub(crate) fn pixel(&self, layout: Layout, (y, x): (usize, usize)) -> usize {
        let Geometry { stride, .. } = self.geometry;
        layout.row(y * stride.0) + x * stride.1 * 4
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
            let start = ((top - padding.0) * width + left - padding.1) * channels;
            return &input[start..start + kernel.1 * channels];
        }
        self.copy_window_row(input, (top, left), buffer);
        buffer
    }

    /// Copies the values under whole windows: for each tap, for each plane, four values of each window.
    #[inline(never)]
    pub(crate) fn gather(
        &self,
        input: &[f32],
        layout: Layout,
        positions: [(usize, usize); TILE],
        target: &mut [f32],
    ) {
        let Geometry {
            kernel,
            stride,
            padding,
        } = self.geometry;
        target.fill(0.0);
        let taps = target.chunks_exact_mut(layout.planes * TILE * 4);
        for (tap, target) in taps.enumerate() {
            let (ky, kx) = (tap / kernel.1, tap % kernel.1);
            for (pixel, (y, x)) in positions.into_iter().enumerate() {
                let row = (y * stride.0 + ky).checked_sub(padding.0);
                let column = (x * stride.1 + kx).checked_sub(padding.1);
                let (Some(row), Some(column)) = (row, column) else {
                    continue;
                };
                if row >= self.input.height || column >= self.input.width {
                    continue;
                }
                let from = layout.row(row) + column * 4;
                let planes = input.chunks_exact(layout.stride);
                for (plane, target) in planes.zip(target.chunks_exact_mut(TILE * 4)) {
                    F32x4::from_slice(&plane[from..]).to_slice(&mut target[pixel * 4..]);
                }
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
        let from = ((top - padding.0) * width + left + start - padding.1) * channels;
        let len = (end - start) * channels;
        target[start * channels..end * channels].copy_from_slice(&input[from..from + len]);
    }
}

/// Packs a tile of an image: for each `k`, the values of its four pixels.
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

/// Where a tile's values are: for each plane of `stride` floats, four from each of `bases` on.
#[derive(Clone, Copy)]
pub(crate) struct Tile<'a> {
    planes: &'a [f32],
    stride: usize,
    bases: [usize; TILE],
}

impl<'a> Tile<'a> {
    #[inline(always)]
    pub(crate) fn new(planes: &'a [f32], stride: usize, bases: [usize; TILE]) -> Self {
        let [a, b, c, d] = bases;
        let end = stride.saturating_sub(3);
        assert!(a < end && b < end && c < end && d < end, "pixels of a tile");
        Self {
            planes,
            stride,
            bases,
        }
    }

    /// Calls `sink` with four values of each pixel, plane by plane, and with a number for a fence behind it.
    #[inline(always)]
    fn for_each(self, mut sink: impl FnMut(u32, [F32x4; TILE])) {
        let [a, b, c, d] = self.bases;
        let mut each = |number, plane| {
            #[allow(unsafe_code, reason = "bounds checks here cost as much as packing")]
            // SAFETY: a plane has `stride` values, and `new` checked that each base is at least four before their end.
            unsafe {
                let values = [
                    F32x4::load_at(plane, a),
                    F32x4::load_at(plane, b),
                    F32x4::load_at(plane, c),
                    F32x4::load_at(plane, d),
                ];
                sink(number, values);
            }
        };
        let mut turns = self.planes.chunks_exact(4 * self.stride);
        for turn in turns.by_ref() {
            let (left, right) = turn.split_at(2 * self.stride);
            let (first, second) = left.split_at(self.stride);
            let (third, fourth) = right.split_at(self.stride);
            each(1, first);
            each(2, second);
            each(3, third);
            each(4, fourth);
        }
        for plane in turns.remainder().chunks_exact(self.stride) {
            each(5, plane);
        }
    }
}

/// Packs a tile of floats: for each `k`, the values of its four pixels.
#[inline(always)]
pub(crate) fn pack_planes_f32(tile: Tile<'_>, columns: &mut [Column]) {
    let mut quads = columns.as_chunks_mut::<4>().0.iter_mut();
    tile.for_each(|_, values| {
        if let Some(quad) = quads.next() {
            let [a, b, c, d] = F32x4::transpose(values);
            a.store(&mut quad[0]);
            b.store(&mut quad[1]);
            c.store(&mut quad[2]);
            d.store(&mut quad[3]);
        }
    });
}

/// Packs a tile of whole numbers: for each two of `k`, those of its four pixels.
#[inline(always)]
pub(crate) fn pack_i16(tile: Tile<'_>, columns: &mut [Pair]) {
    let mut columns = columns.chunks_mut(2);
    tile.for_each(|_, values| {
        let [a, b, c, d] = values;
        let pairs = I16x8::columns([a.truncate(), b.truncate(), c.truncate(), d.truncate()]);
        // The last plane may have one pair only.
        for (column, pair) in columns.next().unwrap_or_default().iter_mut().zip(pairs) {
            pair.store(column);
        }
    });
}

/// Quantises and packs a tile. Each pixel has a scale and an offset of its own, from the smallest to the largest of its
/// values, so that one bright spot does not cost the whole image its precision. A NaN is taken for the smallest value;
/// an infinity makes the scale infinite. `exact_zero` asks for a step at zero: without, the many zeros of a window at a
/// border would all be off by the same amount. Unless `SIGNED`, no value is negative, and ranges start at zero.
#[inline(always)]
pub(crate) fn pack_i8<const SIGNED: bool>(
    tile: Tile<'_>,
    exact_zero: bool,
    columns: &mut [Columns],
) -> Scales {
    let quads = columns.as_flattened_mut();
    let low = F32x4::splat(if SIGNED { f32::INFINITY } else { 0.0 });
    let mut ranges = [[low; TILE], [F32x4::splat(f32::NEG_INFINITY); TILE]];
    let fence = Fence::new();
    tile.for_each(|number, [a, b, c, d]| {
        let [low, high] = ranges;
        if SIGNED {
            ranges[0] = [
                low[0].at_most(a),
                low[1].at_most(b),
                low[2].at_most(c),
                low[3].at_most(d),
            ];
        }
        ranges[1] = [
            high[0].at_least(a),
            high[1].at_least(b),
            high[2].at_least(c),
            high[3].at_least(d),
        ];
        fence.hold(number, &mut ranges);
    });
    let [lows, highs] = ranges.map(F32x4::transpose);
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
    let mut quads = quads.iter_mut();
    tile.for_each(|_, [a, b, c, d]| {
        if let Some(quad) = quads.next() {
            quantise(a, b, c, d).store(quad);
        }
    });
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
