//! Quantised models (QDQ): between `QuantizeLinear` and `DequantizeLinear` layers work on 8-bit steps, as ONNX Runtime's do.

use super::attributes::{attribute, window};
use super::{Result, Value, Walk};
use crate::steps::steps;
use pinhole_kernels::{Activation, Conv, Steps, TensorId};
use tract_onnx::pb::NodeProto;

/// A tensor of steps.
#[derive(Clone, Copy)]
pub(super) struct Stored {
    tensor: TensorId,
    steps: Steps,
}

/// Constants as whole numbers.
#[derive(Clone)]
pub(super) struct Weights {
    /// Zero points taken off.
    steps: Vec<f32>,
    dims: Vec<usize>,
    /// What a step is worth: everywhere, or at each place along an axis.
    sizes: Vec<f32>,
    axis: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn quantise(&mut self, node: &NodeProto) -> Result<Value> {
        let steps = self.steps(node)?;
        match self.value(node, 0)? {
            Value::Tensor(tensor) => {
                let tensor = self.builder.quantise(tensor, steps);
                Ok(Value::Quantised(Stored { tensor, steps }))
            }
            // What a Flatten has been wrapped in.
            Value::Dequantised(stored) if stored.steps == steps => Ok(Value::Quantised(stored)),
            Value::Dequantised(stored) => Ok(self.requantise(stored, steps, Activation::None)),
            _ => Err("a QuantizeLinear of constants".into()),
        }
    }

    fn requantise(&mut self, stored: Stored, steps: Steps, activation: Activation) -> Value {
        let from = (stored.tensor, stored.steps);
        let tensor = self.builder.requantise(from, steps, activation);
        Value::Quantised(Stored { tensor, steps })
    }

    pub(super) fn dequantise(&mut self, node: &'a NodeProto) -> Result<()> {
        let stored = match self.value(node, 0)? {
            Value::Quantised(stored) => stored,
            Value::Constant(values, dims) => {
                let weights = self.weights_of(node, values, dims)?;
                return self.set(node, weights);
            }
            _ => return Err("a DequantizeLinear of values".into()),
        };
        if self.steps(node)? != stored.steps {
            return Err("steps that are read as others than they are".into());
        }
        let (activation, last) = self.activation(node)?;
        if activation != Activation::None {
            let (end, steps) = self
                .rounding(last)?
                .ok_or("an activation of 8-bit steps that is not rounded")?;
            let value = self.requantise(stored, steps, activation);
            return self.set(end, value);
        }
        let is_last = match self.only_reader(node) {
            Some((_, next)) => next.op_type == "Softmax",
            None => self.readers_of(&node.output[0]) == 0,
        };
        if !is_last {
            return self.set(node, Value::Dequantised(stored));
        }
        // The layer that makes the steps can give their values, if nobody else reads them.
        let alone = self.readers_of(&node.input[0]) == 1;
        if alone && self.builder.dequantise(stored.tensor, stored.steps.size) {
            return self.set(node, Value::Tensor(stored.tensor));
        }
        Err("steps as well as values are read".into())
    }

    fn readers_of(&self, name: &str) -> usize {
        self.readers.get(name).map_or(0, Vec::len)
    }

    fn steps(&self, node: &NodeProto) -> Result<Steps> {
        steps(self.onnx, self.graph, node)
    }

    /// A DequantizeLinear of constants.
    fn weights_of(&self, node: &NodeProto, values: Vec<f32>, dims: Vec<usize>) -> Result<Value> {
        let sizes = self.constant(node, 1)?.0;
        let zeros = match node.input.get(2).filter(|name| !name.is_empty()) {
            Some(_) => self.constant(node, 2)?.0,
            None => vec![0.0],
        };
        let axis = attribute(node, "axis").map_or(1, |value| value.i);
        let axis = if axis < 0 {
            axis + dims.len() as i64
        } else {
            axis
        };
        let axis = usize::try_from(axis).map_err(|_| "a negative axis")?;
        let places = dims.get(axis).copied().unwrap_or(1);
        if [&sizes, &zeros]
            .iter()
            .any(|of| of.len() != 1 && of.len() != places)
            || attribute(node, "block_size").is_some_and(|value| value.i != 0)
        {
            return Err("weights with steps of another shape".into());
        }
        let inner: usize = dims.iter().skip(axis + 1).product();
        let zero = |index: usize| zeros[index / inner.max(1) % zeros.len()];
        let steps = values.iter().enumerate();
        Ok(Value::Weights(Weights {
            steps: steps.map(|(index, value)| value - zero(index)).collect(),
            dims,
            sizes,
            axis,
        }))
    }

