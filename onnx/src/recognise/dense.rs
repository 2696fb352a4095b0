//! Dense layers, and what flattens images for them.

use super::attributes::attribute;
use super::{Result, Value, Walk};
use pinhole_kernels::TensorId;
use tract_onnx::pb::NodeProto;

impl<'a> Walk<'a> {
    /// A dense layer reads its input in ONNX's own order, so that flattening changes nothing.
    pub(super) fn flatten(&mut self, node: &NodeProto) -> Result<Value> {
        let value = self.value(node, 0)?;
        let is_vector = |tensor: TensorId| {
            let shape = self.builder.shape(tensor);
            (shape.height, shape.width) == (1, 1)
        };
        // One pixel's channels stay what they are, and so does what is given the shape that it has.
        if matches!(value, Value::Tensor(tensor) if is_vector(tensor) || self.is_shape_of(node, tensor))
        {
            return Ok(value);
        }
        if let Value::Tensor(_) | Value::Dequantised(_) = value {
            let next = self
                .only_reader(node)
                .map(|(_, next)| next.op_type.as_str());
            if !matches!(
                next,
                None | Some(
                    "Gemm"
                        | "MatMul"
                        | "Softmax"
                        | "Dropout"
                        | "Identity"
                        | "Flatten"
                        | "Reshape"
                        | "QuantizeLinear"
                )
            ) {
                return Err(format!("a {} between layers", node.op_type));
            }
        }
        Ok(value)
    }

    /// Whether a Reshape is to the dimensions that the tensor has.
    fn is_shape_of(&self, node: &NodeProto, tensor: TensorId) -> bool {
        let shape = self.builder.shape(tensor);
        let is = |size: i64, is: usize| usize::try_from(size) == Ok(is);
        let sizes = self.integers(node, 1).unwrap_or_default();
        match sizes[..] {
            [-1..=1, channels, height, width] => {
                (channels == -1 || is(channels, shape.channels))
                    && is(height, shape.height)
                    && is(width, shape.width)
            }
            _ => false,
        }
    }

    pub(super) fn gemm(&mut self, node: &'a NodeProto) -> Result<()> {
        let is_one = |name: &str| attribute(node, name).is_none_or(|value| value.f == 1.0);
        if attribute(node, "transA").is_some_and(|value| value.i != 0)
            || !is_one("alpha")
            || !is_one("beta")
        {
            return Err("a Gemm that scales or transposes its input".into());
        }
        let transposed = attribute(node, "transB").is_some_and(|value| value.i != 0);
        if let Value::Dequantised(input) = self.value(node, 0)? {
            return self.gemm_of_steps(node, input, transposed);
        }
        let input = self.tensor(node, 0)?;
        let (weights, dims) = self.constant(node, 1)?;
        let bias = if node.input.len() > 2 {
            self.constant(node, 2)?.0
        } else {
            Vec::new()
        };
        let output = self.dense(input, weights, &dims, transposed, &bias)?;
        self.set(node, Value::Tensor(output))
    }

    /// A product with constant weights, and the sum with constant biases that may follow.
    pub(super) fn matmul(&mut self, node: &'a NodeProto) -> Result<()> {
        let input = self.tensor(node, 0)?;
        let (weights, dims) = self.constant(node, 1)?;
        let mut last = node;
        let mut bias = Vec::new();
        if let Some((index, next)) = self
            .only_reader(node)
            .filter(|(_, next)| next.op_type == "Add")
        {
            let other = usize::from(next.input.first() == node.output.first());
            if let Ok((values, _)) = self.later_constant(next, other) {
                (bias, last) = (values, next);
                self.taken.insert(index);
            }
        }
        let output = self.dense(input, weights, &dims, false, &bias)?;
        self.set(last, Value::Tensor(output))
    }

    pub(super) fn dense(
        &mut self,
        input: TensorId,
        weights: Vec<f32>,
        dims: &[usize],
        transposed: bool,
        bias: &[f32],
    ) -> Result<TensorId> {
        let &[rows, columns] = dims else {
            return Err("a product with weights that are no matrix".into());
        };
        let (outputs, weights) = if transposed {
            (rows, weights)
        } else {
            let turned =
                (0..columns).flat_map(|column| weights[column..].iter().step_by(columns).copied());
            (columns, turned.collect())
        };
        self.builder
            .dense(input, outputs, &weights, bias)
            .map_err(|error| error.to_string())
    }
}
