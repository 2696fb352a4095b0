//! Functions of single values, and arithmetic: of two tensors, or of a tensor and constants, one a channel.

use super::attributes::attribute;
use super::view::View;
use super::{Result, Value, Walk};
use pinhole_kernels::{Binary, Shape, TensorId, Unary};
use tract_onnx::pb::NodeProto;

impl<'a> Walk<'a> {
    /// A function that stands for itself: the planner finds the layer that takes it in.
    pub(super) fn function(&mut self, node: &'a NodeProto) -> Result<()> {
        let function = self.function_of(node)?;
        let input = self.tensor(node, 0)?;
        let output = self.builder.unary(input, function);
        self.functions.insert(output, (input, function));
        self.set(node, Value::Tensor(output))
    }

    /// Which function a node is.
    pub(super) fn function_of(&self, node: &NodeProto) -> Result<Unary> {
        let float =
            |name: &str, default: f32| attribute(node, name).map_or(default, |value| value.f);
        Ok(match node.op_type.as_str() {
            "Relu" => Unary::Clip {
                min: 0.0,
                max: f32::INFINITY,
            },
            "Clip" => {
                let (min, max) = self.bounds(node)?;
                Unary::Clip { min, max }
            }
            "LeakyRelu" => Unary::LeakyRelu {
                alpha: float("alpha", 0.01),
            },
            "Elu" => Unary::Elu {
                alpha: float("alpha", 1.0),
            },
            "HardSigmoid" => Unary::HardSigmoid {
                alpha: float("alpha", 0.2),
                beta: float("beta", 0.5),
            },
            "HardSwish" => Unary::HardSwish,
            "Sigmoid" => Unary::Sigmoid,
            "Tanh" => Unary::Tanh,
            "Mish" => Unary::Mish,
            "Gelu" if attribute(node, "approximate").is_none_or(|value| value.s == b"none") => {
                Unary::Gelu
            }
            other => return Err(format!("the operator {other} in this form")),
        })
    }

    /// What a Min or Max with a constant limits: which input, and to which range.
    pub(super) fn limit(&self, node: &NodeProto) -> Option<(usize, (f32, f32))> {
        let constant = |input: usize| match &self.later_constant(node, input).ok()?.0[..] {
            &[value] => Some((1 - input, value)),
            _ => None,
        };
        let two = node.input.len() == 2;
        let (input, value) = constant(1).or_else(|| constant(0)).filter(|_| two)?;
        let range = match node.op_type.as_str() {
            "Max" => (value, f32::INFINITY),
            _ => (f32::NEG_INFINITY, value),
        };
        Some((input, range))
    }

    /// Min or Max of a tensor and a constant.
    pub(super) fn limited(&mut self, node: &'a NodeProto) -> Result<()> {
        let limit = self.limit(node);
        let (input, (low, high)) = limit.ok_or_else(|| format!("a {} of tensors", node.op_type))?;
        let view = self.view(node, input)?;
        let view = self.settled(view)?;
        let (tensor, min, max) = match self.functions.get(&view.tensor) {
            Some(&(of, Unary::Clip { min, max })) => {
                (of, min.max(low).min(high), max.max(low).min(high))
            }
            _ => (view.tensor, low, high),
        };
        let function = Unary::Clip { min, max };
        let output = self.builder.unary(tensor, function);
        self.functions.insert(output, (tensor, function));
        self.set_view(node, view.of(output))
    }

    /// The limits of a Clip: inputs, or attributes in old files.
    pub(super) fn bounds(&self, node: &NodeProto) -> Result<(f32, f32)> {
        let bound = |input: usize, name: &str, default: f32| -> Result<f32> {
            if node.input.get(input).is_some_and(|name| !name.is_empty()) {
                let (values, _) = self.later_constant(node, input)?;
                return values
                    .first()
                    .copied()
                    .ok_or_else(|| "an empty bound".into());
            }
            Ok(attribute(node, name).map_or(default, |attribute| attribute.f))
        };
        Ok((
            bound(1, "min", f32::NEG_INFINITY)?,
            bound(2, "max", f32::INFINITY)?,
        ))
    }

