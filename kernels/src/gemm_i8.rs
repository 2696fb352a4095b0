//! Matrix multiplication of 8-bit weights by 7-bit activations, with floats on either side.
//!
//! A block of eight `k` multiplies sixteen bytes by sixteen bytes twice, adds the two results in 16 bits, and only then
//! widens to 32 bits: 2.5 instructions for sixteen products instead of the 3 that `i32x4.relaxed_dot_i8x16_i7x16_add_s`
//! becomes. The 16-bit sums cannot overflow, because packing keeps the four weights of one sign that meet in a lane
//! within 258, and 258 × 127 < 2¹⁵. The 32-bit sums cannot before `k` exceeds a hundred thousand.

#[cfg(feature = "serde")]
use crate::check::ensure;
use crate::epilogue::{At, Epilogue, PANEL, TILE, Target, panels_of};
use crate::fence::Fence;
use crate::op::Activation;
use crate::simd::{F32x4, I8x16, I16x8, I32x4};

/// `k` a block covers.
pub(crate) const BLOCK: usize = 8;
/// Blocks that a turn of the inner loop multiplies.
const BLOCKS: usize = 4;
/// The largest magnitude of a weight.
const LARGEST: f32 = 127.0;
/// The largest sum, in magnitude, of weights of one sign that are added in 16 bits.
const LANE_LIMIT: i32 = 32767 / 127;

/// For eight steps over `k`, as two halves of four: four values in `0..=127` of each pixel of a tile.
pub(crate) type Columns = [[i8; 16]; 2];

/// What turns the integers of a tile's pixels back into activations: `integer * scale + offset`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scales {
    pub(crate) scale: [f32; TILE],
    pub(crate) offset: [f32; TILE],
}

/// Weights of a layer, packed: for each panel of eight output channels, for each block of `k`, as two halves of four
/// steps, four weights for each channel.
#[derive(Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Weights {
    #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::check::exact"))]
    pub(crate) panels: Vec<[[i8; 16]; 4]>,
    blocks: usize,
    /// The size of one step of each channel's weights.
    scale: Vec<[[f32; 4]; 2]>,
    /// The sum of each channel's weights, in steps.
    sum: Vec<[[f32; 4]; 2]>,
    epilogue: Epilogue,
}

impl Weights {
    /// Quantises and packs weights `[out][k]`, which are finite.
    pub(crate) fn pack(weights: &[f32], bias: &[f32], activation: Activation) -> Self {
        let k = weights.len() / bias.len();
        let blocks = k.div_ceil(BLOCK);
        let mut panels = vec![[[0i8; 16]; 4]; bias.len().div_ceil(PANEL) * blocks];
        let mut scales = Vec::with_capacity(bias.len());
        let mut sums = Vec::with_capacity(bias.len());
        let mut row_steps = vec![0i8; blocks * BLOCK];
        for (out, row) in weights.chunks_exact(k).enumerate() {
            scales.push(quantise_row(row, &mut row_steps));
            sums.push(row_steps.iter().map(|&step| i32::from(step)).sum::<i32>() as f32);
            let lane = out % PANEL;
            let first = out / PANEL * blocks;
            for (position, value) in row_steps.iter().enumerate() {
                let half = position % BLOCK / 4;
                panels[first + position / BLOCK][2 * half + lane / 4]
                    [lane % 4 * 4 + position % 4] = *value;
            }
        }
        Self {
            panels,
            blocks,
            scale: panels_of(&scales),
            sum: panels_of(&sums),
            epilogue: Epilogue::new(bias, activation),
        }
    }

