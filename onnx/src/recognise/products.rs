//! Tokens and weights: products with matrices, and arithmetic with constants and with each other.

use super::view::{Of, Run, View};
use super::{Result, Value, Walk};
use pinhole_kernels::{Activation, Binary, Conv, Shape, TensorId};
use tract_onnx::pb::NodeProto;

impl<'a> Walk<'a> {
    /// A product of tokens with weights.
    pub(super) fn dense_of_tokens(
        &mut self,
        view: View,
        weights: Vec<f32>,
        dims: &[usize],
        transposed: bool,
        bias: &[f32],
    ) -> Result<View> {
        let shape = self.builder.shape(view.tensor);
        if view.leading(1).is_empty() && (shape.height, shape.width) != (1, 1) {
            return self.dense_of_all(view, weights, dims, transposed, bias);
        }
        let view = self.with_channels_last(view)?;
        let &[rows, columns] = dims else {
            return Err("a product with weights that are no matrix".into());
        };
        let (outputs, inputs, weights) = if transposed {
            (rows, columns, weights)
        } else {
            let turned =
                (0..columns).flat_map(|column| weights[column..].iter().step_by(columns).copied());
            (columns, rows, turned.collect())
        };
        if inputs != self.builder.shape(view.tensor).channels {
            return Err("a product with weights for other channels".into());
        }
        let conv = Conv {
            out_channels: outputs,
            kernel: (1, 1),
            stride: (1, 1),
            padding: (0, 0, 0, 0),
            dilation: (1, 1),
            groups: 1,
            weights: &weights,
            bias,
            activation: Activation::None,
        };
        let output = self
            .builder
            .conv(view.tensor, &conv)
            .map_err(|error| error.to_string())?;
        let mut view = view.of(output);
        if let Some(last) = view.axes.last_mut() {
            let run = Run {
                of: Of::Channels,
                size: outputs,
                stride: 1,
            };
            *last = Some(run).filter(|run| run.size != 1).into_iter().collect();
        }
        Ok(view)
    }

    /// A product of all values of a tensor with weights, which come in the order of the view.
    fn dense_of_all(
        &mut self,
        view: View,
        weights: Vec<f32>,
        dims: &[usize],
        transposed: bool,
        bias: &[f32],
    ) -> Result<View> {
        let view = self.settled(view)?;
        let shape = self.builder.shape(view.tensor);
        let (places, pixels) = (view.places(), shape.height * shape.width);
        let (inputs, outputs) = match (dims, transposed) {
            (&[outputs, inputs], true) | (&[inputs, outputs], false) => (inputs, outputs),
            _ => return Err("a product with weights that are no matrix".into()),
        };
        if inputs != places.len() || inputs != shape.len() {
            return Err("a product with weights for other values".into());
        }
        let mut ordered = vec![0.0; weights.len()];
        for (row, (pixel, channel)) in places.into_iter().enumerate() {
            for output in 0..outputs {
                ordered[output * inputs + channel * pixels + pixel] = match transposed {
                    true => weights[output * inputs + row],
                    false => weights[row * outputs + output],
                };
            }
        }
        let output = self
            .builder
            .dense(view.tensor, outputs, &ordered, bias)
            .map_err(|error| error.to_string())?;
        Ok(View::vector(output, self.builder.shape(output)))
    }

    /// A product with constant weights, and the sum with constant biases that may follow; or one of an attention.
    pub(super) fn product(&mut self, node: &'a NodeProto) -> Result<()> {
        if !matches!(self.value(node, 1)?, Value::Constant(..)) {
            return self.product_of_views(node);
        }
        let view = self.view(node, 0)?;
        let (weights, dims) = self.constant(node, 1)?;
        let outputs = dims.last().copied().unwrap_or_default();
        let mut last = node;
        let mut bias = Vec::new();
        if let Some((index, next)) = self
            .only_reader(node)
            .filter(|(_, next)| next.op_type == "Add")
        {
            let other = usize::from(next.input.first() == node.output.first());
            if let Ok((values, _)) = self.later_constant(next, other)
                && values.len() == outputs
            {
                (bias, last) = (values, next);
                self.taken.insert(index);
            }
        }
        let view = self.dense_of_tokens(view, weights, &dims, false, &bias)?;
        self.set_view(last, view)
    }

    /// Multiplies each channel by a factor and adds a term.
    pub(super) fn scaled(
        &mut self,
        input: TensorId,
        factors: &[f32],
        terms: &[f32],
    ) -> Result<TensorId> {
        let conv = Conv {
            out_channels: factors.len(),
            kernel: (1, 1),
            stride: (1, 1),
            padding: (0, 0, 0, 0),
            dilation: (1, 1),
            groups: factors.len(),
            weights: factors,
            bias: terms,
            activation: Activation::None,
        };
        self.builder
            .conv(input, &conv)
            .map_err(|error| error.to_string())
    }

