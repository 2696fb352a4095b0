//! The services that are compared: how each is started, asked, held and ended.

use crate::machine::Cores;
use crate::memory::{Memory, descendants};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a service may take to give its first answer.
const START: Duration = Duration::from_secs(60);

/// Between two tries to reach a service that starts: how exact a cold start is.
const RETRY: Duration = Duration::from_millis(1);

/// A service that is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// FastAPI and ONNX Runtime, with its own choice of threads: as teams ship it.
    Fastapi,
    /// The same with one thread an inference, which leaves the cores to requests side by side.
    FastapiOneThread,
    /// Pinhole, 32-bit floating point.
    PinholeFp32,
    /// Pinhole, 8-bit integers.
    PinholeInt8,
    /// Pinhole with the model in the host, by our own kernels.
    PinholeKernels,
    /// The same, by ONNX Runtime.
    PinholeOnnxRuntime,
}

impl Kind {
    /// In the order of the tables.
    pub const ALL: [Self; 6] = [
        Self::Fastapi,
        Self::PinholeFp32,
        Self::PinholeInt8,
        Self::PinholeKernels,
        Self::PinholeOnnxRuntime,
        Self::FastapiOneThread,
    ];
    /// Those of which one figure each is enough.
    pub const MAIN: [Self; 5] = [
        Self::Fastapi,
        Self::PinholeFp32,
        Self::PinholeInt8,
        Self::PinholeKernels,
        Self::PinholeOnnxRuntime,
    ];
    /// Ours.
    pub const PINHOLE: [Self; 4] = [
        Self::PinholeFp32,
        Self::PinholeInt8,
        Self::PinholeKernels,
        Self::PinholeOnnxRuntime,
    ];

    /// For tables and charts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fastapi => "FastAPI + ONNX Runtime",
            Self::FastapiOneThread => "FastAPI, one ORT thread each",
            Self::PinholeFp32 => "Pinhole fp32",
            Self::PinholeInt8 => "Pinhole int8",
            Self::PinholeKernels => "Pinhole wasi-nn, kernels",
            Self::PinholeOnnxRuntime => "Pinhole wasi-nn, ORT",
        }
    }

    /// For names of ratios.
    pub fn short_name(self) -> &'static str {
        match self {
            Self::Fastapi => "fastapi",
            Self::FastapiOneThread => "fastapi-one-thread",
            Self::PinholeFp32 => "fp32",
            Self::PinholeInt8 => "int8",
            Self::PinholeKernels => "nn-kernels",
            Self::PinholeOnnxRuntime => "nn-onnxruntime",
        }
    }
}

/// Where everything lies that services are started from.
pub struct Programs {
    /// The Python of the environment that FastAPI is installed in.
    pub python: PathBuf,
    /// `bench/fastapi/`.
    pub app: PathBuf,
    /// The model as an ONNX file.
    pub model: PathBuf,
    /// Its classes.
    pub labels: PathBuf,
    /// Pinhole's host, as it goes into the image.
    pub pinhole: PathBuf,
    /// The precompiled component in fp32.
    pub fp32: PathBuf,
    /// The precompiled component in int8.
    pub int8: PathBuf,
    /// The precompiled component that leaves its model to the host.
    pub nn: PathBuf,
    /// The model as the host's own kernels take it.
    pub network: PathBuf,
    /// The host that has these, as it goes into that image.
    pub kernels: PathBuf,
    /// The host that has ONNX Runtime.
    pub onnx_runtime: PathBuf,
    /// ONNX Runtime, the one that FastAPI has.
    pub library: PathBuf,
    /// A folder for the services' logs.
    pub logs: PathBuf,
}

impl Programs {
    /// Starts a service on these cores, and waits until it says that it is healthy.
    pub fn start(&self, kind: Kind, cores: &Cores, options: &[&str]) -> Result<Service> {
        let mut service = self.spawn(kind, cores, options)?;
        let begin = Instant::now();
        while !service.is_healthy() {
            service.must_run(begin)?;
            std::thread::sleep(RETRY);
        }
        Ok(service)
    }