    /// The weights of a layer, whose output channels lie along `axis`.
    fn weights(&self, node: &NodeProto, axis: usize) -> Result<Weights> {
        match self.value(node, 1)? {
            Value::Weights(weights) if weights.sizes.len() == 1 || weights.axis == axis => {
                Ok(weights)
            }
            _ => Err(format!(
                "a {} of 8-bit steps with other weights",
                node.op_type
            )),
        }
    }

    /// The biases of a layer in units of its sums, which differ by channel or do not.
    fn bias(&self, node: &NodeProto, units: &[f32]) -> Result<Vec<f32>> {
        if node.input.get(2).is_none_or(String::is_empty) {
            return Ok(Vec::new());
        }
        let unit = |channel: usize| units[channel % units.len()];
        Ok(match self.value(node, 2)? {
            Value::Weights(Weights { steps, sizes, .. }) => {
                let steps = steps.into_iter().enumerate();
                let scaled = steps.map(|(channel, step)| {
                    // The two are equal in all files that tools write; the steps stay whole numbers then.
                    step * (sizes[channel % sizes.len()] / unit(channel))
                });
                scaled.collect()
            }
            Value::Constant(values, _) => {
                let values = values.into_iter().enumerate();
                values
                    .map(|(channel, value)| value / unit(channel))
                    .collect()
            }
            _ => return Err("biases that are computed".into()),
        })
    }

    pub(super) fn conv_of_steps(&mut self, node: &'a NodeProto, input: Stored) -> Result<()> {
        let weights = self.weights(node, 0)?;
        let &[outputs, _, height, width] = weights.dims.as_slice() else {
            return Err("a convolution that is not of images".into());
        };
        let units = units(input, &weights);
        let shape = self.builder.shape(input.tensor);
        let conv = Conv {
            out_channels: outputs,
            weights: &weights.steps,
            bias: &self.bias(node, &units)?,
            ..window(node, (shape.height, shape.width), [height, width])?
        };
        let sums = self
            .builder
            .conv(input.tensor, &conv)
            .map_err(|error| error.to_string())?;
        self.round(node, sums, &units)
    }

    pub(super) fn gemm_of_steps(
        &mut self,
        node: &'a NodeProto,
        input: Stored,
        transposed: bool,
    ) -> Result<()> {
        let weights = self.weights(node, usize::from(!transposed))?;
        let units = units(input, &weights);
        let bias = self.bias(node, &units)?;
        let Weights { steps, dims, .. } = weights;
        let sums = self.dense(input.tensor, steps, &dims, transposed, &bias)?;
        self.round(node, sums, &units)
    }

    pub(super) fn average_of_steps(&mut self, node: &'a NodeProto, input: Stored) -> Result<()> {
        let shape = self.builder.shape(input.tensor);
        let unit = input.steps.size / (shape.height * shape.width) as f32;
        let sums = self.builder.global_sum_pool(input.tensor);
        self.round(node, sums, &[unit])
    }

    /// Takes in the activation and the QuantizeLinear that follow `node`, which computes sums of these units.
    fn round(&mut self, node: &'a NodeProto, sums: TensorId, units: &[f32]) -> Result<()> {
        let (activation, last) = self.activation(node)?;
        let rounding = self.rounding(last)?;
        let (end, value, done) = match rounding {
            Some((next, steps)) => (
                next,
                Value::Quantised(Stored {
                    tensor: sums,
                    steps,
                }),
                self.builder.round(sums, units, steps, activation),
            ),
            None if activation == Activation::None => {
                (last, Value::Tensor(sums), self.builder.unround(sums, units))
            }
            None => return Err(format!("a {} that is not rounded", last.op_type)),
        };
        done.map_err(|error| error.to_string())?;
        self.set(end, value)
    }

    /// The QuantizeLinear that alone reads what `node` computes, taken in, and its steps.
    fn rounding(&mut self, node: &'a NodeProto) -> Result<Option<(&'a NodeProto, Steps)>> {
        let Some((index, next)) = self
            .only_reader(node)
            .filter(|(_, next)| next.op_type == "QuantizeLinear")
        else {
            return Ok(None);
        };
        self.taken.insert(index);
        Ok(Some((next, self.steps(next)?)))
    }

    pub(super) fn add_steps(&mut self, node: &'a NodeProto, a: Stored, b: Stored) -> Result<()> {
        let (activation, last) = self.activation(node)?;
        let (end, steps) = self
            .rounding(last)?
            .ok_or("an addition of 8-bit steps that is not rounded")?;
        let sum = self
            .builder
            .add_steps((a.tensor, a.steps), (b.tensor, b.steps), steps, activation)
            .map_err(|error| error.to_string())?;
        self.set(end, Value::Quantised(Stored { tensor: sum, steps }))
    }
}

/// What a product of steps is worth, for each output channel or for all.
fn units(input: Stored, weights: &Weights) -> Vec<f32> {
    let sizes = weights.sizes.iter();
    sizes.map(|size| input.steps.size * size).collect()
}
