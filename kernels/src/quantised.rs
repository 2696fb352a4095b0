//! Networks whose file says how each tensor is rounded to 8 bits (what ONNX writes with `QuantizeLinear` and
//! `DequantizeLinear`).
//!
//! Their tensors and weights are whole numbers here, zero points taken off, and tensors hold them as floats. `gemm_i16`
//! multiplies them as integers. The float kernels do, too, and round nothing as long as a sum stays below 2^24 steps, as it
//! does in all but contrived networks (beyond, it is off by a part in 2^24). What is rounded, and when, is what ONNX Runtime
//! does where it computes in integers, to the bit.

use std::ops::Range;

use crate::builder::{Layer, expect_len};
use crate::layout::Layout;
use crate::network::Shape;
use crate::simd::F32x4;
use crate::{Activation, BuildError, NetworkBuilder, TensorId};

/// How the values of a tensor are kept in 8 bits: as whole numbers `q`, for a value of `(q - zero) * size`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Steps {
    /// What a step is worth.
    pub size: f32,
    /// The step that stands for zero.
    pub zero: f32,
    /// The lowest step: 0, or -128.
    pub low: f32,
    /// The highest step: 255, or 127.
    pub high: f32,
}

impl Steps {
    /// The steps that an activation leaves, counted from the zero point.
    fn limits(self, activation: Activation) -> Limits {
        let (low, high) = activation.range();
        Limits {
            low: (self.low - self.zero).max(low / self.size),
            high: (self.high - self.zero).min(high / self.size),
            rounds: true,
        }
    }
}

/// Layers of quantised networks. The tensors that they make hold steps, counted from the zero point: whole numbers.
impl NetworkBuilder {
    /// Rounds a tensor of values to steps.
    pub fn quantise(&mut self, input: TensorId, steps: Steps) -> TensorId {
        self.steps_of(input, 1.0, steps, Activation::None)
    }

    /// Turns steps into others, with an activation in between.
    pub fn requantise(
        &mut self,
        (input, from): (TensorId, Steps),
        steps: Steps,
        activation: Activation,
    ) -> TensorId {
        self.steps_of(input, from.size, steps, activation)
    }

    fn steps_of(
        &mut self,
        input: TensorId,
        worth: f32,
        steps: Steps,
        activation: Activation,
    ) -> TensorId {
        let quantise = Quantise {
            worth,
            step: steps.size,
            limits: steps.limits(activation),
        };
        let shape = self.shape(input);
        self.push(Layer::Quantise { input, quantise }, shape)
    }

    /// Has the layer that makes `tensor` round its sums to steps: each is worth `units` (one a channel, or one for all) before,
    /// and the activation comes in between. To be called before another layer reads the tensor.
    ///
    /// # Errors
    /// If there are other numbers of units than of channels.
    pub fn round(
        &mut self,
        tensor: TensorId,
        units: &[f32],
        steps: Steps,
        activation: Activation,
    ) -> Result<(), BuildError> {
        self.finish(tensor, units, steps.size, steps.limits(activation))
    }

    /// Has the layer that makes `tensor` turn its sums, each worth `units` as above, into values. To be called before another
    /// layer reads the tensor.
    ///
    /// # Errors
    /// If there are other numbers of units than of channels.
    pub fn unround(&mut self, tensor: TensorId, units: &[f32]) -> Result<(), BuildError> {
        let limits = Limits {
            low: f32::NEG_INFINITY,
            high: f32::INFINITY,
            rounds: false,
        };
        self.finish(tensor, units, 1.0, limits)
    }

    fn finish(
        &mut self,
        tensor: TensorId,
        units: &[f32],
        size: f32,
        limits: Limits,
    ) -> Result<(), BuildError> {
        let channels = self.shape(tensor).channels;
        let mut scales: Vec<f32> = units.iter().map(|unit| unit / size).collect();
        if let &[scale] = &scales[..] {
            scales = vec![scale; channels];
        }
        expect_len("scales", &scales, channels)?;
        if let Some(finish) = tensor.0.checked_sub(1).map(|made| &mut self.finishes[made]) {
            *finish = Some(Finish::new(&scales, limits));
        }
        Ok(())
    }

