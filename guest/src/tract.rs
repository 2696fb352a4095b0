//! tract: reads every model, runs those that our kernels cannot, and is what ours are compared with.

use crate::error::ClassifyError;
use crate::onnx::{Described, sentence};
use tract_onnx::Onnx;
use tract_onnx::prelude::*;

/// A model that tract has optimised.
pub struct Plan {
    plan: Arc<TypedRunnableModel>,
    shape: [usize; 4],
    element_type: DatumType,
}

impl Plan {
    /// Optimises a model for one image of the given shape; tells how many classes it has as well. The error is one plain
    /// sentence.
    pub fn new(onnx: &Onnx, model: Described, shape: [usize; 4]) -> Result<(Self, usize), String> {
        let element_type = model.element_type;
        let typed = typed(onnx, model, shape)?;
        let classes = classes(&typed)?;
        let plan = typed
            .into_optimized()
            .and_then(|model| model.into_runnable())
            .map_err(|error| not_ready(&error))?;
        Ok((
            Self {
                plan,
                shape,
                element_type,
            },
            classes,
        ))
    }

    /// Runs the model on a tensor in its own layout.
    pub fn run(&self, tensor: &[f32]) -> Result<Vec<f32>, ClassifyError> {
        self.evaluate(tensor).map_err(|error| {
            ClassifyError::Inference(sentence("The model could not be run", &error))
        })
    }

    fn evaluate(&self, tensor: &[f32]) -> TractResult<Vec<f32>> {
        let whole: Vec<f32>;
        let tensor = if self.element_type == DatumType::U8 {
            // A cast would cut fractions off: pixels that were resized would be darker by half a step.
            whole = tensor.iter().map(|value| value.round()).collect();
            &whole
        } else {
            tensor
        };
        let input = Tensor::from_shape(&self.shape, tensor)?
            .cast_to_dt(self.element_type)?
            .into_owned();
        let outputs = self.plan.run(tvec!(input.into_tvalue()))?;
        let scores = outputs[0].cast_to::<f32>()?;
        Ok(scores.try_as_plain_ram()?.as_slice::<f32>()?.to_vec())
    }
}

/// How many classes a model has, when it gets one image of the given shape. The error is one plain sentence.
pub fn classes_of(onnx: &Onnx, model: Described, shape: [usize; 4]) -> Result<usize, String> {
    classes(&typed(onnx, model, shape)?)
}

fn typed(onnx: &Onnx, model: Described, shape: [usize; 4]) -> Result<TypedModel, String> {
    let fact = InferenceFact::dt_shape(model.element_type, shape);
    let mut graph = model.into_graph(onnx)?;
    graph
        .set_input_fact(0, fact)
        .and_then(|()| graph.into_typed())
        .map_err(|error| not_ready(&error))
}

fn not_ready(error: &TractError) -> String {
    sentence("The model cannot be made ready", error)
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