    /// Starts a service, and asks it until it gives its first answer. Tells how long that took from the start of the
    /// process.
    pub fn cold_start(&self, kind: Kind, cores: &Cores, form: &Form) -> Result<Duration> {
        let begin = Instant::now();
        let mut service = self.spawn(kind, cores, &[])?;
        loop {
            if service.predict(form).is_ok() {
                return Ok(begin.elapsed());
            }
            service.must_run(begin)?;
            std::thread::sleep(RETRY);
        }
    }

    fn spawn(&self, kind: Kind, cores: &Cores, options: &[&str]) -> Result<Service> {
        let port = free_port()?;
        let log = self.logs.join(format!("{port}.log"));
        let file =
            File::create(&log).with_context(|| format!("{} cannot be written", log.display()))?;
        let child = self
            .command(kind, port, cores)
            .args(options)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("{} cannot be started", kind.name()))?;
        Ok(Service {
            child,
            kind,
            address: format!("127.0.0.1:{port}"),
            log,
            agent: agent(),
        })
    }

    /// `setpriv` and `taskset` become the program themselves: there is no process in between.
    fn command(&self, kind: Kind, port: u16, cores: &Cores) -> Command {
        let mut command = Command::new("setpriv");
        // No service outlives the benchmark, however that ends.
        command.args(["--pdeathsig", "KILL", "taskset", "-c", cores.list()]);
        let port = port.to_string();
        match kind {
            Kind::Fastapi | Kind::FastapiOneThread => {
                command
                    .arg(&self.python)
                    .args(["-m", "uvicorn", "app:app", "--host", "127.0.0.1"])
                    .args(["--port", &port, "--log-level", "warning"])
                    .arg("--no-access-log")
                    .current_dir(&self.app)
                    // Where it is set, Python compiles the sources again at every start.
                    .env_remove("PYTHONDONTWRITEBYTECODE")
                    .env("MODEL", &self.model)
                    .env("LABELS", &self.labels);
                if kind == Kind::FastapiOneThread {
                    command.env("ORT_THREADS", "1");
                } else {
                    command.env_remove("ORT_THREADS");
                }
            }
            Kind::PinholeFp32
            | Kind::PinholeInt8
            | Kind::PinholeKernels
            | Kind::PinholeOnnxRuntime => {
                let (host, component, engine) = match kind {
                    Kind::PinholeKernels => {
                        (&self.kernels, &self.nn, Some(("kernels", &self.network)))
                    }
                    Kind::PinholeOnnxRuntime => (
                        &self.onnx_runtime,
                        &self.nn,
                        Some(("onnxruntime", &self.model)),
                    ),
                    Kind::PinholeInt8 => (&self.pinhole, &self.int8, None),
                    _ => (&self.pinhole, &self.fp32, None),
                };
                command
                    .arg(host)
                    .args(["serve", "--listen", &format!("127.0.0.1:{port}")])
                    .args([Path::new("--component"), component])
                    .env("LOG_LEVEL", "warn");
                if let Some((engine, model)) = engine {
                    command
                        .args(["--engine", engine])
                        .args([Path::new("--model"), model])
                        .env("ORT_DYLIB_PATH", &self.library);
                }
            }
        }
        command
    }
}

/// A running service. It ends when this is dropped.
pub struct Service {
    child: Child,
    kind: Kind,
    /// `host:port`.
    pub address: String,
    log: PathBuf,
    agent: ureq::Agent,
}

/// One class.
#[derive(Clone, Debug, Deserialize)]
pub struct Prediction {
    /// Its index.
    pub class_id: u32,
    /// Its name.
    pub label: String,
}

/// Where Pinhole says that the time of an answer went, in milliseconds.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct Timings {
    /// From bytes to pixels.
    pub decode: f64,
    /// From pixels to the model's input.
    pub preprocess: f64,
    /// From the model's input to scores.
    pub inference: f64,
    /// Waiting for a worker.
    pub queue: f64,
    /// All of it.
    pub total: f64,
}