    /// Has the layer that makes `tensor` give values instead of steps of this size, after rounding. Nothing else may read the
    /// tensor. Returns whether it is a layer that rounds.
    pub fn dequantise(&mut self, tensor: TensorId, size: f32) -> bool {
        let finish = tensor.0.checked_sub(1).map(|made| &mut self.finishes[made]);
        if let Some(Some(finish)) = finish {
            finish.worth = size;
            return true;
        }
        false
    }

    /// Adds two tensors of the same shape, of steps of these kinds, and rounds the sums to steps of a third kind.
    ///
    /// # Errors
    /// If the shapes differ.
    pub fn add_steps(
        &mut self,
        (a, steps_a): (TensorId, Steps),
        (b, steps_b): (TensorId, Steps),
        steps: Steps,
        activation: Activation,
    ) -> Result<TensorId, BuildError> {
        let shape = self.shape(a);
        if shape != self.shape(b) {
            return Err(BuildError::ShapeMismatch);
        }
        let sum = StepSum::new([steps_a, steps_b], steps, steps.limits(activation));
        Ok(self.push(Layer::StepSum { a, b, sum }, shape))
    }

    /// Adds up each channel over all pixels; the result has one row and one column.
    pub fn global_sum_pool(&mut self, input: TensorId) -> TensorId {
        let channels = self.shape(input).channels;
        let divisor = 1.0;
        self.push(Layer::Pool { input, divisor }, Shape::vector(channels))
    }

    /// The same network, but nothing is rounded: what its layers compute can then be compared with what others compute in
    /// floats, where rounding would make much of a last bit.
    #[must_use]
    pub fn without_rounding(mut self) -> Self {
        for layer in &mut self.layers {
            match layer {
                Layer::Quantise { quantise, .. } => quantise.limits.rounds = false,
                Layer::StepSum { sum, .. } => sum.limits.rounds = false,
                _ => {}
            }
        }
        for finish in self.finishes.iter_mut().flatten() {
            finish.limits.rounds = false;
        }
        self
    }

    /// Whether any layer of it rounds to steps, or has rounded ones to work on.
    #[must_use]
    pub fn is_quantised(&self) -> bool {
        let steps = |layer: &Layer| matches!(layer, Layer::Quantise { .. } | Layer::StepSum { .. });
        self.finishes.iter().any(Option::is_some) || self.layers.iter().any(steps)
    }
}

/// What becomes of the sums that a layer computes, before another one reads them.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Finish {
    /// What each is multiplied by: one a channel, zeros for lanes that pad.
    scales: Vec<f32>,
    limits: Limits,
    /// What a step is worth to whoever reads the result.
    worth: f32,
}

impl Finish {
    /// `scales` has a value for each channel.
    fn new(scales: &[f32], limits: Limits) -> Self {
        let mut scales = scales.to_vec();
        scales.resize(scales.len().next_multiple_of(4), 0.0);
        Self {
            scales,
            limits,
            worth: 1.0,
        }
    }

    /// Whether it fits a tensor of these channels.
    #[cfg(feature = "serde")]
    pub(crate) fn fits(&self, channels: usize) -> bool {
        self.scales.len() == channels.next_multiple_of(4)
    }

    /// Does it to rows that are contiguous in their ring.
    pub(crate) fn apply(&self, planes: &mut [f32], layout: Layout, rows: Range<usize>) {
        let start = layout.row(rows.start);
        let end = start + rows.len() * layout.width * 4;
        let worth = F32x4::splat(self.worth);
        let planes = planes.chunks_exact_mut(layout.stride);
        for (plane, scales) in planes.zip(self.scales.as_chunks::<4>().0) {
            let scales = F32x4::load(scales);
            self.limits.each(&mut plane[start..end], |value| {
                let steps = self.limits.round(value.mul(scales));
                steps.mul(worth)
            });
        }
    }
}

/// The whole numbers that a tensor can hold.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct Limits {
    low: f32,
    high: f32,
    /// Not where only the rest is to be compared.
    rounds: bool,
}

