//! One call, one instance: made for the call, and gone after it. Only where the operator asks for it does an instance
//! answer more than once.

use super::artifact::{self, Source};
use super::config::{Pool, pooling};
use super::state::{State, linker};
use super::ticker::Ticker;
use crate::bindings::exports::pinhole::vision::classify::{
    Classification, ClassifyError, Guest, ModelInfo,
};
use crate::bindings::{Classifier, ClassifierPre};
use crate::cli::SandboxArgs;
use crate::error::Error;
use crate::nn::{self, Choice, Models};
use anyhow::{Context, Result, anyhow};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use wasmtime::component::Component;
use wasmtime::{Engine, Store, UpdateDeadline};

/// What a guest may hand to the host in one call, in bytes: some hundred thousand labelled classes. Its sentences and lists
/// are copied into the host's own memory, which `memory_bytes` does not bound.
const HANDED_OVER_BYTES: usize = 16 << 20;

/// What a call may use.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Linear memory of an instance, in bytes.
    pub memory_bytes: usize,
    /// How long a call may run.
    pub deadline: Duration,
    /// Calls that one instance answers: 1, unless isolation between requests was given up for speed.
    pub reuse: u32,
}

impl Limits {
    /// As the command line gives them.
    pub fn new(args: &SandboxArgs) -> Self {
        Self {
            memory_bytes: (args.memory_mib() as usize) << 20,
            deadline: Duration::from_millis(args.deadline_ms),
            reuse: 1,
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
pub struct Answered<T = Classification> {
    /// The guest's answer.
    pub output: T,
    /// Making the instance, before the guest was called.
    pub instantiate: Duration,
}

/// An instance that may answer again.
pub struct Live {
    store: Store<State>,
    instance: Classifier,
    calls_left: u32,
}

/// A component that is ready to be instantiated, again and again.
pub struct Sandbox {
    engine: Engine,
    component: ClassifierPre<State>,
    limits: Limits,
    model: ModelInfo,
    models: Models,
    made: AtomicU64,
    _ticker: Ticker,
}

impl Sandbox {
    /// Loads a component for up to `instances` calls at the same time, and its model where the host runs that. Fails when the
    /// component is not a classifier, or has no model.
    pub fn load(source: &Source, instances: u32, limits: Limits, choice: &Choice) -> Result<Self> {
        let path = source.path();
        let config = pooling(Pool {
            instances,
            memory_bytes: limits.memory_bytes,
        })?;
        let engine = Engine::new(&config)
            .map_err(anyhow::Error::from)
            .context("The WebAssembly engine cannot be made")?;
        let component = artifact::load(&engine, source)?;
        let asks = asks_for_models(&engine, &component);
        choice.check(path, asks)?;
        let component = linker(&engine)
            .and_then(|mut linker| {
                if asks {
                    nn::add_to_linker(&mut linker)?;
                }
                linker.instantiate_pre(&component)
            })
            .and_then(ClassifierPre::new)
            .map_err(|error| {
                anyhow!(
                    "{} is not a classifier of pinhole:vision: {error:#}.",
                    path.display()
                )
            })?;
        let ticker =
            Ticker::start(&engine).context("The thread for interruptions cannot be started")?;
        let mut model = describe(&engine, &component, limits)
            .map_err(|error| anyhow!("{} cannot be started: {error:#}.", path.display()))?
            .ok_or_else(|| {
                anyhow!(
                    "{} has no model in it: bake one in with `pinhole bake`.",
                    path.display()
                )
            })?;
        let models = choice.load(source, &mut model)?;
        Ok(Self {
            engine,
            component,
            limits,
            model,
            models,
            made: AtomicU64::new(0),
            _ticker: ticker,
        })
    }

    /// The model in the component.
    pub fn model(&self) -> &ModelInfo {
        &self.model
    }

    /// How long one call may run.
    pub fn deadline(&self) -> Duration {
        self.limits.deadline
    }

    /// How many instances were made to answer.
    pub fn instances(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    /// Classifies one image in an instance of its own, or in the one in `kept` where instances may be reused. Blocks for as
    /// long as that takes, at most until the deadline; whoever sets `abandoned` ends it earlier.
    pub fn classify(
        &self,
        kept: &mut Option<Live>,
        image: &[u8],
        top_k: u32,
        abandoned: Arc<AtomicBool>,
    ) -> Result<Answered, Error> {
        self.call(kept, abandoned, |guest, store| {
            guest.call_classify(store, image, top_k)
        })
    }

    /// Runs the model on a tensor, in such an instance and under the same limits, and returns one score a class.
    pub fn infer(
        &self,
        kept: &mut Option<Live>,
        tensor: &[f32],
        abandoned: Arc<AtomicBool>,
    ) -> Result<Answered<Vec<f32>>, Error> {
        self.call(kept, abandoned, |guest, store| {
            guest.call_infer(store, tensor)
        })
    }

    fn call<T>(
        &self,
        kept: &mut Option<Live>,
        abandoned: Arc<AtomicBool>,
        ask: impl FnOnce(&Guest, &mut Store<State>) -> wasmtime::Result<Result<T, ClassifyError>>,
    ) -> Result<Answered<T>, Error> {
        let start = Instant::now();
        let mut live = match kept.take() {
            Some(mut live) => {
                let state = live.store.data_mut();
                state.begin(abandoned, start + self.limits.deadline);
                live
            }
            None => self.instantiate(abandoned).map_err(Error::Instance)?,
        };
        let instantiate = start.elapsed();
        let answer = ask(live.instance.pinhole_vision_classify(), &mut live.store);
        if let Some(trouble) = live.store.data_mut().models().take_trouble() {
            tracing::error!("the host's model gave no answer: {trouble}");
        }
        match answer {
            Ok(answer) => {
                live.calls_left -= 1;
                if live.calls_left > 0 {
                    *kept = Some(live);
                }
                Ok(Answered {
                    output: answer.map_err(Error::Guest)?,
                    instantiate,
                })
            }
            // What trapped is in no state to answer again.
            Err(error) => Err(self.explain(error, live.store.data())),
        }
    }

    fn instantiate(&self, abandoned: Arc<AtomicBool>) -> wasmtime::Result<Live> {
        let (store, instance) = instantiate(
            &self.engine,
            &self.component,
            self.limits,
            &self.models,
            abandoned,
        )?;
        self.made.fetch_add(1, Ordering::Relaxed);
        Ok(Live {
            store,
            instance,
            calls_left: self.limits.reuse,
        })
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

/// Whether a component wants the host to run models.
fn asks_for_models(engine: &Engine, component: &Component) -> bool {
    component
        .component_type()
        .imports(engine)
        .any(|(name, _)| name.starts_with("wasi:nn/"))
}

fn describe(
    engine: &Engine,
    component: &ClassifierPre<State>,
    limits: Limits,
) -> wasmtime::Result<Option<ModelInfo>> {
    let never = Arc::new(AtomicBool::new(false));
    let (mut store, instance) = instantiate(engine, component, limits, &Models::default(), never)?;
    instance.pinhole_vision_classify().call_describe(&mut store)
}

fn instantiate(
    engine: &Engine,
    component: &ClassifierPre<State>,
    limits: Limits,
    models: &Models,
    abandoned: Arc<AtomicBool>,
) -> wasmtime::Result<(Store<State>, Classifier)> {
    let mut state = State::new(limits.memory_bytes).with_models(models);
    state.begin(abandoned, Instant::now() + limits.deadline);
    let mut store = Store::new(engine, state);
    store.limiter(|state| state);
    store.set_hostcall_fuel(HANDED_OVER_BYTES);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|context| {
        if context.data().abandoned() {
            return Err(Interruption::Abandoned.into());
        }
        if context.data().is_over() {
            return Err(Interruption::Deadline.into());
        }
        Ok(UpdateDeadline::Continue(1))
    });
    let instance = component.instantiate(&mut store)?;
    Ok((store, instance))
}
