//! What one instance may touch: no directory, no environment, no network, no inherited stream, and bounded memory.

use crate::nn::{Models, Session};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime::{Engine, ResourceLimiter};
#[cfg(feature = "bake")]
use wasmtime_wasi::cli::StdoutStream;
use wasmtime_wasi::cli::{WasiCli, WasiCliView as _};
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksCtxView, WasiClocksView as _};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView as _};
use wasmtime_wasi::p2::DynPollable;
use wasmtime_wasi::p2::bindings::clocks::monotonic_clock;
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
#[cfg(feature = "bake")]
use wasmtime_wasi::random::Deterministic;
use wasmtime_wasi::random::WasiRandom;
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

/// Bytes of a guest's dying words that are kept for the log.
const STDERR_BYTES: usize = 4096;

/// Random bytes a guest gets at once: it needs a few, to seed its hash maps.
const RANDOM_BYTES: u64 = 4096;

/// Tables, memories and core instances one component may have: each a small number, known from how guests are built.
const TABLES: usize = 8;
const MEMORIES: usize = 1;
const INSTANCES: usize = 16;
const TABLE_ELEMENTS: usize = 100_000;

/// The data of a store.
pub struct State {
    wasi: WasiCtx,
    resources: ResourceTable,
    stderr: MemoryOutputPipe,
    models: Session,
    memory_limit: usize,
    memory_limit_hit: bool,
    memory_bytes: usize,
    abandoned: Arc<AtomicBool>,
    end: Option<Instant>,
}

impl State {
    /// State for one instance.
    pub fn new(memory_limit: usize) -> Self {
        let stderr = MemoryOutputPipe::new(STDERR_BYTES);
        let wasi = WasiCtxBuilder::new()
            .stderr(stderr.clone())
            .max_random_size(RANDOM_BYTES)
            .allow_tcp(false)
            .allow_udp(false)
            .build();
        let mut resources = ResourceTable::new();
        // A guest holds a handful of handles. One that collects them has its own memory to fill, not ours.
        resources.set_max_capacity(64);
        Self {
            wasi,
            resources,
            stderr,
            models: Session::default(),
            memory_limit,
            memory_limit_hit: false,
            memory_bytes: 0,
            abandoned: Arc::default(),
            end: None,
        }
    }

    /// State for baking: the clocks stand still and random numbers repeat, so that snapshots do, too.
    #[cfg(feature = "bake")]
    pub fn fixed(memory_limit: usize, stdout: impl StdoutStream + 'static) -> Self {
        let mut state = Self::new(memory_limit);
        state.wasi = WasiCtxBuilder::new()
            .secure_random(Deterministic::new(vec![0x5a]))
            .insecure_random(Deterministic::new(vec![0x5a]))
            .insecure_random_seed(0x5a)
            .wall_clock(StoppedClock)
            .monotonic_clock(StoppedClock)
            .stdout(stdout)
            .stderr(state.stderr.clone())
            .build();
        state
    }

    /// The same, with models of the host's to ask.
    pub fn with_models(mut self, models: &Models) -> Self {
        self.models = Session::new(models);
        self
    }

    /// The models of the host's.
    pub fn models(&mut self) -> &mut Session {
        &mut self.models
    }

    /// Whether the guest was refused memory.
    pub fn memory_limit_hit(&self) -> bool {
        self.memory_limit_hit
    }

    /// The most linear memory that the guest has had, in bytes.
    #[cfg(feature = "bake")]
    pub fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// Before each call: when it must have ended, and who may end it earlier, by setting `abandoned`.
    pub fn begin(&mut self, abandoned: Arc<AtomicBool>, end: Instant) {
        self.abandoned = abandoned;
        self.end = Some(end);
        // A limit that an earlier image hit says nothing about this one.
        self.memory_limit_hit = false;
    }

    /// Whether the call has run for as long as it may.
    pub fn is_over(&self) -> bool {
        self.end.is_some_and(|end| Instant::now() >= end)
    }

    /// Whether nobody waits for the answer any more.
    pub fn abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed)
    }

    /// What the guest wrote to standard error: the message of a panic, for the log.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr.contents())
            .trim()
            .to_string()
    }
}

/// A clock for baking.
#[cfg(feature = "bake")]
struct StoppedClock;

#[cfg(feature = "bake")]
impl wasmtime_wasi::HostMonotonicClock for StoppedClock {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        0
    }
}

