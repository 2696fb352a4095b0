//! Layers that pick channels: concatenation, splitting, shuffling, and the convolutions that are made of these.

use super::{Conv, Layer, NetworkBuilder};
use crate::error::{BuildError, expect_len};
use crate::layers::select::{Select, Source};
use crate::op::TensorId;
use crate::shape::Shape;

impl NetworkBuilder {
    /// Puts tensors of the same height and width one behind the other along their channels.
    ///
    /// # Errors
    /// If there are none, or heights or widths differ.
    pub fn concat(&mut self, inputs: &[TensorId]) -> Result<TensorId, BuildError> {
        let sources = inputs.iter().enumerate().flat_map(|(input, &tensor)| {
            (0..self.shape(tensor).channels).map(move |channel| (input, channel))
        });
        let sources: Vec<(usize, usize)> = sources.collect();
        self.select(inputs, &sources)
    }

    /// The channels of one tensor, in any order; some may be left out, or come twice.
    ///
    /// # Errors
    /// If there are none, or one does not exist.
    pub fn channels(
        &mut self,
        input: TensorId,
        channels: &[usize],
    ) -> Result<TensorId, BuildError> {
        let sources: Vec<(usize, usize)> = channels.iter().map(|&channel| (0, channel)).collect();
        self.select(&[input], &sources)
    }

    /// For each channel of the result, which input it is of and which of its channels.
    fn select(
        &mut self,
        inputs: &[TensorId],
        sources: &[(usize, usize)],
    ) -> Result<TensorId, BuildError> {
        let first = inputs.first().map(|&input| self.shape(input));
        let first = first.ok_or(BuildError::InvalidShape("a concatenation's inputs"))?;
        let mut picked = Vec::with_capacity(sources.len());
        for &(input, channel) in sources {
            let shape = self.shape(inputs[input]);
            if (shape.height, shape.width) != (first.height, first.width) {
                return Err(BuildError::ShapeMismatch);
            }
            if channel >= shape.channels {
                return Err(BuildError::InvalidShape("a channel's number"));
            }
            picked.push(Source {
                input: input as u32,
                channel: channel as u32,
            });
        }
        if picked.is_empty() {
            return Err(BuildError::InvalidShape("a concatenation's channels"));
        }
        let shape = Shape {
            channels: picked.len(),
            ..first
        };
        let layer = Layer::Select {
            inputs: inputs.to_vec(),
            select: Select { sources: picked },
        };
        Ok(self.push(layer, shape))
    }

    /// A convolution in groups that planes of four channels do not hold.
    pub(super) fn conv_of_groups(
        &mut self,
        input: TensorId,
        conv: &Conv<'_>,
    ) -> Result<TensorId, BuildError> {
        let channels = self.shape(input).channels;
        let groups = conv.groups;
        if groups == 0
            || !channels.is_multiple_of(groups)
            || !conv.out_channels.is_multiple_of(groups)
        {
            return Err(BuildError::UnsupportedGroups(groups));
        }
        let outputs = conv.out_channels / groups;
        let window = conv.kernel.0 * conv.kernel.1 * (channels / groups);
        expect_len("weights", conv.weights, conv.out_channels * window)?;
        if !conv.bias.is_empty() {
            expect_len("bias", conv.bias, conv.out_channels)?;
        }
        if groups == channels {
            // Depthwise, with several filters a channel: each channel comes as often as it is read.
            let repeated: Vec<usize> = (0..conv.out_channels).map(|out| out / outputs).collect();
            let input = self.channels(input, &repeated)?;
            let groups = conv.out_channels;
            return self.conv(input, &Conv { groups, ..*conv });
        }
        let each = channels / groups;
        let len = conv.weights.len() / groups;
        let mut parts = Vec::with_capacity(groups);
        for group in 0..groups {
            let read: Vec<usize> = (group * each..(group + 1) * each).collect();
            let part = self.channels(input, &read)?;
            let bias = conv.bias.get(group * outputs..(group + 1) * outputs);
            let conv = Conv {
                out_channels: outputs,
                groups: 1,
                weights: &conv.weights[group * len..(group + 1) * len],
                bias: bias.unwrap_or_default(),
                ..*conv
            };
            parts.push(self.conv(part, &conv)?);
        }
        self.concat(&parts)
    }
}