    /// Whether there is what its layer needs.
    #[cfg(feature = "serde")]
    pub(crate) fn check(&self, k: usize, channels: usize) -> Option<()> {
        let panels = channels.div_ceil(PANEL);
        let vectors = [&self.scale, &self.sum, &self.epilogue.bias];
        ensure(self.blocks == k.div_ceil(BLOCK))?;
        ensure(vectors.iter().all(|vector| vector.len() == panels))?;
        ensure(self.panels.len() == panels.checked_mul(self.blocks)?)
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.panels) + 3 * size_of_val(&*self.epilogue.bias)
    }

    /// Multiplies packed tiles by the weights. `OFFSET` tells whether any pixel has an offset other than zero.
    pub(crate) fn multiply<const OFFSET: bool>(
        &self,
        packed: &[Columns],
        scales: &[Scales],
        target: &mut Target<'_>,
    ) {
        let fence = Fence::new();
        for (panel, weights) in self.panels.chunks_exact(self.blocks).enumerate() {
            let load = |values: &[[[f32; 4]; 2]]| {
                [
                    F32x4::load(&values[panel][0]),
                    F32x4::load(&values[panel][1]),
                ]
            };
            let (scale, sum) = (load(&self.scale), load(&self.sum));
            let bias = load(&self.epilogue.bias);
            let tiles = packed.chunks_exact(self.blocks).zip(scales);
            for (index, (columns, pixel_scales)) in tiles.enumerate() {
                let [a, b, c, d] = tile(columns, weights, fence);
                let pixel_scale = F32x4::load(&pixel_scales.scale);
                let offset = F32x4::load(&pixel_scales.offset);
                let restore = |sums: [I32x4; 2], pixel_scale: F32x4, offset: F32x4| {
                    let (left, right) = (sums[0].to_f32(), sums[1].to_f32());
                    let (left, right) = if OFFSET {
                        (
                            left.mul_add(pixel_scale, offset.mul(sum[0])),
                            right.mul_add(pixel_scale, offset.mul(sum[1])),
                        )
                    } else {
                        (left.mul(pixel_scale), right.mul(pixel_scale))
                    };
                    [
                        left.mul_add(scale[0], bias[0]),
                        right.mul_add(scale[1], bias[1]),
                    ]
                };
                let values = [
                    restore(a, pixel_scale.lane::<0>(), offset.lane::<0>()),
                    restore(b, pixel_scale.lane::<1>(), offset.lane::<1>()),
                    restore(c, pixel_scale.lane::<2>(), offset.lane::<2>()),
                    restore(d, pixel_scale.lane::<3>(), offset.lane::<3>()),
                ];
                let at = At { tile: index, panel };
                self.epilogue.store(values, at, target);
            }
        }
    }
}

/// The integer sums of one tile.
#[inline(always)]
pub(crate) fn tile(
    columns: &[Columns],
    weights: &[[[i8; 16]; 4]],
    fence: Fence,
) -> [[I32x4; 2]; TILE] {
    let mut totals = [[I32x4::splat(0); 2]; TILE];
    let (turns, last_columns) = columns.as_chunks::<BLOCKS>();
    let (weights, last_weights) = weights.as_chunks::<BLOCKS>();
    for (columns, weights) in turns.iter().zip(weights) {
        // From nothing, so that no block waits for what the turn before has left on the stack.
        let [a, b, c, d] = products(&columns[0], &weights[0]);
        let mut sums = [pairs(a), pairs(b), pairs(c), pairs(d)];
        fence.hold(1, &mut sums);
        block(&mut sums, &columns[1], &weights[1]);
        fence.hold(2, &mut sums);
        block(&mut sums, &columns[2], &weights[2]);
        fence.hold(3, &mut sums);
        block(&mut sums, &columns[3], &weights[3]);
        fence.hold(4, &mut sums);
        for pixel in 0..TILE {
            totals[pixel][0] = totals[pixel][0].add(sums[pixel][0]);
            totals[pixel][1] = totals[pixel][1].add(sums[pixel][1]);
        }
    }
    for (columns, weights) in last_columns.iter().zip(last_weights) {
        block(&mut totals, columns, weights);
    }
    totals
}

#[inline(always)]
fn pairs([left, right]: [I16x8; 2]) -> [I32x4; 2] {
    [left.pairs(), right.pairs()]
}

#[inline(always)]
fn block(sums: &mut [[I32x4; 2]; TILE], columns: &Columns, weights: &[[i8; 16]; 4]) {
    let products = products(columns, weights);
    for pixel in 0..TILE {
        sums[pixel][0] = sums[pixel][0].add_pairs(products[pixel][0]);
        sums[pixel][1] = sums[pixel][1].add_pairs(products[pixel][1]);
    }
}

