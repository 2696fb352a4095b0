//! A model in the guest's own form: what one guest has compiled from ONNX, and another loads without tract.

use crate::infer::{Input, Network};
use crate::model::Model;
use crate::preprocess::Preprocessing;
use serde::{Deserialize, Serialize};

/// The first bytes of the form, with its version: an ONNX file never begins so.
const MAGIC: &[u8] = b"pinhole model 1\n";

/// Everything of a model but its working memory.
#[derive(Serialize, Deserialize)]
struct Compiled<N> {
    name: String,
    version: String,
    sha256: String,
    labels: Vec<String>,
    preprocessing: Preprocessing,
    scores_are_probabilities: bool,
    max_pixels: u64,
    input: Input,
    softmax: bool,
    network: N,
}

/// Whether bytes are of this form.
pub fn is_compiled(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// A model in this form; none where tract runs it.
pub fn compile(model: Model) -> Result<Option<Vec<u8>>, String> {
    let Some((network, softmax)) = model.network.kernels() else {
        return Ok(None);
    };
    let compiled = Compiled {
        name: model.name,
        version: model.version,
        sha256: model.sha256,
        labels: model.labels,
        preprocessing: model.preprocessing,
        scores_are_probabilities: model.scores_are_probabilities,
        max_pixels: model.max_pixels,
        input: model.network.input.clone(),
        softmax,
        network,
    };
    postcard::to_extend(&compiled, MAGIC.to_vec())
        .map(Some)
        .map_err(|error| format!("The model cannot be written down: {error}."))
}

/// Reads a model back. The bytes come from `compile` of the same version; others are refused, or fail in the sandbox.
pub fn load(bytes: &[u8]) -> Result<Model, String> {
    let body = bytes.strip_prefix(MAGIC).ok_or(
        "This guest takes only compiled models: ONNX files go through the guest with tract.",
    )?;
    let compiled: Compiled<pinhole_kernels::Network> = postcard::from_bytes(body)
        .map_err(|error| format!("The compiled model cannot be read: {error}."))?;
    let network = Network::on_kernels(compiled.input, compiled.network, compiled.softmax);
    if network.classes != compiled.labels.len() {
        return Err("The compiled model has another number of labels than classes.".into());
    }
    Ok(Model {
        name: compiled.name,
        version: compiled.version,
        sha256: compiled.sha256,
        labels: compiled.labels,
        preprocessing: compiled.preprocessing,
        scores_are_probabilities: compiled.scores_are_probabilities,
        max_pixels: compiled.max_pixels,
        network,
    })
}
