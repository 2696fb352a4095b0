//! What the service counts, for Prometheus to fetch.
//!
//! Events are counted where they happen. What is a state and not an event, such as the length of the queue, is read when
//! somebody asks.

mod process;
pub mod statistics;

use crate::bindings::exports::pinhole::vision::classify::{Classification, ModelInfo};
use crate::engine::sandbox::Answered;
use crate::error::Error;
use crate::workers::{Served, Workers};
use prometheus::core::Collector;
use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};
use statistics::{Counting, Statistics};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// From a tenth of a sandbox's creation to the longest deadlines, in seconds.
const BUCKETS: [f64; 17] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 2.5, 5.0, 10.0,
];

/// Everything that is counted.
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    durations: HistogramVec,
    received: IntCounter,
    classifications: IntCounterVec,
    stages: Stages,
    traps: IntCounterVec,
    limits: IntCounterVec,
    states: Mutex<States>,
    counting: Counting,
}

/// How long each step of a classification took.
struct Stages {
    queue: Histogram,
    instantiate: Histogram,
    decode: Histogram,
    preprocess: Histogram,
    inference: Histogram,
}

/// What became of connections, and of requests on them.
#[derive(Clone, Copy)]
pub struct Connections {
    /// Closed, since clients did not take their answers.
    pub closed: u64,
    /// Requests whose clients went away.
    pub gone: u64,
    /// Bytes of memory that bodies, and long answers, have.
    pub held: u64,
}

/// What is read when somebody asks, by one at a time.
struct States {
    ready: IntGauge,
    busy: IntGauge,
    waiting: IntGauge,
    instances: IntCounter,
    closed: IntCounter,
    gone: IntCounter,
    held: IntGauge,
    lost: IntCounter,
    process: process::Process,
}

impl Metrics {
    /// Nothing counted so far.
    pub fn new(workers: &Workers) -> prometheus::Result<Self> {
        let registry = Registry::new();
        let new = Maker(&registry);
        let stages = new.histograms(
            "pinhole_stage_duration_seconds",
            "Time that answered classifications spent in each stage.",
            "stage",
        )?;
        let limits = new.counters(
            "pinhole_limit_hits_total",
            "Requests, or images of requests, that were refused because of a limit.",
            &["limit"],
        )?;
        // A series that appears with its first event has no rate then.
        for limit in Error::LIMITS {
            limits.with_label_values(&[limit]);
        }
        let classifications = new.counters(
            "pinhole_classifications_total",
            "Images and tensors by what became of them: ok, or the code of the refusal.",
            &["outcome"],
        )?;
        classifications.with_label_values(&["ok"]);
        let traps = new.counters(
            "pinhole_traps_total",
            "Sandboxes that ended in a trap, by kind. Each is a fault of the guest, or an attack.",
            &["kind"],
        )?;
        traps.with_label_values(&["unreachable"]);
        new.info(
            "pinhole_build_info",
            "What this program is. Always 1.",
            &[
                ("version", env!("CARGO_PKG_VERSION")),
                ("arch", std::env::consts::ARCH),
                (
                    "compiler",
                    if cfg!(feature = "bake") { "yes" } else { "no" },
                ),
            ],
        )?;
        let ModelInfo {
            name,
            version,
            sha256,
            engine,
            ..
        } = workers.model();
        new.info(
            "pinhole_model_info",
            "What model answers. Always 1.",
            &[
                ("name", name),
                ("version", version),
                ("sha256", sha256),
                ("engine", engine),
            ],
        )?;
        new.gauge(
            "pinhole_workers",
            "Classifications that may run at the same time.",
        )?
        .set(workers.admission().workers.into());
        new.gauge(
            "pinhole_queue_limit",
            "Requests that may wait for a worker.",
        )?
        .set(workers.admission().queue.into());
        Ok(Self {
            requests: new.counters(
                "pinhole_http_requests_total",
                "Requests that were answered, by route, method and status.",
                &["route", "method", "status"],
            )?,
            durations: new.histograms(
                "pinhole_http_request_duration_seconds",
                "Time from a request's head to its answer's head.",
                "route",
            )?,
            received: new.counter(
                "pinhole_http_request_bytes_total",
                "Bytes of bodies that were read whole.",
            )?,
            classifications,
            stages: Stages {
                queue: stages.with_label_values(&["queue"]),
                instantiate: stages.with_label_values(&["instantiate"]),
                decode: stages.with_label_values(&["decode"]),
                preprocess: stages.with_label_values(&["preprocess"]),
                inference: stages.with_label_values(&["inference"]),
            },
            traps,
            limits,
            states: Mutex::new(States {
                ready: new.gauge(
                    "pinhole_ready",
                    "Whether requests should come here: 1 or 0.",
                )?,
                busy: new.gauge("pinhole_workers_busy", "Classifications that run now.")?,
                waiting: new.gauge(
                    "pinhole_queue_depth",
                    "Requests that wait for a worker now.",
                )?,
                instances: new.counter(
                    "pinhole_instances_total",
                    "Sandboxes that were made to answer.",
                )?,
                closed: new.counter(
                    "pinhole_connections_closed_total",
                    "Connections that were closed since their clients did not take their answers.",
                )?,
                held: new.gauge(
                    "pinhole_bodies_bytes",
                    "Memory that bodies of requests, and long answers, have now.",
                )?,
                gone: new.counter(
                    "pinhole_requests_abandoned_total",
                    "Requests whose clients went away before they were answered.",
                )?,
                lost: new.counter(
                    "pinhole_log_lines_lost_total",
                    "Lines of the log that were lost since nobody read them.",
                )?,
                process: process::Process::new(&new)?,
            }),
            registry,
            counting: Counting::default(),
        })
    }

