//! The layers of a network as its author knows them, checked as they come.

mod channels;
mod elementwise;
mod tokens;

pub use elementwise::Pool;
pub use tokens::Attention;

use crate::error::{BuildError, expect_len};
use crate::layers::positions::Part;
use crate::layers::select::Select;
use crate::layers::window::Window;
use crate::op::{Activation, Binary, TensorId, Unary};
use crate::requantise::{Finish, Quantise, StepSum};
use crate::shape::{Geometry, Reach, Shape};

/// A two-dimensional convolution: what ONNX calls `Conv`.
#[derive(Debug, Clone, Copy)]
pub struct Conv<'a> {
    /// Channels produced.
    pub out_channels: usize,
    /// Height and width of the kernel.
    pub kernel: (usize, usize),
    /// Vertical and horizontal step.
    pub stride: (usize, usize),
    /// Rows and columns of zeros around the input: top, left, bottom, right.
    pub padding: (usize, usize, usize, usize),
    /// Rows and columns from one tap of the kernel to the next.
    pub dilation: (usize, usize),
    /// Groups that input and output channels fall into: 1, as many as channels (a depthwise convolution), or any divisor of both.
    pub groups: usize,
    /// `[out_channels, in_channels / groups, height, width]`.
    pub weights: &'a [f32],
    /// One value for each output channel, or empty for zeros.
    pub bias: &'a [f32],
    /// Applied to each output.
    pub activation: Activation,
}

/// A layer as it was described, with weights in the order the kernels read: `[out][height][width][in]`, or
/// `[height][width][channel]` if depthwise.
#[derive(Debug, Clone)]
pub(crate) enum Layer {
    Conv {
        input: TensorId,
        geometry: Geometry,
        depthwise: bool,
        /// 1 if depthwise.
        groups: usize,
        weights: Vec<f32>,
        bias: Vec<f32>,
        activation: Activation,
        residual: Option<TensorId>,
    },
    Add {
        a: TensorId,
        b: TensorId,
        activation: Activation,
    },
    /// A global average, or a sum.
    Pool {
        input: TensorId,
        divisor: f32,
    },
    Dense {
        input: TensorId,
        weights: Vec<f32>,
        bias: Vec<f32>,
    },
    Unary {
        input: TensorId,
        function: Unary,
    },
    Binary {
        operator: Binary,
        a: TensorId,
        b: TensorId,
    },
    Window {
        input: TensorId,
        window: Window,
    },
    Select {
        inputs: Vec<TensorId>,
        select: Select,
    },
    Norm {
        input: TensorId,
        factors: Vec<f32>,
        terms: Vec<f32>,
        epsilon: f32,
    },
    Attention(Attention),
    Constant {
        /// In the order row, column, channel.
        values: Vec<f32>,
    },
    Pixels {
        inputs: Vec<TensorId>,
        parts: Vec<Part>,
    },
    Quantise {
        input: TensorId,
        quantise: Quantise,
    },
    StepSum {
        a: TensorId,
        b: TensorId,
        sum: StepSum,
    },
}

impl Layer {
    pub(crate) fn inputs(&self) -> Vec<TensorId> {
        match self {
            Self::Conv {
                input, residual, ..
            } => [Some(*input), *residual].into_iter().flatten().collect(),
            Self::Add { a, b, .. } | Self::StepSum { a, b, .. } | Self::Binary { a, b, .. } => {
                vec![*a, *b]
            }
            Self::Pool { input, .. }
            | Self::Dense { input, .. }
            | Self::Quantise { input, .. }
            | Self::Unary { input, .. }
            | Self::Norm { input, .. }
            | Self::Window { input, .. } => vec![*input],
            Self::Select { inputs, .. } | Self::Pixels { inputs, .. } => inputs.clone(),
            Self::Attention(attention) => {
                vec![attention.queries.0, attention.keys.0, attention.values.0]
            }
            Self::Constant { .. } => Vec::new(),
        }
    }

    /// Whether it can make some rows at a time, from a ring of rows.
    pub(crate) fn streams(&self) -> bool {
        matches!(self, Self::Conv { .. } | Self::Window { .. })
    }

    pub(crate) fn is_finite(&self) -> bool {
        match self {
            Self::Conv { weights, bias, .. } | Self::Dense { weights, bias, .. } => {
                weights.iter().chain(bias).all(|value| value.is_finite())
            }
            _ => true,
        }
    }

