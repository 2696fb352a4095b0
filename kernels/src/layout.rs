//! How tensors lie in the arena: in planes of four channels, so that what the kernels read and write together lies
//! together. Lanes beyond the last channel hold finite values that nothing depends on.

use crate::shape::Shape;

/// Floats that a cache line holds.
const LINE: usize = 16;

/// The layout of a tensor, or of a ring of its rows: plane by plane, row by row, four values a pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) width: usize,
    /// Row `y` is at `y % rows`.
    pub(crate) rows: usize,
    pub(crate) planes: usize,
    /// Floats from one plane to the next.
    pub(crate) stride: usize,
}

impl Layout {
    pub(crate) fn new(shape: Shape, rows: usize) -> Self {
        let values = shape.width * rows * 4;
        // An odd number of lines, so that neighbouring planes meet different cache sets.
        let stride = if values < 8 * LINE {
            values
        } else {
            (values.div_ceil(LINE) | 1) * LINE
        };
        Self {
            width: shape.width,
            rows,
            planes: shape.channels.div_ceil(4),
            stride,
        }
    }

    /// Floats it takes.
    pub(crate) fn len(self) -> usize {
        self.planes * self.stride
    }

    /// Where the row is within each plane.
    #[inline(always)]
    pub(crate) fn row(self, y: usize) -> usize {
        in_ring(y, self.rows) * self.width * 4
    }

    /// Floats of a plane that are values.
    pub(crate) fn values(self) -> usize {
        self.rows * self.width * 4
    }
}

/// `y % rows`, quick for tensors that are whole.
#[inline(always)]
pub(crate) fn in_ring(y: usize, rows: usize) -> usize {
    if y < rows { y } else { y % rows }
}

/// From rows, columns, channels to planes.
pub(crate) fn import(input: &[f32], shape: Shape, layout: Layout, planes: &mut [f32]) {
    for (pixel, values) in input.chunks_exact(shape.channels).enumerate() {
        for (plane, values) in values.chunks(4).enumerate() {
            let start = plane * layout.stride + pixel * 4;
            planes[start..start + values.len()].copy_from_slice(values);
            planes[start + values.len()..start + 4].fill(0.0);
        }
    }
}

/// From planes to rows, columns, channels.
pub(crate) fn export(planes: &[f32], shape: Shape, layout: Layout, output: &mut [f32]) {
    for (pixel, values) in output.chunks_exact_mut(shape.channels).enumerate() {
        for (plane, values) in values.chunks_mut(4).enumerate() {
            let start = plane * layout.stride + pixel * 4;
            values.copy_from_slice(&planes[start..start + values.len()]);
        }
    }
}
