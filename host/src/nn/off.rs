//! A build without any engine: components that leave their model to the host are refused when they are loaded.

use crate::bindings::exports::pinhole::vision::classify::ModelInfo;
use crate::cli::SandboxArgs;
use crate::engine::artifact::Source;
use crate::engine::state::State;
use anyhow::{Result, bail};
use std::path::Path;
use wasmtime::component::Linker;

/// The guest runs its model.
#[derive(Clone, Debug)]
pub struct Choice;

impl Choice {
    /// There is nothing to choose.
    pub fn new(_args: &SandboxArgs) -> Result<Self> {
        Ok(Self)
    }

    /// Refuses a component that `imports` what is not here.
    pub fn check(&self, component: &Path, imports: bool) -> Result<()> {
        if imports {
            bail!(
                "{} leaves its model to the host, and this build of pinhole has no engine to run it: use one with the feature `nn-tract`.",
                component.display()
            );
        }
        Ok(())
    }

    /// None.
    pub fn load(&self, _component: &Source, _model: &mut ModelInfo) -> Result<Models> {
        Ok(Models::default())
    }
}

/// No models.
#[derive(Default)]
pub struct Models(());

/// A view of them.
#[derive(Default)]
pub struct Session(());

impl Session {
    /// The only one.
    pub fn new(_models: &Models) -> Self {
        Self::default()
    }

    /// Nothing fails that is not there.
    pub fn take_trouble(&mut self) -> Option<std::convert::Infallible> {
        None
    }
}

/// Links nothing.
pub fn add_to_linker(_linker: &mut Linker<State>) -> wasmtime::Result<()> {
    Ok(())
}
