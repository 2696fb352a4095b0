//! Why a layer cannot be part of a network.

use std::fmt;

/// Why a layer cannot be part of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildError {
    /// A dimension, kernel or stride is zero, or a size overflows.
    InvalidShape(&'static str),
    /// A slice of weights or biases has the wrong length.
    WrongLength {
        /// What the slice holds.
        what: &'static str,
        /// The length its layer asks for.
        expected: usize,
        /// The length it has.
        found: usize,
    },
    /// The inputs of a layer differ in shape.
    ShapeMismatch,
    /// Groups that do not divide the channels of a convolution.
    UnsupportedGroups(usize),
    /// Weights or biases hold a NaN or an infinity, which integers cannot express.
    NotFinite,
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidShape(what) => write!(f, "{what} is zero, or too large"),
            Self::WrongLength {
                what,
                expected,
                found,
            } => write!(f, "{what} should have {expected} values and has {found}"),
            Self::ShapeMismatch => f.write_str("the inputs of a layer differ in shape"),
            Self::UnsupportedGroups(groups) => write!(
                f,
                "a convolution has {groups} groups, which do not divide its channels"
            ),
            Self::NotFinite => {
                f.write_str("a weight or bias is NaN or infinite, so the layer cannot be quantised")
            }
        }
    }
}

impl std::error::Error for BuildError {}

/// Refuses a slice of another length than its layer asks for.
pub(crate) fn expect_len(
    what: &'static str,
    values: &[f32],
    expected: usize,
) -> Result<(), BuildError> {
    if values.len() == expected {
        Ok(())
    } else {
        Err(BuildError::WrongLength {
            what,
            expected,
            found: values.len(),
        })
    }
}