impl Limits {
    fn are_whole(self) -> bool {
        self.rounds && self.low >= -255.0 && self.high <= 255.0
    }

    fn shifted(self, by: f32) -> Self {
        Self {
            low: self.low + by,
            high: self.high + by,
            ..self
        }
    }

    /// Limits values, and rounds them to the nearest whole number, from halves to the even one.
    #[inline(always)]
    fn round(self, value: F32x4) -> F32x4 {
        let limited = value.clip(F32x4::splat(self.low), F32x4::splat(self.high));
        if self.rounds {
            limited.nearest()
        } else {
            limited
        }
    }

    /// Replaces each value: four vectors a turn of the loop.
    #[inline(always)]
    fn each(self, values: &mut [f32], change: impl Fn(F32x4) -> F32x4) {
        let (turns, rest) = values.as_chunks_mut::<16>();
        for turn in turns {
            for value in turn.as_chunks_mut::<4>().0 {
                change(F32x4::load(value)).store(value);
            }
        }
        for value in rest.as_chunks_mut::<4>().0 {
            change(F32x4::load(value)).store(value);
        }
    }
}

/// Whether what a layer makes, with what becomes of it, is whole numbers of nine bits.
pub(crate) fn is_whole(layer: Option<&Layer>, finish: Option<&Finish>) -> bool {
    match (layer, finish) {
        (_, Some(finish)) => finish.limits.are_whole() && finish.worth == 1.0,
        (Some(Layer::Quantise { quantise, .. }), None) => quantise.limits.are_whole(),
        (Some(Layer::StepSum { sum, .. }), None) => sum.limits.shifted(-sum.zero).are_whole(),
        _ => false,
    }
}

/// From values, or other steps, to steps from the zero point.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Quantise {
    /// What the input is to be multiplied by to be values.
    worth: f32,
    step: f32,
    limits: Limits,
}

impl Quantise {
    pub(crate) fn run(&self, values: &[f32], out: &mut [f32]) {
        out.copy_from_slice(values);
        let (worth, step) = (F32x4::splat(self.worth), F32x4::splat(self.step));
        // Divided, not multiplied by the inverse: that would round some values to another step.
        self.limits
            .each(out, |value| self.limits.round(value.mul(worth).div(step)));
    }
}

/// The sum of two tensors, each with steps and a zero point of its own, in those of a third.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct StepSum {
    /// What a step of either is in steps of the result.
    ratios: [f32; 2],
    zeros: [f32; 2],
    zero: f32,
    /// What the three zero points come to.
    fixed: f32,
    /// Zero point included.
    limits: Limits,
}

impl StepSum {
    fn new([a, b]: [Steps; 2], steps: Steps, limits: Limits) -> Self {
        let ratios = [a.size / steps.size, b.size / steps.size];
        // Rounded once, as where a processor multiplies and adds at once.
        let zeros = f64::from(ratios[0]) * f64::from(a.zero) + f64::from(ratios[1] * b.zero);
        Self {
            ratios,
            zeros: [a.zero, b.zero],
            zero: steps.zero,
            fixed: steps.zero - zeros as f32,
            limits: limits.shifted(steps.zero),
        }
    }

    /// Adds `other` to `values`. The order of operations decides what becomes of halves, so it is ONNX Runtime's.
    pub(crate) fn run(&self, values: &mut [f32], other: &[f32]) {
        let [ratio_a, ratio_b] = self.ratios.map(F32x4::splat);
        let [zero_a, zero_b] = self.zeros.map(F32x4::splat);
        let (fixed, zero) = (F32x4::splat(self.fixed), F32x4::splat(self.zero));
        let others = other.as_chunks::<4>().0;
        for (value, other) in values.as_chunks_mut::<4>().0.iter_mut().zip(others) {
            let (a, b) = (F32x4::load(value), F32x4::load(other));
            let sum = b.add(zero_b).mul_add_once(ratio_b, fixed);
            let sum = a.add(zero_a).mul_add_once(ratio_a, sum);
            self.limits.round(sum).sub(zero).store(value);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that fails may panic")]
mod tests;