#[cfg(feature = "bake")]
impl wasmtime_wasi::HostWallClock for StoppedClock {
    fn resolution(&self) -> std::time::Duration {
        std::time::Duration::from_secs(1)
    }

    fn now(&self) -> std::time::Duration {
        std::time::Duration::ZERO
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.resources,
        }
    }
}

impl ResourceLimiter for State {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let allowed = desired <= self.memory_limit;
        self.memory_limit_hit |= !allowed;
        if allowed {
            self.memory_bytes = self.memory_bytes.max(desired);
        }
        Ok(allowed)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS)
    }

    fn instances(&self) -> usize {
        INSTANCES
    }

    fn tables(&self) -> usize {
        TABLES
    }

    fn memories(&self) -> usize {
        MEMORIES
    }
}

/// Streams and polling have no view of their own in `wasmtime-wasi`: they live in the table of resources.
struct Io;

impl HasData for Io {
    type Data<'a> = &'a mut ResourceTable;
}

/// A monotonic clock to read, and not to wait for. A guest that sleeps is in the host, where no deadline reaches it, and
/// a worker would sleep with it.
struct Clock;

impl HasData for Clock {
    type Data<'a> = ClockView<'a>;
}

struct ClockView<'a>(WasiClocksCtxView<'a>);

impl monotonic_clock::Host for ClockView<'_> {
    fn now(&mut self) -> wasmtime::Result<u64> {
        monotonic_clock::Host::now(&mut self.0)
    }

    fn resolution(&mut self) -> wasmtime::Result<u64> {
        monotonic_clock::Host::resolution(&mut self.0)
    }

    fn subscribe_instant(&mut self, _when: u64) -> wasmtime::Result<Resource<DynPollable>> {
        Err(waits())
    }

    fn subscribe_duration(&mut self, _duration: u64) -> wasmtime::Result<Resource<DynPollable>> {
        Err(waits())
    }
}

fn waits() -> wasmtime::Error {
    wasmtime::format_err!("the guest wants to wait for a clock, which no classification needs")
}

/// The part of WASI that a guest made with Rust's standard library imports. Sockets are left out: a component that
/// wants them is refused when it is loaded.
pub fn linker(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    use wasmtime_wasi::p2::bindings::{cli, clocks, filesystem, random, sync};

    let mut linker = Linker::new(engine);
    let to = &mut linker;
    let resources: fn(&mut State) -> &mut ResourceTable = |state| &mut state.resources;
    wasmtime_wasi_io::bindings::wasi::io::error::add_to_linker::<_, Io>(to, resources)?;
    sync::io::poll::add_to_linker::<_, Io>(to, resources)?;
    sync::io::streams::add_to_linker::<_, Io>(to, resources)?;
    clocks::wall_clock::add_to_linker::<_, WasiClocks>(to, State::clocks)?;
    monotonic_clock::add_to_linker::<_, Clock>(to, |state| ClockView(state.clocks()))?;
    random::random::add_to_linker::<_, WasiRandom>(to, |state| state.wasi.random())?;
    random::insecure::add_to_linker::<_, WasiRandom>(to, |state| state.wasi.random())?;
    random::insecure_seed::add_to_linker::<_, WasiRandom>(to, |state| state.wasi.random())?;
    cli::environment::add_to_linker::<_, WasiCli>(to, State::cli)?;
    cli::exit::add_to_linker::<_, WasiCli>(to, State::cli)?;
    cli::stdin::add_to_linker::<_, WasiCli>(to, State::cli)?;
    cli::stdout::add_to_linker::<_, WasiCli>(to, State::cli)?;
    cli::stderr::add_to_linker::<_, WasiCli>(to, State::cli)?;
    cli::terminal_input::add_to_linker::<_, WasiCli>(to, State::cli)?;
    cli::terminal_output::add_to_linker::<_, WasiCli>(to, State::cli)?;
    cli::terminal_stdin::add_to_linker::<_, WasiCli>(to, State::cli)?;
    cli::terminal_stdout::add_to_linker::<_, WasiCli>(to, State::cli)?;
    cli::terminal_stderr::add_to_linker::<_, WasiCli>(to, State::cli)?;
    // Rust's standard library imports the file system; without a preopened directory there is nothing in it.
    filesystem::preopens::add_to_linker::<_, WasiFilesystem>(to, State::filesystem)?;
    sync::filesystem::types::add_to_linker::<_, WasiFilesystem>(to, State::filesystem)?;
    Ok(linker)
}
