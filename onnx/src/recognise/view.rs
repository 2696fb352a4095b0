//! Tensors in another order or form than the kernels have them in: reshaping, transposing and picking channels change the view,
//! and nothing is computed.

use pinhole_kernels::{Shape, TensorId};

/// What a dimension, or a part of one, runs over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    /// Pixels, row by row.
    Pixels,
    Channels,
}

/// A part of a dimension: so many steps over pixels or channels, each of which is so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) of: Of,
    pub(super) size: usize,
    pub(super) stride: usize,
}

/// A tensor as a file sees it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct View {
    pub(super) tensor: TensorId,
    /// Where the first channel is.
    pub(super) channel: usize,
    /// For each dimension, what it runs over, the outermost first; nothing for one of size 1.
    pub(super) axes: Vec<Vec<Run>>,
    /// What all values are still to be multiplied by.
    pub(super) factor: f32,
}

fn run(of: Of, size: usize, stride: usize) -> Vec<Run> {
    let run = Run { of, size, stride };
    Some(run).filter(|run| run.size != 1).into_iter().collect()
}

impl View {
    /// Channels, rows, columns behind a batch of one.
    pub(super) fn image(tensor: TensorId, shape: Shape) -> Self {
        let axes = vec![
            Vec::new(),
            run(Of::Channels, shape.channels, 1),
            run(Of::Pixels, shape.height, shape.width),
            run(Of::Pixels, shape.width, 1),
        ];
        Self::plain(tensor, axes)
    }

    /// Channels behind a batch of one.
    pub(super) fn vector(tensor: TensorId, shape: Shape) -> Self {
        let axes = vec![Vec::new(), run(Of::Channels, shape.channels, 1)];
        Self::plain(tensor, axes)
    }

    /// Tokens behind a batch of one, and their channels.
    pub(super) fn tokens(tensor: TensorId, shape: Shape) -> Self {
        let axes = vec![
            Vec::new(),
            run(Of::Pixels, shape.height * shape.width, 1),
            run(Of::Channels, shape.channels, 1),
        ];
        Self::plain(tensor, axes)
    }

    fn plain(tensor: TensorId, axes: Vec<Vec<Run>>) -> Self {
        Self {
            tensor,
            channel: 0,
            axes,
            factor: 1.0,
        }
    }

    /// The same view of another tensor of as many pixels and channels.
    pub(super) fn of(&self, tensor: TensorId) -> Self {
        Self {
            tensor,
            factor: 1.0,
            ..self.clone()
        }
    }

    pub(super) fn dims(&self) -> Vec<usize> {
        let size = |axis: &Vec<Run>| axis.iter().map(|run| run.size).product();
        self.axes.iter().map(size).collect()
    }

    /// The number of a dimension, which may be counted from the end.
    pub(super) fn axis(&self, at: i64) -> Option<usize> {
        let rank = self.axes.len() as i64;
        let at = if at < 0 { at + rank } else { at };
        usize::try_from(at).ok().filter(|_| at < rank)
    }

    /// What the dimensions but the last few run over, together.
    pub(super) fn leading(&self, last: usize) -> Vec<Run> {
        let count = self.axes.len().saturating_sub(last);
        merged(self.axes[..count].concat())
    }

    /// Whether the last dimension is all channels of a tensor of this shape, and no other has any.
    pub(super) fn has_channels_last(&self, shape: Shape) -> bool {
        let other = self.leading(1);
        self.channel == 0
            && self.axes.last() == Some(&run(Of::Channels, shape.channels, 1))
            && other.iter().all(|run| run.of == Of::Pixels)
            && other.iter().map(|run| run.size).product::<usize>() == shape.height * shape.width
    }

    /// What a Reshape makes of it; none where a dimension would be torn apart.
    pub(super) fn reshaped(&self, dims: &[usize]) -> Option<Self> {
        let mut left: Vec<Run> = self.axes.concat();
        left.reverse();
        let mut axes = Vec::with_capacity(dims.len());
        for &size in dims {
            let mut axis = Vec::new();
            let mut need = size;
            while need > 1 {
                let run = left.pop()?;
                if need.is_multiple_of(run.size) {
                    need /= run.size;
                    axis.push(run);
                } else if run.size.is_multiple_of(need) {
                    let inner = run.size / need;
                    axis.push(Run {
                        size: need,
                        stride: run.stride * inner,
                        ..run
                    });
                    left.push(Run { size: inner, ..run });
                    need = 1;
                } else {
                    return None;
                }
            }
            axes.push(merged(axis));
        }
        let whole = left.is_empty() && !dims.contains(&0);
        whole.then_some(Self {
            axes,
            ..self.clone()
        })
    }

    pub(super) fn transposed(&self, order: &[i64]) -> Option<Self> {
        if order.len() != self.axes.len() {
            return None;
        }
        let axes = order
            .iter()
            .map(|&at| Some(self.axes[self.axis(at)?].clone()));
        Some(Self {
            axes: axes.collect::<Option<_>>()?,
            ..self.clone()
        })
    }

