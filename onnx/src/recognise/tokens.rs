//! Tensors that are no images any more: tokens, and images with their channels last. Most of what moves them about is a view;
//! products with weights, class tokens and picked tokens are layers.

use super::attributes::attribute;
use super::view::View;
use super::{Result, Value, Walk};
use crate::head::is_to_floats;
use pinhole_kernels::{Shape, TensorId};
use tract_onnx::pb::NodeProto;

impl<'a> Walk<'a> {
    /// What a node reads, as a view; an image or a vector is one, too.
    pub(super) fn view(&self, node: &NodeProto, input: usize) -> Result<View> {
        match self.value(node, input)? {
            Value::View(view) => Ok(view),
            Value::Tensor(tensor) => Ok(View::image(tensor, self.builder.shape(tensor))),
            _ => Err(format!("a {} of constants", node.op_type)),
        }
    }

    pub(super) fn reads_view(&self, node: &NodeProto) -> bool {
        let is_view = |name: &String| {
            matches!(
                self.values.get(name.as_str()),
                Some(Value::View(_) | Value::Scores(_) | Value::Moment(_) | Value::Erf(_))
            )
        };
        node.input.iter().any(is_view)
    }

    /// What a view is: an image or a vector again, or still a view.
    pub(super) fn seen(&self, view: View) -> Value {
        let shape = self.builder.shape(view.tensor);
        let is_vector = (shape.height, shape.width) == (1, 1);
        let plain = view == View::image(view.tensor, shape)
            || (is_vector && view == View::vector(view.tensor, shape));
        if plain {
            Value::Tensor(view.tensor)
        } else {
            Value::View(view)
        }
    }

    pub(super) fn set_view(&mut self, node: &'a NodeProto, view: View) -> Result<()> {
        let value = self.seen(view);
        self.set(node, value)
    }

