//! The command line, and the environment variables that stand for its flags.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Classifies images inside a WebAssembly sandbox.
#[derive(Debug, Parser)]
#[command(
    name = "pinhole",
    version,
    propagate_version = true,
    max_term_width = 100
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Classify image files, each in a sandbox of its own.
    Classify(ClassifyArgs),
    /// Serve classification over HTTP.
    Serve(Box<ServeArgs>),
    /// Bake an ONNX model into a component.
    #[cfg(feature = "bake")]
    Bake(BakeArgs),
    /// Exit with 0 when the service on this machine is ready: for container health checks.
    Healthcheck(HealthcheckArgs),
    /// Print what makes a shell complete this command line.
    #[cfg(feature = "completions")]
    Completions(CompletionsArgs),
}

/// Where the component is, and what one call may use.
#[derive(Args, Clone, Debug)]
pub struct SandboxArgs {
    /// The component to run: a .cwasm, or a .wasm where this build has a compiler
    /// [default: guest.cwasm or guest.wasm beside this program]
    #[arg(
        long,
        env = "PINHOLE_COMPONENT",
        value_name = "FILE",
        help_heading = "Sandbox",
        hide_env_values = true
    )]
    pub component: Option<PathBuf>,

    /// Who runs the model; all but `guest` are for components that were baked with `--engine nn`
    #[cfg(feature = "nn")]
    #[arg(
        long,
        env = "PINHOLE_ENGINE",
        value_name = "ENGINE",
        default_value = "guest",
        help_heading = "Sandbox"
    )]
    pub engine: Engine,

    /// The ONNX file that the component was baked for, where the host runs it; with NAME= any file, under a name that guests
    /// may ask for
    #[cfg(feature = "nn")]
    #[arg(
        long = "model",
        env = "PINHOLE_MODEL",
        value_name = "[NAME=]FILE",
        help_heading = "Sandbox",
        hide_env_values = true
    )]
    pub models: Vec<NamedModel>,

    /// Memory that one sandbox may use, in MiB
    #[arg(long, env = "PINHOLE_MEMORY_MIB", value_name = "MIB", default_value_t = 512, value_parser = clap::value_parser!(u32).range(16..=4096), help_heading = "Sandbox")]
    pub memory_mib: u32,

    /// How long one classification may run, in milliseconds
    #[arg(long, env = "PINHOLE_DEADLINE_MS", value_name = "MS", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(10..=3_600_000), help_heading = "Sandbox")]
    pub deadline_ms: u64,
}

/// Who runs the model.
#[cfg(feature = "nn")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    /// The guest, in its sandbox.
    Guest,
    /// The host, natively, with tract, or with Pinhole's own kernels where these can run the model.
    #[cfg(feature = "nn-tract")]
    Tract,
    /// The same without tract: for models that `bake --network` has written.
    #[cfg(feature = "nn-kernels")]
    Kernels,
    /// The host, natively, with ONNX Runtime's library, which ORT_DYLIB_PATH names.
    #[cfg(feature = "nn-onnxruntime")]
    Onnxruntime,
}

/// A model for the host to run.
#[cfg(feature = "nn")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedModel {
    /// What guests ask for; none for the component's own.
    pub name: Option<String>,
    /// The ONNX file.
    pub file: PathBuf,
}

#[cfg(feature = "nn")]
impl std::str::FromStr for NamedModel {
    type Err = std::convert::Infallible;

    /// `NAME=FILE`, or a file alone.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, file) = match text.split_once('=') {
            // A path may well have the sign in it.
            Some((name, file)) if !name.is_empty() && !name.contains('/') => (Some(name), file),
            _ => (None, text),
        };
        Ok(Self {
            name: name.map(str::to_string),
            file: file.into(),
        })
    }
}

/// How the log looks.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// A JSON object a line.
    Json,
}

/// What is logged, and how.
#[derive(Args, Clone, Debug)]
pub struct LogArgs {
    /// What is logged: error, warn, info, debug, trace, or a filter such as `pinhole=debug`
    #[arg(
        long,
        env = "LOG_LEVEL",
        value_name = "LEVEL",
        default_value = "info",
        help_heading = "Log"
    )]
    pub log_level: String,

    /// Lines for people, or a JSON object a line
    #[arg(
        long,
        env = "LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "text",
        help_heading = "Log"
    )]
    pub log_format: LogFormat,
}

/// `pinhole classify`.
#[derive(Args, Debug)]
pub struct ClassifyArgs {
    /// JPEG, PNG, WebP, GIF or BMP files, or folders of them; `-` reads standard input
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<PathBuf>,

    /// How many classes to print for each image
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub top_k: u32,

    /// How answers are printed
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "text",
        conflicts_with = "json"
    )]
    format: Format,

    /// The same as --format json
    #[arg(long)]
    json: bool,

    /// Images that are classified at the same time [default: the cores of this machine]
    #[arg(long, env = "PINHOLE_WORKERS", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub workers: Option<u32>,

    #[command(flatten)]
    #[allow(missing_docs, reason = "documented where it is defined")]
    pub sandbox: SandboxArgs,
}

