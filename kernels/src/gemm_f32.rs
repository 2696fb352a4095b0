//! Matrix multiplication in 32-bit floats: pixels by output channels.
//!
//! The tile is 4 pixels by 8 channels. Cranelift has 16 vector registers: one step over `k` needs 8 accumulators, 3 loads
//! and 2 temporaries, and two steps in one block spill. So a turn of the loop makes several steps with fences between
//! them, see `fence`.

#[cfg(target_arch = "x86_64")]
mod avx2;

use crate::builder::Activation;
use crate::fence::Fence;
use crate::layout::Layout;
use crate::simd::F32x4;
#[cfg(feature = "serde")]
use crate::stored::ensure;

/// Pixels a tile has.
pub(crate) const TILE: usize = 4;
/// Channels a panel has.
pub(crate) const PANEL: usize = 8;

/// Steps over `k` that a turn of the inner loop makes. 4 or 16 are slower.
const STEPS: usize = 8;

/// For one step over `k`: a value of each pixel of a tile.
pub(crate) type Column = [f32; TILE];

/// Weights of a layer, packed: for each panel of eight output channels, for each `k`, eight weights.
#[derive(Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Weights {
    #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::stored::exact"))]
    panels: Vec<[[f32; 4]; 2]>,
    k: usize,
    epilogue: Epilogue,
}

/// What is done to sums on their way to memory.
#[derive(Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Epilogue {
    /// For each panel, padded with zeros.
    pub(crate) bias: Vec<[[f32; 4]; 2]>,
    pub(crate) low: f32,
    pub(crate) high: f32,
}

impl Epilogue {
    pub(crate) fn new(bias: &[f32], activation: Activation) -> Self {
        let (low, high) = activation.range();
        Self {
            bias: panels_of(bias),
            low,
            high,
        }
    }

    /// Adds what `residual` holds for the values of a tile, limits them, and writes them.
    #[inline(always)]
    pub(crate) fn store(&self, [a, b, c, d]: [[F32x4; 2]; TILE], at: At, target: &mut Target<'_>) {
        let pixel = at.tile * TILE;
        let plane = at.panel * 2;
        if pixel + TILE > target.pixels || plane + 1 >= target.planes {
            // A copy made here, so that the fast path below leaves the sums in registers.
            let sums = [a, b, c, d];
            self.store_part(&sums, plane, pixel, target);
            return;
        }
        // SAFETY, for all four: `Target::new` checked that each plane has `pixels` pixels from `first` on; these are
        // four of them, and both planes exist.
        self.store_pixel(a, plane, pixel, target);
        self.store_pixel(b, plane, pixel + 1, target);
        self.store_pixel(c, plane, pixel + 2, target);
        self.store_pixel(d, plane, pixel + 3, target);
    }

    #[inline(always)]
    fn store_pixel(
        &self,
        [left, right]: [F32x4; 2],
        plane: usize,
        pixel: usize,
        target: &mut Target<'_>,
    ) {
        let (low, high) = (F32x4::splat(self.low), F32x4::splat(self.high));
        let start = plane * target.stride + (target.first + pixel) * 4;
        #[allow(
            unsafe_code,
            reason = "bounds checks here cost as much as a step of the inner loop"
        )]
        // SAFETY: see the caller.
        unsafe {
            let (mut left, mut right) = (left, right);
            if let Some(residual) = &target.residual {
                let start = plane * residual.stride + (residual.first + pixel) * 4;
                left = left.add(F32x4::load_at(residual.values, start));
                right = right.add(F32x4::load_at(residual.values, start + residual.stride));
            }
            left.clip(low, high).store_at(target.out, start);
            right
                .clip(low, high)
                .store_at(target.out, start + target.stride);
        }
    }

    /// A tile that reaches beyond the last pixel, or the last plane.
    #[inline(never)]
    fn store_part(
        &self,
        tile: &[[F32x4; 2]; TILE],
        plane: usize,
        pixel: usize,
        target: &mut Target<'_>,
    ) {
        let (low, high) = (F32x4::splat(self.low), F32x4::splat(self.high));
        for (pixel, sums) in (pixel..target.pixels).zip(tile) {
            for (plane, &sum) in (plane..target.planes).zip(sums) {
                let mut sum = sum;
                if let Some(residual) = &target.residual {
                    let start = plane * residual.stride + (residual.first + pixel) * 4;
                    sum = sum.add(F32x4::from_slice(&residual.values[start..]));
                }
                let start = plane * target.stride + (target.first + pixel) * 4;
                sum.clip(low, high).to_slice(&mut target.out[start..]);
            }
        }
    }
}

