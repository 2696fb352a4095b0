//! Fully connected layers: one input vector, so every weight is read once and memory is the limit.

#[cfg(feature = "serde")]
use crate::check::ensure;
use crate::fence::Fence;
use crate::gemm_i16;
use crate::layout::Layout;
use crate::op::Integers;
use crate::shape::Shape;
use crate::simd::{F32x4, I8x16, I16x8, I32x4};

/// A fully connected layer, ready to run.
#[derive(Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Dense {
    weights: Weights,
    bias: Vec<f32>,
    /// Values of the input, those that pad planes counted.
    inputs: usize,
}

#[derive(Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
enum Weights {
    /// `[out][in]`.
    F32(#[cfg_attr(feature = "serde", serde(deserialize_with = "crate::check::exact"))] Vec<f32>),
    /// `[out][in]` in steps of `scale[out]`, each row padded with zeros to whole vectors; inputs are rounded to
    /// `0..=limit` steps, 16-bit numbers.
    I8 {
        #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::check::exact"))]
        steps: Vec<[i8; 16]>,
        scale: Vec<f32>,
        limit: f32,
    },
    /// The same of whole numbers, as they are.
    I16(#[cfg_attr(feature = "serde", serde(deserialize_with = "crate::check::exact"))] Vec<Pair>),
}

/// Sixteen whole numbers.
type Pair = [[i16; 8]; 2];

impl Dense {
    /// Packs weights `[out][row][column][channel]`, which are finite if `integers` are asked for.
    pub(crate) fn new(
        weights: &[f32],
        bias: Vec<f32>,
        input: Shape,
        integers: Option<Integers>,
    ) -> Self {
        let layout = Layout::new(input, input.height);
        let inputs = layout.planes * layout.values();
        let mut weights_by_plane = vec![0.0; inputs * bias.len()];
        let rows = weights_by_plane.chunks_exact_mut(inputs);
        for (to, from) in rows.zip(weights.chunks_exact(input.len())) {
            for (index, weight) in from.iter().enumerate() {
                let (pixel, channel) = (index / input.channels, index % input.channels);
                to[channel / 4 * layout.values() + pixel * 4 + channel % 4] = *weight;
            }
        }
        let weights = weights_by_plane;
        let weights = match integers {
            Some(Integers::Rounded { .. }) => quantise(&weights, inputs),
            Some(Integers::Whole) if gemm_i16::takes(&weights, inputs) => whole(&weights, inputs),
            _ => Weights::F32(weights),
        };
        Self {
            weights,
            bias,
            inputs,
        }
    }

    /// Whether it fits its layer.
    #[cfg(feature = "serde")]
    pub(crate) fn check(&self, inputs: usize, outputs: usize) -> Option<()> {
        ensure(self.inputs == inputs && self.bias.len() == outputs)?;
        match &self.weights {
            Weights::F32(weights) => ensure(weights.len() == inputs.checked_mul(outputs)?),
            Weights::I8 {
                steps,
                scale,
                limit,
            } => {
                let vectors = inputs.div_ceil(16).checked_mul(outputs)?;
                ensure(steps.len() == vectors && scale.len() == outputs)?;
                ensure(*limit <= largest_limit(inputs))
            }
            Weights::I16(steps) => ensure(steps.len() == inputs.div_ceil(16).checked_mul(outputs)?),
        }
    }

    pub(crate) fn weights_bytes(&self) -> usize {
        let weights = match &self.weights {
            Weights::F32(weights) => size_of_val(&**weights),
            Weights::I8 { steps, scale, .. } => size_of_val(&**steps) + size_of_val(&**scale),
            Weights::I16(steps) => size_of_val(&**steps),
        };
        weights + size_of_val(&*self.bias)
    }

    /// 16-bit vectors of scratch that [`Self::run`] needs.
    pub(crate) fn scratch_len(&self) -> usize {
        match self.weights {
            Weights::F32(_) => 0,
            Weights::I8 { .. } | Weights::I16(_) => self.inputs.div_ceil(16) * 2,
        }
    }

    /// `input` are planes with this layout.
    pub(crate) fn run(
        &self,
        input: &[f32],
        layout: Layout,
        scratch: &mut [[i16; 8]],
        out: &mut [f32],
    ) {
        match &self.weights {
            Weights::F32(weights) => {
                let fence = Fence::new();
                let rows = weights.chunks_exact(self.inputs);
                for ((out, row), bias) in out.iter_mut().zip(rows).zip(&self.bias) {
                    *out = *bias;
                    // As few pieces as there are gaps between them.
                    let whole = layout.stride == layout.values();
                    let (piece, stride) = if whole {
                        (row.len(), input.len())
                    } else {
                        (layout.values(), layout.stride)
                    };
                    for (weights, input) in row.chunks_exact(piece).zip(input.chunks_exact(stride))
                    {
                        *out += dot_f32(weights, &input[..piece], fence);
                    }
                }
            }
            Weights::I8 {
                steps,
                scale,
                limit,
            } => {
                let scratch = &mut scratch[..self.scratch_len()];
                let input_scale = quantise_input(input, layout, *limit, scratch);
                let (input, _) = scratch.as_chunks::<2>();
                let rows = steps.chunks_exact(input.len());
                let fence = Fence::new();
                let parts = out.iter_mut().zip(rows).zip(scale.iter().zip(&self.bias));
                for ((out, row), (scale, bias)) in parts {
                    *out = dot_i8(row, input, fence) as f32 * (scale * input_scale) + bias;
                }
            }
            Weights::I16(steps) => {
                let scratch = &mut scratch[..self.scratch_len()];
                let values = scratch.as_flattened_mut().iter_mut();
                for (step, value) in values.zip(values_of(input, layout)) {
                    *step = *value as i16;
                }
                let (input, _) = scratch.as_chunks::<2>();
                let rows = steps.chunks_exact(input.len());
                let fence = Fence::new();
                for ((out, row), bias) in out.iter_mut().zip(rows).zip(&self.bias) {
                    *out = dot_i16(row, input, fence) as f32 + bias;
                }
            }
        }
    }
}

/// The sum of products of two slices of one length.
fn dot_f32(a: &[f32], b: &[f32], fence: Fence) -> f32 {
    let mut sums = [[F32x4::splat(0.0); 4]];
    let add = |sums: &mut [[F32x4; 4]; 1], a: &[f32; 16], b: &[f32; 16]| {
        for part in 0..4 {
            let values = F32x4::from_slice(&a[4 * part..]);
            sums[0][part] = values.mul_add(F32x4::from_slice(&b[4 * part..]), sums[0][part]);
        }
    };
    let (a_blocks, a_rest) = a.as_chunks::<16>();
    let (b_blocks, b_rest) = b.as_chunks::<16>();
    let (a_turns, a_blocks) = a_blocks.as_chunks::<4>();
    let (b_turns, b_blocks) = b_blocks.as_chunks::<4>();
    for (a, b) in a_turns.iter().zip(b_turns) {
        add(&mut sums, &a[0], &b[0]);
        fence.hold(1, &mut sums);
        add(&mut sums, &a[1], &b[1]);
        fence.hold(2, &mut sums);
        add(&mut sums, &a[2], &b[2]);
        fence.hold(3, &mut sums);
        add(&mut sums, &a[3], &b[3]);
    }
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        add(&mut sums, a, b);
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    let [[first, second, third, fourth]] = sums;
    let sum = first.add(second).add(third.add(fourth));
    sum.to_array().iter().sum::<f32>() + rest
}

/// The same of 8-bit and of 16-bit numbers.
fn dot_i8(a: &[[i8; 16]], b: &[Pair], fence: Fence) -> i32 {
    dot(a, b, fence, |a| I8x16::load(a).widen())
}

/// The same of 16-bit numbers.
fn dot_i16(a: &[Pair], b: &[Pair], fence: Fence) -> i32 {
    dot(a, b, fence, |a| (I16x8::load(&a[0]), I16x8::load(&a[1])))
}

#[inline(always)]
fn dot<T>(a: &[T], b: &[Pair], fence: Fence, wide: impl Fn(&T) -> (I16x8, I16x8)) -> i32 {
    let mut sums = [[I32x4::splat(0); 2]];
    let add = |sums: &mut [[I32x4; 2]; 1], a: &T, b: &Pair| {
        let (first, second) = wide(a);
        sums[0][0] = sums[0][0].add_dot(first, I16x8::load(&b[0]));
        sums[0][1] = sums[0][1].add_dot(second, I16x8::load(&b[1]));
    };
    let (a_turns, a_rest) = a.as_chunks::<4>();
    let (b_turns, b_rest) = b.as_chunks::<4>();
    for (a, b) in a_turns.iter().zip(b_turns) {
        add(&mut sums, &a[0], &b[0]);
        add(&mut sums, &a[1], &b[1]);
        fence.hold(1, &mut sums);
        add(&mut sums, &a[2], &b[2]);
        add(&mut sums, &a[3], &b[3]);
    }
    for (a, b) in a_rest.iter().zip(b_rest) {
        add(&mut sums, a, b);
    }
    let [[first, second]] = sums;
    first.add(second).to_array().iter().sum()
}

fn quantise(weights: &[f32], inputs: usize) -> Weights {
    let vectors = inputs.div_ceil(16);
    let mut steps = vec![[0i8; 16]; weights.len() / inputs * vectors];
    let mut scales = Vec::with_capacity(weights.len() / inputs);
    for (row, steps) in weights
        .chunks_exact(inputs)
        .zip(steps.chunks_exact_mut(vectors))
    {
        let largest = row.iter().fold(0.0f32, |most, value| most.max(value.abs()));
        let scale = largest / 127.0;
        scales.push(scale);
        if scale >= f32::MIN_POSITIVE {
            for (step, value) in steps.as_flattened_mut().iter_mut().zip(row) {
                *step = (value / scale).round().clamp(-127.0, 127.0) as i8;
            }
        }
    }
    Weights::I8 {
        steps,
        scale: scales,
        limit: largest_limit(inputs),
    }
}

/// Packs weights that are whole numbers.
fn whole(weights: &[f32], inputs: usize) -> Weights {
    let vectors = inputs.div_ceil(16);
    let mut steps = vec![[[0; 8]; 2]; weights.len() / inputs * vectors];
    let rows = weights.chunks_exact(inputs);
    for (row, steps) in rows.zip(steps.chunks_exact_mut(vectors)) {
        let steps = steps.as_flattened_mut().as_flattened_mut();
        for (step, value) in steps.iter_mut().zip(row) {
            *step = *value as i16;
        }
    }
    Weights::I16(steps)
}

/// The values of planes, without the gaps between them.
fn values_of(input: &[f32], layout: Layout) -> impl Iterator<Item = &f32> {
    let planes = input.chunks_exact(layout.stride);
    planes.flat_map(move |plane| &plane[..layout.values()])
}

/// Sums stay below 2³¹ whatever the signs: inputs × 127 × limit. Beyond 32767, a number needs more than 16 bits.
fn largest_limit(inputs: usize) -> f32 {
    (i32::MAX as usize / 127 / inputs).min(32767) as f32
}

/// Rounds the input to 16-bit steps and returns the size of a step. NaN and infinities become arbitrary values.
fn quantise_input(input: &[f32], layout: Layout, limit: f32, steps: &mut [[i16; 8]]) -> f32 {
    let values = || values_of(input, layout);
    let largest = values().fold(0.0f32, |most, value| most.max(value.abs()));
    let scale = largest / limit;
    let usable = scale.is_finite() && scale >= f32::MIN_POSITIVE;
    let factor = if usable { 1.0 / scale } else { 0.0 };
    let steps = steps.as_flattened_mut();
    for (step, value) in steps.iter_mut().zip(values()) {
        *step = (value * factor).round_ties_even() as i16;
    }
    if usable { scale } else { 0.0 }
}
