//! Networks as bytes: what is read is checked before it is believed.
//!
//! The kernels' unchecked accesses are guarded where they are, so a bad file could at worst make a run panic or never
//! end; that is found here, when it is read.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::check::{LARGEST, ensure};
use crate::layers::positions;
use crate::layout::Layout;
use crate::network::{Buffer, Kernel, Network, Segment, Step};
use crate::op::Precision;
use crate::shape::Shape;

/// The fields of [`Network`], so that its own `Deserialize` cannot be had without the check.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Network")]
struct Fields {
    precision: Precision,
    input: Shape,
    output: Buffer,
    output_shape: Shape,
    import: Option<Buffer>,
    steps: Vec<Step>,
    segments: Vec<Segment>,
    floats: usize,
    zeros: usize,
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Fields::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let network = Fields::deserialize(deserializer)?;
        match network.check() {
            Some(()) => Ok(network),
            None => Err(D::Error::custom("the parts of the network do not fit")),
        }
    }
}

impl Network {
    /// Nothing if a run could not end, or would reach beyond its memory.
    fn check(&self) -> Option<()> {
        let floats = self.floats;
        ensure(floats <= LARGEST && self.zeros <= LARGEST && len(self.input)? > 0)?;
        for step in &self.steps {
            step.check(self)?;
        }
        let mut next = 0;
        for segment in &self.segments {
            ensure(segment.steps.start == next && segment.strip > 0)?;
            next = segment.steps.end;
            ensure(next > segment.steps.start && next <= self.steps.len())?;
        }
        ensure(next == self.steps.len())?;
        if let Some(import) = self.import {
            self.holds(import, self.input)?;
            ensure(import.rows(self.input) == self.input.height)?;
        }
        len(self.output_shape)?;
        self.holds(self.output, self.output_shape)?;
        ensure(self.output.rows(self.output_shape) == self.output_shape.height)
    }

    /// Whether the buffer is in the arena.
    fn holds(&self, buffer: Buffer, shape: Shape) -> Option<()> {
        let Buffer::Arena { offset, rows } = buffer else {
            return None;
        };
        ensure(rows > 0 && rows <= shape.height)?;
        ensure(offset.checked_add(Layout::new(shape, rows).len())? <= self.floats)
    }
}

impl Step {
    fn check(&self, network: &Network) -> Option<()> {
        let (input, output) = (self.input_shape, self.output_shape);
        ensure(len(input)? > 0 && len(output)? > 0 && self.reach.stride > 0)?;
        ensure(
            self.reach
                .kernel
                .max(self.reach.padding)
                .max(self.reach.stride)
                <= LARGEST,
        )?;
        let image = self.input == Buffer::Input;
        if !image {
            network.holds(self.input, input)?;
        }
        network.holds(self.output, output)?;
        let finish = self.finish.as_ref();
        ensure(finish.is_none_or(|finish| finish.fits(output.channels)))?;
        match &self.kernel {
            Kernel::Convolution { groups, residual } => {
                let count = groups.len();
                ensure(count == 1 || (count > 1 && !image))?;
                ensure(!image || input == network.input)?;
                let rows = (!image).then(|| self.input.rows(input));
                let whole = |shape: Shape| shape.channels.is_multiple_of(4 * count);
                ensure(count == 1 || (whole(input) && whole(output)))?;
                let part = |shape: Shape| Shape {
                    channels: shape.channels / count,
                    ..shape
                };
                for convolution in groups {
                    convolution.check(rows, part(input), part(output))?;
                }
                residual.map_or(Some(()), |residual| network.holds(residual, output))
            }
            Kernel::Depthwise(depthwise) => {
                ensure(!image && network.zeros >= input.width * 4)?;
                depthwise.check(self.input.rows(input), input, output)
            }
            Kernel::Add { other, .. } | Kernel::StepSum { other, .. } => {
                ensure(!image && input == output)?;
                network.holds(*other, output)
            }
            Kernel::Pool { .. } => ensure(!image && output == Shape::vector(input.channels)),
            Kernel::Copy => ensure(!image && input == output),
            Kernel::Binary {
                other, other_shape, ..
            } => {
                ensure(!image && input == output)?;
                let one = Shape::vector(output.channels);
                ensure(*other_shape == output || *other_shape == one)?;
                network.holds(*other, *other_shape)?;
                ensure(other.rows(*other_shape) == other_shape.height)
            }
            Kernel::Window(window) => {
                ensure(!image)?;
                window.check(input, output)
            }
            Kernel::Select { inputs, select } => {
                let channels: Vec<usize> = inputs.iter().map(|(_, shape)| shape.channels).collect();
                for (buffer, shape) in inputs {
                    network.holds(*buffer, *shape)?;
                    let size = (shape.height, shape.width);
                    ensure(size == (output.height, output.width))?;
                    ensure(buffer.rows(*shape) == shape.height)?;
                }
                ensure(self.output.rows(output) == output.height)?;
                select.check(&channels, output.channels)
            }
            Kernel::Norm(norm) => {
                ensure(!image && input == output)?;
                ensure(self.output.rows(output) == output.height)?;
                ensure(self.input.rows(input) == input.height)?;
                norm.check(output.channels)
            }
            Kernel::Attention { inputs, attention } => {
                let pixels = |shape: Shape| shape.height * shape.width;
                let out = self.output.range(output);
                let mut channels = [0; 3];
                for ((buffer, shape, first), channels) in inputs.iter().zip(&mut channels) {
                    network.holds(*buffer, *shape)?;
                    ensure(buffer.rows(*shape) == shape.height && first.is_multiple_of(4))?;
                    // It is read while the output is written.
                    let range = buffer.range(*shape);
                    ensure(range.end <= out.start || range.start >= out.end)?;
                    *channels = shape.channels.checked_sub(*first)?;
                }
                let [(_, queries, _), (_, keys, _), (_, values, _)] = *inputs;
                ensure(pixels(queries) == pixels(output) && pixels(keys) == pixels(values))?;
                ensure(self.output.rows(output) == output.height)?;
                attention.check(channels, (pixels(queries), pixels(keys)), output.channels)
            }
            Kernel::Constant(values) => {
                ensure(self.output.rows(output) == output.height)?;
                ensure(values.len() == self.output.range(output).len())
            }
            Kernel::Pixels { inputs, parts } => {
                let mut pixels = Vec::with_capacity(inputs.len());
                for (buffer, shape) in inputs {
                    network.holds(*buffer, *shape)?;
                    ensure(buffer.rows(*shape) == shape.height)?;
                    ensure(shape.channels == output.channels)?;
                    pixels.push(shape.height * shape.width);
                }
                ensure(self.output.rows(output) == output.height)?;
                positions::check(parts, &pixels, output.height * output.width)
            }
            Kernel::Quantise(_) => ensure(!image && input == output),
            Kernel::Dense(dense) => {
                ensure(!image && output == Shape::vector(output.channels))?;
                let layout = Layout::new(input, input.height);
                dense.check(layout.planes * layout.values(), output.len())
            }
        }
    }
}