impl ClassifyArgs {
    /// How answers are printed.
    pub fn format(&self) -> Format {
        if self.json { Format::Json } else { self.format }
    }
}

/// How answers are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A name and a line a class, for people.
    Text,
    /// A line of JSON an image.
    Json,
    /// A table with a row a class, or a refusal.
    Csv,
}

/// `pinhole serve`.
#[derive(Args, Clone, Debug)]
pub struct ServeArgs {
    /// Address to listen on; port 0 takes a free one, and the log says which
    /// [default: 0.0.0.0 with PORT, or 8000]
    #[arg(
        long,
        env = "PINHOLE_LISTEN",
        value_name = "ADDRESS",
        help_heading = "Service"
    )]
    pub listen: Option<SocketAddr>,

    /// Port to listen on at 0.0.0.0, where --listen is not given
    #[arg(long, env = "PORT", value_name = "PORT", help_heading = "Service")]
    pub port: Option<u16>,

    /// How long requests in flight may go on after SIGTERM or SIGINT, in seconds
    #[arg(
        long,
        env = "PINHOLE_GRACE_S",
        value_name = "S",
        default_value_t = 20,
        help_heading = "Service"
    )]
    pub grace_s: u64,

    #[command(flatten)]
    #[allow(missing_docs, reason = "documented where it is defined")]
    pub sandbox: SandboxArgs,

    /// The same as --component, for images that users of other servers configure
    #[arg(
        long,
        env = "MODEL_PATH",
        value_name = "FILE",
        help_heading = "Sandbox",
        hide = true
    )]
    pub model_path: Option<PathBuf>,

    /// Classifications that run at the same time [default: the cores of this machine]
    #[arg(long, env = "PINHOLE_WORKERS", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024), help_heading = "Admission")]
    pub workers: Option<u32>,

    /// Requests that one sandbox answers before it is thrown away; more than 1 gives up isolation between requests
    #[arg(long, env = "PINHOLE_REUSE", value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Sandbox")]
    pub reuse: u32,

    /// Requests that may wait for a worker; one more is answered 503 at once [default: 8 a worker]
    #[arg(long, env = "PINHOLE_QUEUE", value_name = "N", value_parser = clap::value_parser!(u32).range(0..=100_000), help_heading = "Admission")]
    pub queue: Option<u32>,

    /// How long a request may wait for a worker, in milliseconds
    #[arg(
        long,
        env = "PINHOLE_QUEUE_TIMEOUT_MS",
        value_name = "MS",
        default_value_t = 2000,
        help_heading = "Admission"
    )]
    pub queue_timeout_ms: u64,

    /// Memory for the bodies of requests that arrive or wait, in MiB; a request beyond it is answered 503
    #[arg(long, env = "PINHOLE_BODIES_MIB", value_name = "MIB", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=65_536), help_heading = "Admission")]
    pub bodies_mib: u32,

    /// Images, or tensors, that one request may hold; each is a classification of its own
    #[arg(long, env = "PINHOLE_MAX_BATCH", value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1024), help_heading = "Admission")]
    pub max_batch: u32,

    /// The longest body of a request, in bytes
    #[arg(
        long,
        env = "PINHOLE_MAX_BODY_BYTES",
        value_name = "BYTES",
        default_value_t = 20_000_000,
        help_heading = "Connections"
    )]
    pub max_body_bytes: usize,

    /// The longest head of a request, in bytes
    #[arg(long, env = "PINHOLE_MAX_HEADER_BYTES", value_name = "BYTES", default_value_t = 16_384, value_parser = clap::value_parser!(u32).range(8192..=1_048_576), help_heading = "Connections")]
    pub max_header_bytes: u32,

    /// How long a request's head may take to arrive, and how long a connection may idle, in milliseconds
    #[arg(
        long,
        env = "PINHOLE_HEADER_TIMEOUT_MS",
        value_name = "MS",
        default_value_t = 10_000,
        help_heading = "Connections"
    )]
    pub header_timeout_ms: u64,

    /// How long a request's body may take to arrive, in milliseconds
    #[arg(
        long,
        env = "PINHOLE_BODY_TIMEOUT_MS",
        value_name = "MS",
        default_value_t = 30_000,
        help_heading = "Connections"
    )]
    pub body_timeout_ms: u64,

    /// The slowest that a body may arrive, in bytes a second, after its first second; 0 turns this off
    #[arg(
        long,
        env = "PINHOLE_MIN_BODY_RATE",
        value_name = "BYTES",
        default_value_t = 1000,
        help_heading = "Connections"
    )]
    pub min_body_rate: u64,

    /// Connections that are open at the same time; further ones wait to be accepted
    #[arg(long, env = "PINHOLE_MAX_CONNECTIONS", value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=1_000_000), help_heading = "Connections")]
    pub max_connections: u32,

    #[command(flatten)]
    #[allow(missing_docs, reason = "documented where it is defined")]
    pub log: LogArgs,
}