/// Which tile and which panel of channels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At {
    pub(crate) tile: usize,
    pub(crate) panel: usize,
}

/// Where results go: `pixels` from pixel `first` of each plane of `out` on.
#[derive(Debug)]
pub(crate) struct Target<'a> {
    out: &'a mut [f32],
    stride: usize,
    planes: usize,
    first: usize,
    pixels: usize,
    residual: Option<Residual<'a>>,
}

/// What is added before the activation: as many planes and pixels.
#[derive(Debug)]
pub(crate) struct Residual<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) stride: usize,
    pub(crate) first: usize,
}

impl<'a> Target<'a> {
    pub(crate) fn new(
        out: &'a mut [f32],
        layout: Layout,
        first: usize,
        pixels: usize,
        residual: Option<Residual<'a>>,
    ) -> Self {
        let fits = |len: usize, stride: usize, first: usize| {
            let end = first.checked_add(pixels).and_then(|end| end.checked_mul(4));
            layout.planes.checked_mul(stride) == Some(len) && end.is_some_and(|end| end <= stride)
        };
        assert!(fits(out.len(), layout.stride, first), "size of the output");
        if let Some(residual) = &residual {
            let len = residual.values.len();
            assert!(
                fits(len, residual.stride, residual.first),
                "size of the residual"
            );
        }
        Self {
            out,
            stride: layout.stride,
            planes: layout.planes,
            first,
            pixels,
            residual,
        }
    }

    pub(crate) fn pixels(&self) -> usize {
        self.pixels
    }
}

/// Groups values by panel, the last one padded with zeros.
pub(crate) fn panels_of(values: &[f32]) -> Vec<[[f32; 4]; 2]> {
    values
        .chunks(PANEL)
        .map(|chunk| {
            let mut panel = [[0.0; 4]; 2];
            for (slot, value) in panel.as_flattened_mut().iter_mut().zip(chunk) {
                *slot = *value;
            }
            panel
        })
        .collect()
}

impl Weights {
    /// Packs weights `[out][k]`.
    pub(crate) fn pack(weights: &[f32], bias: &[f32], activation: Activation) -> Self {
        let k = weights.len() / bias.len();
        let mut panels = vec![[[0.0; 4]; 2]; bias.len().div_ceil(PANEL) * k];
        for (out, row) in weights.chunks_exact(k).enumerate() {
            for (step, value) in row.iter().enumerate() {
                let lane = out % PANEL;
                panels[out / PANEL * k + step][lane / 4][lane % 4] = *value;
            }
        }
        Self {
            panels,
            k,
            epilogue: Epilogue::new(bias, activation),
        }
    }

