//! Pixels of one or several tensors, one behind the other: class tokens that join others, and one token that is picked.

#[cfg(feature = "serde")]
use crate::check::ensure;

/// Pixels in a row of one of the inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Part {
    /// Which of the inputs.
    pub(crate) input: usize,
    /// The first pixel, row by row.
    pub(crate) start: usize,
    /// How many.
    pub(crate) count: usize,
}

/// Whether each part is of an input, which has so many `pixels`, and they make `total` together.
#[cfg(feature = "serde")]
pub(crate) fn check(parts: &[Part], pixels: &[usize], total: usize) -> Option<()> {
    let mut sum = 0usize;
    for part in parts {
        let end = part.start.checked_add(part.count)?;
        ensure(end <= *pixels.get(part.input)?)?;
        sum = sum.checked_add(part.count)?;
    }
    ensure(sum == total)
}

/// Copies a part of planes `from`, `from_stride` apart, to pixel `at` of planes `to`.
pub(crate) fn copy(
    part: Part,
    (from, from_stride): (&[f32], usize),
    at: usize,
    (to, to_stride): (&mut [f32], usize),
) {
    let len = part.count * 4;
    for (from, to) in from
        .chunks_exact(from_stride)
        .zip(to.chunks_exact_mut(to_stride))
    {
        to[at * 4..at * 4 + len].copy_from_slice(&from[part.start * 4..part.start * 4 + len]);
    }
}