/// `pinhole healthcheck`.
#[derive(Args, Debug)]
pub struct HealthcheckArgs {
    /// Address of the service [default: 127.0.0.1 with PORT, or 8000]
    #[arg(long, env = "PINHOLE_LISTEN", value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,

    /// Port of the service, where --listen is not given
    #[arg(long, env = "PORT", value_name = "PORT")]
    pub port: Option<u16>,

    /// How long to wait for the answer, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 2000)]
    pub timeout_ms: u64,
}

/// `pinhole completions`.
#[cfg(feature = "completions")]
#[derive(Args, Debug)]
#[command(
    after_help = "Bash reads it by `source <(pinhole completions bash)`, Zsh from a file `_pinhole` on its fpath."
)]
pub struct CompletionsArgs {
    /// The shell to print it for
    pub shell: clap_complete::Shell,
}

/// `pinhole bake`.
#[cfg(feature = "bake")]
#[derive(Args, Debug)]
#[command(after_long_help = BAKE_EXAMPLES)]
pub struct BakeArgs {
    /// The model: an ONNX image classifier with one image as its input
    #[arg(long, value_name = "FILE")]
    pub model: PathBuf,

    /// The model's classes: one label a line, line i (from zero) for class i
    #[arg(long, value_name = "FILE")]
    pub labels: PathBuf,

    /// What the model file does not say: name, version, preprocessing, output; see below
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// The model's name [default: from the configuration, or the model's file name]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,

    /// The model's version [default: from the configuration, or 1]
    #[arg(long, value_name = "VERSION")]
    pub model_version: Option<String>,

    /// Who is to run the model
    #[arg(long, value_name = "ENGINE", default_value = "guest")]
    pub engine: BakedEngine,

    /// How the arithmetic is done, where Pinhole's own kernels can run the model; a quantised (QDQ) file says so itself
    #[arg(long, value_name = "PRECISION", default_value = "int8")]
    pub precision: Precision,

    /// A folder of pictures on which int8 is compared with fp32 [default: generated pictures]
    #[arg(long, value_name = "FOLDER")]
    pub check: Option<PathBuf>,

    /// The folder of the bare guests, guest-tract.wasm, guest-kernels.wasm and guest-nn.wasm [default: this program's folder]
    #[arg(long, env = "PINHOLE_GUESTS", value_name = "FOLDER")]
    pub guests: Option<PathBuf>,

    /// The component to write
    #[arg(short, long, value_name = "FILE.wasm")]
    pub output: PathBuf,

    /// With `--engine nn`: write the model in the form of Pinhole's own kernels as well, for `serve --engine kernels`, which
    /// then needs neither the ONNX file nor tract
    #[cfg(feature = "nn-tract")]
    #[arg(long, value_name = "FILE")]
    pub network: Option<PathBuf>,

    /// Write native code beside the component as well, as FILE.cwasm: it starts at once
    #[arg(long)]
    pub precompile: bool,
}

/// Who runs a baked model.
#[cfg(feature = "bake")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BakedEngine {
    /// The guest: the component has all that it needs.
    Guest,
    /// The host, through wasi:nn: the component has labels and preprocessing, and `--engine` of serve and classify the rest.
    Nn,
}

/// How a baked model does its arithmetic.
#[cfg(feature = "bake")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Precision {
    /// 32-bit floating point throughout.
    Fp32,
    /// 8-bit weights and 7-bit activations where most of the work is: faster and smaller, a little less exact.
    Int8,
}

#[cfg(feature = "bake")]
const BAKE_EXAMPLES: &str = "\
Examples:
  An ImageNet classifier of torchvision's, with its own preprocessing:
    pinhole bake --model mobilenet_v2.onnx --labels imagenet.txt -o mobilenet.wasm --precompile
    pinhole serve --component mobilenet.cwasm

  The same, run natively by the host, while pictures are still decoded in the sandbox:
    pinhole bake --engine nn --model mobilenet_v2.onnx --labels imagenet.txt -o mobilenet-nn.wasm --precompile
    pinhole serve --component mobilenet-nn.cwasm --engine tract --model mobilenet_v2.onnx

  A model with preprocessing of its own:
    pinhole bake --model cats.onnx --labels cats.txt --config cats.toml -o cats.wasm

  cats.toml, where every line may be left out:
    name = \"cats\"
    version = \"3\"
    max_pixels = 40000000        # larger images are refused

    [preprocess]
    resize = 256                 # shorter side, in pixels
    aspect = \"keep\"              # or \"stretch\": both sides become `resize`
    crop = 224                   # centre crop, in pixels; the model's own size where it has one
    interpolation = \"bilinear\"   # or \"bicubic\", \"nearest\"
    mean = [0.485, 0.456, 0.406] # of pixels from 0 to 1
    std = [0.229, 0.224, 0.225]
    layout = \"nchw\"              # or \"nhwc\"; read from the model where it says so
    colour = \"rgb\"               # or \"bgr\", \"grey\"

    [output]
    softmax = true               # false where the model gives probabilities";
