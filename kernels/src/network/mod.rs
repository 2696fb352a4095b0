//! Running a planned network.
//!
//! Steps that follow each other and pass large tensors form a segment. A segment runs strip by strip: the last step
//! asks for a few rows, which asks the step before for the rows its windows reach, and so on. Tensors within a segment
//! exist only as a ring of rows small enough for a level 2 cache.

mod step;

use std::ops::Range;

use crate::conv::{Convolution, Scratch};
use crate::dense::Dense;
use crate::depthwise::Depthwise;
use crate::layers::attention::{self, Attention};
use crate::layers::norm::LayerNorm;
use crate::layers::positions::Part;
use crate::layers::select::Select;
use crate::layers::window::Window;
use crate::layout::{self, Layout};
use crate::op::{Activation, Binary, Precision, Unary};
use crate::requantise::{Finish, Quantise, StepSum};
use crate::shape::{Reach, Shape};

/// A network ready to run: plain data, that may be copied with the memory it is in.
#[derive(Debug)]
pub struct Network {
    pub(crate) precision: Precision,
    pub(crate) input: Shape,
    pub(crate) output: Buffer,
    pub(crate) output_shape: Shape,
    /// Where the input is put in planes, if other layers than convolutions read it.
    pub(crate) import: Option<Buffer>,
    pub(crate) steps: Vec<Step>,
    pub(crate) segments: Vec<Segment>,
    /// Floats of the arena.
    pub(crate) floats: usize,
    /// Four times the width of the widest tensor that a depthwise step reads.
    pub(crate) zeros: usize,
}

/// Where a tensor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Buffer {
    /// The slice that `run` was given: rows, columns, channels. Only convolutions read that.
    Input,
    /// A ring of rows in the arena, in planes: see [`Layout`]. A tensor kept whole has all its rows.
    Arena { offset: usize, rows: usize },
}

/// One fused layer.
#[derive(Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Step {
    pub(crate) kernel: Kernel,
    /// What becomes of what the kernel computes, in a quantised network.
    pub(crate) finish: Option<Finish>,
    /// What is computed of each value then.
    pub(crate) unary: Option<Unary>,
    pub(crate) input: Buffer,
    pub(crate) input_shape: Shape,
    pub(crate) output: Buffer,
    pub(crate) output_shape: Shape,
    /// For a convolution: how many input rows the first `n` output rows reach.
    pub(crate) reach: Reach,
    pub(crate) macs: u64,
}

#[derive(Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Kernel {
    Convolution {
        /// One, or one a group of channels.
        groups: Vec<Convolution>,
        residual: Option<Buffer>,
    },
    Depthwise(Depthwise),
    Add {
        other: Buffer,
        activation: Activation,
    },
    /// A global average, or a sum.
    Pool {
        divisor: f32,
    },
    Dense(Dense),
    /// Nothing is computed but what follows a kernel.
    Copy,
    Binary {
        operator: Binary,
        other: Buffer,
        /// That of the output, or of one pixel.
        other_shape: Shape,
    },
    Window(Window),
    Select {
        inputs: Vec<(Buffer, Shape)>,
        select: Select,
    },
    Norm(LayerNorm),
    Attention {
        /// Where queries, keys and values are, and the first channel of each.
        inputs: [(Buffer, Shape, usize); 3],
        attention: Attention,
    },
    /// Planes, as they lie in the arena.
    Constant(
        #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::check::exact"))] Vec<f32>,
    ),
    Pixels {
        inputs: Vec<(Buffer, Shape)>,
        parts: Vec<Part>,
    },
    Quantise(Quantise),
    StepSum {
        other: Buffer,
        sum: StepSum,
    },
}

/// Steps that run strip by strip.
#[derive(Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Segment {
    pub(crate) steps: Range<usize>,
    /// Output rows of the last step that are made at a time.
    pub(crate) strip: usize,
}

/// The memory a network works in. Made once, used for any number of runs of the same network.
#[derive(Debug)]
pub struct Arena {
    floats: Vec<f32>,
    zeros: Vec<f32>,
    scratch: Scratch,
    integers: Vec<[i16; 8]>,
    attention: attention::Room,
    /// For each step, how many output rows there are so far.
    done: Vec<usize>,
}

impl Arena {
    /// Its size.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.floats)
            + size_of_val(&*self.zeros)
            + size_of_val(&*self.integers)
            + self.scratch.bytes()
            + self.attention.bytes()
    }
}

/// What one layer cost in a [`Network::profile`] run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerTime {
    /// The kind of layer, with what was fused into it.
    pub layer: &'static str,
    /// What it reads.
    pub input: Shape,
    /// What it makes.
    pub output: Shape,
    /// Multiplications it is made of.
    pub macs: u64,
    /// How long it took, in the unit of the clock.
    pub elapsed: u64,
}

/// Charges time to steps, if anybody asked.
struct Profiler<'a> {
    clock: &'a mut dyn FnMut() -> u64,
    elapsed: Vec<u64>,
}

impl Network {
    /// The shape of the image that [`Self::run`] takes.
    #[must_use]
    pub fn input_shape(&self) -> Shape {
        self.input
    }

    /// How many values [`Self::run`] writes.
    #[must_use]
    pub fn output_len(&self) -> usize {
        self.output_shape.len()
    }

