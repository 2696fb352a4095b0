//! A model in the form of our own kernels: what a host with tract has made of an ONNX file, for hosts without.

use super::kernels::Layers;
use super::model::Model;
use super::slot::Slot;
use serde::{Deserialize, Serialize};
use wasmtime_wasi_nn::wit::TensorType;

/// The first bytes of the form, with its version.
const MAGIC: &[u8] = b"pinhole network 2\n";

/// All of it.
#[derive(Serialize, Deserialize)]
struct Stored {
    /// Of the ONNX file.
    sha256: String,
    input: String,
    shape: Vec<usize>,
    output: String,
    layers: Layers,
}

/// Reads a model back. Tells the SHA-256 of the ONNX file that it was made from as well. The error is the end of a sentence.
pub fn load(file: &[u8]) -> Result<(String, Model), String> {
    let body = file
        .strip_prefix(MAGIC)
        .ok_or("it is no model that `pinhole bake --network` of this version has written")?;
    let damaged = || "the file is damaged".to_string();
    let stored: Stored = postcard::from_bytes(body).map_err(|_| damaged())?;
    if !stored.layers.fits(&stored.shape) {
        return Err(damaged());
    }
    let input = Slot {
        name: stored.input,
        shape: stored.shape,
        element_type: TensorType::Fp32,
    };
    let model = Model::new(vec![input], vec![stored.output], stored.layers);
    Ok((stored.sha256, model))
}

/// Makes one of an ONNX file; where that leaves the size of its images open, they have `side` pixels a side. The error is one
/// plain sentence.
#[cfg(all(feature = "bake", feature = "nn-tract"))]
pub fn write(file: &[u8], side: usize) -> Result<Vec<u8>, String> {
    let (input, output, layers) = super::tract::layers(file, side).map_err(|why| {
        format!("The model cannot be written down for Pinhole's own kernels: {why}. Leave out --network, and serve it with --engine tract.")
    })?;
    let stored = Stored {
        sha256: super::choice::sha256(file),
        input: input.name,
        shape: input.shape,
        output,
        layers,
    };
    postcard::to_extend(&stored, MAGIC.to_vec())
        .map_err(|error| format!("The model cannot be written down: {error}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_network_is_refused() {
        let spoiled = [MAGIC, b"spoiled"].concat();
        for (file, word) in [
            (&b"\x08\x07"[..], "`pinhole bake --network`"),
            (MAGIC, "damaged"),
            (&spoiled, "damaged"),
        ] {
            match load(file) {
                Err(why) => assert!(why.contains(word), "{why}"),
                Ok(_) => panic!("{word}"),
            }
        }
    }
}
