//! What the operator asked for: an engine, and models by name.

use super::Models;
use super::model::Model;
use crate::bindings::exports::pinhole::vision::classify::ModelInfo;
use crate::bounded::Bounds;
use crate::cli::{Engine, NamedModel, SandboxArgs};
use crate::engine::artifact::Source;
use crate::files::{self, MODEL_BYTES};
use anyhow::{Result, anyhow, bail};
use std::panic::catch_unwind;
use std::path::Path;
use std::sync::Arc;

/// An engine of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// tract, built in.
    #[cfg(feature = "nn-tract")]
    Tract,
    /// Our own kernels, built in.
    #[cfg(feature = "nn-kernels")]
    Kernels,
    /// ONNX Runtime, a library.
    #[cfg(feature = "nn-onnxruntime")]
    OnnxRuntime,
}

/// Who runs the model.
#[derive(Clone, Debug)]
pub enum Choice {
    /// The guest.
    Guest,
    /// The host, with this engine, these models, and what reading each may take.
    Host(Kind, Vec<NamedModel>, Bounds),
}

impl Choice {
    /// As the command line has it.
    pub fn new(args: &SandboxArgs) -> Result<Self> {
        let kind = match args.engine {
            Engine::Guest if args.models.is_empty() => return Ok(Self::Guest),
            Engine::Guest => bail!(
                "--model names a file for the host to run, but --engine says that the guest runs the model: give --engine, or leave out --model."
            ),
            #[cfg(feature = "nn-tract")]
            Engine::Tract => Kind::Tract,
            #[cfg(feature = "nn-kernels")]
            Engine::Kernels => Kind::Kernels,
            #[cfg(feature = "nn-onnxruntime")]
            Engine::Onnxruntime => Kind::OnnxRuntime,
        };
        if args.models.is_empty() {
            bail!("The host is to run the model, but there is none: name its file with --model.");
        }
        Ok(Self::Host(kind, args.models.clone(), args.load.into()))
    }

    /// Refuses a component that `imports` `wasi:nn` where the guest is to run its model, or does not where the host is.
    pub fn check(&self, component: &Path, imports: bool) -> Result<()> {
        let component = component.display();
        match (self, imports) {
            (Self::Guest, true) => bail!(
                "{component} leaves its model to the host: choose an engine with --engine, and name the ONNX file that it was baked for with --model."
            ),
            (Self::Host(..), false) => bail!(
                "{component} runs its model itself: leave out --engine and --model, or bake one for the host with `pinhole bake --engine nn`."
            ),
            _ => Ok(()),
        }
    }

    /// Loads the models for a component that says this of its own. Adds to that which engine it is that runs it.
    pub fn load(&self, component: &Source, model: &mut ModelInfo) -> Result<Models> {
        let Self::Host(kind, files, bounds) = self else {
            return Ok(Models::default());
        };
        let models = files
            .iter()
            .map(|named| bounds.watch(&named.file, || load(*kind, named, model, component)))
            .collect::<Result<Vec<_>>>()?;
        let models = Models { models };
        if let Some(twice) = models.name_given_twice() {
            bail!("Two models are named `{twice}`: give each a name of its own.");
        }
        let Some((_, own)) = models.iter().find(|(name, _)| *name == model.name) else {
            bail!(
                "{} asks for a model named `{}`, and none of those given has that name.",
                component.path().display(),
                model.name
            );
        };
        model.engine = own.engine().into();
        Ok(models)
    }
}

/// Loads a model. Without a name it is the component's own, and must be the very file that it was baked for.
#[cfg_attr(
    not(feature = "nn-kernels"),
    allow(unused_variables, reason = "only their files may be without a seal")
)]
fn load(
    kind: Kind,
    named: &NamedModel,
    own: &ModelInfo,
    component: &Source,
) -> Result<(String, Arc<Model>)> {
    let path = named.file.display();
    let file = files::read(&named.file, "model", MODEL_BYTES)?;
    let unusable = |why: String| anyhow!("The model {path} cannot be made ready: {why}.");
    let expected = |sha256: &str| {
        if named.name.is_none() && sha256 != own.sha256 {
            bail!(
                "{path} is not the file that the component was baked for, which has the SHA-256 {}, or was not made from that: name that one, bake again, or write --model {}={path} to use it all the same.",
                own.sha256,
                own.name
            );
        }
        Ok(())
    };
    let name = named.name.clone().unwrap_or_else(|| own.name.clone());
    let model = catch_unwind(|| match kind {
        #[cfg(feature = "nn-tract")]
        Kind::Tract => {
            expected(&sha256(&file))?;
            super::tract::load(&file, shape(own, &name).as_deref()).map_err(unusable)
        }
        #[cfg(feature = "nn-kernels")]
        Kind::Kernels => {
            let (made_from, model) =
                super::network::load(&file, named.file.as_path(), component.trust())
                    .map_err(unusable)?;
            expected(&made_from)?;
            Ok(model)
        }
        #[cfg(feature = "nn-onnxruntime")]
        Kind::OnnxRuntime => {
            expected(&sha256(&file))?;
            super::onnxruntime::load(&file, shape(own, &name).as_deref()).map_err(unusable)
        }
    })
    .unwrap_or_else(|_| Err(unusable("the engine panicked".into())))?;
    Ok((name, Arc::new(model)))
}

/// What a model of this name gets as its input, where it is the component's own.
#[cfg(any(feature = "nn-tract", feature = "nn-onnxruntime"))]
fn shape(own: &ModelInfo, name: &str) -> Option<Vec<usize>> {
    let shape = own.input.shape.iter().map(|size| *size as usize);
    (name == own.name).then(|| shape.collect())
}

/// Of an ONNX file, in hexadecimal.
#[cfg(any(feature = "nn-tract", feature = "nn-onnxruntime"))]
pub(super) fn sha256(file: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(file)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