    /// The arithmetic it was built for.
    #[must_use]
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Bytes of packed weights.
    #[must_use]
    pub fn weights_bytes(&self) -> usize {
        let bytes = self.steps.iter().map(|step| match &step.kernel {
            Kernel::Convolution { groups, .. } => {
                groups.iter().map(Convolution::weights_bytes).sum()
            }
            Kernel::Depthwise(depthwise) => depthwise.weights_bytes(),
            Kernel::Dense(dense) => dense.weights_bytes(),
            Kernel::Norm(norm) => norm.weights_bytes(),
            Kernel::Constant(values) => size_of_val(&**values),
            Kernel::Add { .. }
            | Kernel::Pool { .. }
            | Kernel::Copy
            | Kernel::Binary { .. }
            | Kernel::Window(_)
            | Kernel::Select { .. }
            | Kernel::Attention { .. }
            | Kernel::Pixels { .. }
            | Kernel::Quantise(_)
            | Kernel::StepSum { .. } => 0,
        });
        bytes.sum()
    }

    /// Multiplications of one run.
    #[must_use]
    pub fn macs(&self) -> u64 {
        self.steps.iter().map(|step| step.macs).sum()
    }

    /// Memory to run in.
    #[must_use]
    pub fn arena(&self) -> Arena {
        let mut arena = Arena {
            floats: vec![0.0; self.floats],
            zeros: vec![0.0; self.zeros],
            scratch: Scratch::default(),
            integers: Vec::new(),
            attention: attention::Room::default(),
            done: vec![0; self.steps.len()],
        };
        for step in &self.steps {
            match &step.kernel {
                Kernel::Convolution { groups, .. } => {
                    for convolution in groups {
                        convolution.reserve(&mut arena.scratch);
                    }
                }
                Kernel::Depthwise(depthwise) => {
                    arena.scratch.reserve_padded(depthwise.scratch_len());
                }
                Kernel::Dense(dense) => {
                    let len = arena.integers.len().max(dense.scratch_len());
                    arena.integers.resize(len, [0; 8]);
                }
                Kernel::Attention { attention, .. } => attention.reserve(&mut arena.attention),
                _ => {}
            }
        }
        arena
    }

    /// Computes the output for an image: `input` has rows, columns, channels in that order (NHWC with N = 1).
    ///
    /// # Panics
    /// If `input` or `output` has another length than [`Self::input_shape`] and [`Self::output_len`] say, or the arena
    /// is that of another network.
    pub fn run(&self, arena: &mut Arena, input: &[f32], output: &mut [f32]) {
        self.run_with(arena, input, output, None);
    }

    /// Runs once, and tells what each layer cost by a clock that only goes forward. `run` has the same panics.
    pub fn profile(
        &self,
        arena: &mut Arena,
        input: &[f32],
        output: &mut [f32],
        clock: &mut dyn FnMut() -> u64,
    ) -> Vec<LayerTime> {
        let mut profiler = Profiler {
            clock,
            elapsed: vec![0; self.steps.len()],
        };
        self.run_with(arena, input, output, Some(&mut profiler));
        let times = self.steps.iter().zip(profiler.elapsed);
        times
            .map(|(step, elapsed)| LayerTime {
                layer: step.name(),
                input: step.input_shape,
                output: step.output_shape,
                macs: step.macs,
                elapsed,
            })
            .collect()
    }

    fn run_with(
        &self,
        arena: &mut Arena,
        input: &[f32],
        output: &mut [f32],
        mut profiler: Option<&mut Profiler<'_>>,
    ) {
        assert_eq!(input.len(), self.input.len(), "length of the input");
        assert_eq!(output.len(), self.output_len(), "length of the output");
        assert_eq!(arena.floats.len(), self.floats, "the network of the arena");
        arena.done.fill(0);
        if let Some(buffer @ Buffer::Arena { rows, .. }) = self.import {
            let planes = &mut arena.floats[buffer.range(self.input)];
            layout::import(input, self.input, Layout::new(self.input, rows), planes);
        }
        for segment in &self.segments {
            let Some(last) = segment.steps.clone().last() else {
                continue;
            };
            let height = self.steps[last].output_shape.height;
            for rows in (0..height).step_by(segment.strip) {
                let end = (rows + segment.strip).min(height);
                self.ensure(segment, last, end, arena, input, &mut profiler);
            }
        }
        let layout = Layout::new(self.output_shape, self.output.rows(self.output_shape));
        let planes = &arena.floats[self.output.range(self.output_shape)];
        layout::export(planes, self.output_shape, layout, output);
    }

    /// Makes the first `rows` rows of a step's output exist.
    fn ensure(
        &self,
        segment: &Segment,
        index: usize,
        rows: usize,
        arena: &mut Arena,
        input: &[f32],
        profiler: &mut Option<&mut Profiler<'_>>,
    ) {
        let step = &self.steps[index];
        let mut from = arena.done[index];
        if from >= rows {
            return;
        }
        if index > segment.steps.start {
            let needed = step.reach.input_rows(rows, step.input_shape.height);
            self.ensure(segment, index - 1, needed, arena, input, profiler);
        }
        let start = profiler.as_mut().map(|profiler| (profiler.clock)());
        // The rows of a ring are contiguous only up to its end.
        let ring = step.output.rows(step.output_shape);
        while from < rows {
            let end = rows.min((from / ring + 1) * ring);
            step.run(from..end, arena, input);
            from = end;
        }
        arena.done[index] = rows;
        if let (Some(profiler), Some(start)) = (profiler, start) {
            profiler.elapsed[index] += (profiler.clock)().saturating_sub(start);
        }
    }
}

impl Buffer {
    /// The part of the arena that holds the tensor, or its ring.
    pub(crate) fn range(self, shape: Shape) -> Range<usize> {
        match self {
            Self::Input => 0..0,
            Self::Arena { offset, rows } => offset..offset + Layout::new(shape, rows).len(),
        }
    }

    /// How many rows it holds.
    pub(crate) fn rows(self, shape: Shape) -> usize {
        match self {
            Self::Input => shape.height,
            Self::Arena { rows, .. } => rows,
        }
    }
}
