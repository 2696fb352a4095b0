//! A loaded model, whatever runs it, and the checks before it is run.

use super::slot::{Slot, fits};
use std::panic::{AssertUnwindSafe, catch_unwind};
use wasmtime_wasi_nn::Tensor;

/// A model in an engine. It is run by several threads at the same time.
pub trait Engine: Send + Sync {
    /// What `engine` says in descriptions of a model that it runs.
    fn name(&self) -> &'static str;

    /// Runs the model on a tensor for each input, in the model's order. Returns a tensor for each output, in that order.
    /// The error is why the engine could not, for the log.
    fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, String>;
}

/// Why a model gave no answer. The text is for the log; a guest learns only that it was so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The tensors are not what the model takes.
    #[error("the guest was refused: {0}")]
    Refused(String),
    /// The engine failed on tensors that are.
    #[error("the engine failed: {0}")]
    Failed(String),
}

/// A model that is ready to run.
pub struct Model {
    inputs: Vec<Slot>,
    outputs: Vec<String>,
    engine: Box<dyn Engine>,
}

impl Model {
    /// A model with these inputs, and outputs of these names.
    pub fn new(inputs: Vec<Slot>, outputs: Vec<String>, engine: impl Engine + 'static) -> Self {
        Self {
            inputs,
            outputs,
            engine: Box::new(engine),
        }
    }

    /// Runs the model on tensors that come from a guest, in any order. Whatever they are, this ends in an answer or in a
    /// failure: it never panics.
    pub fn run(&self, given: Vec<(String, Tensor)>) -> Result<Vec<(String, Tensor)>, Failure> {
        let inputs = self.check(given).map_err(Failure::Refused)?;
        let answer = catch_unwind(AssertUnwindSafe(|| self.engine.run(&inputs)));
        let outputs = match answer {
            Ok(Ok(outputs)) => outputs,
            Ok(Err(why)) => return Err(Failure::Failed(why)),
            Err(panic) => return Err(Failure::Failed(format!("it panicked ({})", text(&*panic)))),
        };
        if outputs.len() != self.outputs.len() {
            return Err(Failure::Failed(format!(
                "it gave {} outputs of {}",
                outputs.len(),
                self.outputs.len()
            )));
        }
        Ok(self.outputs.iter().cloned().zip(outputs).collect())
    }

    /// The tensors in the model's order, if each is what the model takes.
    fn check(&self, mut given: Vec<(String, Tensor)>) -> Result<Vec<Tensor>, String> {
        if given.len() != self.inputs.len() {
            let (given, takes) = (given.len(), self.inputs.len());
            return Err(format!("{given} tensors for a model that takes {takes}"));
        }
        let mut inputs = Vec::with_capacity(self.inputs.len());
        for slot in &self.inputs {
            // With as many tensors as inputs and one for each, none is left over.
            let place = given
                .iter()
                .position(|(name, _)| *name == slot.name)
                .ok_or_else(|| format!("no tensor for the input `{}`", slot.name))?;
            let (_, tensor) = given.swap_remove(place);
            fits(slot, &tensor)?;
            inputs.push(tensor);
        }
        Ok(inputs)
    }

    /// What `engine` says in descriptions of it.
    pub fn engine(&self) -> &'static str {
        self.engine.name()
    }

    /// The bytes of its largest input.
    pub fn largest_input(&self) -> usize {
        self.inputs
            .iter()
            .map(Slot::bytes)
            .max()
            .unwrap_or_default()
    }
}

/// What a panic said.
fn text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a word")
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmtime_wasi_nn::wit::TensorType;

    /// Gives its input back; does what the input's first byte says otherwise.
    struct Fake;

    impl Engine for Fake {
        fn name(&self) -> &'static str {
            "fake"
        }

        fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, String> {
            match inputs[0].data[0] {
                1 => panic!("in the middle"),
                2 => Err("in the middle".into()),
                3 => Ok(Vec::new()),
                _ => Ok(vec![inputs[0].clone()]),
            }
        }
    }

    fn model() -> Model {
        let slot = |name: &str, element_type| Slot {
            name: name.into(),
            shape: vec![1, 2],
            element_type,
        };
        let inputs = vec![
            slot("bytes", TensorType::U8),
            slot("floats", TensorType::Fp32),
        ];
        Model::new(inputs, vec!["same".into()], Fake)
    }

    fn tensor(dimensions: &[u32], ty: TensorType, data: &[u8]) -> Tensor {
        Tensor::new(dimensions.to_vec(), ty, data.to_vec())
    }

    fn run(bytes: Tensor, floats: Tensor) -> Result<Vec<(String, Tensor)>, Failure> {
        model().run(vec![("floats".into(), floats), ("bytes".into(), bytes)])
    }

    fn floats() -> Tensor {
        tensor(&[1, 2], TensorType::Fp32, &[0; 8])
    }

    #[test]
    fn good_tensors_are_answered_in_any_order() {
        let bytes = tensor(&[1, 2], TensorType::U8, &[0, 9]);
        let answer = run(bytes.clone(), floats()).unwrap();
        assert_eq!((answer[0].0.as_str(), &answer[0].1), ("same", &bytes));
    }

    #[test]
    fn bad_tensors_never_reach_the_engine() {
        let bytes = || tensor(&[1, 2], TensorType::U8, &[0, 9]);
        let nan = [f32::NAN.to_le_bytes(), 0_f32.to_le_bytes()].concat();
        for (floats, word) in [
            (tensor(&[1, 2], TensorType::I32, &[0; 8]), "I32"),
            (tensor(&[2, 1], TensorType::Fp32, &[0; 8]), "[2, 1]"),
            (tensor(&[1, 2, 1], TensorType::Fp32, &[0; 8]), "[1, 2, 1]"),
            (tensor(&[], TensorType::Fp32, &[0; 8]), "[]"),
            (tensor(&[u32::MAX; 9], TensorType::Fp32, &[0; 8]), "shape"),
            (tensor(&[1, 2], TensorType::Fp32, &[0; 7]), "7 bytes"),
            (tensor(&[1, 2], TensorType::Fp32, &[0; 9]), "9 bytes"),
            (tensor(&[1, 2], TensorType::Fp32, &nan), "not numbers"),
        ] {
            match run(bytes(), floats) {
                Err(Failure::Refused(why)) => assert!(why.contains(word), "{why}"),
                other => panic!("{word}: {other:?}"),
            }
        }
        for given in [
            vec![],
            vec![("bytes".into(), bytes())],
            vec![("bytes".into(), bytes()), ("bytes".into(), bytes())],
            vec![("bytes".into(), bytes()), ("other".into(), floats())],
            vec![("bytes".into(), bytes()); 100_000],
        ] {
            assert!(matches!(model().run(given), Err(Failure::Refused(_))));
        }
    }

    #[test]
    fn an_engine_that_fails_or_panics_is_a_failure() {
        for (byte, word) in [(1, "in the middle"), (2, "in the middle"), (3, "0 outputs")] {
            let bytes = tensor(&[1, 2], TensorType::U8, &[byte, 0]);
            match run(bytes, floats()) {
                Err(Failure::Failed(why)) => assert!(why.contains(word), "{why}"),
                other => panic!("{byte}: {other:?}"),
            }
        }
    }
}