    /// Add, Sub, Mul or Div.
    pub(super) fn arithmetic(&mut self, node: &'a NodeProto) -> Result<()> {
        let operator = match node.op_type.as_str() {
            "Add" => Binary::Add,
            "Sub" => Binary::Sub,
            "Mul" => Binary::Mul,
            _ => Binary::Div,
        };
        match (self.value(node, 0), self.value(node, 1)) {
            (Ok(Value::Tensor(a)), Ok(Value::Tensor(b))) => self.of_tensors(node, operator, a, b),
            (Ok(Value::Tensor(a)), _) if self.begins_gelu(node) => {
                let (values, _) = self.later_constant(node, 1)?;
                let view = View::image(a, self.builder.shape(a));
                self.with_constants(node, operator, view, (&values, &[]))
            }
            (Ok(Value::Tensor(a)), _) => {
                let (values, dims) = self.later_constant(node, 1)?;
                let values = self.one_a_channel(a, &values, &dims)?;
                let factors: Vec<f32> = match operator {
                    Binary::Add | Binary::Sub => vec![1.0; values.len()],
                    Binary::Mul => values.clone(),
                    Binary::Div => values.iter().map(|value| 1.0 / value).collect(),
                };
                let terms: Vec<f32> = match operator {
                    Binary::Add => values,
                    Binary::Sub => values.iter().map(|value| -value).collect(),
                    Binary::Mul | Binary::Div => vec![0.0; values.len()],
                };
                self.affine(node, a, &factors, &terms)
            }
            (_, Ok(Value::Tensor(b))) => {
                let (values, dims) = self.later_constant(node, 0)?;
                let values = self.one_a_channel(b, &values, &dims)?;
                let same = vec![1.0; values.len()];
                match operator {
                    Binary::Add => self.affine(node, b, &same, &values),
                    Binary::Sub => {
                        let negative = vec![-1.0; values.len()];
                        self.affine(node, b, &negative, &values)
                    }
                    Binary::Mul => {
                        let none = vec![0.0; values.len()];
                        self.affine(node, b, &values, &none)
                    }
                    Binary::Div => Err("a constant divided by a tensor".into()),
                }
            }
            (a, b) => self.shape_arithmetic(node, operator, &a?, &b?),
        }
    }

    /// Whether what a node multiplies or divides by a constant is for an Erf alone.
    fn begins_gelu(&self, node: &NodeProto) -> bool {
        let is_one = self
            .later_constant(node, 1)
            .is_ok_and(|(values, _)| values.len() == 1);
        let reader = self.only_reader(node);
        is_one
            && matches!(node.op_type.as_str(), "Mul" | "Div")
            && reader.is_some_and(|(_, next)| next.op_type == "Erf")
    }

    fn of_tensors(
        &mut self,
        node: &'a NodeProto,
        operator: Binary,
        a: TensorId,
        b: TensorId,
    ) -> Result<()> {
        if operator == Binary::Mul {
            // As most files write SiLU and, with a HardSigmoid, HardSwish.
            for (x, of_x) in [(a, b), (b, a)] {
                let whole = match self.functions.get(&of_x) {
                    Some((input, Unary::Sigmoid)) if *input == x => Unary::Silu,
                    Some((input, Unary::HardSigmoid { alpha, beta }))
                        if *input == x && (alpha - 1.0 / 6.0).abs() < 1e-6 && *beta == 0.5 =>
                    {
                        Unary::HardSwish
                    }
                    _ => continue,
                };
                let output = self.builder.unary(x, whole);
                return self.set(node, Value::Tensor(output));
            }
        }
        let is_vector = |shape: Shape| (shape.height, shape.width) == (1, 1);
        let (first, second) = (self.builder.shape(a), self.builder.shape(b));
        let swap =
            matches!(operator, Binary::Add | Binary::Mul) && is_vector(first) && !is_vector(second);
        let (a, b) = if swap { (b, a) } else { (a, b) };
        let output = self
            .builder
            .binary(operator, a, b)
            .map_err(|error| format!("a {}: {error}", node.op_type))?;
        self.set(node, Value::Tensor(output))
    }

    /// Constants that are to meet a tensor, one for each of its channels.
    fn one_a_channel(&self, tensor: TensorId, values: &[f32], dims: &[usize]) -> Result<Vec<f32>> {
        let Shape {
            height,
            width,
            channels,
        } = self.builder.shape(tensor);
        if let &[value] = values {
            return Ok(vec![value; channels]);
        }
        // Channels are the third dimension from the end of images, and the last of vectors.
        let by_image =
            dims.len() >= 3 && dims[dims.len() - 3] == channels && values.len() == channels;
        let by_vector =
            (height, width) == (1, 1) && values.len() == channels && dims.last() == Some(&channels);
        if by_image || by_vector {
            return Ok(values.to_vec());
        }
        Err("arithmetic with constants that differ within a channel".into())
    }

    /// Multiplies each channel by a factor and adds a term.
    fn affine(
        &mut self,
        node: &'a NodeProto,
        input: TensorId,
        factors: &[f32],
        terms: &[f32],
    ) -> Result<()> {
        let output = self.scaled(input, factors, terms)?;
        self.set(node, Value::Tensor(output))
    }

    /// A batch normalisation that no convolution takes in.
    pub(super) fn normalisation(&mut self, node: &'a NodeProto) -> Result<()> {
        let input = self.tensor(node, 0)?;
        let channels = self.builder.shape(input).channels;
        let (mut factors, mut terms) = (vec![1.0; channels], vec![0.0; channels]);
        self.normalise(node, &mut factors, &mut terms)?;
        self.affine(node, input, &factors, &terms)
    }
}
