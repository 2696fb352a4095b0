//! Running one step.

use std::ops::Range;

use super::{Arena, Buffer, Kernel, Step};
use crate::epilogue::{Residual, Target};
use crate::layers::attention::Planes;
use crate::layers::positions;
use crate::layers::select::{Plane, copy_lane, plane_start};
use crate::layers::{self, binary, unary};
use crate::layout::Layout;
use crate::shape::Shape;

impl Step {
    pub(super) fn name(&self) -> &'static str {
        match &self.kernel {
            Kernel::Convolution { residual, .. } => match (self.reach.kernel, residual) {
                (1, None) => "conv 1x1",
                (1, Some(_)) => "conv 1x1 + add",
                (_, None) => "conv",
                (_, Some(_)) => "conv + add",
            },
            Kernel::Depthwise(_) => "depthwise",
            Kernel::Add { .. } | Kernel::StepSum { .. } => "add",
            Kernel::Pool { .. } | Kernel::Window(_) => "pool",
            Kernel::Copy => "unary",
            Kernel::Binary { .. } => "binary",
            Kernel::Select { .. } => "select",
            Kernel::Dense(_) => "dense",
            Kernel::Quantise(_) => "quantise",
            Kernel::Norm(_) => "layer norm",
            Kernel::Attention { .. } => "attention",
            Kernel::Constant(_) => "constant",
            Kernel::Pixels { .. } => "pixels",
        }
    }

    /// Computes output rows that are contiguous in the output's ring.
    pub(super) fn run(&self, rows: Range<usize>, arena: &mut Arena, input: &[f32]) {
        let floats = &mut arena.floats[..];
        let target = self.output.range(self.output_shape);
        let layout = Layout::new(self.output_shape, self.output.rows(self.output_shape));
        let source = match self.input {
            Buffer::Input => None,
            Buffer::Arena { .. } => Some(self.input.range(self.input_shape)),
        };
        let from = Layout::new(self.input_shape, self.input.rows(self.input_shape));
        match &self.kernel {
            Kernel::Convolution { groups, residual } => {
                let width = self.output_shape.width;
                let total = rows.len() * width;
                for (group, convolution) in groups.iter().enumerate() {
                    // The planes of a group lie together.
                    let part = |range: Range<usize>| {
                        let len = range.len() / groups.len();
                        range.start + group * len..range.start + (group + 1) * len
                    };
                    let layout = Layout {
                        planes: layout.planes / groups.len(),
                        ..layout
                    };
                    let (source, target) = (source.clone().map(part), part(target.clone()));
                    for done in (0..total).step_by(convolution.chunk()) {
                        let pixels = convolution.chunk().min(total - done);
                        let first = rows.start * width + done;
                        let values = source.clone().map_or(input, |source| &floats[source]);
                        convolution.pack(values, first, pixels, &mut arena.scratch);
                        let place = layout.row(rows.start) / 4 + done;
                        let mut target = match residual {
                            None => {
                                let out = &mut floats[target.clone()];
                                Target::new(out, layout, place, pixels, None)
                            }
                            Some(residual) => {
                                let range = part(residual.range(self.output_shape));
                                let (values, out) =
                                    read_and_write(floats, input, Some(range), target.clone());
                                let rows = residual.rows(self.output_shape);
                                let residual = Residual {
                                    values,
                                    stride: Layout::new(self.output_shape, rows).stride,
                                    first,
                                };
                                Target::new(out, layout, place, pixels, Some(residual))
                            }
                        };
                        convolution.multiply(&arena.scratch, &mut target);
                    }
                }
            }
            Kernel::Depthwise(depthwise) => {
                let (values, out) = read_and_write(floats, input, source, target);
                let scratch = (&arena.zeros[..], arena.scratch.padded());
                depthwise.run(values, rows.clone(), scratch, layout, out);
            }
            Kernel::Add { other, activation } => {
                let (values, out) = self.to_add(floats, input, *other);
                layers::add_in_place(out, values, *activation);
            }
            Kernel::Copy => {
                let (values, out) = read_and_write(floats, input, source, target);
                out.copy_from_slice(values);
            }
            Kernel::Binary {
                operator,
                other,
                other_shape,
            } => {
                let (values, out) = self.with_other(floats, input, *other, *other_shape);
                let one_pixel = *other_shape != self.output_shape;
                let channels = self.output_shape.channels;
                binary::apply(*operator, out, layout, channels, (values, one_pixel));
            }
            Kernel::Window(window) => {
                let (values, out) = read_and_write(floats, input, source, target);
                let shape = (self.input_shape, from);
                let width = self.output_shape.width;
                window.run(values, shape, rows.clone(), (width, layout), out);
            }
            Kernel::Select { inputs, select } => {
                select.planes(|plane, of| {
                    let start = target.start + plane * layout.stride;
                    let to = start..start + layout.stride;
                    match of {
                        Plane::Whole(from, plane) => {
                            let (buffer, shape) = inputs[from];
                            let start = buffer.range(shape).start + plane * layout.stride;
                            let from = start..start + layout.stride;
                            let (from, to) = read_and_write(floats, input, Some(from), to);
                            to.copy_from_slice(from);
                        }
                        Plane::Lanes(sources) => {
                            floats[to.clone()].fill(0.0);
                            for (lane, source) in sources.iter().enumerate() {
                                let (buffer, shape) = inputs[source.input as usize];
                                let channel = source.channel as usize;
                                let start =
                                    buffer.range(shape).start + plane_start(layout, channel);
                                let from = start..start + layout.stride;
                                let (from, to) =
                                    read_and_write(floats, input, Some(from), to.clone());
                                copy_lane(from, channel, to, lane);
                            }
                        }
                    }
                });
            }
            Kernel::StepSum { other, sum } => {
                let (values, out) = self.to_add(floats, input, *other);
                sum.run(out, values);
            }
            Kernel::Pool { divisor } => {
                let (values, out) = read_and_write(floats, input, source, target);
                layers::pool(values, from, *divisor, out);
            }
            Kernel::Norm(norm) => {
                let (values, out) = read_and_write(floats, input, source, target);
                norm.run(values, layout, out);
            }
            Kernel::Attention { inputs, attention } => {
                let (before, rest) = floats.split_at_mut(target.start);
                let (out, after) = rest.split_at_mut(target.len());
                let planes = inputs.map(|(buffer, shape, channel)| {
                    let range = buffer.range(shape);
                    let stride = Layout::new(shape, buffer.rows(shape)).stride;
                    let values = if range.start < target.start {
                        &before[range]
                    } else {
                        &after[range.start - target.end..range.end - target.end]
                    };
                    let values = &values[channel / 4 * stride..];
                    Planes { values, stride }
                });
                attention.run(planes, &mut arena.attention, (out, layout));
            }
            Kernel::Constant(values) => floats[target].copy_from_slice(values),
            Kernel::Pixels { inputs, parts } => {
                let mut at = 0;
                for part in parts {
                    let (buffer, shape) = inputs[part.input];
                    let stride = Layout::new(shape, buffer.rows(shape)).stride;
                    let range = Some(buffer.range(shape));
                    let (from, to) = read_and_write(floats, input, range, target.clone());
                    positions::copy(*part, (from, stride), at, (to, layout.stride));
                    at += part.count;
                }
            }
            Kernel::Quantise(quantise) => {
                let (values, out) = read_and_write(floats, input, source, target);
                quantise.run(values, out);
            }
            Kernel::Dense(dense) => {
                let (values, out) = read_and_write(floats, input, source, target);
                dense.run(values, from, &mut arena.integers, out);
            }
        }
        if let Some(finish) = &self.finish {
            let target = self.output.range(self.output_shape);
            finish.apply(&mut arena.floats[target], layout, rows.clone());
        }
        if let Some(function) = self.unary {
            let target = self.output.range(self.output_shape);
            let start = layout.row(rows.start);
            let end = start + rows.len() * layout.width * 4;
            for plane in arena.floats[target].chunks_exact_mut(layout.stride) {
                unary::apply(function, &mut plane[start..end]);
            }
        }
    }

    /// Puts the step's input where its output will be; returns the other one, which is to be added, and that place.
    fn to_add<'a>(
        &self,
        floats: &'a mut [f32],
        input: &'a [f32],
        other: Buffer,
    ) -> (&'a [f32], &'a mut [f32]) {
        self.with_other(floats, input, other, self.output_shape)
    }

    /// The same with another one of this shape.
    fn with_other<'a>(
        &self,
        floats: &'a mut [f32],
        input: &'a [f32],
        other: Buffer,
        other_shape: Shape,
    ) -> (&'a [f32], &'a mut [f32]) {
        let target = self.output.range(self.output_shape);
        let source = self.input.range(self.input_shape);
        let (values, out) = read_and_write(floats, input, Some(source), target.clone());
        out.copy_from_slice(values);
        let other = Some(other.range(other_shape));
        read_and_write(floats, input, other, target)
    }
}

/// Two parts of the arena, or the input and one part.
fn read_and_write<'a>(
    floats: &'a mut [f32],
    input: &'a [f32],
    read: Option<Range<usize>>,
    write: Range<usize>,
) -> (&'a [f32], &'a mut [f32]) {
    match read {
        None => (input, &mut floats[write]),
        Some(read) => {
            let [read, write] = floats
                .get_disjoint_mut([read, write])
                .expect("the plan keeps tensors that are alive together apart");
            (read, write)
        }
    }
}
