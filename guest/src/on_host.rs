//! A model that the host runs: the guest prepares its input, hands that over, and reads the scores.

use crate::error::ClassifyError;
use crate::infer::{ElementType, Input};
use half::f16;

/// A tensor for one of the host's models.
pub struct Question<'a> {
    /// The name under which the host has the model.
    pub model: &'a str,
    /// The input that the tensor is for.
    pub input: &'a Input,
    /// Its elements in the input's own type, row-major, little-endian.
    pub elements: &'a [u8],
    /// The output to return.
    pub output: &'a str,
}

/// An output of a model: its elements, little-endian, and their type.
pub struct Answer {
    /// Type of the elements.
    pub element_type: ElementType,
    /// The elements.
    pub elements: Vec<u8>,
}

/// Has the host run a model. A plain function, so that it outlives a snapshot.
pub type Ask = fn(&Question<'_>) -> Result<Answer, ClassifyError>;

/// A model that the host has.
pub struct OnHost {
    /// Its name there.
    pub name: String,
    /// The output that has the scores.
    pub output: String,
    /// How the host is asked.
    pub ask: Ask,
}

impl OnHost {
    /// Runs the model on a tensor in its own layout, and returns one score a class.
    pub fn run(
        &self,
        input: &Input,
        classes: usize,
        tensor: &[f32],
    ) -> Result<Vec<f32>, ClassifyError> {
        // No picture becomes one; a tensor that a client prepared may hold some, and engines may not expect that.
        if tensor.chunks(4096).any(has_nan) {
            return Err(ClassifyError::InvalidArgument(
                "The tensor holds values that are not numbers.".into(),
            ));
        }
        let elements = encode(tensor, input.element_type);
        let answer = (self.ask)(&Question {
            model: &self.name,
            input,
            elements: &elements,
            output: &self.output,
        })?;
        let scores = decode(&answer);
        if scores.len() != classes {
            return Err(ClassifyError::Inference(format!(
                "The host's model gave {} scores, but there are {classes} classes: it is another one than this component was made for.",
                scores.len()
            )));
        }
        Ok(scores)
    }
}

/// Without an end on the way: such loops become vectors.
fn has_nan(values: &[f32]) -> bool {
    values
        .iter()
        .fold(false, |found, value| found | value.is_nan())
}

fn encode(values: &[f32], to: ElementType) -> Vec<u8> {
    match to {
        ElementType::Float32 => {
            // What a collected iterator takes several times as long for.
            let mut elements = vec![0; values.len() * 4];
            let (places, _) = elements.as_chunks_mut();
            for (place, value) in places.iter_mut().zip(values) {
                *place = value.to_le_bytes();
            }
            elements
        }
        ElementType::Float16 => values
            .iter()
            .flat_map(|value| f16::from_f32(*value).to_le_bytes())
            .collect(),
        // Rounded to the nearest, and limited.
        ElementType::Uint8 => values.iter().map(|value| value.round() as u8).collect(),
    }
}

fn decode(answer: &Answer) -> Vec<f32> {
    let elements = answer.elements.as_slice();
    match answer.element_type {
        ElementType::Float32 => elements
            .as_chunks::<4>()
            .0
            .iter()
            .map(|bytes| f32::from_le_bytes(*bytes))
            .collect(),
        ElementType::Float16 => elements
            .as_chunks::<2>()
            .0
            .iter()
            .map(|bytes| f16::from_le_bytes(*bytes).to_f32())
            .collect(),
        ElementType::Uint8 => elements.iter().map(|value| f32::from(*value)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preprocess::Layout;

    fn input(element_type: ElementType) -> Input {
        Input {
            name: "image".into(),
            shape: [1, 1, 1, 3],
            layout: Layout::Nchw,
            element_type,
        }
    }

    fn echo(question: &Question<'_>) -> Result<Answer, ClassifyError> {
        assert_eq!((question.model, question.output), ("model", "scores"));
        Ok(Answer {
            element_type: question.input.element_type,
            elements: question.elements.to_vec(),
        })
    }

    fn model(ask: Ask) -> OnHost {
        OnHost {
            name: "model".into(),
            output: "scores".into(),
            ask,
        }
    }

    #[test]
    fn tensors_cross_in_each_type() {
        let run = |element_type, tensor: &[f32]| {
            model(echo)
                .run(&input(element_type), tensor.len(), tensor)
                .unwrap()
        };
        let values = [-1.5, 0.1, 3e38];
        assert_eq!(run(ElementType::Float32, &values), values);
        assert_eq!(
            run(ElementType::Float16, &values),
            [-1.5, 0.099_975_586, f32::INFINITY]
        );
        assert_eq!(
            run(ElementType::Uint8, &[-1.0, 7.0, 7.6, 300.0]),
            [0.0, 7.0, 8.0, 255.0]
        );
    }

    #[test]
    fn values_that_are_not_numbers_stay_here() {
        let error = model(echo).run(&input(ElementType::Float32), 2, &[1.0, f32::NAN]);
        assert_eq!(error.unwrap_err().code(), "invalid-argument");
    }

    #[test]
    fn another_model_than_was_meant_is_found_out() {
        let error = model(echo).run(&input(ElementType::Float32), 4, &[1.0, 2.0, 3.0]);
        let sentence = error.unwrap_err().to_string();
        assert!(
            sentence.contains("3 scores") && sentence.contains("4 classes"),
            "{sentence}"
        );
    }
}