    /// Whether its activation lets no negative value through.
    pub(crate) fn is_non_negative(&self) -> bool {
        match self {
            Self::Conv { activation, .. } | Self::Add { activation, .. } => {
                activation.range().0 >= 0.0
            }
            _ => false,
        }
    }

    /// Whether it reads the input of the network, and cannot read an image.
    pub(crate) fn reads_imported(&self) -> bool {
        let inputs = self.inputs();
        let image = matches!(
            self,
            Self::Conv {
                depthwise: false,
                groups: 1,
                ..
            }
        );
        inputs.iter().skip(1).any(|input| input.0 == 0)
            || (inputs.first() == Some(&TensorId(0)) && !image)
    }

    pub(crate) fn reach(&self) -> Reach {
        match self {
            Self::Conv { geometry, .. }
            | Self::Window {
                window: Window { geometry, .. },
                ..
            } => Reach {
                kernel: geometry.kernel.0,
                stride: geometry.stride.0,
                padding: geometry.padding.0,
            },
            _ => Reach {
                kernel: 1,
                stride: 1,
                padding: 0,
            },
        }
    }

    pub(crate) fn macs(&self, output: Shape) -> u64 {
        match self {
            Self::Conv { weights, .. } => (weights.len() * output.height * output.width) as u64,
            Self::Dense { weights, .. } => weights.len() as u64,
            _ => 0,
        }
    }
}

/// Collects the layers of a network, from input to output.
#[derive(Debug, Clone)]
pub struct NetworkBuilder {
    pub(crate) shapes: Vec<Shape>,
    /// Layer `i` produces tensor `i + 1`.
    pub(crate) layers: Vec<Layer>,
    /// What becomes of what each layer computes, in a quantised network.
    pub(crate) finishes: Vec<Option<Finish>>,
}

impl NetworkBuilder {
    /// A network whose input is an image of this many rows, columns and channels.
    #[must_use]
    pub fn new(height: usize, width: usize, channels: usize) -> Self {
        Self {
            shapes: vec![Shape {
                height,
                width,
                channels,
            }],
            layers: Vec::new(),
            finishes: Vec::new(),
        }
    }

    /// The tensor the network is given.
    #[must_use]
    pub fn input(&self) -> TensorId {
        TensorId(0)
    }

    /// The shape of a tensor of this network.
    #[must_use]
    pub fn shape(&self, tensor: TensorId) -> Shape {
        self.shapes[tensor.0]
    }

    /// Adds a convolution.
    ///
    /// # Errors
    /// If the slices do not fit the shapes, the window does not fit the padded input, or the groups do not divide the channels.
    pub fn conv(&mut self, input: TensorId, conv: &Conv<'_>) -> Result<TensorId, BuildError> {
        let shape = self.shape(input);
        let (kernel, stride) = (conv.kernel, conv.stride);
        let (top, left, bottom, right) = conv.padding;
        let depthwise =
            conv.groups == shape.channels && conv.groups == conv.out_channels && conv.groups > 1;
        if conv.dilation != (1, 1) {
            return self.conv_dilated(input, conv);
        }
        let whole_planes = |channels: usize| channels.is_multiple_of(4 * conv.groups.max(1));
        let planes = whole_planes(shape.channels) && whole_planes(conv.out_channels);
        if conv.groups != 1 && !depthwise && !planes {
            return self.conv_of_groups(input, conv);
        }
        if shape.is_empty() || conv.out_channels == 0 {
            return Err(BuildError::InvalidShape("a dimension of a convolution"));
        }
        if kernel.0 * kernel.1 == 0 || stride.0 * stride.1 == 0 {
            return Err(BuildError::InvalidShape("a convolution's kernel or stride"));
        }
        let height = (shape.height + top + bottom).checked_sub(kernel.0);
        let width = (shape.width + left + right).checked_sub(kernel.1);
        let (Some(height), Some(width)) = (height, width) else {
            return Err(BuildError::InvalidShape("the output of a convolution"));
        };
        let in_channels = shape.channels / conv.groups;
        let taps = kernel.0 * kernel.1;
        let window = taps * in_channels;
        expect_len("weights", conv.weights, conv.out_channels * window)?;
        let bias = bias_or_zeros(conv.bias, conv.out_channels)?;
        let mut weights = vec![0.0; conv.weights.len()];
        for (out, filter) in conv.weights.chunks_exact(window).enumerate() {
            for (channel, plane) in filter.chunks_exact(taps).enumerate() {
                for (tap, value) in plane.iter().enumerate() {
                    let index = if depthwise {
                        tap * conv.out_channels + out
                    } else {
                        out * window + tap * in_channels + channel
                    };
                    weights[index] = *value;
                }
            }
        }
        let out = Shape {
            height: height / stride.0 + 1,
            width: width / stride.1 + 1,
            channels: conv.out_channels,
        };
        Ok(self.push(
            Layer::Conv {
                input,
                geometry: Geometry {
                    kernel,
                    stride,
                    padding: (top, left),
                },
                depthwise,
                groups: if depthwise { 1 } else { conv.groups },
                weights,
                bias,
                activation: conv.activation,
                residual: None,
            },
            out,
        ))
    }

