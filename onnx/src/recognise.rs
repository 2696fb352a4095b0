//! ONNX graphs of convolutional classifiers, as layers for our own kernels.
//!
//! This reads the graph as exporters write it: convolutions with batch normalisation and activations behind them, additions and
//! other arithmetic, pooling, channels that are joined and split, dense layers. Anything else is left to tract, with the reason. What is recognised is
//! never trusted: `agree` compares both on the same input before it is believed.

mod attention;
mod attributes;
mod channels;
mod dense;
mod elementwise;
mod moments;
mod products;
mod quantised;
mod shapes;
mod tokens;
mod view;
mod windows;

use crate::Obstacle;
use crate::head::{is_to_floats, softmax_of};
use attention::Scores;
use attributes::{attribute, window};
use moments::{Erf, Moment};
use pinhole_kernels::{Activation, Conv, NetworkBuilder, TensorId, Unary};
use quantised::{Stored, Weights};
use std::collections::{HashMap, HashSet};
use tract_onnx::Onnx;
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, TensorProto};
use tract_onnx::tensor::load_tensor;
use view::View;

/// A graph as layers.
#[derive(Clone)]
pub struct Recognised {
    /// The layers.
    pub builder: NetworkBuilder,
    /// The tensor that holds the scores.
    pub output: TensorId,
    /// Whether the graph goes on with a softmax over them.
    pub softmax: bool,
}

/// What a name in the graph stands for.
#[derive(Clone)]
enum Value {
    /// A tensor of the network.
    Tensor(TensorId),
    /// A constant, with its dimensions.
    Constant(Vec<f32>, Vec<usize>),
    /// A tensor with zeros around it: rows above, columns to the left, rows below, columns to the right.
    Padded(TensorId, (usize, usize, usize, usize)),
    /// A tensor whose channels are written as so many groups.
    Groups(TensorId, usize),
    /// A tensor in another order or form.
    View(View),
    /// Part of an attention, of a normalisation, of a GELU.
    Scores(Scores),
    Moment(Moment),
    Erf(Erf),
    /// A number that is computed of constants and shapes.
    Number(f32),
    /// Part of a computation of shapes, which are fixed here; the sizes, where they can be told.
    Shape(Option<Vec<i64>>),
    /// A tensor of 8-bit steps.
    Quantised(Stored),
    /// The same, once more as values: who can work on steps takes it as it is.
    Dequantised(Stored),
    /// Constants in 8 or 32 bits, with what they are worth.
    Weights(Weights),
}

struct Walk<'a> {
    onnx: &'a Onnx,
    graph: &'a GraphProto,
    /// The nodes that read each name.
    readers: HashMap<&'a str, Vec<usize>>,
    values: HashMap<&'a str, Value>,
    /// Nodes that an earlier one has taken in.
    taken: HashSet<usize>,
    /// Tensors that are functions of another one's values.
    functions: HashMap<TensorId, (TensorId, Unary)>,
    builder: NetworkBuilder,
}

type Result<T> = std::result::Result<T, String>;

/// Reads a graph whose input is one image of `side` x `side` pixels, with its channels first or last. The error says what kept it
/// from being read.
pub fn recognise(
    onnx: &Onnx,
    graph: &GraphProto,
    input: &str,
    side: usize,
    (channels, last): (usize, bool),
) -> std::result::Result<Recognised, Obstacle> {
    let mut readers: HashMap<&str, Vec<usize>> = HashMap::new();
    for (index, node) in graph.node.iter().enumerate() {
        for name in &node.input {
            readers.entry(name).or_default().push(index);
        }
    }
    let builder = NetworkBuilder::new(side, side, channels);
    let mut walk = Walk {
        onnx,
        graph,
        readers,
        values: HashMap::new(),
        taken: HashSet::new(),
        functions: HashMap::new(),
        builder,
    };
    for weights in &graph.initializer {
        walk.values.insert(&weights.name, constant(onnx, weights)?);
    }
    let start = graph
        .input
        .iter()
        .find(|value| value.name == input)
        .ok_or("the input is missing")?;
    let image = walk.builder.input();
    let image = View::image(image, walk.builder.shape(image));
    let order: &[i64] = if last { &[0, 2, 3, 1] } else { &[0, 1, 2, 3] };
    let image = image.transposed(order).ok_or("an image of odd order")?;
    walk.values.insert(&start.name, walk.seen(image));

    let result = graph
        .output
        .first()
        .map(|output| output.name.as_str())
        .unwrap_or_default();
    let scores = softmax_of(graph, result);
    let mut softmax = false;
    for (index, node) in graph.node.iter().enumerate() {
        if walk.taken.contains(&index) {
            continue;
        }
        let scores = scores.and_then(|name| walk.values.get(name));
        if let Some(scores @ Value::Tensor(_)) = scores.cloned() {
            // What follows gives its probabilities another form only.
            walk.values.insert(result, scores);
            softmax = true;
            break;
        }
        walk.node(node)
            .map_err(|reason| Obstacle::at(node, reason))?;
    }
    match walk.values.get(result) {
        Some(Value::Tensor(output)) => Ok(Recognised {
            output: *output,
            builder: walk.builder,
            softmax,
        }),
        _ => Err("the output is not computed by layers".into()),
    }
}

