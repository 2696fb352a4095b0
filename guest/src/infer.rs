//! The input tensor to scores.
//!
//! A model runs on our own kernels where its graph is of the kind they are made for, and on tract otherwise; or the host
//! runs it.

use crate::error::ClassifyError;
#[cfg(feature = "nn")]
use crate::on_host::OnHost;
use crate::preprocess::Layout;
#[cfg(feature = "kernels")]
use crate::rank::softmax;
#[cfg(feature = "tract")]
use crate::tract::Plan;
#[cfg(feature = "kernels")]
use pinhole_kernels::{Arena, Network as Kernels};
#[cfg(feature = "tract")]
use pinhole_onnx::Obstacle;
use serde::{Deserialize, Serialize};
#[cfg(feature = "kernels")]
use std::sync::{Mutex, PoisonError};

/// Type of the elements of the model's own input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ElementType {
    /// 32-bit floats.
    Float32,
    /// 16-bit floats.
    Float16,
    /// Bytes.
    Uint8,
}

/// What the model's own input looks like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// Its name in the model.
    pub name: String,
    /// Its dimensions, the batch of 1 included.
    pub shape: [usize; 4],
    /// Their order.
    pub layout: Layout,
    /// Type of its elements.
    pub element_type: ElementType,
}

impl Input {
    /// How many values it has.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// A model that is optimised and ready to run.
pub struct Network {
    /// What it takes.
    pub input: Input,
    /// How many scores it gives.
    pub classes: usize,
    engine: Engine,
}

enum Engine {
    #[cfg(feature = "tract")]
    Tract(Box<OnTract>),
    #[cfg(feature = "kernels")]
    Kernels(Box<Own>),
    #[cfg(feature = "nn")]
    Host(OnHost),
}

/// tract, and why it is not our kernels.
#[cfg(feature = "tract")]
struct OnTract {
    plan: Plan,
    why: Obstacle,
}

/// Our kernels, which take pixels channels last.
#[cfg(feature = "kernels")]
struct Own {
    network: Kernels,
    /// Working memory. The sandbox has one thread: the lock is never contended.
    arena: Mutex<Arena>,
    softmax: bool,
}

impl Network {
    /// A model that runs on tract, because of `why`.
    #[cfg(feature = "tract")]
    pub fn on_tract(input: Input, classes: usize, plan: Plan, why: Obstacle) -> Self {
        Self {
            input,
            classes,
            engine: Engine::Tract(Box::new(OnTract { plan, why })),
        }
    }

    /// A model that the host runs.
    #[cfg(feature = "nn")]
    pub fn on_host(input: Input, classes: usize, model: OnHost) -> Self {
        Self {
            input,
            classes,
            engine: Engine::Host(model),
        }
    }

    /// A model that runs on our kernels, with a softmax over its scores if it ends in one.
    #[cfg(feature = "kernels")]
    pub fn on_kernels(input: Input, network: Kernels, softmax: bool) -> Self {
        let arena = Mutex::new(network.arena());
        let classes = network.output_len();
        Self {
            input,
            classes,
            engine: Engine::Kernels(Box::new(Own {
                network,
                arena,
                softmax,
            })),
        }
    }

    /// The kernels' network, and whether a softmax follows it; none where something else runs the model.
    #[cfg(feature = "kernels")]
    pub fn kernels(&self) -> Option<(&Kernels, bool)> {
        match &self.engine {
            #[cfg(feature = "tract")]
            Engine::Tract(_) => None,
            #[cfg(feature = "nn")]
            Engine::Host(_) => None,
            Engine::Kernels(own) => Some((&own.network, own.softmax)),
        }
    }

    /// Why our kernels do not run the model; none where they do.
    #[cfg(feature = "tract")]
    pub fn obstacle(&self) -> Option<&Obstacle> {
        match &self.engine {
            Engine::Tract(tract) => Some(&tract.why),
            _ => None,
        }
    }