/// The products of a block, added up in 16 bits as far as they fit.
#[inline(always)]
fn products(columns: &Columns, weights: &[[i8; 16]; 4]) -> [[I16x8; 2]; TILE] {
    let columns = [I8x16::load(&columns[0]), I8x16::load(&columns[1])];
    let weights = [
        I8x16::load(&weights[0]),
        I8x16::load(&weights[1]),
        I8x16::load(&weights[2]),
        I8x16::load(&weights[3]),
    ];
    [
        pixel::<0>(columns, weights),
        pixel::<1>(columns, weights),
        pixel::<2>(columns, weights),
        pixel::<3>(columns, weights),
    ]
}

#[inline(always)]
fn pixel<const PIXEL: usize>(columns: [I8x16; 2], weights: [I8x16; 4]) -> [I16x8; 2] {
    let (first, second) = (columns[0].lane::<PIXEL>(), columns[1].lane::<PIXEL>());
    let (left, right) = (weights[0].dot_pairs(first), weights[1].dot_pairs(first));
    [
        left.add(weights[2].dot_pairs(second)),
        right.add(weights[3].dot_pairs(second)),
    ]
}

/// The positions of a block that meet in one 16-bit lane.
const MEETING: [[usize; 4]; 2] = [[0, 1, 4, 5], [2, 3, 6, 7]];

/// Turns one output channel's weights into steps, zeros beyond its end, and returns the size of a step.
pub(crate) fn quantise_row(row: &[f32], steps: &mut [i8]) -> f32 {
    let largest = row.iter().fold(0.0f32, |most, value| most.max(value.abs()));
    let mut crowded = 0.0f32;
    for block in row.chunks(BLOCK) {
        for meeting in MEETING {
            let values = || meeting.iter().filter_map(|&position| block.get(position));
            let positive: f32 = values().map(|value| value.max(0.0)).sum();
            let negative: f32 = values().map(|value| value.min(0.0)).sum();
            crowded = crowded.max(positive).max(-negative);
        }
    }
    let scale = (largest / LARGEST).max(crowded / LANE_LIMIT as f32);
    steps.fill(0);
    // A channel of zeros, or of values too small to divide by, stays zero.
    if scale < f32::MIN_POSITIVE {
        return 0.0;
    }
    for (step, value) in steps.iter_mut().zip(row) {
        *step = (value / scale).round().clamp(-LARGEST, LARGEST) as i8;
    }
    for block in steps.chunks_exact_mut(BLOCK) {
        for meeting in MEETING {
            settle(block, meeting, 1);
            settle(block, meeting, -1);
        }
    }
    scale
}

/// Undoes what rounding added to the weights of one sign, where their sum passed the limit.
fn settle(block: &mut [i8], meeting: [usize; 4], sign: i8) {
    loop {
        let magnitude = |position: usize| i32::from(block[position]) * i32::from(sign);
        let sum: i32 = meeting.iter().map(|&p| magnitude(p).max(0)).sum();
        if sum <= LANE_LIMIT {
            return;
        }
        let largest = meeting.iter().copied().max_by_key(|&p| magnitude(p));
        if let Some(position) = largest {
            block[position] -= sign;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_a_lane_stay_within_sixteen_bits() {
        let rows: [&[f32]; 4] = [
            &[1.0; 16],
            &[-1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0],
            &[0.505; 9],
            &[1.0, 0.999, 0.3, 0.2, 0.031, 0.001, 0.4],
        ];
        for row in rows {
            let mut steps = vec![0; row.len().div_ceil(BLOCK) * BLOCK];
            let scale = quantise_row(row, &mut steps);
            for block in steps.chunks_exact(BLOCK) {
                for meeting in MEETING {
                    let of = |sign: i32| -> i32 {
                        let values = meeting.iter().map(|&p| sign * i32::from(block[p]));
                        values.map(|value| value.max(0)).sum()
                    };
                    assert!(of(1) * 127 <= 32767 && of(-1) * 127 <= 32768);
                }
            }
            for (step, value) in steps.iter().zip(row) {
                assert!((f32::from(*step) * scale - value).abs() <= 1.51 * scale);
            }
        }
    }

    #[test]
    fn a_channel_of_zeros_has_no_steps() {
        let mut steps = vec![1; 8];
        assert_eq!(quantise_row(&[0.0; 5], &mut steps), 0.0);
        assert_eq!(steps, [0; 8]);
    }
}