    /// A convolution whose taps lie apart, as one with zeros between them.
    fn conv_dilated(&mut self, input: TensorId, conv: &Conv<'_>) -> Result<TensorId, BuildError> {
        let (kernel, dilation) = (conv.kernel, conv.dilation);
        if kernel.0 * kernel.1 * dilation.0 * dilation.1 == 0 {
            return Err(BuildError::InvalidShape("a convolution's kernel"));
        }
        let wide = (
            (kernel.0 - 1) * dilation.0 + 1,
            (kernel.1 - 1) * dilation.1 + 1,
        );
        let taps = kernel.0 * kernel.1;
        let mut weights = vec![0.0; conv.weights.len() / taps * wide.0 * wide.1];
        let planes = weights.chunks_exact_mut(wide.0 * wide.1);
        for (to, from) in planes.zip(conv.weights.chunks_exact(taps)) {
            for (tap, weight) in from.iter().enumerate() {
                let (y, x) = (tap / kernel.1 * dilation.0, tap % kernel.1 * dilation.1);
                to[y * wide.1 + x] = *weight;
            }
        }
        let conv = Conv {
            kernel: wide,
            dilation: (1, 1),
            weights: &weights,
            ..*conv
        };
        self.conv(input, &conv)
    }

    /// Adds two tensors of the same shape, value by value.
    ///
    /// # Errors
    /// If the shapes differ.
    pub fn add(
        &mut self,
        a: TensorId,
        b: TensorId,
        activation: Activation,
    ) -> Result<TensorId, BuildError> {
        let shape = self.shape(a);
        if shape != self.shape(b) {
            return Err(BuildError::ShapeMismatch);
        }
        Ok(self.push(Layer::Add { a, b, activation }, shape))
    }

    /// Averages each channel over all pixels; the result has one row and one column.
    pub fn global_average_pool(&mut self, input: TensorId) -> TensorId {
        let shape = self.shape(input);
        let divisor = (shape.height * shape.width) as f32;
        self.push(
            Layer::Pool { input, divisor },
            Shape::vector(shape.channels),
        )
    }

    /// A fully connected layer over the whole of `input`, flattened in the order channel, row, column (as ONNX does).
    /// `weights` are `[outputs, inputs]`; `bias` has one value for each output, or is empty for zeros.
    ///
    /// # Errors
    /// If the slices do not fit the shapes.
    pub fn dense(
        &mut self,
        input: TensorId,
        outputs: usize,
        weights: &[f32],
        bias: &[f32],
    ) -> Result<TensorId, BuildError> {
        let shape = self.shape(input);
        let inputs = shape.len();
        if inputs == 0 || outputs == 0 {
            return Err(BuildError::InvalidShape("a dimension of a dense layer"));
        }
        expect_len("weights", weights, outputs * inputs)?;
        let bias = bias_or_zeros(bias, outputs)?;
        let pixels = shape.height * shape.width;
        let mut ordered = Vec::with_capacity(weights.len());
        for row in weights.chunks_exact(inputs) {
            for pixel in 0..pixels {
                ordered.extend(row[pixel..].iter().step_by(pixels));
            }
        }
        Ok(self.push(
            Layer::Dense {
                input,
                weights: ordered,
                bias,
            },
            Shape::vector(outputs),
        ))
    }

    pub(crate) fn push(&mut self, layer: Layer, shape: Shape) -> TensorId {
        self.layers.push(layer);
        self.finishes.push(None);
        self.shapes.push(shape);
        TensorId(self.shapes.len() - 1)
    }
}

fn bias_or_zeros(bias: &[f32], len: usize) -> Result<Vec<f32>, BuildError> {
    if bias.is_empty() {
        return Ok(vec![0.0; len]);
    }
    expect_len("bias", bias, len)?;
    Ok(bias.to_vec())
}