/// What both services answer.
#[derive(Clone, Debug, Deserialize)]
pub struct Answer {
    /// Best first.
    pub predictions: Vec<Prediction>,
    /// Pinhole's alone.
    #[serde(default)]
    pub timings_ms: Timings,
}

/// A picture as a form, as `curl -F image=@picture.jpg` sends it.
pub struct Form(Vec<u8>);

const BORDER: &str = "pinhole-bench-0123456789abcdef";

impl Form {
    /// Reads a picture.
    pub fn read(picture: &Path) -> Result<Self> {
        let bytes = std::fs::read(picture)
            .with_context(|| format!("{} cannot be read", picture.display()))?;
        let head = "Content-Disposition: form-data; name=\"image\"; filename=\"picture.jpg\"";
        let mut form =
            format!("--{BORDER}\r\n{head}\r\nContent-Type: image/jpeg\r\n\r\n").into_bytes();
        form.extend(bytes);
        form.extend(format!("\r\n--{BORDER}--\r\n").bytes());
        Ok(Self(form))
    }
}

impl Service {
    /// Asks about one picture, over a connection of its own.
    pub fn predict(&self, form: &Form) -> Result<Answer> {
        let mut response = self
            .agent
            .post(format!("http://{}/predict", self.address))
            .header(
                "content-type",
                format!("multipart/form-data; boundary={BORDER}"),
            )
            .send(&form.0[..])?;
        let body = response.body_mut().read_to_string()?;
        serde_json::from_str(&body)
            .with_context(|| format!("{} answered nonsense: {body}", self.kind.name()))
    }

    /// Asks one after the other, so many times.
    pub fn predict_times(&self, form: &Form, times: u32) -> Result<Vec<Answer>> {
        (0..times).map(|_| self.predict(form)).collect()
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it holds in memory.
    pub fn memory(&self) -> Result<Memory> {
        Memory::of_tree(self.child.id())
    }

    /// What it has logged.
    pub fn log(&self) -> Result<String> {
        std::fs::read_to_string(&self.log)
            .with_context(|| format!("{} cannot be read", self.log.display()))
    }

    /// Holds it, so that its threads and timers take nothing from the one that is measured.
    pub fn pause(&self) -> Result<()> {
        self.signal("-STOP")
    }

    /// Lets it go on.
    pub fn resume(&self) -> Result<()> {
        self.signal("-CONT")
    }

    fn signal(&self, signal: &str) -> Result<()> {
        let pids = descendants(self.child.id())?;
        let status = Command::new("kill")
            .arg(signal)
            .args(pids.iter().map(u32::to_string))
            .status()
            .context("`kill` cannot be started")?;
        if !status.success() {
            bail!("{} cannot be sent {signal}.", self.kind.name());
        }
        Ok(())
    }

    fn is_healthy(&self) -> bool {
        self.agent
            .get(format!("http://{}/health", self.address))
            .call()
            .is_ok()
    }

    /// Fails when it has ended, or takes too long.
    fn must_run(&mut self, begin: Instant) -> Result<()> {
        let name = self.kind.name();
        if let Some(status) = self.child.try_wait()? {
            bail!("{name} ended ({status}): {}", self.log()?.trim());
        }
        if begin.elapsed() > START {
            bail!(
                "{name} gave no answer within {} s: {}",
                START.as_secs(),
                self.log()?.trim()
            );
        }
        Ok(())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Its children first: they would be nobody's afterwards.
        let _ = self.signal("-KILL");
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Any status but 200 is an error. Connections are not kept: a held service would have closed them.
fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(60)))
        .max_idle_connections(0)
        .proxy(None)
        .build()
        .into()
}

/// A port that nobody listened on a moment ago.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("there is no free port")?;
    Ok(listener.local_addr()?.port())
}
