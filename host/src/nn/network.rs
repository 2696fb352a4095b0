//! A model in the form of our own kernels: what a host with tract has made of an ONNX file, for hosts without. The file is
//! sealed: a bit of it that has changed would be a weight that has.

use super::kernels::Layers;
use super::model::Model;
use super::slot::Slot;
use crate::engine::artifact::aloud;
use crate::engine::seal::{self, Flaw, Kind, Trust};
use serde::{Deserialize, Serialize};
use std::path::Path;
use wasmtime_wasi_nn::wit::TensorType;

/// The first bytes of the form behind the seal, with its version.
const MAGIC: &[u8] = b"pinhole network 3\n";

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

/// Reads a model back from a file, which is sealed, or may be without a seal if the operator says so. Tells the SHA-256 of the
/// ONNX file that it was made from as well. The error is the end of a sentence.
pub fn load(file: &[u8], path: &Path, trust: Trust) -> Result<(String, Model), String> {
    let contents = match seal::open(file, Kind::Network) {
        Ok(contents) => contents,
        Err(Flaw::Unsealed) if trust == Trust::Unsealed && file.starts_with(MAGIC) => {
            aloud(&format!(
                "{} has no checksum and is run all the same, because of --trust-unsealed: if it is damaged, answers are wrong.",
                path.display()
            ));
            file
        }
        Err(Flaw::Unsealed) if file.starts_with(MAGIC) => {
            return Err(format!(
                "{}. Make it again with `pinhole bake --network`, or add --trust-unsealed",
                Flaw::Unsealed
            ));
        }
        Err(Flaw::Unsealed | Flaw::Kind) => {
            return Err("`pinhole bake --network` of this version has not written it".into());
        }
        Err(flaw) => {
            return Err(format!(
                "{flaw}. Copy it again, or make it again with `pinhole bake --network`"
            ));
        }
    };
    let body = contents.strip_prefix(MAGIC).ok_or(
        "`pinhole bake --network` of another version has written it: make it again with this one",
    )?;
    let damaged = || "the file is damaged".to_string();
    let stored: Stored = match postcard::take_from_bytes(body) {
        Ok((stored, [])) => stored,
        _ => return Err(damaged()),
    };
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
    let contents = postcard::to_extend(&stored, MAGIC.to_vec())
        .map_err(|error| format!("The model cannot be written down: {error}."))?;
    Ok(seal::seal(&contents, Kind::Network))
}

#[cfg(test)]
#[cfg(feature = "bake")]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(file: &[u8], trust: Trust, word: &str) {
        match load(file, Path::new("a.network"), trust) {
            Err(why) => assert!(why.contains(word), "{why}"),
            Ok(_) => panic!("{word}"),
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        let sealed = |contents: &[u8]| seal::seal(contents, Kind::Network);
        let spoiled = [MAGIC, b"spoiled"].concat();
        for trust in [Trust::Sealed, Trust::Unsealed] {
            refused(b"\x08\x07", trust, "`pinhole bake --network`");
            refused(&sealed(MAGIC), trust, "damaged");
            refused(&sealed(&spoiled), trust, "damaged");
            refused(&sealed(b"pinhole network 0\n"), trust, "another version");
            refused(&seal::seal(&spoiled, Kind::Code), trust, "has not written");
        }
        refused(&spoiled, Trust::Sealed, "--trust-unsealed");
        // It is looked at then.
        refused(&spoiled, Trust::Unsealed, "the file is damaged");
    }
}
