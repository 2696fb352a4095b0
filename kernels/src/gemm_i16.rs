//! Matrix multiplication of whole numbers in 16 bits, exactly: steps and weights of a quantised network take nine, with
//! their zero points off.
//!
//! Two steps over `k` are one instruction and an addition; see `gemm_f32` for the tile and `fence` for the loop. A sum of
//! 65,025 at most for each `k` stays within 32 bits up to 33,000 of them.

#[cfg(feature = "serde")]
use crate::check::ensure;
use crate::epilogue::{At, Epilogue, PANEL, TILE, Target};
use crate::fence::Fence;
use crate::op::Activation;
use crate::simd::{F32x4, I16x8, I32x4};

/// `k` a pair covers.
const PAIR: usize = 2;
/// Pairs that a turn of the inner loop multiplies.
const PAIRS: usize = 4;
/// The most `k` whose sums fit.
const MOST: usize = i32::MAX as usize / (255 * 255);

/// For two steps over `k`: two values of each pixel of a tile.
pub(crate) type Pair = [i16; 8];

/// Weights of a layer, packed: for each panel of eight output channels, for each pair of `k`, in two halves of four
/// channels, two weights for each channel.
#[derive(Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Weights {
    #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::check::exact"))]
    panels: Vec<[[i16; 8]; 2]>,
    pairs: usize,
    epilogue: Epilogue,
}

/// Whether these weights are whole numbers that this file multiplies.
pub(crate) fn takes(weights: &[f32], k: usize) -> bool {
    let whole = |weight: &f32| weight.abs() <= 255.0 && weight.fract() == 0.0;
    k <= MOST && weights.iter().all(whole)
}

/// Pairs that `k` values take.
pub(crate) fn pairs(k: usize) -> usize {
    k.div_ceil(PAIR)
}

impl Weights {
    /// Packs weights `[out][k]`, whole numbers.
    pub(crate) fn pack(weights: &[f32], bias: &[f32], activation: Activation) -> Self {
        let k = weights.len() / bias.len();
        let pairs = pairs(k);
        let mut panels = vec![[[0; 8]; 2]; bias.len().div_ceil(PANEL) * pairs];
        for (out, row) in weights.chunks_exact(k).enumerate() {
            let lane = out % PANEL;
            for (step, value) in row.iter().enumerate() {
                let pair = &mut panels[out / PANEL * pairs + step / PAIR];
                pair[lane / 4][lane % 4 * PAIR + step % PAIR] = *value as i16;
            }
        }
        Self {
            panels,
            pairs,
            epilogue: Epilogue::new(bias, activation),
        }
    }

    /// Whether there is what its layer needs.
    #[cfg(feature = "serde")]
    pub(crate) fn check(&self, k: usize, channels: usize) -> Option<()> {
        let panels = channels.div_ceil(PANEL);
        ensure(self.pairs == pairs(k) && self.epilogue.bias.len() == panels)?;
        ensure(self.panels.len() == panels.checked_mul(self.pairs)?)
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.panels) + size_of_val(&*self.epilogue.bias)
    }

    /// Multiplies packed tiles by the weights.
    pub(crate) fn multiply(&self, packed: &[Pair], target: &mut Target<'_>) {
        let fence = Fence::new();
        let panels = self.panels.chunks_exact(self.pairs);
        for (panel, (weights, bias)) in panels.zip(&self.epilogue.bias).enumerate() {
            let bias = [F32x4::load(&bias[0]), F32x4::load(&bias[1])];
            for (index, columns) in packed.chunks_exact(self.pairs).enumerate() {
                let [a, b, c, d] = tile(columns, weights, fence);
                let sums = |[left, right]: [I32x4; 2]| {
                    [left.to_f32().add(bias[0]), right.to_f32().add(bias[1])]
                };
                let at = At { tile: index, panel };
                let values = [sums(a), sums(b), sums(c), sums(d)];
                self.epilogue.store(values, at, target);
            }
        }
    }
}

/// The sums of one tile.
#[inline(always)]
fn tile(columns: &[Pair], weights: &[[[i16; 8]; 2]], fence: Fence) -> [[I32x4; 2]; TILE] {
    let mut totals = [[I32x4::splat(0); 2]; TILE];
    let (turns, last_columns) = columns.as_chunks::<PAIRS>();
    let (weights, last_weights) = weights.as_chunks::<PAIRS>();
    for (columns, weights) in turns.iter().zip(weights) {
        // From nothing, so that no pair waits for what the turn before has left on the stack.
        let mut sums = [[I32x4::splat(0); 2]; TILE];
        pair(&mut sums, &columns[0], &weights[0]);
        fence.hold(1, &mut sums);
        pair(&mut sums, &columns[1], &weights[1]);
        fence.hold(2, &mut sums);
        pair(&mut sums, &columns[2], &weights[2]);
        fence.hold(3, &mut sums);
        pair(&mut sums, &columns[3], &weights[3]);
        fence.hold(4, &mut sums);
        for pixel in 0..TILE {
            totals[pixel][0] = totals[pixel][0].add(sums[pixel][0]);
            totals[pixel][1] = totals[pixel][1].add(sums[pixel][1]);
        }
    }
    for (column, weights) in last_columns.iter().zip(last_weights) {
        pair(&mut totals, column, weights);
    }
    totals
}

#[inline(always)]
fn pair(sums: &mut [[I32x4; 2]; TILE], column: &Pair, weights: &[[i16; 8]; 2]) {
    let column = I16x8::load(column);
    let weights = [I16x8::load(&weights[0]), I16x8::load(&weights[1])];
    add_products(&mut sums[0], column.lane::<0>(), weights);
    add_products(&mut sums[1], column.lane::<1>(), weights);
    add_products(&mut sums[2], column.lane::<2>(), weights);
    add_products(&mut sums[3], column.lane::<3>(), weights);
}

#[inline(always)]
fn add_products(sums: &mut [I32x4; 2], pixel: I16x8, weights: [I16x8; 2]) {
    sums[0] = sums[0].add_dot(pixel, weights[0]);
    sums[1] = sums[1].add_dot(pixel, weights[1]);
}