fn constant(onnx: &Onnx, tensor: &TensorProto) -> Result<Value> {
    let read = || {
        let tensor = load_tensor(&*onnx.provider, tensor, None)?;
        let floats = tensor.cast_to::<f32>()?;
        let values = floats.try_as_plain_ram()?.as_slice::<f32>()?.to_vec();
        Ok::<_, tract_onnx::prelude::TractError>(Value::Constant(values, tensor.shape().to_vec()))
    };
    read().map_err(|error| format!("`{}` cannot be read: {error}", tensor.name))
}

/// A Constant that is written down as numbers.
fn written(attribute: &AttributeProto) -> Value {
    let values: Vec<f32> = match attribute.name.as_str() {
        "value_float" => vec![attribute.f],
        "value_floats" => attribute.floats.clone(),
        "value_int" => vec![attribute.i as f32],
        "value_ints" => attribute.ints.iter().map(|value| *value as f32).collect(),
        _ => return Value::Shape(None),
    };
    let dims = match attribute.name.ends_with('s') {
        true => vec![values.len()],
        false => Vec::new(),
    };
    Value::Constant(values, dims)
}

impl<'a> Walk<'a> {
    fn node(&mut self, node: &'a NodeProto) -> Result<()> {
        if self.of_views(node)? {
            return Ok(());
        }
        let value = match node.op_type.as_str() {
            "Conv" => return self.conv(node),
            "Add" if self.adds_tensors(node) => return self.add(node),
            "Add" | "Sub" | "Mul" | "Div" => return self.arithmetic(node),
            "DequantizeLinear" => return self.dequantise(node),
            "QuantizeLinear" => self.quantise(node)?,
            "Relu" | "Clip" | "LeakyRelu" | "Elu" | "HardSigmoid" | "HardSwish" | "Sigmoid"
            | "Tanh" | "Mish" | "Gelu" => return self.function(node),
            "BatchNormalization" => return self.normalisation(node),
            "MaxPool" | "AveragePool" => return self.pool(node),
            "GlobalAveragePool" => return self.average(node),
            "GlobalMaxPool" => return self.global_max(node),
            "ReduceMean" => return self.reduce_mean(node),
            "Pad" => return self.pad(node),
            "Gemm" => return self.gemm(node),
            "MatMul" => return self.matmul(node),
            "Shape" => self.shape_of(node),
            "Sqrt" => self.root(node)?,
            "Cast" if matches!(self.value(node, 0)?, Value::Tensor(_)) && is_to_floats(node) => {
                self.value(node, 0)?
            }
            "Min" | "Max" => return self.limited(node),
            "Cast" | "Identity" if matches!(self.value(node, 0)?, Value::Number(_)) => {
                self.value(node, 0)?
            }
            "Expand" => self.value(node, 0)?,
            "Transpose" if matches!(self.value(node, 0)?, Value::Constant(..)) => {
                self.turned(node)?
            }
            "Identity" | "Dropout" | "Gather" | "Unsqueeze" | "Concat" | "Cast" | "Slice"
            | "Floor" | "Squeeze" | "Reshape" | "Mod" | "ConstantOfShape" | "Equal" | "Where"
                if self.computes_shapes(node) =>
            {
                self.sizes(node)
            }
            "Identity" | "Dropout" => self.value(node, 0)?,
            "Concat" => return self.concat(node),
            "Split" => return self.split(node),
            "Slice" => return self.slice(node),
            "Transpose" => return self.transpose(node),
            "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze" => match self.in_groups(node) {
                Some(groups) => groups,
                None => self.flatten(node)?,
            },
            "Constant" => match node
                .attribute
                .iter()
                .find(|attribute| attribute.name.starts_with("value"))
            {
                Some(value) => match &value.t {
                    Some(tensor) => constant(self.onnx, tensor)?,
                    None => written(value),
                },
                None => Value::Shape(None),
            },
            other => return Err(format!("the operator {other} is none of the kernels'")),
        };
        self.set(node, value)
    }