    /// In which order `run_prepared` wants pixels.
    pub fn prepared_layout(&self) -> Layout {
        match self.engine {
            #[cfg(feature = "tract")]
            Engine::Tract(_) => self.input.layout,
            #[cfg(feature = "nn")]
            Engine::Host(_) => self.input.layout,
            #[cfg(feature = "kernels")]
            Engine::Kernels(_) => Layout::Nhwc,
        }
    }

    /// Which engine runs the model, for people.
    pub fn engine(&self) -> String {
        match &self.engine {
            #[cfg(feature = "tract")]
            Engine::Tract(_) => "tract".into(),
            // The host knows which engine it has, and says so in its own descriptions.
            #[cfg(feature = "nn")]
            Engine::Host(_) => "wasi-nn".into(),
            #[cfg(feature = "kernels")]
            Engine::Kernels(own) => format!("kernels-{:?}", own.network.precision()).to_lowercase(),
        }
    }

    /// Runs the model on a tensor in the model's own layout, and returns one score a class. Every element must be finite,
    /// whoever runs the model: engines make something else of the others each.
    pub fn run(&self, tensor: &[f32]) -> Result<Vec<f32>, ClassifyError> {
        let elements = self.input.elements();
        if tensor.len() != elements {
            return Err(ClassifyError::InvalidArgument(format!(
                "The model takes {elements} values, not {}.",
                tensor.len()
            )));
        }
        if !tensor.iter().all(|value| value.is_finite()) {
            return Err(ClassifyError::InvalidArgument(
                "A tensor's elements must be finite numbers: NaN and infinities are not taken."
                    .into(),
            ));
        }
        if self.input.layout == self.prepared_layout() {
            return self.run_prepared(tensor);
        }
        let [_, channels, height, width] = self.input.shape;
        let pixels = height * width;
        let turned: Vec<f32> = (0..elements)
            .map(|index| tensor[index % channels * pixels + index / channels])
            .collect();
        self.run_prepared(&turned)
    }

    /// Runs the model on a tensor in `prepared_layout`.
    pub fn run_prepared(&self, tensor: &[f32]) -> Result<Vec<f32>, ClassifyError> {
        match &self.engine {
            #[cfg(feature = "tract")]
            Engine::Tract(tract) => tract.plan.run(tensor),
            #[cfg(feature = "nn")]
            Engine::Host(model) => model.run(&self.input, self.classes, tensor),
            #[cfg(feature = "kernels")]
            Engine::Kernels(own) => {
                let whole: Vec<f32>;
                let tensor = if self.input.element_type == ElementType::Uint8 {
                    // The model was made for pixels that are whole numbers.
                    whole = tensor
                        .iter()
                        .map(|value| value.round().clamp(0.0, 255.0))
                        .collect();
                    &whole
                } else {
                    tensor
                };
                let mut scores = vec![0.0; self.classes];
                let mut arena = own.arena.lock().unwrap_or_else(PoisonError::into_inner);
                own.network.run(&mut arena, tensor, &mut scores);
                Ok(if own.softmax {
                    softmax(&scores)
                } else {
                    scores
                })
            }
        }
    }
}

#[cfg(all(test, feature = "nn"))]
mod tests {
    use super::*;
    use crate::on_host::Answer;

    #[test]
    fn what_is_not_finite_reaches_no_engine() {
        let input = Input {
            name: "image".into(),
            shape: [1, 1, 1, 2],
            layout: Layout::Nchw,
            element_type: ElementType::Float32,
        };
        let host = OnHost {
            name: "model".into(),
            output: "scores".into(),
            ask: |question| {
                Ok(Answer {
                    element_type: ElementType::Float32,
                    elements: question.elements.to_vec(),
                })
            },
        };
        let network = Network::on_host(input, 2, host);
        assert_eq!(network.run(&[1.0, f32::MAX]).unwrap(), [1.0, f32::MAX]);
        for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let error = network.run(&[1.0, wrong]).unwrap_err();
            assert_eq!(error.code(), "invalid-argument");
        }
    }
}
