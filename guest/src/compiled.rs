//! A model in the guest's own form: what one guest has compiled from ONNX, and another loads without tract. The host may run
//! the model itself: the form then holds all but the network.

#[cfg(feature = "kernels")]
use crate::alloc::Aside;
use crate::infer::{Input, Network};
use crate::model::Model;
#[cfg(feature = "nn")]
use crate::on_host::{Ask, OnHost};
use crate::preprocess::Preprocessing;
use serde::{Deserialize, Serialize};

/// The first bytes of the form, with its version: an ONNX file never begins so.
#[cfg(feature = "kernels")]
const MAGIC: &[u8] = b"pinhole model 6\n";

/// Those of a model that the host runs.
#[cfg(any(feature = "nn", feature = "tract"))]
const ON_HOST_MAGIC: &[u8] = b"pinhole model on host 2\n";

/// After the first of those, a number: about how many bytes a model takes beyond its weights.
#[cfg(feature = "kernels")]
const ROOM_BYTES: usize = 4;

/// Everything of a model but its working memory.
#[derive(Serialize, Deserialize)]
pub(crate) struct Compiled<N> {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) sha256: String,
    pub(crate) labels: Vec<String>,
    pub(crate) preprocessing: Preprocessing,
    pub(crate) scores_are_probabilities: bool,
    pub(crate) max_pixels: u64,
    pub(crate) input: Input,
    pub(crate) softmax: bool,
    pub(crate) network: N,
}

/// What stands for the network of a model that the host runs.
#[cfg(any(feature = "nn", feature = "tract"))]
#[derive(Serialize, Deserialize)]
pub(crate) struct Outline {
    /// The output that has the scores.
    pub(crate) output: String,
}

impl<N> Compiled<N> {
    fn into_model(self, network: impl FnOnce(Input, N, bool) -> Network) -> Model {
        Model {
            network: network(self.input, self.network, self.softmax),
            name: self.name,
            version: self.version,
            sha256: self.sha256,
            labels: self.labels,
            preprocessing: self.preprocessing,
            scores_are_probabilities: self.scores_are_probabilities,
            max_pixels: self.max_pixels,
        }
    }
}

/// Whether bytes are of this form, with a network.
#[cfg(feature = "kernels")]
pub fn is_compiled(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// Whether bytes are of this form, of a model that the host runs.
#[cfg(feature = "nn")]
pub fn is_on_host(bytes: &[u8]) -> bool {
    bytes.starts_with(ON_HOST_MAGIC)
}

#[cfg(feature = "kernels")]
fn room(bytes: &[u8]) -> Option<usize> {
    let room = bytes.strip_prefix(MAGIC)?.first_chunk::<ROOM_BYTES>()?;
    usize::try_from(u32::from_le_bytes(*room)).ok()
}

/// A model in this form; none where tract runs it.
#[cfg(feature = "kernels")]
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
    let mut bytes = write(&compiled, [MAGIC, &[0; ROOM_BYTES]].concat())?;
    // Weights of 16 bits may be written down in fewer.
    let grows = network.weights_bytes().saturating_sub(bytes.len());
    let room = network.arena().bytes() * 2 + names + grows + (64 << 10);
    let room = u32::try_from(room).unwrap_or_default();
    bytes[MAGIC.len()..][..ROOM_BYTES].copy_from_slice(&room.to_le_bytes());
    Ok(Some(bytes))
}

/// A model that the host runs, in this form.
#[cfg(feature = "tract")]
pub(crate) fn on_host(model: &Compiled<Outline>) -> Result<Vec<u8>, String> {
    write(model, ON_HOST_MAGIC.to_vec())
}

#[cfg(feature = "kernels")]
fn write<N: Serialize>(compiled: &Compiled<N>, start: Vec<u8>) -> Result<Vec<u8>, String> {
    postcard::to_extend(compiled, start)
        .map_err(|error| format!("The model cannot be written down: {error}."))
}

/// Reads a model back. The bytes come from `compile` of the same version; others are refused, or fail in the sandbox.
#[cfg(feature = "kernels")]
pub fn load(bytes: Vec<u8>) -> Result<Model, String> {
    // The model takes the place that the bytes had, and its working memory the room beside it.
    let room = room(&bytes).unwrap_or_default();
    let room = std::hint::black_box(Vec::<u8>::with_capacity(room));
    let aside = Aside::new(&bytes);
    drop((bytes, room));
    let body = aside
        .strip_prefix(MAGIC)
        .and_then(|body| body.get(ROOM_BYTES..))
        .ok_or("This is no compiled model.")?;
    let compiled: Compiled<pinhole_kernels::Network> = read(body)?;
    let model = compiled.into_model(Network::on_kernels);
    if model.network.classes != model.labels.len() {
        return Err("The compiled model has another number of labels than classes.".into());
    }
    Ok(model)
}

/// Reads a model back that the host runs, and is asked for in this way.
#[cfg(feature = "nn")]
pub fn load_on_host(bytes: &[u8], ask: Ask) -> Result<Model, String> {
    let body = bytes
        .strip_prefix(ON_HOST_MAGIC)
        .ok_or("This is no compiled model that the host runs.")?;
    let compiled: Compiled<Outline> = read(body)?;
    let (name, classes) = (compiled.name.clone(), compiled.labels.len());
    Ok(compiled.into_model(|input, Outline { output }, _| {
        Network::on_host(input, classes, OnHost { name, output, ask })
    }))
}

fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, String> {
    postcard::from_bytes(body)
        .map_err(|error| format!("The compiled model cannot be read: {error}."))
}
