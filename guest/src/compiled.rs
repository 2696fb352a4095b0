//! A model in the guest's own form: what one guest has compiled from ONNX, and another loads without tract.

use crate::alloc::Aside;
use crate::infer::{Input, Network};
use crate::model::Model;
use crate::preprocess::Preprocessing;
use serde::{Deserialize, Serialize};

/// The first bytes of the form, with its version: an ONNX file never begins so.
const MAGIC: &[u8] = b"pinhole model 2\n";

/// After those, a number: about how many bytes a model takes beyond its weights.
const ROOM_BYTES: usize = 4;

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

fn room(bytes: &[u8]) -> Option<usize> {
    let room = bytes.strip_prefix(MAGIC)?.first_chunk::<ROOM_BYTES>()?;
    usize::try_from(u32::from_le_bytes(*room)).ok()
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
    let names: usize = compiled.labels.iter().map(|label| label.len() + 64).sum();
    let room = compiled.network.arena().bytes() * 2 + names + (64 << 10);
    let mut start = MAGIC.to_vec();
    start.extend_from_slice(&u32::try_from(room).unwrap_or_default().to_le_bytes());
    postcard::to_extend(&compiled, start)
        .map(Some)
        .map_err(|error| format!("The model cannot be written down: {error}."))
}

/// Reads a model back. The bytes come from `compile` of the same version; others are refused, or fail in the sandbox.
pub fn load(bytes: Vec<u8>) -> Result<Model, String> {
    // The model takes the place that the bytes had, and its working memory the room beside it.
    let room = room(&bytes).unwrap_or_default();
    let room = std::hint::black_box(Vec::<u8>::with_capacity(room));
    let aside = Aside::new(&bytes);
    drop((bytes, room));
    let body = aside
        .strip_prefix(MAGIC)
        .and_then(|body| body.get(ROOM_BYTES..))
        .ok_or(
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
