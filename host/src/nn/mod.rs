//! Models that the host runs natively, for guests that decode and rank in their sandbox and ask for the rest through
//! `wasi:nn`. What reaches an engine is a tensor that was checked, and nothing else.
//!
//! `choice` is what the operator asked for, `session` what one instance sees of it, `model` a loaded model, `slot` what each of
//! its inputs takes (`open` as a file says it), `tract`, our own `kernels` and `onnxruntime` are engines. `network` is a model written down for `kernels`.

mod choice;
#[cfg(feature = "nn-kernels")]
mod kernels;
mod model;
#[cfg(feature = "nn-kernels")]
mod network;
#[cfg(feature = "nn-onnxruntime")]
mod onnxruntime;
#[cfg(any(feature = "nn-tract", feature = "nn-onnxruntime"))]
mod open;
mod session;
mod slot;
#[cfg(feature = "nn-tract")]
mod tract;

pub use choice::Choice;
pub use session::{Session, add_to_linker};

#[cfg(all(feature = "bake", feature = "nn-tract"))]
pub use network::write as write_network;

use model::Model;
use std::sync::Arc;

/// The models that the operator named. Each is loaded once in the life of the process; every instance asks the same ones,
/// at the same time as others.
#[derive(Default)]
pub struct Models {
    models: Vec<(String, Arc<Model>)>,
}

impl Models {
    fn iter(&self) -> impl Iterator<Item = (&str, &Arc<Model>)> {
        self.models.iter().map(|(name, model)| (&**name, model))
    }

    fn name_given_twice(&self) -> Option<&str> {
        let names: Vec<&str> = self.iter().map(|(name, _)| name).collect();
        (1..names.len())
            .find(|index| names[..*index].contains(&names[*index]))
            .map(|index| names[index])
    }

    /// The most bytes that an input of any of them has.
    fn largest_input(&self) -> usize {
        self.models
            .iter()
            .map(|(_, model)| model.largest_input())
            .max()
            .unwrap_or_default()
    }
}
