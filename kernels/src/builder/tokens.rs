//! What transformers are made of. Tokens are the pixels of a tensor, row by row, and what a token holds are its channels: products
//! with weights are convolutions of one pixel.

use super::{Layer, NetworkBuilder};
use crate::error::{BuildError, expect_len};
use crate::layers::positions::Part;
use crate::op::TensorId;
use crate::shape::Shape;

/// Attention over tokens, in heads that have their channels one behind the other.
#[derive(Debug, Clone, Copy)]
pub struct Attention {
    /// What asks, and the first channel of it that belongs to the first head.
    pub queries: (TensorId, usize),
    /// What is asked.
    pub keys: (TensorId, usize),
    /// What is averaged.
    pub values: (TensorId, usize),
    /// How many heads there are.
    pub heads: usize,
    /// Channels of a head.
    pub dim: usize,
    /// What the products of queries and keys are multiplied by before the softmax: above 0.
    pub scale: f32,
}

impl NetworkBuilder {
    /// Normalises the channels of each pixel to a mean of 0 and a variance of 1, then multiplies by `factors` and adds `terms`: what
    /// ONNX calls `LayerNormalization`.
    ///
    /// # Errors
    /// If there is not one factor and one term a channel.
    pub fn layer_norm(
        &mut self,
        input: TensorId,
        factors: &[f32],
        terms: &[f32],
        epsilon: f32,
    ) -> Result<TensorId, BuildError> {
        let shape = self.shape(input);
        expect_len("factors", factors, shape.channels)?;
        expect_len("terms", terms, shape.channels)?;
        let layer = Layer::Norm {
            input,
            factors: factors.to_vec(),
            terms: terms.to_vec(),
            epsilon,
        };
        Ok(self.push(layer, shape))
    }

    /// Averages values for each query and each head. The result has a pixel for each of the queries, and the heads' channels one
    /// behind the other.
    ///
    /// # Errors
    /// If heads are no whole planes of four channels, or inputs have too few channels or different pixels.
    pub fn attention(&mut self, attention: &Attention) -> Result<TensorId, BuildError> {
        let Attention {
            queries,
            keys,
            values,
            heads,
            dim,
            scale,
        } = *attention;
        let width = heads.checked_mul(dim);
        let width = width.filter(|&width| width > 0 && dim.is_multiple_of(4));
        let width = width.ok_or(BuildError::InvalidShape("a head of an attention"))?;
        for (tensor, first) in [queries, keys, values] {
            if !first.is_multiple_of(4) || self.shape(tensor).channels < first + width {
                return Err(BuildError::ShapeMismatch);
            }
        }
        let pixels = |(tensor, _): (TensorId, usize)| {
            let shape = self.shape(tensor);
            shape.height * shape.width
        };
        if pixels(keys) != pixels(values) || pixels(keys) == 0 || pixels(queries) == 0 {
            return Err(BuildError::ShapeMismatch);
        }
        if !(scale > 0.0 && scale.is_finite()) {
            return Err(BuildError::InvalidShape("the scale of an attention"));
        }
        let shape = Shape {
            channels: width,
            ..self.shape(queries.0)
        };
        Ok(self.push(Layer::Attention(*attention), shape))
    }

    /// A tensor of constants, in the order row, column, channel.
    ///
    /// # Errors
    /// If there are not as many as the shape has.
    pub fn constant(&mut self, shape: Shape, values: &[f32]) -> Result<TensorId, BuildError> {
        if shape.is_empty() {
            return Err(BuildError::InvalidShape("a constant"));
        }
        expect_len("a constant", values, shape.len())?;
        let layer = Layer::Constant {
            values: values.to_vec(),
        };
        Ok(self.push(layer, shape))
    }

    /// Puts ranges of pixels of tensors one behind the other, in one row: each is a tensor, its first pixel and how many.
    ///
    /// # Errors
    /// If there are none, or channels differ.
    pub fn pixels(&mut self, parts: &[(TensorId, usize, usize)]) -> Result<TensorId, BuildError> {
        let first = parts.first().map(|part| self.shape(part.0).channels);
        let channels = first.ok_or(BuildError::InvalidShape("a list of pixels"))?;
        let mut width = 0;
        let mut inputs = Vec::new();
        let mut ranges = Vec::new();
        for (input, &(tensor, start, count)) in parts.iter().enumerate() {
            let shape = self.shape(tensor);
            let end = start.checked_add(count);
            if shape.channels != channels || end.is_none_or(|end| end > shape.height * shape.width)
            {
                return Err(BuildError::ShapeMismatch);
            }
            width += count;
            inputs.push(tensor);
            ranges.push(Part {
                input,
                start,
                count,
            });
        }
        if width == 0 {
            return Err(BuildError::InvalidShape("a list of pixels"));
        }
        let shape = Shape {
            height: 1,
            width,
            channels,
        };
        let layer = Layer::Pixels {
            inputs,
            parts: ranges,
        };
        Ok(self.push(layer, shape))
    }
}
