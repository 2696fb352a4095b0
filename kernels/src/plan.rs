//! From layers to steps: what is fused, what runs strip by strip, and where each tensor is.

use std::ops::Range;

use crate::builder::{Layer, NetworkBuilder};
use crate::conv::Convolution;
use crate::dense::Dense;
use crate::depthwise::Depthwise;
use crate::error::BuildError;
use crate::layout::Layout;
use crate::network::{Buffer, Kernel, Network, Segment, Step};
use crate::op::{Activation, Integers, Precision, TensorId};
use crate::quantised;
use crate::requantise::Finish;
use crate::shape::Shape;

/// Tensors of at least this many values are kept as strips where possible.
const LARGE: usize = 16 * 1024;
/// Values that the rings of a segment may have together: half a level 2 cache of 1 MiB.
const RINGS: usize = 128 * 1024;

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
    fuse_additions(&mut layers, &finishes, &uses);
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
                && layers[tensor - 1]
                    .as_ref()
                    .is_some_and(Layer::is_non_negative)
        })
        .collect();
    let gains = gains(&layers, &made, &uses, precision);
    let mut zeros = 0;
    let mut steps = Vec::with_capacity(made.len());
    for (&tensor, gains) in made.iter().zip(&gains) {
        let Some(layer) = layers[tensor - 1].take() else {
            continue;
        };
        let input = layer.inputs()[0].unwrap_or(TensorId(0));
        if let Layer::Conv {
            depthwise: true, ..
        } = layer
        {
            zeros = zeros.max(shapes[input.0].width * 4);
        }
        steps.push(Step {
            finish: finishes[tensor - 1].take(),
            reach: layer.reach(),
            macs: layer.macs(shapes[tensor]),
            input: buffers[input.0],
            input_shape: shapes[input.0],
            output: buffers[tensor],
            output_shape: shapes[tensor],
            kernel: kernel(
                layer,
                shapes[input.0],
                buffers[input.0],
                shapes[tensor],
                &buffers,
                gains,
                integers(precision, input, &whole, &non_negative),
            ),
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
    for input in layers.iter().flatten().flat_map(Layer::inputs).flatten() {
        uses[input.0] += 1;
    }
    uses
}

fn drop_unused(layers: &mut [Option<Layer>], output: TensorId) {
    let mut used = vec![false; layers.len() + 1];
    used[output.0] = true;
    for index in (0..layers.len()).rev() {
        if !used[index + 1] {
            layers[index] = None;
        }
        for input in layers[index].iter().flat_map(Layer::inputs).flatten() {
            used[input.0] = true;
        }
    }
}

/// Moves an addition into the convolution that makes one of its inputs, if nothing else reads that, and nothing else becomes
/// of it.
fn fuse_additions(layers: &mut [Option<Layer>], finishes: &[Option<Finish>], uses: &[usize]) {
    for index in 0..layers.len() {
        let Some(Layer::Add { a, b, activation }) = layers[index] else {
            continue;
        };
        for (made, other) in [(b, a), (a, b)] {
            if made.0 == 0 || uses[made.0] != 1 || finishes[made.0 - 1].is_some() {
                continue;
            }
            if let Some(Layer::Conv {
                depthwise: false,
                activation: own @ Activation::None,
                residual: residual @ None,
                ..
            }) = &mut layers[made.0 - 1]
            {
                *own = activation;
                *residual = Some(other);
                // It runs where the addition was, when the other input exists.
                layers[index] = layers[made.0 - 1].take();
                break;
            }
        }
    }
}

/// Groups steps: one joins the steps before it if it is the only reader of what they make, and that is large.
fn segment(
    layers: &[Option<Layer>],
    made: &[usize],
    shapes: &[Shape],
    uses: &[usize],
) -> Vec<Range<usize>> {
    let is_conv = |tensor: usize| matches!(layers[tensor - 1], Some(Layer::Conv { .. }));
    let mut segments: Vec<Range<usize>> = Vec::new();
    for (step, &tensor) in made.iter().enumerate() {
        let joins = step > 0 && {
            let previous = made[step - 1];
            let reads = layers[tensor - 1].as_ref().map(|layer| layer.inputs()[0]);
            reads == Some(Some(TensorId(previous)))
                && is_conv(previous)
                && is_conv(tensor)
                && uses[previous] == 1
                && shapes[previous].len() >= LARGE
        };
        match segments.last_mut() {
            Some(last) if joins => last.end = step + 1,
            _ => segments.push(step..step + 1),
        }
    }
    segments
}

/// The most rows a strip can have for the rings to stay within [`RINGS`]. Sets `rows` for the tensors within the
/// segment.
fn choose_strip(
    layers: &[Option<Layer>],
    tensors: &[usize],
    shapes: &[Shape],
    rows: &mut [usize],
) -> usize {
    let Some((&last, _)) = tensors.split_last() else {
        return 1;
    };
    let mut strip = shapes[last].height;
    if tensors.len() == 1 {
        return strip;
    }
    loop {
        let mut values = 0;
        let mut needed = strip;
        for pair in tensors.windows(2).rev() {
            let (inner, reader) = (pair[0], pair[1]);
            if let Some(layer) = &layers[reader - 1] {
                let reach = layer.reach();
                needed = (needed - 1) * reach.stride + reach.kernel;
            }
            needed = needed.min(shapes[inner].height);
            rows[inner] = needed;
            values += Layout::new(shapes[inner], needed).len();
        }
        if values <= RINGS || strip == 1 {
            return strip;
        }
        strip = strip.div_ceil(2);
    }
}

/// Puts each tensor where nothing alive at the same time is; returns the floats needed, too.
fn place(
    layers: &[Option<Layer>],
    made: &[usize],
    segments: &[Range<usize>],
    shapes: &[Shape],
    rows: &[usize],
    (output, import): (TensorId, bool),
) -> (Vec<Buffer>, usize) {
    // A tensor lives from the segment that makes it to the last one that reads it.
    let mut lives: Vec<Option<(usize, usize)>> = vec![None; shapes.len()];
    lives[0] = import.then_some((0, 0));
    for (time, steps) in segments.iter().enumerate() {
        for &tensor in &made[steps.clone()] {
            lives[tensor] = Some((time, time));
            for input in layers[tensor - 1].iter().flat_map(Layer::inputs).flatten() {
                if let Some((_, end)) = &mut lives[input.0] {
                    *end = time;
                }
            }
        }
    }
    if let Some((_, end)) = &mut lives[output.0] {
        *end = segments.len();
    }
    let mut order: Vec<usize> = (0..shapes.len()).collect();
    let len = |tensor: usize| {
        let layout = Layout::new(shapes[tensor], rows[tensor]);
        layout.len().next_multiple_of(16)
    };
    order.sort_by_key(|&tensor| std::cmp::Reverse(len(tensor)));
    let mut placed: Vec<(Range<usize>, (usize, usize))> = Vec::new();
    let mut buffers = vec![Buffer::Input; shapes.len()];
    for tensor in order {
        let Some(life) = lives[tensor] else { continue };
        let mut offset = 0;
        // `placed` is sorted by start, so the first gap that is wide enough is found in one pass.
        for (range, other) in &placed {
            let together = life.0 <= other.1 && other.0 <= life.1;
            if together && range.start < offset + len(tensor) {
                offset = offset.max(range.end);
            }
        }
        let range = offset..offset + len(tensor);
        let index = placed.partition_point(|(other, _)| other.start < range.start);
        placed.insert(index, (range, life));
        buffers[tensor] = Buffer::Arena {
            offset,
            rows: rows[tensor],
        };
    }
    let floats = placed.iter().map(|(range, _)| range.end).max().unwrap_or(0);
    (buffers, floats)
}

/// How much each channel a depthwise step makes is multiplied by, so that the convolution that reads it, whose weights
/// are divided by as much, has weights of similar size for all channels: 8-bit weights lose less then. Each of the two
/// steps has the same gains; empty means 1.
fn gains(
    layers: &[Option<Layer>],
    made: &[usize],
    uses: &[usize],
    precision: Precision,
) -> Vec<Vec<f32>> {
    let mut gains = vec![Vec::new(); made.len()];
    if precision != Precision::Int8 {
        return gains;
    }
    for (step, &tensor) in made.iter().enumerate() {
        let reader = made.iter().position(|&reader| {
            matches!(
                &layers[reader - 1],
                Some(Layer::Conv { input, geometry, depthwise: false, .. })
                    if input.0 == tensor && geometry.kernel == (1, 1)
            )
        });
        if let Some(Layer::Conv {
            depthwise: true,
            bias,
            ..
        }) = &layers[tensor - 1]
            && uses[tensor] == 1
            && let Some(reader) = reader
            && let Some(Layer::Conv { weights, .. }) = &layers[made[reader] - 1]
        {
            gains[step] = balance(weights, bias.len());
            gains[reader] = gains[step].clone();
        }
    }
    gains
}

/// For each input channel of `[out][in]` weights, the square root of its largest weight, relative to their
/// mean.
fn balance(weights: &[f32], channels: usize) -> Vec<f32> {
    let mut largest = vec![0.0f32; channels];
    for row in weights.chunks_exact(channels) {
        for (largest, weight) in largest.iter_mut().zip(row) {
            *largest = largest.max(weight.abs());
        }
    }
    let top = largest.iter().copied().fold(0.0, f32::max);
    if top < f32::MIN_POSITIVE {
        return Vec::new();
    }
    // Square roots are the same on every machine; logarithms are not, and which factor all gains have does not matter.
    let roots = largest
        .iter()
        .map(|&largest| largest.max(top * 1e-3).sqrt());
    let roots: Vec<f32> = roots.collect();
    let mean = roots.iter().sum::<f32>() / channels as f32;
    roots.into_iter().map(|root| root / mean).collect()
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
    buffers: &[Buffer],
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
            Kernel::Convolution {
                convolution: Convolution::new(
                    geometry,
                    input_shape,
                    match input_buffer {
                        Buffer::Input => None,
                        Buffer::Arena { rows, .. } => Some(rows),
                    },
                    output_shape,
                    (&weights, &bias),
                    activation,
                    // The image itself stays exact: its convolution is small, and eight bits would become seven.
                    integers.filter(|_| input.0 != 0),
                ),
                residual: residual.map(|residual| buffers[residual.0]),
            }
        }
        Layer::Add { b, activation, .. } => Kernel::Add {
            other: buffers[b.0],
            activation,
        },
        Layer::StepSum { b, sum, .. } => Kernel::StepSum {
            other: buffers[b.0],
            sum,
        },
        Layer::Pool { divisor, .. } => Kernel::Pool { divisor },
        Layer::Quantise { quantise, .. } => Kernel::Quantise(quantise),
        Layer::Dense { weights, bias, .. } => {
            Kernel::Dense(Dense::new(&weights, bias, input_shape, integers))
        }
    }
}