    /// A node that works on views, or makes one of an image; false if it is another one.
    pub(super) fn of_views(&mut self, node: &'a NodeProto) -> Result<bool> {
        let reads = self.reads_view(node);
        match node.op_type.as_str() {
            "Reshape" => match self.reshape(node)? {
                Some(view) => self.set_view(node, view)?,
                None => return Ok(false),
            },
            "Transpose"
                if !matches!(
                    self.value(node, 0)?,
                    Value::Groups(..) | Value::Constant(..)
                ) =>
            {
                let view = self.view(node, 0)?;
                let order: Vec<i64> = match attribute(node, "perm") {
                    Some(order) => order.ints.clone(),
                    None => (0..view.axes.len() as i64).rev().collect(),
                };
                let view = view.transposed(&order).ok_or("a Transpose of odd order")?;
                self.set_view(node, view)?;
            }
            "LayerNormalization" => self.layer_norm(node)?,
            "Erf" => self.erf(node)?,
            "Pow" | "Sqrt" if reads => self.moment(node)?,
            "Softmax" if reads => self.softmax(node)?,
            "ReduceMean" if reads || self.is_over_channels(node) => self.mean(node)?,
            "MatMul" if reads => self.product(node)?,
            "Gemm" if reads => {
                let plain = |name: &str| attribute(node, name).is_none_or(|value| value.f == 1.0);
                let turned = attribute(node, "transA").is_some_and(|value| value.i != 0);
                if turned || !plain("alpha") || !plain("beta") {
                    return Err("a Gemm that scales or transposes its input".into());
                }
                let transposed = attribute(node, "transB").is_some_and(|value| value.i != 0);
                let (weights, dims) = self.constant(node, 1)?;
                let bias = match node.input.len() > 2 {
                    true => self.constant(node, 2)?.0,
                    false => Vec::new(),
                };
                let view = self.view(node, 0)?;
                let view = self.dense_of_tokens(view, weights, &dims, transposed, &bias)?;
                self.set_view(node, view)?;
            }
            "Add" | "Sub" | "Mul" | "Div" if reads => self.arithmetic_of_views(node)?,
            "Concat" if reads => self.concat_tokens(node)?,
            "Split" if reads => self.split_view(node)?,
            "Slice" if reads => self.slice_view(node)?,
            "Gather" if reads => self.gather(node)?,
            "Squeeze" | "Unsqueeze" | "Flatten" if reads => {
                let view = self.form(node)?;
                self.set_view(node, view)?;
            }
            "Cast" if reads && is_to_floats(node) => {
                let value = self.value(node, 0)?;
                self.set(node, value)?;
            }
            "Relu" | "Clip" | "LeakyRelu" | "Elu" | "HardSigmoid" | "HardSwish" | "Sigmoid"
            | "Tanh" | "Mish" | "Gelu"
                if reads =>
            {
                let function = self.function_of(node)?;
                let view = self.view(node, 0)?;
                let view = self.settled(view)?;
                let output = self.builder.unary(view.tensor, function);
                self.functions.insert(output, (view.tensor, function));
                self.set_view(node, view.of(output))?;
            }
            "Conv" | "BatchNormalization" | "MaxPool" | "AveragePool" | "GlobalAveragePool"
            | "GlobalMaxPool" | "Pad"
                if matches!(self.value(node, 0)?, Value::View(_)) =>
            {
                // What is still to be multiplied is, and then it may be an image.
                let view = self.view(node, 0)?;
                let view = self.settled(view)?;
                let value = self.seen(view);
                self.values.insert(&node.input[0], value);
                return Ok(false);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// A Reshape to or from tokens; none where an image stays one, is flattened or falls into groups.
    fn reshape(&mut self, node: &'a NodeProto) -> Result<Option<View>> {
        let view = match self.value(node, 0)? {
            Value::View(view) => view,
            Value::Tensor(tensor) if self.in_groups(node).is_none() => {
                View::image(tensor, self.builder.shape(tensor))
            }
            _ => return Ok(None),
        };
        let from_view = matches!(self.value(node, 0)?, Value::View(_));
        let Ok(sizes) = self.integers(node, 1) else {
            return match from_view {
                true => Err("a Reshape to sizes that are computed".into()),
                false => Ok(None),
            };
        };
        let shape = self.builder.shape(view.tensor);
        if !from_view && (sizes.len() < 3 || (shape.height, shape.width) == (1, 1)) {
            return Ok(None);
        }
        let from = view.dims();
        let mut dims = Vec::with_capacity(sizes.len());
        for (index, &size) in sizes.iter().enumerate() {
            dims.push(match size {
                0 => from.get(index).copied().unwrap_or(1),
                -1 => 1,
                size => usize::try_from(size).map_err(|_| "a Reshape to a negative size")?,
            });
        }
        if let Some(open) = sizes.iter().position(|&size| size == -1) {
            let rest: usize = dims.iter().product();
            dims[open] = from.iter().product::<usize>() / rest.max(1);
        }
        let reshaped = view.reshaped(&dims);
        let sentence = || format!("a Reshape of {from:?} to {dims:?}");
        reshaped.map(Some).ok_or_else(sentence)
    }

    /// Squeeze, Unsqueeze or Flatten of a view.
    fn form(&self, node: &NodeProto) -> Result<View> {
        let view = self.view(node, 0)?;
        let axes = match attribute(node, "axes") {
            Some(axes) => axes.ints.clone(),
            None if node.op_type == "Flatten" => Vec::new(),
            None => self.integers(node, 1)?,
        };
        let mut dims = view.dims();
        match node.op_type.as_str() {
            "Squeeze" => {
                let drop: Option<Vec<usize>> = axes.iter().map(|&at| view.axis(at)).collect();
                let drop = drop.ok_or("a Squeeze of no dimension")?;
                let mut at = 0;
                dims.retain(|_| {
                    at += 1;
                    !drop.contains(&(at - 1))
                });
            }
            "Unsqueeze" => {
                let rank = (dims.len() + axes.len()) as i64;
                let mut axes: Vec<usize> = axes
                    .iter()
                    .map(|&at| if at < 0 { at + rank } else { at } as usize)
                    .collect();
                axes.sort_unstable();
                for at in axes {
                    if at > dims.len() {
                        return Err("an Unsqueeze beyond the dimensions".into());
                    }
                    dims.insert(at, 1);
                }
            }
            _ => {
                let axis = attribute(node, "axis").map_or(1, |axis| axis.i);
                let at = view.axis(axis).unwrap_or(dims.len());
                dims = vec![dims[..at].iter().product(), dims[at..].iter().product()];
            }
        }
        view.reshaped(&dims)
            .ok_or_else(|| format!("a {} that tears a dimension apart", node.op_type))
    }

    /// The view with nothing left to multiply by.
    pub(super) fn settled(&mut self, view: View) -> Result<View> {
        if view.factor == 1.0 {
            return Ok(view);
        }
        let channels = self.builder.shape(view.tensor).channels;
        let factors = vec![view.factor; channels];
        let output = self.scaled(view.tensor, &factors, &vec![0.0; channels])?;
        Ok(view.of(output))
    }

    /// The view with all channels of its tensor last, in order.
    pub(super) fn with_channels_last(&mut self, view: View) -> Result<View> {
        let view = self.settled(view)?;
        if view.has_channels_last(self.builder.shape(view.tensor)) {
            return Ok(view);
        }
        let view = self.picked(view)?;
        match view.has_channels_last(self.builder.shape(view.tensor)) {
            true => Ok(view),
            false => Err("a layer of other than the channels of tokens".into()),
        }
    }

    /// The view of a tensor that has just its channels, in its order.
    pub(super) fn picked(&mut self, view: View) -> Result<View> {
        let channels = view.channels();
        if channels.len() > self.builder.shape(view.tensor).channels {
            return Err("channels that come twice".into());
        }
        let tensor = self
            .builder
            .channels(view.tensor, &channels)
            .map_err(|error| error.to_string())?;
        Ok(view.renumbered(tensor))
    }

    /// Concat of tokens, some of them constants.
    fn concat_tokens(&mut self, node: &'a NodeProto) -> Result<()> {
        let axis = attribute(node, "axis").map_or(0, |axis| axis.i);
        if axis != 1 && axis != -2 {
            return Err("a Concat of tokens along another dimension than theirs".into());
        }
        let mut parts = Vec::with_capacity(node.input.len());
        for input in 0..node.input.len() {
            if let Ok((values, dims)) = self.constant(node, input) {
                let &[1, count, channels] = &dims[..] else {
                    return Err("a Concat of tokens with other constants".into());
                };
                let shape = Shape {
                    height: 1,
                    width: count,
                    channels,
                };
                let tensor = self.builder.constant(shape, &values);
                parts.push((tensor.map_err(|error| error.to_string())?, 0, count));
                continue;
            }
            let view = self.view(node, input)?;
            let view = self.with_channels_last(view)?;
            let shape = self.builder.shape(view.tensor);
            if view != View::tokens(view.tensor, shape) {
                return Err("a Concat of tokens in another order".into());
            }
            parts.push((view.tensor, 0, shape.height * shape.width));
        }
        let tensor = self.pixels(&parts)?;
        let view = View::tokens(tensor, self.builder.shape(tensor));
        self.set_view(node, view)
    }

    fn pixels(&mut self, parts: &[(TensorId, usize, usize)]) -> Result<TensorId> {
        self.builder
            .pixels(parts)
            .map_err(|error| error.to_string())
    }

    /// Part of a dimension: of channels a view, of tokens a tensor.
    fn part(&mut self, view: &View, axis: usize, start: usize, size: usize) -> Result<View> {
        if let Some(part) = view.part(axis, start, size) {
            return Ok(part);
        }
        let shape = self.builder.shape(view.tensor);
        let mut plain = View::tokens(view.tensor, shape);
        (plain.channel, plain.factor) = (view.channel, view.factor);
        let tokens = plain.axes[1].clone();
        if view.axes[axis] != tokens || start + size > shape.height * shape.width {
            return Err("a part of other than channels or tokens".into());
        }
        let tensor = self.pixels(&[(view.tensor, start, size)])?;
        let mut part = View {
            tensor,
            ..view.clone()
        };
        let of_part = View::tokens(tensor, self.builder.shape(tensor));
        part.axes[axis].clone_from(&of_part.axes[1]);
        Ok(part)
    }

    fn split_view(&mut self, node: &'a NodeProto) -> Result<()> {
        let view = self.view(node, 0)?;
        let axis = view.axis(attribute(node, "axis").map_or(0, |axis| axis.i));
        let axis = axis.ok_or("a Split of no dimension")?;
        let size = view.dims()[axis];
        let parts: Vec<i64> = match attribute(node, "split") {
            Some(sizes) => sizes.ints.clone(),
            None if node.input.get(1).is_some_and(|name| !name.is_empty()) => {
                self.integers(node, 1)?
            }
            None => {
                let count = node.output.len().max(1);
                vec![(size / count) as i64; count]
            }
        };
        let mut start = 0;
        for (name, size) in node.output.iter().zip(parts) {
            let size = usize::try_from(size).map_err(|_| "a Split of negative size")?;
            let part = self.part(&view, axis, start, size)?;
            let value = self.seen(part);
            self.values.insert(name, value);
            start += size;
        }
        Ok(())
    }

    fn slice_view(&mut self, node: &'a NodeProto) -> Result<()> {
        let view = self.view(node, 0)?;
        let list = |input: usize, name: &str| match attribute(node, name) {
            Some(values) => Ok(values.ints.clone()),
            None => self.integers(node, input),
        };
        let (starts, ends) = (list(1, "starts")?, list(2, "ends")?);
        let axes = list(3, "axes").unwrap_or_else(|_| (0..starts.len() as i64).collect());
        let steps = list(4, "steps").unwrap_or_default();
        if steps.iter().any(|&step| step != 1) {
            return Err("a Slice in steps".into());
        }
        let mut view = view;
        for ((axis, start), end) in axes.into_iter().zip(starts).zip(ends) {
            let axis = view.axis(axis).ok_or("a Slice of no dimension")?;
            let size = view.dims()[axis] as i64;
            let place = |at: i64| if at < 0 { at + size } else { at }.clamp(0, size) as usize;
            let (start, end) = (place(start), place(end));
            if end <= start {
                return Err("a Slice of nothing".into());
            }
            if (start, end) != (0, size as usize) {
                view = self.part(&view, axis, start, end - start)?;
            }
        }
        self.set_view(node, view)
    }

    /// One of a dimension, which goes.
    fn gather(&mut self, node: &'a NodeProto) -> Result<()> {
        let view = self.view(node, 0)?;
        let axis = view.axis(attribute(node, "axis").map_or(0, |axis| axis.i));
        let axis = axis.ok_or("a Gather of no dimension")?;
        let is_scalar = match self.value(node, 1) {
            Ok(Value::Constant(_, dims)) => dims.is_empty(),
            _ => self
                .later_constant(node, 1)
                .is_ok_and(|(_, dims)| dims.is_empty()),
        };
        let &[at] = &self.integers(node, 1)?[..] else {
            return Err("a Gather of several".into());
        };
        let size = view.dims()[axis] as i64;
        let at = usize::try_from(if at < 0 { at + size } else { at });
        let at = at.map_err(|_| "a Gather of nothing")?;
        let mut part = self.part(&view, axis, at, 1)?;
        if is_scalar {
            part.axes.remove(axis);
        }
        self.set_view(node, part)
    }
}
