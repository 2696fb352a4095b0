//! One call, one instance: made for the call, and gone after it.

use super::artifact;
use super::config::{Pool, pooling};
use super::state::{State, linker};
use super::ticker::Ticker;
use crate::bindings::exports::pinhole::vision::classify::{Classification, ModelInfo};
use crate::bindings::{Classifier, ClassifierPre};
use crate::cli::SandboxArgs;
use crate::error::Error;
use anyhow::{Context, Result, anyhow};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use wasmtime::{Engine, Store, UpdateDeadline};

/// What a call may use.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Linear memory of an instance, in bytes.
    pub memory_bytes: usize,
    /// How long a call may run.
    pub deadline: Duration,
}

impl Limits {
    /// As the command line gives them.
    pub fn new(args: &SandboxArgs) -> Self {
        Self {
            memory_bytes: (args.memory_mib as usize) << 20,
            deadline: Duration::from_millis(args.deadline_ms),
        }
    }
}

/// Why running code was interrupted.
#[derive(Debug, thiserror::Error)]
enum Interruption {
    #[error("deadline")]
    Deadline,
    #[error("abandoned")]
    Abandoned,
}

/// An answer, and what it cost to make the sandbox that gave it.
#[derive(Debug)]
pub struct Answered {
    /// The guest's answer.
    pub classification: Classification,
    /// Making the instance, before the guest was called.
    pub instantiate: Duration,
}

/// A component that is ready to be instantiated, again and again.
pub struct Sandbox {
    engine: Engine,
    component: ClassifierPre<State>,
    limits: Limits,
    model: ModelInfo,
    _ticker: Ticker,
}

impl Sandbox {
    /// Loads a component for up to `instances` calls at the same time. Fails when the component is not a classifier, or
    /// has no model.
    pub fn load(path: &Path, instances: u32, limits: Limits) -> Result<Self> {
        let config = pooling(Pool {
            instances,
            memory_bytes: limits.memory_bytes,
        })?;
        let engine = Engine::new(&config)
            .map_err(anyhow::Error::from)
            .context("The WebAssembly engine cannot be made")?;
        let component = artifact::load(&engine, path)?;
        let component = linker(&engine)
            .and_then(|linker| linker.instantiate_pre(&component))
            .and_then(ClassifierPre::new)
            .map_err(|error| {
                anyhow!(
                    "{} is not a classifier of pinhole:vision: {error:#}.",
                    path.display()
                )
            })?;
        let ticker =
            Ticker::start(&engine).context("The thread for interruptions cannot be started")?;
        let model = describe(&engine, &component, limits)
            .map_err(|error| anyhow!("{} cannot be started: {error:#}.", path.display()))?
            .ok_or_else(|| {
                anyhow!(
                    "{} has no model in it: bake one in with `pinhole bake`.",
                    path.display()
                )
            })?;
        Ok(Self {
            engine,
            component,
            limits,
            model,
            _ticker: ticker,
        })
    }

    /// The model in the component.
    pub fn model(&self) -> &ModelInfo {
        &self.model
    }

    /// Classifies one image in an instance of its own. Blocks for as long as that takes, at most until the deadline;
    /// whoever sets `abandoned` ends it earlier.
    pub fn classify(
        &self,
        image: &[u8],
        top_k: u32,
        abandoned: Arc<AtomicBool>,
    ) -> Result<Answered, Error> {
        let start = Instant::now();
        let (mut store, instance) =
            instantiate(&self.engine, &self.component, self.limits, abandoned)
                .map_err(Error::Instance)?;
        let instantiate = start.elapsed();
        let result = instance
            .pinhole_vision_classify()
            .call_classify(&mut store, image, top_k);
        match result {
            Ok(Ok(classification)) => Ok(Answered {
                classification,
                instantiate,
            }),
            Ok(Err(error)) => Err(Error::Guest(error)),
            Err(error) => Err(self.explain(error, store.data())),
        }
    }

    /// Why a call ended without a result.
    fn explain(&self, error: wasmtime::Error, state: &State) -> Error {
        match error.downcast_ref::<Interruption>() {
            Some(Interruption::Deadline) => return Error::Deadline(self.limits.deadline),
            Some(Interruption::Abandoned) => return Error::Abandoned,
            None => {}
        }
        // A guest that is refused memory aborts: the trap is the image's doing.
        if state.memory_limit_hit() {
            return Error::MemoryLimit {
                limit: self.limits.memory_bytes,
            };
        }
        tracing::error!(
            trap = format!("{error:#}"),
            stderr = state.stderr(),
            "the guest trapped"
        );
        Error::Trap(error)
    }
}

fn describe(
    engine: &Engine,
    component: &ClassifierPre<State>,
    limits: Limits,
) -> wasmtime::Result<Option<ModelInfo>> {
    let never = Arc::new(AtomicBool::new(false));
    let (mut store, instance) = instantiate(engine, component, limits, never)?;
    instance.pinhole_vision_classify().call_describe(&mut store)
}

fn instantiate(
    engine: &Engine,
    component: &ClassifierPre<State>,
    limits: Limits,
    abandoned: Arc<AtomicBool>,
) -> wasmtime::Result<(Store<State>, Classifier)> {
    let mut store = Store::new(engine, State::new(limits.memory_bytes, abandoned));
    store.limiter(|state| state);
    let end = Instant::now() + limits.deadline;
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(move |context| {
        if context.data().abandoned() {
            return Err(Interruption::Abandoned.into());
        }
        if Instant::now() >= end {
            return Err(Interruption::Deadline.into());
        }
        Ok(UpdateDeadline::Continue(1))
    });
    let instance = component.instantiate(&mut store)?;
    Ok((store, instance))
}