/// The number of values, if it is reasonable.
fn len(shape: Shape) -> Option<usize> {
    let row = shape.width.checked_mul(shape.channels)?;
    let len = row.checked_mul(shape.height)?;
    (len <= LARGEST).then_some(len)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that fails may panic")]
mod tests {
    use crate::tests::{blocks, run};
    use crate::{Network, Precision};

    #[test]
    fn a_stored_network_computes_the_same() {
        for precision in [Precision::Fp32, Precision::Int8] {
            let (network, input) = blocks(precision);
            let bytes = postcard::to_allocvec(&network).unwrap();
            let read: Network = postcard::from_bytes(&bytes).unwrap();
            let bits =
                |values: Vec<f32>| -> Vec<u32> { values.iter().map(|v| v.to_bits()).collect() };
            assert_eq!(bits(run(&read, &input)), bits(run(&network, &input)));
        }
    }

    #[test]
    fn parts_that_do_not_fit_are_refused() {
        let spoilers: [fn(&mut Network); 6] = [
            |network| network.floats -= 16,
            |network| network.zeros = 0,
            |network| network.segments[0].strip = 0,
            |network| network.segments[0].steps.end += 1,
            |network| network.steps[2].input_shape.channels += 8,
            |network| network.steps[1].reach.stride = 0,
        ];
        for (index, spoil) in spoilers.into_iter().enumerate() {
            let (mut network, _) = blocks(Precision::Int8);
            spoil(&mut network);
            let bytes = postcard::to_allocvec(&network).unwrap();
            assert!(postcard::from_bytes::<Network>(&bytes).is_err(), "{index}");
        }
    }

    #[test]
    fn spoiled_bytes_do_no_harm() {
        let (network, input) = blocks(Precision::Int8);
        let bytes = postcard::to_allocvec(&network).unwrap();
        for position in (0..bytes.len()).step_by(bytes.len() / 400) {
            let mut spoiled = bytes.clone();
            spoiled[position] ^= 0x15;
            if let Ok(network) = postcard::from_bytes::<Network>(&spoiled)
                && network.input.len() == input.len()
            {
                // What it computes is wrong; that it ends is enough.
                let mut output = vec![0.0; network.output_len()];
                network.run(&mut network.arena(), &input, &mut output);
            }
        }
    }
}