    /// A request was answered.
    pub fn request(&self, route: &str, method: &str, status: u16, duration: Duration) {
        let status = status.to_string();
        self.requests
            .with_label_values(&[route, method, &status])
            .inc();
        self.durations
            .with_label_values(&[route])
            .observe(duration.as_secs_f64());
    }

    /// A body was read.
    pub fn received(&self, bytes: usize) {
        self.received.inc_by(bytes as u64);
    }

    /// An image was classified, or not, in this time.
    pub fn classified(&self, result: &Result<Served, Error>, total: Duration) {
        let inference = |output: &Classification| Some(output.timings.inference);
        self.counting.add(result, total, inference);
        if let Ok(served) = result {
            let Classification { timings, .. } = &served.answered.output;
            let seconds = |nanoseconds: u64| nanoseconds as f64 / 1e9;
            self.stages.decode.observe(seconds(timings.decode));
            self.stages.preprocess.observe(seconds(timings.preprocess));
            self.stages.inference.observe(seconds(timings.inference));
        }
        self.asked(result);
    }

    /// The model was run on a tensor, or not, in this time.
    pub fn inferred(&self, result: &Result<Served<Vec<f32>>, Error>, total: Duration) {
        self.counting.add(result, total, |_| None);
        self.asked(result);
    }

    fn asked<T>(&self, result: &Result<Served<T>, Error>) {
        let outcome = match result {
            Ok(Served {
                answered: Answered { instantiate, .. },
                queue,
            }) => {
                self.stages.queue.observe(queue.as_secs_f64());
                self.stages.instantiate.observe(instantiate.as_secs_f64());
                "ok"
            }
            Err(error) => {
                if let Error::Trap(trap) = error {
                    self.traps.with_label_values(&[kind(trap)]).inc();
                }
                error.code()
            }
        };
        self.classifications.with_label_values(&[outcome]).inc();
    }

    /// One of several images was refused, in an answer that is none.
    pub fn refused(&self, error: &Error) {
        if let Some(limit) = error.limit() {
            self.limit(limit);
        }
    }

    /// A limit was hit.
    pub fn limit(&self, limit: &str) {
        self.limits.with_label_values(&[limit]).inc();
    }

    /// The same counts, as Triton words them.
    pub fn statistics(&self) -> Statistics {
        self.counting.read()
    }

    /// Everything, in Prometheus' text format.
    pub fn text(
        &self,
        workers: &Workers,
        ready: bool,
        connections: Connections,
    ) -> prometheus::Result<String> {
        let states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        states.ready.set(ready.into());
        states.busy.set(workers.busy().into());
        states.waiting.set(workers.waiting().into());
        catch_up(&states.instances, workers.instances());
        catch_up(&states.closed, connections.closed);
        catch_up(&states.gone, connections.gone);
        states.held.set(connections.held.cast_signed());
        catch_up(&states.lost, crate::log::lost());
        states.process.read();
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

/// Brings a counter to what was counted elsewhere.
fn catch_up(counter: &IntCounter, value: u64) {
    counter.inc_by(value.saturating_sub(counter.get()));
}

/// What kind of trap ended a guest.
fn kind(error: &wasmtime::Error) -> &'static str {
    use wasmtime::Trap;
    match error.downcast_ref::<Trap>() {
        Some(Trap::UnreachableCodeReached) => "unreachable",
        Some(Trap::StackOverflow) => "stack-overflow",
        Some(Trap::MemoryOutOfBounds | Trap::HeapMisaligned) => "memory-out-of-bounds",
        Some(Trap::TableOutOfBounds | Trap::IndirectCallToNull | Trap::BadSignature) => "bad-call",
        Some(
            Trap::IntegerOverflow | Trap::IntegerDivisionByZero | Trap::BadConversionToInteger,
        ) => "arithmetic",
        Some(_) => "other",
        // The guest was ended by what it called: it exited, or broke a rule of WASI's.
        None => "host-call",
    }
}

/// Makes metrics and registers them.
struct Maker<'a>(&'a Registry);

impl Maker<'_> {
    fn register<T: Collector + Clone + 'static>(&self, metric: T) -> prometheus::Result<T> {
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn counter(&self, name: &str, help: &str) -> prometheus::Result<IntCounter> {
        self.register(IntCounter::new(name, help)?)
    }

    fn counters(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> prometheus::Result<IntCounterVec> {
        self.register(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    fn gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        self.register(IntGauge::new(name, help)?)
    }

    fn float_gauge(&self, name: &str, help: &str) -> prometheus::Result<Gauge> {
        self.register(Gauge::new(name, help)?)
    }

    fn histograms(&self, name: &str, help: &str, label: &str) -> prometheus::Result<HistogramVec> {
        let options = HistogramOpts::new(name, help).buckets(BUCKETS.to_vec());
        self.register(HistogramVec::new(options, &[label])?)
    }

    fn info(&self, name: &str, help: &str, labels: &[(&str, &str)]) -> prometheus::Result<()> {
        let (names, values): (Vec<&str>, Vec<&str>) = labels.iter().copied().unzip();
        let info = self.register(IntGaugeVec::new(Opts::new(name, help), &names)?)?;
        info.with_label_values(&values).set(1);
        Ok(())
    }
}