    /// Whether there is what its layer needs.
    #[cfg(feature = "serde")]
    pub(crate) fn check(&self, k: usize, channels: usize) -> Option<()> {
        let panels = channels.div_ceil(PANEL);
        ensure(self.k == k && self.epilogue.bias.len() == panels)?;
        ensure(self.panels.len() == panels.checked_mul(k)?)
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.panels) + size_of_val(&*self.epilogue.bias)
    }

    /// Multiplies packed tiles, `k` columns each, by the weights.
    pub(crate) fn multiply(&self, packed: &[Column], target: &mut Target<'_>) {
        #[cfg(target_arch = "x86_64")]
        if crate::simd::has_avx2() {
            #[allow(unsafe_code, reason = "the compiler cannot know the processor")]
            // SAFETY: the processor has what the function is compiled for.
            return unsafe { avx2::multiply(self, packed, target, crate::simd::has_avx512()) };
        }
        let fence = Fence::new();
        let panels = self.panels.chunks_exact(self.k).zip(&self.epilogue.bias);
        for (panel, (weights, bias)) in panels.enumerate() {
            let bias = [F32x4::load(&bias[0]), F32x4::load(&bias[1])];
            for (index, columns) in packed.chunks_exact(self.k).enumerate() {
                let sums = tile(columns, weights, bias, fence);
                let at = At { tile: index, panel };
                self.epilogue.store(sums, at, target);
            }
        }
    }
}

/// The sums of one tile.
#[inline(always)]
fn tile(
    columns: &[Column],
    weights: &[[[f32; 4]; 2]],
    bias: [F32x4; 2],
    fence: Fence,
) -> [[F32x4; 2]; TILE] {
    let mut totals = [bias; TILE];
    let (turns, last_columns) = columns.as_chunks::<STEPS>();
    let (weights, last_weights) = weights.as_chunks::<STEPS>();
    for (columns, weights) in turns.iter().zip(weights) {
        // From nothing, so that no step waits for what the turn before has left on the stack.
        let mut sums = first_step(&columns[0], &weights[0]);
        fence.hold(1, &mut sums);
        step(&mut sums, &columns[1], &weights[1]);
        fence.hold(2, &mut sums);
        step(&mut sums, &columns[2], &weights[2]);
        fence.hold(3, &mut sums);
        step(&mut sums, &columns[3], &weights[3]);
        fence.hold(4, &mut sums);
        step(&mut sums, &columns[4], &weights[4]);
        fence.hold(5, &mut sums);
        step(&mut sums, &columns[5], &weights[5]);
        fence.hold(6, &mut sums);
        step(&mut sums, &columns[6], &weights[6]);
        fence.hold(7, &mut sums);
        step(&mut sums, &columns[7], &weights[7]);
        fence.hold(8, &mut sums);
        for pixel in 0..TILE {
            totals[pixel][0] = totals[pixel][0].add(sums[pixel][0]);
            totals[pixel][1] = totals[pixel][1].add(sums[pixel][1]);
        }
    }
    for (column, weights) in last_columns.iter().zip(last_weights) {
        step(&mut totals, column, weights);
    }
    totals
}

#[inline(always)]
fn first_step(column: &Column, weights: &[[f32; 4]; 2]) -> [[F32x4; 2]; TILE] {
    let column = F32x4::load(column);
    let weights = [F32x4::load(&weights[0]), F32x4::load(&weights[1])];
    let products = |pixel: F32x4| [pixel.mul(weights[0]), pixel.mul(weights[1])];
    [
        products(column.lane::<0>()),
        products(column.lane::<1>()),
        products(column.lane::<2>()),
        products(column.lane::<3>()),
    ]
}

#[inline(always)]
fn step(sums: &mut [[F32x4; 2]; TILE], column: &Column, weights: &[[f32; 4]; 2]) {
    let column = F32x4::load(column);
    let weights = [F32x4::load(&weights[0]), F32x4::load(&weights[1])];
    add_products(&mut sums[0], column.lane::<0>(), weights);
    add_products(&mut sums[1], column.lane::<1>(), weights);
    add_products(&mut sums[2], column.lane::<2>(), weights);
    add_products(&mut sums[3], column.lane::<3>(), weights);
}

#[inline(always)]
fn add_products(sums: &mut [F32x4; 2], pixel: F32x4, weights: [F32x4; 2]) {
    sums[0] = pixel.mul_add(weights[0], sums[0]);
    sums[1] = pixel.mul_add(weights[1], sums[1]);
}
