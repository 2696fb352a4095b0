//! The input tensor to scores.
//!
//! A model runs on our own kernels where its graph is of the kind they are made for, and on tract otherwise. tract reads
//! every model first and judges what was recognised: the two must agree before our kernels are believed.

use crate::error::ClassifyError;
use crate::onnx::{Described, sentence};
use crate::preprocess::Layout;
use crate::rank::softmax;
use crate::recognise::{Recognised, recognise};
use pinhole_kernels::{Arena, Network as Kernels, Precision};
use std::sync::{Mutex, PoisonError};
use tract_onnx::Onnx;
use tract_onnx::prelude::*;

/// How far a score may be from tract's, as a part of the largest: the order of additions differs, nothing else.
const TOLERANCE: f32 = 1e-3;

/// A model that is optimised and ready to run.
pub struct Network {
    engine: Engine,
    layout: Layout,
    shape: [usize; 4],
    element_type: DatumType,
    classes: usize,
}

enum Engine {
    Tract(Arc<TypedRunnableModel>),
    Own(Box<Own>),
}

/// Our kernels; they take pixels channels last.
struct Own {
    network: Kernels,
    /// Working memory. The sandbox has one thread: the lock is never contended.
    arena: Mutex<Arena>,
    softmax: bool,
}

impl Network {
    /// Optimises a model for one image of the given shape. The error is one plain sentence.
    pub fn new(
        onnx: &Onnx,
        model: Described,
        layout: Layout,
        shape: [usize; 4],
        precision: Precision,
    ) -> Result<Self, String> {
        let element_type = model.element_type;
        let recognised = || own_layers(onnx, &model, layout, shape);
        let own = recognised().and_then(|full| match precision {
            Precision::Fp32 => Ok((full, None)),
            _ => Ok((full, Some(recognised()?))),
        });
        let failed = |error: TractError| sentence("The model cannot be made ready", &error);
        let mut graph = model.into_graph(onnx)?;
        graph
            .set_input_fact(0, InferenceFact::dt_shape(element_type, shape))
            .map_err(failed)?;
        let typed = graph.into_typed().map_err(failed)?;
        let classes = classes(&typed)?;
        let plan = typed
            .into_optimized()
            .and_then(|model| model.into_runnable())
            .map_err(failed)?;
        let tract = Self { engine: Engine::Tract(plan), layout, shape, element_type, classes };
        // The first run shows that the model can be run at all, and is what ours is compared with.
        let probe = probe(shape.iter().product());
        let expected = tract.run(&probe).map_err(|error| error.to_string())?;
        let own = own.and_then(|(full, reduced)| {
            // Whatever precision is wanted, it is in full precision that the graph is checked.
            let full = tract.replaced(full, Precision::Fp32)?;
            full.agrees(&probe, &expected)?;
            match reduced {
                Some(reduced) => tract.replaced(reduced, precision),
                None => Ok(full),
            }
        });
        Ok(own.unwrap_or(tract).with_clean_arena())
    }

    /// The same model on our kernels.
    fn replaced(&self, recognised: Recognised, precision: Precision) -> Result<Self, String> {
        let Recognised { builder, output, softmax } = recognised;
        let network = builder.build(output, precision).map_err(|error| error.to_string())?;
        let arena = Mutex::new(network.arena());
        let own = Own { network, arena, softmax };
        Ok(Self { engine: Engine::Own(Box::new(own)), ..*self })
    }

    fn agrees(&self, probe: &[f32], expected: &[f32]) -> Result<(), String> {
        let scores = self.run(probe).map_err(|error| error.to_string())?;
        let largest = expected.iter().fold(1.0_f32, |largest, score| largest.max(score.abs()));
        let agree = |(own, tract): (&f32, &f32)| (own - tract).abs() <= TOLERANCE * largest;
        if scores.len() == expected.len() && scores.iter().zip(expected).all(agree) {
            Ok(())
        } else {
            Err("the recognised layers give other scores than the model".into())
        }
    }

    /// Working memory that no run has written to: a snapshot need not store it.
    fn with_clean_arena(mut self) -> Self {
        if let Engine::Own(own) = &mut self.engine {
            own.arena = Mutex::new(own.network.arena());
        }
        self
    }

    /// What the input's dimensions are.
    pub fn shape(&self) -> [usize; 4] {
        self.shape
    }

