//! Asking the host through `wasi:nn`.

use crate::bindings::wasi::nn::errors::{Error, ErrorCode};
use crate::bindings::wasi::nn::graph::load_by_name;
use crate::bindings::wasi::nn::tensor::{Tensor, TensorType};
use pinhole_guest::error::{ClassifyError, cause};
use pinhole_guest::infer::ElementType;
use pinhole_guest::on_host::{Answer, Question};

/// Has the host run one of its models on one tensor.
pub fn ask(question: &Question<'_>) -> Result<Answer, ClassifyError> {
    let failed = |error: Error| sentence(question.model, &error);
    let graph = load_by_name(question.model).map_err(failed)?;
    let context = graph.init_execution_context().map_err(failed)?;
    let input = question.input;
    let element_type = match input.element_type {
        ElementType::Float32 => TensorType::Fp32,
        ElementType::Float16 => TensorType::Fp16,
        ElementType::Uint8 => TensorType::U8,
    };
    let tensor = Tensor::new(
        &input.shape.map(|size| size as u32),
        element_type,
        question.elements,
    );
    let outputs = context
        .compute(vec![(input.name.clone(), tensor)])
        .map_err(failed)?;
    let (_, scores) = outputs
        .into_iter()
        .find(|(name, _)| name == question.output)
        .ok_or_else(|| {
            ClassifyError::Inference(format!(
                "The host's model `{}` has no output `{}`: it is another one than this component was made for.",
                question.model, question.output
            ))
        })?;
    let element_type = match scores.ty() {
        TensorType::Fp32 => ElementType::Float32,
        TensorType::Fp16 => ElementType::Float16,
        TensorType::U8 => ElementType::Uint8,
        other => {
            return Err(ClassifyError::Inference(format!(
                "The host's model gave scores of the type {other:?}, which no classifier gives."
            )));
        }
    };
    Ok(Answer {
        element_type,
        elements: scores.data(),
    })
}

fn sentence(model: &str, error: &Error) -> ClassifyError {
    ClassifyError::Inference(match error.code() {
        ErrorCode::NotFound => {
            format!("The host has no model named `{model}`: whoever runs it must name one.")
        }
        _ => format!(
            "The host could not run the model `{model}`: {}.",
            cause(error.data())
        ),
    })
}
