//! The words that layers are described in.

/// How the arithmetic is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Precision {
    /// 32-bit floats throughout.
    Fp32,
    /// Convolutions and dense layers multiply 8-bit weights (a scale for each output channel) by 7-bit activations
    /// (a scale for each pixel, taken from the data, so no calibration is needed). The first convolution, depthwise
    /// convolutions, and what passes between layers stay in 32-bit floats.
    Int8,
    /// 8-bit integers, rounded as the model's file says: what networks with such layers turn out to have. To ask for it is to
    /// ask for `Fp32`.
    Qdq,
}

/// What happens to each value a layer produces.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Activation {
    /// Nothing.
    None,
    /// Negative values become zero.
    Relu,
    /// Values are limited to a range; ReLU6 is `0.0..=6.0`. A NaN stays a NaN.
    Clip {
        /// The smallest value that stays.
        min: f32,
        /// The largest value that stays.
        max: f32,
    },
}

impl Activation {
    /// The smallest and the largest value it lets through.
    pub(crate) fn range(self) -> (f32, f32) {
        match self {
            Self::None => (f32::NEG_INFINITY, f32::INFINITY),
            Self::Relu => (0.0, f32::INFINITY),
            Self::Clip { min, max } => (min, max),
        }
    }
}

/// A function of single values, by ONNX's names.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Unary {
    /// Limits values, as [`Activation::Clip`] does.
    Clip {
        /// The smallest value that stays.
        min: f32,
        /// The largest value that stays.
        max: f32,
    },
    /// `x` where it is positive, else `alpha * x`.
    LeakyRelu {
        /// The slope below zero.
        alpha: f32,
    },
    /// `x` where it is positive, else `alpha * (exp(x) - 1)`.
    Elu {
        /// The limit below zero, negated.
        alpha: f32,
    },
    /// `max(0, min(1, alpha * x + beta))`.
    HardSigmoid {
        /// The slope between the limits.
        alpha: f32,
        /// The value at zero.
        beta: f32,
    },
    /// `x * max(0, min(1, x / 6 + 1 / 2))`.
    HardSwish,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// `x / (1 + exp(-x))`; also called swish.
    Silu,
    /// `x * (1 + erf(x / sqrt(2))) / 2`.
    Gelu,
    /// The hyperbolic tangent.
    Tanh,
    /// `x * tanh(log(1 + exp(x)))`.
    Mish,
}

impl Unary {
    /// Whether it gives no negative value.
    pub(crate) fn is_non_negative(self) -> bool {
        match self {
            Self::Clip { min, .. } => min >= 0.0,
            Self::HardSigmoid { .. } | Self::Sigmoid => true,
            _ => false,
        }
    }
}

/// What is computed of two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Binary {
    /// The sum.
    Add,
    /// The first less the second.
    Sub,
    /// The product.
    Mul,
    /// The first by the second.
    Div,
}

/// What is computed of the values under a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Pooling {
    /// The largest.
    Max,
    /// Their average.
    Average {
        /// Whether zeros around the input count: ONNX's `count_include_pad`.
        count_padding: bool,
    },
}

/// A tensor of the network being built: its input, or what a layer produces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TensorId(pub(crate) usize);

/// That a convolution is to multiply integers.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Integers {
    /// Those that values and weights are rounded to.
    Rounded {
        /// Whether inputs may be negative.
        signed: bool,
    },
    /// Those that they are.
    Whole,
}