    /// A part of a dimension that runs over channels.
    pub(super) fn part(&self, axis: usize, start: usize, size: usize) -> Option<Self> {
        let mut part = self.clone();
        let &[outer, ref inner @ ..] = &self.axes[axis][..] else {
            // Of one there is only the whole.
            return (start == 0 && size == 1).then_some(part);
        };
        let step: usize = inner.iter().map(|run| run.size).product();
        let fits = start.is_multiple_of(step) && size.is_multiple_of(step) && size > 0;
        let (start, size) = (start / step, size / step);
        if !fits || outer.of != Of::Channels || start + size > outer.size {
            return None;
        }
        part.channel += start * outer.stride;
        part.axes[axis] = run(outer.of, size, outer.stride);
        part.axes[axis].extend(inner);
        Some(part)
    }

    /// The channels of the tensor, in the order of the dimensions.
    pub(super) fn channels(&self) -> Vec<usize> {
        let runs = self.axes.iter().flatten();
        runs.filter(|run| run.of == Of::Channels)
            .fold(vec![self.channel], |channels, run| {
                let steps = |channel: usize| (0..run.size).map(move |at| channel + at * run.stride);
                channels.into_iter().flat_map(steps).collect()
            })
    }

    /// The same with channels numbered in the order of the dimensions.
    pub(super) fn renumbered(&self, tensor: TensorId) -> Self {
        let mut view = Self {
            tensor,
            channel: 0,
            ..self.clone()
        };
        let mut stride = 1;
        for axis in view.axes.iter_mut().rev() {
            for run in axis.iter_mut().rev() {
                if run.of == Of::Channels {
                    run.stride = stride;
                    stride *= run.size;
                }
            }
            *axis = merged(std::mem::take(axis));
        }
        view
    }

    /// For each value in the view's own order, its pixel and its channel.
    pub(super) fn places(&self) -> Vec<(usize, usize)> {
        let runs = self.axes.iter().flatten();
        runs.fold(vec![(0, self.channel)], |places, run| {
            let steps = |(pixel, channel): (usize, usize)| {
                (0..run.size).map(move |at| match run.of {
                    Of::Pixels => (pixel + at * run.stride, channel),
                    Of::Channels => (pixel, channel + at * run.stride),
                })
            };
            places.into_iter().flat_map(steps).collect()
        })
    }
}

/// Runs one behind the other that are one.
fn merged(runs: Vec<Run>) -> Vec<Run> {
    let mut merged: Vec<Run> = Vec::with_capacity(runs.len());
    for run in runs.into_iter().filter(|run| run.size != 1) {
        match merged.last_mut() {
            Some(last) if last.of == run.of && last.stride == run.size * run.stride => {
                last.size *= run.size;
                last.stride = run.stride;
            }
            _ => merged.push(run),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use pinhole_kernels::NetworkBuilder;

    fn image(height: usize, width: usize, channels: usize) -> View {
        let builder = NetworkBuilder::new(height, width, channels);
        View::image(builder.input(), builder.shape(builder.input()))
    }

    #[test]
    fn an_image_becomes_tokens_and_an_image_again() {
        let start = image(4, 6, 8);
        let tokens = start.reshaped(&[1, 8, 24]).unwrap();
        let tokens = tokens.transposed(&[0, 2, 1]).unwrap();
        assert_eq!(tokens.dims(), [1, 24, 8]);
        let shape = Shape {
            height: 4,
            width: 6,
            channels: 8,
        };
        assert!(tokens.has_channels_last(shape));
        assert_eq!(tokens, View::tokens(start.tensor, shape));
        let back = tokens.transposed(&[0, 2, 1]).unwrap();
        assert_eq!(back.reshaped(&[1, 8, 4, 6]).unwrap(), start);
        assert_eq!(start.reshaped(&[1, 8, 5, 5]), None);
        assert_eq!(start.reshaped(&[1, 16, 12]).unwrap().dims(), [1, 16, 12]);
    }

    #[test]
    fn heads_are_parts_of_channels() {
        let tokens = image(1, 5, 24).transposed(&[0, 2, 3, 1]).unwrap();
        let split = tokens.reshaped(&[1, 5, 3, 2, 4]).unwrap();
        let split = split.transposed(&[2, 0, 3, 1, 4]).unwrap();
        assert_eq!(split.dims(), [3, 1, 2, 5, 4]);
        let keys = split.part(0, 1, 1).unwrap();
        assert_eq!((keys.channel, keys.dims()), (8, vec![1, 1, 2, 5, 4]));
        assert_eq!(keys.channels(), (8..16).collect::<Vec<_>>());
        assert_eq!(split.part(0, 2, 2), None);
        // A part of pixels is another tensor.
        assert_eq!(split.part(3, 0, 1), None);
        let turned = keys.transposed(&[0, 1, 4, 2, 3]).unwrap();
        assert_eq!(turned.channels(), [8, 12, 9, 13, 10, 14, 11, 15]);
        assert_eq!(
            turned.renumbered(turned.tensor).channels(),
            (0..8).collect::<Vec<_>>()
        );
        assert_eq!(turned.places()[1], (1, 8));
        assert_eq!(turned.places()[5], (0, 12));
    }
}
