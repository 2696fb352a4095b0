//! Matrix multiplication in 32-bit floats: pixels by output channels.
//!
//! The tile is 4 pixels by 8 channels. Cranelift has 16 vector registers: one step over `k` needs 8 accumulators, 3 loads
//! and 2 temporaries, and two steps in one block spill. So a turn of the loop makes several steps with fences between
//! them, see `fence`.

#[cfg(target_arch = "x86_64")]
mod avx2;

#[cfg(feature = "serde")]
use crate::check::ensure;
use crate::epilogue::{At, Epilogue, PANEL, TILE, Target};
use crate::fence::Fence;
use crate::op::Activation;
use crate::simd::F32x4;

/// Steps over `k` that a turn of the inner loop makes. 4 or 16 are slower.
const STEPS: usize = 8;

/// For one step over `k`: a value of each pixel of a tile.
pub(crate) type Column = [f32; TILE];

/// Weights of a layer, packed: for each panel of eight output channels, for each `k`, eight weights.
#[derive(Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Weights {
    #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::check::exact"))]
    panels: Vec<[[f32; 4]; 2]>,
    k: usize,
    epilogue: Epilogue,
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
        let panels = Panels {
            panels: &self.panels,
            k: self.k,
            epilogue: &self.epilogue,
        };
        panels.multiply(packed, target);
    }
}

/// Packed weights that may be somebody else's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Panels<'a> {
    /// For each panel of eight output channels, for each `k`, eight weights.
    pub(crate) panels: &'a [[[f32; 4]; 2]],
    pub(crate) k: usize,
    /// It says how many panels there are.
    pub(crate) epilogue: &'a Epilogue,
}

impl Panels<'_> {
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
