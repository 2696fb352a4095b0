//! Pooling and padding.

use super::attributes::{attribute, padding, sizes};
use super::{Result, Value, Walk};
use pinhole_kernels::{Activation, Conv, Pool, Pooling, TensorId};
use tract_onnx::pb::NodeProto;

impl<'a> Walk<'a> {
    /// MaxPool or AveragePool.
    pub(super) fn pool(&mut self, node: &'a NodeProto) -> Result<()> {
        let input = self.tensor(node, 0)?;
        let kernel = sizes(node, "kernel_shape", [0; 2])?;
        let stride = sizes(node, "strides", [1; 2])?;
        if sizes(node, "dilations", [1; 2])? != [1; 2] {
            return Err(format!("a {} with dilation", node.op_type));
        }
        if node.output.iter().skip(1).any(|name| !name.is_empty()) {
            return Err("a MaxPool whose places are asked for".into());
        }
        let is_set = |name: &str| attribute(node, name).is_some_and(|value| value.i != 0);
        let shape = self.builder.shape(input);
        let pool = Pool {
            pooling: match node.op_type.as_str() {
                "MaxPool" => Pooling::Max,
                _ => Pooling::Average {
                    count_padding: is_set("count_include_pad"),
                },
            },
            kernel: (kernel[0], kernel[1]),
            stride: (stride[0], stride[1]),
            padding: padding(node, (shape.height, shape.width), kernel, stride, [1; 2])?,
            ceil: is_set("ceil_mode"),
        };
        self.add_pool(node, input, &pool)
    }

    /// GlobalMaxPool: one window.
    pub(super) fn global_max(&mut self, node: &'a NodeProto) -> Result<()> {
        let input = self.tensor(node, 0)?;
        let shape = self.builder.shape(input);
        let pool = Pool {
            pooling: Pooling::Max,
            kernel: (shape.height, shape.width),
            stride: (1, 1),
            padding: (0, 0, 0, 0),
            ceil: false,
        };
        self.add_pool(node, input, &pool)
    }

    fn add_pool(&mut self, node: &'a NodeProto, input: TensorId, pool: &Pool) -> Result<()> {
        let output = self
            .builder
            .pool(input, pool)
            .map_err(|error| format!("a {}: {error}", node.op_type))?;
        self.set(node, Value::Tensor(output))
    }

    /// A Pad of zeros around images: taken in by a convolution that alone reads it, else a layer.
    pub(super) fn pad(&mut self, node: &'a NodeProto) -> Result<()> {
        let input = self.tensor(node, 0)?;
        if attribute(node, "mode").is_some_and(|mode| !matches!(&mode.s[..], b"" | b"constant")) {
            return Err("a Pad that repeats the picture".into());
        }
        let value = match attribute(node, "value") {
            Some(value) => value.f,
            None if node.input.get(2).is_some_and(|name| !name.is_empty()) => {
                let (values, _) = self.later_constant(node, 2)?;
                values.first().copied().unwrap_or(0.0)
            }
            None => 0.0,
        };
        if node.input.get(3).is_some_and(|name| !name.is_empty()) {
            return Err("a Pad of chosen axes".into());
        }
        let pads: Vec<i64> = match attribute(node, "pads") {
            Some(pads) => pads.ints.clone(),
            None => self.integers(node, 1)?,
        };
        let &[0, 0, top, left, 0, 0, bottom, right] = &pads[..] else {
            return Err("a Pad of other than height and width".into());
        };
        let size = |size: i64| usize::try_from(size).map_err(|_| "a Pad that cuts off");
        let padding = (size(top)?, size(left)?, size(bottom)?, size(right)?);
        if padding == (0, 0, 0, 0) {
            return self.set(node, Value::Tensor(input));
        }
        if value != 0.0 {
            return Err("a Pad with other values than zero".into());
        }
        let taken = self.only_reader(node).is_some_and(|(_, next)| {
            next.op_type == "Conv"
                && attribute(next, "auto_pad")
                    .is_none_or(|value| matches!(&value.s[..], b"" | b"NOTSET" | b"VALID"))
        });
        if taken {
            return self.set(node, Value::Padded(input, padding));
        }
        let channels = self.builder.shape(input).channels;
        let conv = Conv {
            out_channels: channels,
            kernel: (1, 1),
            stride: (1, 1),
            padding,
            dilation: (1, 1),
            groups: channels,
            weights: &vec![1.0; channels],
            bias: &[],
            activation: Activation::None,
        };
        let output = self
            .builder
            .conv(input, &conv)
            .map_err(|error| error.to_string())?;
        self.set(node, Value::Tensor(output))
    }
}