    fn set(&mut self, node: &'a NodeProto, value: Value) -> Result<()> {
        let name = node.output.first().ok_or("a node without an output")?;
        self.values.insert(name, value);
        Ok(())
    }

    fn value(&self, node: &NodeProto, index: usize) -> Result<Value> {
        let name = node
            .input
            .get(index)
            .map(String::as_str)
            .unwrap_or_default();
        self.values
            .get(name)
            .cloned()
            .ok_or_else(|| format!("{} reads an unknown `{name}`", node.op_type))
    }

    fn tensor(&self, node: &NodeProto, index: usize) -> Result<TensorId> {
        match self.value(node, index)? {
            Value::Tensor(tensor) => Ok(tensor),
            _ => Err(format!("a {} of constants", node.op_type)),
        }
    }

    fn constant(&self, node: &NodeProto, index: usize) -> Result<(Vec<f32>, Vec<usize>)> {
        match self.value(node, index)? {
            Value::Constant(values, dims) => Ok((values, dims)),
            Value::Number(value) => Ok((vec![value], Vec::new())),
            _ => Err(format!("a {} whose weights are computed", node.op_type)),
        }
    }

    fn computes_shapes(&self, node: &NodeProto) -> bool {
        let known = |name: &String| {
            matches!(
                self.values.get(name.as_str()),
                Some(Value::Shape(_) | Value::Constant(..))
            )
        };
        let is_shape =
            |name: &String| matches!(self.values.get(name.as_str()), Some(Value::Shape(_)));
        node.input.iter().all(|name| name.is_empty() || known(name))
            && (node.input.iter().any(is_shape)
                || !matches!(node.op_type.as_str(), "Identity" | "Dropout"))
    }

    /// The one node that reads what `node` computes, if there is just one and the graph's output is another.
    fn only_reader(&self, node: &NodeProto) -> Option<(usize, &'a NodeProto)> {
        let name = node.output.first()?;
        match self.readers.get(name.as_str())?.as_slice() {
            &[reader] if self.graph.output.iter().all(|output| output.name != *name) => {
                Some((reader, &self.graph.node[reader]))
            }
            _ => None,
        }
    }

    /// Takes in the activations that follow `node`: returns them as one, and the node whose output is the result.
    fn activation(&mut self, node: &'a NodeProto) -> Result<(Activation, &'a NodeProto)> {
        let (mut low, mut high) = (f32::NEG_INFINITY, f32::INFINITY);
        let mut last = node;
        while let Some((index, next)) = self.only_reader(last) {
            let (min, max) = match next.op_type.as_str() {
                "Relu" => (0.0, f32::INFINITY),
                "Clip" => self.bounds(next)?,
                "Min" | "Max" => match self.limit(next) {
                    Some((_, bounds)) => bounds,
                    None => break,
                },
                _ => break,
            };
            (low, high) = (low.max(min).min(max), high.max(min).min(max));
            self.taken.insert(index);
            last = next;
        }
        let activation = match (low, high) {
            (f32::NEG_INFINITY, f32::INFINITY) => Activation::None,
            (0.0, f32::INFINITY) => Activation::Relu,
            (min, max) => Activation::Clip { min, max },
        };
        Ok((activation, last))
    }

    /// A constant that may be written down only behind the node that is being read.
    fn later_constant(&self, node: &NodeProto, input: usize) -> Result<(Vec<f32>, Vec<usize>)> {
        if let Ok(found) = self.constant(node, input) {
            return Ok(found);
        }
        let name = node
            .input
            .get(input)
            .ok_or_else(|| format!("a {} with too few inputs", node.op_type))?;
        let tensor = self
            .graph
            .node
            .iter()
            .find(|node| node.op_type == "Constant" && node.output.contains(name))
            .and_then(|node| {
                node.attribute
                    .iter()
                    .find(|attribute| attribute.name == "value")
            })
            .and_then(|attribute| attribute.t.as_ref())
            .ok_or_else(|| format!("`{name}` is computed"))?;
        match constant(self.onnx, tensor)? {
            Value::Constant(values, dims) => Ok((values, dims)),
            _ => Err(format!("`{name}` is computed")),
        }
    }

