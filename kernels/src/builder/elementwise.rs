//! Layers that work on values or windows one channel at a time.

use super::{Layer, NetworkBuilder};
use crate::error::BuildError;
use crate::layers::window::Window;
use crate::op::{Activation, Binary, Pooling, TensorId, Unary};
use crate::shape::{Geometry, Shape};

/// Pooling with a window: what ONNX calls `MaxPool` and `AveragePool`, with dilation 1.
#[derive(Debug, Clone, Copy)]
pub struct Pool {
    /// What is computed of the values under the window.
    pub pooling: Pooling,
    /// Height and width of the window.
    pub kernel: (usize, usize),
    /// Vertical and horizontal step.
    pub stride: (usize, usize),
    /// Rows and columns around the input: top, left, bottom, right. They hold nothing, or count as zeros.
    pub padding: (usize, usize, usize, usize),
    /// Whether a last window may reach beyond the padding: ONNX's `ceil_mode`.
    pub ceil: bool,
}

impl NetworkBuilder {
    /// Pools with a window.
    ///
    /// # Errors
    /// If the window does not fit the padded input, or some window would lie in the padding alone.
    pub fn pool(&mut self, input: TensorId, pool: &Pool) -> Result<TensorId, BuildError> {
        let shape = self.shape(input);
        let (kernel, stride) = (pool.kernel, pool.stride);
        let (top, left, bottom, right) = pool.padding;
        if kernel.0 * kernel.1 == 0 || stride.0 * stride.1 == 0 || shape.is_empty() {
            return Err(BuildError::InvalidShape("a pooling's kernel or stride"));
        }
        let places = |size: usize, kernel: usize, stride: usize, before: usize, after: usize| {
            let free = (size + before + after).checked_sub(kernel)?;
            let places = if pool.ceil {
                free.div_ceil(stride) + 1
            } else {
                free / stride + 1
            };
            // A last window that would begin behind the input is none.
            let last = (places - 1) * stride;
            let places = places - usize::from(pool.ceil && last >= size + before);
            let fits = before < kernel && (places - 1) * stride < size + before;
            fits.then_some(places)
        };
        let height = places(shape.height, kernel.0, stride.0, top, bottom);
        let width = places(shape.width, kernel.1, stride.1, left, right);
        let (Some(height), Some(width)) = (height, width) else {
            return Err(BuildError::InvalidShape("the output of a pooling"));
        };
        let window = Window {
            geometry: Geometry {
                kernel,
                stride,
                padding: (top, left),
            },
            pooling: pool.pooling,
            end_padding: (bottom, right),
        };
        let out = Shape {
            height,
            width,
            channels: shape.channels,
        };
        Ok(self.push(Layer::Window { input, window }, out))
    }

    /// Replaces each value by a function of it.
    pub fn unary(&mut self, input: TensorId, function: Unary) -> TensorId {
        let shape = self.shape(input);
        self.push(Layer::Unary { input, function }, shape)
    }

    /// Computes something of two tensors, value by value. `b` has the shape of `a`, or one value for each of its channels.
    ///
    /// # Errors
    /// If the shapes are others.
    pub fn binary(
        &mut self,
        operator: Binary,
        a: TensorId,
        b: TensorId,
    ) -> Result<TensorId, BuildError> {
        let (shape, other) = (self.shape(a), self.shape(b));
        if operator == Binary::Add && shape == other {
            return self.add(a, b, Activation::None);
        }
        if other != shape && other != Shape::vector(shape.channels) {
            return Err(BuildError::ShapeMismatch);
        }
        Ok(self.push(Layer::Binary { operator, a, b }, shape))
    }
}