    /// In which order `run_prepared` wants pixels.
    pub fn prepared_layout(&self) -> Layout {
        match self.engine {
            Engine::Tract(_) => self.layout,
            Engine::Own(_) => Layout::Nhwc,
        }
    }

    /// Size of one of the input's elements: 4 for 32-bit floats, 2 for 16-bit ones, 1 for bytes.
    pub fn element_bytes(&self) -> usize {
        self.element_type.size_of()
    }

    /// How many scores the output has.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Which engine runs the model, for people.
    pub fn engine(&self) -> String {
        match &self.engine {
            Engine::Tract(_) => "tract".into(),
            Engine::Own(own) => format!("kernels-{:?}", own.network.precision()).to_lowercase(),
        }
    }

    /// Runs the model on a tensor in the model's own layout, and returns one score a class.
    pub fn run(&self, tensor: &[f32]) -> Result<Vec<f32>, ClassifyError> {
        let elements: usize = self.shape.iter().product();
        if tensor.len() != elements {
            return Err(ClassifyError::InvalidArgument(format!(
                "The model takes {elements} values, not {}.",
                tensor.len()
            )));
        }
        if self.layout == self.prepared_layout() {
            return self.run_prepared(tensor);
        }
        let [_, channels, height, width] = self.shape;
        let pixels = height * width;
        let turned: Vec<f32> = (0..elements)
            .map(|index| tensor[index % channels * pixels + index / channels])
            .collect();
        self.run_prepared(&turned)
    }

    /// Runs the model on a tensor in `prepared_layout`.
    pub fn run_prepared(&self, tensor: &[f32]) -> Result<Vec<f32>, ClassifyError> {
        match &self.engine {
            Engine::Tract(plan) => self
                .evaluate(plan, tensor)
                .map_err(|error| ClassifyError::Inference(sentence("The model could not be run", &error))),
            Engine::Own(own) => {
                let mut scores = vec![0.0; self.classes];
                let mut arena = own.arena.lock().unwrap_or_else(PoisonError::into_inner);
                own.network.run(&mut arena, tensor, &mut scores);
                Ok(if own.softmax { softmax(&scores) } else { scores })
            }
        }
    }

    fn evaluate(&self, plan: &Arc<TypedRunnableModel>, tensor: &[f32]) -> TractResult<Vec<f32>> {
        let input = Tensor::from_shape(&self.shape, tensor)?
            .cast_to_dt(self.element_type)?
            .into_owned();
        let outputs = plan.run(tvec!(input.into_tvalue()))?;
        let scores = outputs[0].cast_to::<f32>()?;
        Ok(scores.try_as_plain_ram()?.as_slice::<f32>()?.to_vec())
    }
}

/// The model as layers of our kernels, or why it is none.
fn own_layers(onnx: &Onnx, model: &Described, layout: Layout, shape: [usize; 4]) -> Result<Recognised, String> {
    if layout != Layout::Nchw || model.element_type != DatumType::F32 {
        return Err("the input is not 32-bit floats, channels first".into());
    }
    let graph = model.proto.graph.as_ref().ok_or("there is no graph")?;
    recognise(onnx, graph, &model.input, shape[2], shape[1])
}

/// Values of -2 to 2 without a pattern: what a normalised picture may hold, the same on every machine.
fn probe(length: usize) -> Vec<f32> {
    let mut state = 0x2545_f491_u32;
    (0..length)
        .map(|_| {
            // A linear congruential generator: its upper bits are random enough for this.
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) as f32 / 16_384.0 - 2.0
        })
        .collect()
}

/// How many classes the output has a score for: all its dimensions but one must be 1.
fn classes(model: &TypedModel) -> Result<usize, String> {
    let fact = model
        .output_fact(0)
        .map_err(|error| sentence("The model has no output", &error))?;
    let wrong = || {
        format!(
            "The model's output has the shape {:?}: a classifier's has one score a class, as [1, 1000].",
            fact.shape
        )
    };
    let dims = fact.shape.as_concrete().ok_or_else(wrong)?;
    let wide: Vec<usize> = dims.iter().copied().filter(|size| *size != 1).collect();
    match wide.as_slice() {
        [] if !dims.is_empty() => Ok(1),
        [classes] if *classes > 0 => Ok(*classes),
        _ => Err(wrong()),
    }
}