    fn conv(&mut self, node: &'a NodeProto) -> Result<()> {
        if let Value::Dequantised(input) = self.value(node, 0)? {
            return self.conv_of_steps(node, input);
        }
        let (input, around) = match self.value(node, 0)? {
            Value::Padded(input, around) => (input, around),
            _ => (self.tensor(node, 0)?, (0, 0, 0, 0)),
        };
        let (mut weights, dims) = self.constant(node, 1)?;
        let &[outputs, _, height, width] = dims.as_slice() else {
            return Err("a convolution that is not of images".into());
        };
        let mut bias = match node.input.get(2) {
            Some(name) if !name.is_empty() => self.constant(node, 2)?.0,
            _ => vec![0.0; outputs],
        };

        let mut last = node;
        if let Some((index, next)) = self
            .only_reader(node)
            .filter(|(_, next)| next.op_type == "BatchNormalization")
        {
            self.normalise(next, &mut weights, &mut bias)?;
            self.taken.insert(index);
            last = next;
        }
        let (activation, last) = self.activation(last)?;
        let shape = self.builder.shape(input);
        let mut conv = Conv {
            out_channels: outputs,
            weights: &weights,
            bias: &bias,
            activation,
            ..window(node, (shape.height, shape.width), [height, width])?
        };
        conv.padding.0 += around.0;
        conv.padding.1 += around.1;
        conv.padding.2 += around.2;
        conv.padding.3 += around.3;
        let output = self
            .builder
            .conv(input, &conv)
            .map_err(|error| error.to_string())?;
        self.set(last, Value::Tensor(output))
    }

    /// Folds a batch normalisation into the convolution before it.
    fn normalise(&self, node: &NodeProto, weights: &mut [f32], bias: &mut [f32]) -> Result<()> {
        let [scale, shift, mean, variance] =
            [1, 2, 3, 4].map(|index| self.constant(node, index).map(|found| found.0));
        let (scale, shift, mean, variance) = (scale?, shift?, mean?, variance?);
        let epsilon = attribute(node, "epsilon").map_or(1e-5, |value| value.f);
        let channels = bias.len();
        if [&scale, &shift, &mean, &variance]
            .iter()
            .any(|values| values.len() != channels)
            || channels == 0
        {
            return Err("a batch normalisation of other channels".into());
        }
        let window = weights.len() / channels;
        for (channel, filter) in weights.chunks_exact_mut(window).enumerate() {
            let factor = scale[channel] / (variance[channel] + epsilon).sqrt();
            filter.iter_mut().for_each(|weight| *weight *= factor);
            bias[channel] = (bias[channel] - mean[channel]) * factor + shift[channel];
        }
        Ok(())
    }

    /// Whether it adds what layers compute, of one shape.
    fn adds_tensors(&self, node: &NodeProto) -> bool {
        match (self.value(node, 0), self.value(node, 1)) {
            (Ok(Value::Tensor(a)), Ok(Value::Tensor(b))) => {
                self.builder.shape(a) == self.builder.shape(b)
            }
            (Ok(Value::Dequantised(_)), Ok(Value::Dequantised(_))) => true,
            _ => false,
        }
    }

    fn add(&mut self, node: &'a NodeProto) -> Result<()> {
        if let (Value::Dequantised(a), Value::Dequantised(b)) =
            (self.value(node, 0)?, self.value(node, 1)?)
        {
            return self.add_steps(node, a, b);
        }
        let (a, b) = (self.tensor(node, 0)?, self.tensor(node, 1)?);
        let (activation, last) = self.activation(node)?;
        let sum = self
            .builder
            .add(a, b, activation)
            .map_err(|error| error.to_string())?;
        self.set(last, Value::Tensor(sum))
    }

    fn average(&mut self, node: &'a NodeProto) -> Result<()> {
        if let Value::Dequantised(input) = self.value(node, 0)? {
            return self.average_of_steps(node, input);
        }
        let input = self.tensor(node, 0)?;
        let mean = self.builder.global_average_pool(input);
        self.set(node, Value::Tensor(mean))
    }

    fn reduce_mean(&mut self, node: &'a NodeProto) -> Result<()> {
        let mut axes: Vec<i64> = match attribute(node, "axes") {
            Some(axes) => axes.ints.clone(),
            None => self
                .later_constant(node, 1)?
                .0
                .iter()
                .map(|axis| *axis as i64)
                .collect(),
        };
        axes.iter_mut()
            .for_each(|axis| *axis = if *axis < 0 { *axis + 4 } else { *axis });
        axes.sort_unstable();
        if axes != [2, 3] {
            return Err("a mean over other axes than height and width".into());
        }
        self.average(node)
    }
}
