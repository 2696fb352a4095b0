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