    pub(super) fn arithmetic_of_views(&mut self, node: &'a NodeProto) -> Result<()> {
        let operator = match node.op_type.as_str() {
            "Add" => Binary::Add,
            "Sub" => Binary::Sub,
            "Mul" => Binary::Mul,
            _ => Binary::Div,
        };
        let values = (self.value(node, 0), self.value(node, 1));
        match values {
            (Ok(Value::Scores(_) | Value::Moment(_) | Value::Erf(_)), _)
            | (_, Ok(Value::Scores(_) | Value::Moment(_) | Value::Erf(_))) => {
                self.arithmetic_of_states(node, operator)
            }
            (Ok(Value::View(_) | Value::Tensor(_)), Ok(Value::View(_) | Value::Tensor(_))) => {
                let (a, b) = (self.view(node, 0)?, self.view(node, 1)?);
                let (a, b) = (self.settled(a)?, self.settled(b)?);
                let (first, second) = (self.builder.shape(a.tensor), self.builder.shape(b.tensor));
                if (&a.axes, a.channel, first) != (&b.axes, b.channel, second) {
                    return Err(format!("a {} of tensors in different order", node.op_type));
                }
                let output = self
                    .builder
                    .binary(operator, a.tensor, b.tensor)
                    .map_err(|error| error.to_string())?;
                self.set_view(node, a.of(output))
            }
            (Ok(Value::View(view)), _) => {
                let (values, dims) = self.later_constant(node, 1)?;
                self.with_constants(node, operator, view, (&values, &dims))
            }
            (_, Ok(Value::View(view))) => {
                let (values, dims) = self.later_constant(node, 0)?;
                if !matches!(operator, Binary::Add | Binary::Mul) {
                    return Err(format!("a {} of a constant and a tensor", node.op_type));
                }
                self.with_constants(node, operator, view, (&values, &dims))
            }
            _ => Err(format!("a {} of such operands", node.op_type)),
        }
    }

    /// Arithmetic of a view and constants: one, one a channel, or one a value.
    pub(super) fn with_constants(
        &mut self,
        node: &'a NodeProto,
        operator: Binary,
        view: View,
        (values, dims): (&[f32], &[usize]),
    ) -> Result<()> {
        if let (&[value], Binary::Mul | Binary::Div) = (values, operator) {
            let factor = match operator {
                Binary::Mul => view.factor * value,
                _ => view.factor / value,
            };
            return self.set_view(node, View { factor, ..view });
        }
        let view = self.settled(view)?;
        let shape = self.builder.shape(view.tensor);
        let spread = spread(&view, shape, values, dims);
        let spread = spread.ok_or_else(|| format!("a {} with odd constants", node.op_type))?;
        let (first, _) = spread.split_at(shape.channels);
        if spread
            .chunks_exact(shape.channels)
            .all(|pixel| pixel == first)
        {
            let (factors, terms) = match operator {
                Binary::Add => (vec![1.0; first.len()], first.to_vec()),
                Binary::Sub => (vec![1.0; first.len()], first.iter().map(|v| -v).collect()),
                Binary::Mul => (first.to_vec(), vec![0.0; first.len()]),
                Binary::Div => (
                    first.iter().map(|v| 1.0 / v).collect(),
                    vec![0.0; first.len()],
                ),
            };
            let output = self.scaled(view.tensor, &factors, &terms)?;
            return self.set_view(node, view.of(output));
        }
        let constant = self.builder.constant(shape, &spread);
        let constant = constant.map_err(|error| error.to_string())?;
        let output = self
            .builder
            .binary(operator, view.tensor, constant)
            .map_err(|error| error.to_string())?;
        self.set_view(node, view.of(output))
    }
}

/// Constants that meet a view, in the order of its tensor: pixel by pixel.
fn spread(view: &View, shape: Shape, values: &[f32], dims: &[usize]) -> Option<Vec<f32>> {
    let sizes = view.dims();
    let missing = sizes.len().checked_sub(dims.len())?;
    // For each dimension of the view, how far apart its constants are.
    let mut strides = vec![0; sizes.len()];
    let mut stride = 1;
    for (axis, &size) in dims.iter().enumerate().rev() {
        if size != 1 {
            if size != sizes[missing + axis] {
                return None;
            }
            strides[missing + axis] = stride;
        }
        stride *= size;
    }
    if stride != values.len() || sizes.iter().product::<usize>() != shape.len() {
        return None;
    }
    let mut spread = vec![0.0; shape.len()];
    for (index, (pixel, channel)) in view.places().into_iter().enumerate() {
        let mut rest = index;
        let mut from = 0;
        for (size, stride) in sizes.iter().zip(&strides).rev() {
            from += rest % size * stride;
            rest /= size;
        }
        *spread.get_mut(pixel * shape.channels + channel)? = *values.get(from)?;
    }
    Some(spread)
}
