//! From layers to steps: what is fused, what runs strip by strip, and where each tensor is.

mod equalise;
mod fuse;
mod place;
mod schedule;

use equalise::gains;
use fuse::{drop_unused, fold_factors, fuse_additions, fuse_functions};
use place::place;
use schedule::{choose_strip, segment};

use crate::builder::{Layer, NetworkBuilder};
use crate::conv::Convolution;
use crate::dense::Dense;
use crate::depthwise::Depthwise;
use crate::error::BuildError;
use crate::layers;
use crate::layers::norm::LayerNorm;
use crate::layout::{self, Layout};
use crate::network::{Buffer, Kernel, Network, Segment, Step};
use crate::op::{Integers, Precision, TensorId};
use crate::quantised;
use crate::shape::Shape;

impl NetworkBuilder {
    /// Prepares the network that computes `output`: packs weights, fuses layers, and plans memory. A quantised network has
    /// its own arithmetic, whatever `precision` says: `Int8` has it multiply integers and not floats, with the same results.
    ///
    /// # Errors
    /// If `precision` is an integer one and a weight is NaN or infinite.
    pub fn build(self, output: TensorId, precision: Precision) -> Result<Network, BuildError> {
        plan(self, output, precision)
    }
}

fn plan(
    builder: NetworkBuilder,
    output: TensorId,
    precision: Precision,
) -> Result<Network, BuildError> {
    let quantised = builder.is_quantised();
    let NetworkBuilder {
        shapes,
        layers,
        mut finishes,
    } = builder;
    let whole: Vec<bool> = (0..shapes.len())
        .map(|tensor| {
            let made = tensor.checked_sub(1);
            let finish = made.and_then(|made| finishes[made].as_ref());
            let layer = made.map(|made| &layers[made]);
            quantised && precision == Precision::Int8 && quantised::is_whole(layer, finish)
        })
        .collect();
    let mut layers: Vec<Option<Layer>> = layers.into_iter().map(Some).collect();
    let precision = match precision {
        _ if quantised => Precision::Qdq,
        Precision::Qdq => Precision::Fp32,
        asked => asked,
    };
    drop_unused(&mut layers, output);
    if precision == Precision::Int8 && layers.iter().flatten().any(|layer| !layer.is_finite()) {
        return Err(BuildError::NotFinite);
    }
    let uses = count_uses(&layers, output);
    fold_factors(&mut layers, &finishes, &uses);
    let uses = count_uses(&layers, output);
    fuse_additions(&mut layers, &finishes, &uses);
    let uses = count_uses(&layers, output);
    let curves = fuse_functions(&mut layers, &finishes, &uses);
    let uses = count_uses(&layers, output);

    // From here on, a tensor is known by its number; a step by the tensor it makes.
    let made: Vec<usize> = (0..layers.len())
        .filter(|&index| layers[index].is_some())
        .map(|index| index + 1)
        .collect();
    let segments = segment(&layers, &made, &shapes, &uses);
    let mut rows: Vec<usize> = shapes.iter().map(|shape| shape.height).collect();
    let strips: Vec<usize> = segments
        .iter()
        .map(|steps| choose_strip(&layers, &made[steps.clone()], &shapes, &mut rows))
        .collect();
    // Planes are what all but convolutions read.
    let import = output.0 == 0 || layers.iter().flatten().any(Layer::reads_imported);
    let (buffers, floats) = place(&layers, &made, &segments, &shapes, &rows, (output, import));

    let non_negative: Vec<bool> = (0..shapes.len())
        .map(|tensor| {
            tensor > 0
                && match curves[tensor - 1] {
                    Some(function) => function.is_non_negative(),
                    None => layers[tensor - 1]
                        .as_ref()
                        .is_some_and(Layer::is_non_negative),
                }
        })
        .collect();
    let gains = gains(&layers, &made, &uses, &curves, precision);
    let mut zeros = 0;
    let mut steps = Vec::with_capacity(made.len());
    for (&tensor, gains) in made.iter().zip(&gains) {
        let Some(layer) = layers[tensor - 1].take() else {
            continue;
        };
        let input = layer.inputs().first().copied().unwrap_or(TensorId(0));
        if let Layer::Conv {
            depthwise: true, ..
        } = layer
        {
            zeros = zeros.max(shapes[input.0].width * 4);
        }
        let macs = layer.macs(shapes[tensor]);
        let reach = layer.reach();
        let kernel = kernel(
            layer,
            shapes[input.0],
            buffers[input.0],
            shapes[tensor],
            (&buffers, &shapes),
            gains,
            integers(precision, input, &whole, &non_negative),
        );
        let macs = match &kernel {
            Kernel::Attention { attention, .. } => attention.macs(),
            _ => macs,
        };
        steps.push(Step {
            finish: finishes[tensor - 1].take(),
            unary: curves[tensor - 1],
            reach,
            macs,
            input: buffers[input.0],
            input_shape: shapes[input.0],
            output: buffers[tensor],
            output_shape: shapes[tensor],
            kernel,
        });
    }
    Ok(Network {
        precision,
        input: shapes[0],
        output: buffers[output.0],
        output_shape: shapes[output.0],
        import: import.then_some(buffers[0]),
        steps,
        segments: segments
            .into_iter()
            .zip(strips)
            .map(|(steps, strip)| Segment { steps, strip })
            .collect(),
        floats,
        zeros,
    })
}

