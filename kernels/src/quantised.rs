//! Networks whose file says how each tensor is rounded to 8 bits (what ONNX writes with `QuantizeLinear` and
//! `DequantizeLinear`).
//!
//! Their tensors and weights are whole numbers here, zero points taken off, and tensors hold them as floats. `gemm_i16`
//! multiplies them as integers. The float kernels do, too, and round nothing as long as a sum stays below 2^24 steps, as it
//! does in all but contrived networks (beyond, it is off by a part in 2^24). What is rounded, and when, is what ONNX Runtime
//! does where it computes in integers, to the bit.

use crate::builder::{Layer, NetworkBuilder};
use crate::error::{BuildError, expect_len};
use crate::op::{Activation, TensorId};
use crate::requantise::{Finish, Limits, Quantise, StepSum, Steps};
use crate::shape::Shape;

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

/// Whether what a layer makes, with what becomes of it, is whole numbers of nine bits.
pub(crate) fn is_whole(layer: Option<&Layer>, finish: Option<&Finish>) -> bool {
    match (layer, finish) {
        (_, Some(finish)) => finish.limits.are_whole() && finish.worth == 1.0,
        (Some(Layer::Quantise { quantise, .. }), None) => quantise.limits.are_whole(),
        (Some(Layer::StepSum { sum, .. }), None) => sum.limits.shifted(-sum.zero).are_whole(),
        _ => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that fails may panic")]
mod tests;
