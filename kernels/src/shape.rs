//! Shapes of tensors, and how windows lie on them.

/// Rows, columns and channels of a tensor, which is stored in that order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Shape {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Values a pixel has.
    pub channels: usize,
}

impl Shape {
    /// How many values there are.
    #[must_use]
    pub fn len(self) -> usize {
        self.height * self.width * self.channels
    }

    /// Whether there are no values.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    pub(crate) fn vector(channels: usize) -> Self {
        Self {
            height: 1,
            width: 1,
            channels,
        }
    }
}

/// Where a convolution's window is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Geometry {
    pub(crate) kernel: (usize, usize),
    pub(crate) stride: (usize, usize),
    /// Rows of zeros above and columns of zeros to the left; those below and to the right follow from the shapes.
    pub(crate) padding: (usize, usize),
}

/// How output rows depend on input rows.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Reach {
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) padding: usize,
}

impl Reach {
    /// How many rows of the input (which has `height`) must exist for the first `rows` of the output.
    pub(crate) fn input_rows(self, rows: usize, height: usize) -> usize {
        ((rows - 1) * self.stride + self.kernel)
            .saturating_sub(self.padding)
            .min(height)
    }
}