fn count_uses(layers: &[Option<Layer>], output: TensorId) -> Vec<usize> {
    let mut uses = vec![0; layers.len() + 1];
    uses[output.0] += 1;
    for input in layers.iter().flatten().flat_map(Layer::inputs) {
        uses[input.0] += 1;
    }
    uses
}

/// What a layer that reads `input` is to multiply, unless it is floats.
fn integers(
    precision: Precision,
    input: TensorId,
    whole: &[bool],
    non_negative: &[bool],
) -> Option<Integers> {
    match precision {
        Precision::Int8 => Some(Integers::Rounded {
            signed: !non_negative[input.0],
        }),
        _ => whole[input.0].then_some(Integers::Whole),
    }
}

fn kernel(
    layer: Layer,
    input_shape: Shape,
    input_buffer: Buffer,
    output_shape: Shape,
    (buffers, shapes): (&[Buffer], &[Shape]),
    gains: &[f32],
    integers: Option<Integers>,
) -> Kernel {
    match layer {
        Layer::Conv {
            depthwise: true,
            geometry,
            weights,
            bias,
            activation,
            ..
        } => Kernel::Depthwise(Depthwise::new(
            geometry,
            input_shape,
            input_buffer.rows(input_shape),
            output_shape.width,
            (&weights, &bias),
            activation,
            gains,
        )),
        Layer::Conv {
            input,
            geometry,
            groups,
            mut weights,
            bias,
            activation,
            residual,
            ..
        } => {
            if !gains.is_empty() {
                for (index, weight) in weights.iter_mut().enumerate() {
                    *weight /= gains[index % gains.len()];
                }
            }
            let part = |shape: Shape| Shape {
                channels: shape.channels / groups,
                ..shape
            };
            let window = weights.len() / groups;
            let outputs = bias.len() / groups;
            let convolutions = (0..groups).map(|group| {
                Convolution::new(
                    geometry,
                    part(input_shape),
                    match input_buffer {
                        Buffer::Input => None,
                        Buffer::Arena { rows, .. } => Some(rows),
                    },
                    part(output_shape),
                    (
                        &weights[group * window..(group + 1) * window],
                        &bias[group * outputs..(group + 1) * outputs],
                    ),
                    activation,
                    // The image itself stays exact: its convolution is small, and eight bits would become seven.
                    integers.filter(|_| input.0 != 0),
                )
            });
            Kernel::Convolution {
                groups: convolutions.collect(),
                residual: residual.map(|residual| buffers[residual.0]),
            }
        }
        Layer::Add { b, activation, .. } => Kernel::Add {
            other: buffers[b.0],
            activation,
        },
        Layer::Unary { .. } => Kernel::Copy,
        Layer::Binary { operator, b, .. } => Kernel::Binary {
            operator,
            other: buffers[b.0],
            other_shape: shapes[b.0],
        },
        Layer::Window { window, .. } => Kernel::Window(window),
        Layer::Select { inputs, select } => Kernel::Select {
            inputs: inputs
                .iter()
                .map(|input| (buffers[input.0], shapes[input.0]))
                .collect(),
            select,
        },
        Layer::StepSum { b, sum, .. } => Kernel::StepSum {
            other: buffers[b.0],
            sum,
        },
        Layer::Pool { divisor, .. } => Kernel::Pool { divisor },
        Layer::Norm {
            factors,
            terms,
            epsilon,
            ..
        } => Kernel::Norm(LayerNorm::new(&factors, &terms, epsilon)),
        Layer::Attention(attention) => {
            let read = [attention.queries, attention.keys, attention.values];
            let pixels = |shape: Shape| shape.height * shape.width;
            Kernel::Attention {
                inputs: read.map(|(tensor, first)| (buffers[tensor.0], shapes[tensor.0], first)),
                attention: layers::attention::Attention::new(
                    (attention.heads, attention.dim),
                    (pixels(output_shape), pixels(shapes[attention.keys.0.0])),
                    attention.scale,
                ),
            }
        }
        Layer::Constant { values } => {
            let layout = Layout::new(output_shape, output_shape.height);
            let mut planes = vec![0.0; layout.len()];
            layout::import(&values, output_shape, layout, &mut planes);
            Kernel::Constant(planes)
        }
        Layer::Pixels { inputs, parts } => Kernel::Pixels {
            inputs: inputs
                .iter()
                .map(|input| (buffers[input.0], shapes[input.0]))
                .collect(),
            parts,
        },
        Layer::Quantise { quantise, .. } => Kernel::Quantise(quantise),
        Layer::Dense { weights, bias, .. } => {
            Kernel::Dense(Dense::new(&weights, bias, input_shape, integers))
        }
    }
}
