//! Channels of one or several tensors, in any order: what ONNX calls Concat, Split and Slice along channels, and the shuffles that
//! are written as Reshape, Transpose, Reshape.

#[cfg(feature = "serde")]
use crate::check::ensure;
use crate::layout::Layout;

/// Where a channel of the output comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Source {
    /// Which of the inputs.
    pub(crate) input: u32,
    /// Which of its channels.
    pub(crate) channel: u32,
}

/// For each channel of the output, where it comes from.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Select {
    pub(crate) sources: Vec<Source>,
}

impl Select {
    /// Whether each source is a channel of an input; `channels` are those of the inputs.
    #[cfg(feature = "serde")]
    pub(crate) fn check(&self, channels: &[usize], outputs: usize) -> Option<()> {
        ensure(self.sources.len() == outputs)?;
        let exists = |source: &Source| {
            channels
                .get(source.input as usize)
                .is_some_and(|&count| (source.channel as usize) < count)
        };
        ensure(self.sources.iter().all(exists))
    }

    /// Calls `copy` for each plane of the output: with the one plane of an input that it equals, or with those of its channels.
    pub(crate) fn planes(&self, mut copy: impl FnMut(usize, Plane<'_>)) {
        for (plane, sources) in self.sources.chunks(4).enumerate() {
            let first = sources[0];
            let follows = |(lane, source): (usize, &Source)| {
                *source
                    == Source {
                        channel: first.channel + lane as u32,
                        ..first
                    }
            };
            let together =
                first.channel.is_multiple_of(4) && sources.iter().enumerate().all(follows);
            // What pads the input's last plane pads the output's, too, or is not zero: only whole planes are the same.
            if together && sources.len() == 4 {
                copy(
                    plane,
                    Plane::Whole(first.input as usize, first.channel as usize / 4),
                );
            } else {
                copy(plane, Plane::Lanes(sources));
            }
        }
    }
}

/// What a plane of the output is made of.
pub(crate) enum Plane<'a> {
    /// A plane of an input.
    Whole(usize, usize),
    /// Single channels; zeros follow them.
    Lanes(&'a [Source]),
}

/// Copies one channel of a plane to a lane of another: as many pixels as either has.
pub(crate) fn copy_lane(from: &[f32], from_lane: usize, to: &mut [f32], lane: usize) {
    let (from, _) = from.as_chunks::<4>();
    let (to, _) = to.as_chunks_mut::<4>();
    for (to, from) in to.iter_mut().zip(from) {
        to[lane] = from[from_lane % 4];
    }
}

/// Where a channel's plane begins.
pub(crate) fn plane_start(layout: Layout, channel: usize) -> usize {
    channel / 4 * layout.stride
}
