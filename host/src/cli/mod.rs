//! The command line, and the environment variables that stand for its flags.

#[cfg(feature = "bake")]
mod bake;
#[cfg(feature = "nn")]
mod load;
mod serve;

#[cfg(feature = "bake")]
pub use bake::{BakeArgs, BakedEngine, Precision};
#[cfg(feature = "nn")]
pub use load::LoadArgs;
pub use serve::ServeArgs;

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

    /// Run precompiled code, and models in the form of Pinhole's own kernels, that have no checksum, such as what `wasmtime
    /// compile` makes: nothing then tells damaged ones. Wrong checksums are refused all the same
    #[arg(long, env = "PINHOLE_TRUST_UNSEALED", help_heading = "Sandbox")]
    pub trust_unsealed: bool,

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

    #[cfg(feature = "nn")]
    #[command(flatten)]
    #[allow(missing_docs, reason = "documented where it is defined")]
    pub load: LoadArgs,

    /// Memory that one sandbox may use, in MiB [default: 512, or what the container's memory leaves]
    #[arg(long, env = "PINHOLE_MEMORY_MIB", value_name = "MIB", value_parser = clap::value_parser!(u32).range(16..=4096), help_heading = "Sandbox")]
    pub memory_mib: Option<u32>,

    /// How long one classification may run, in milliseconds
    #[arg(long, env = "PINHOLE_DEADLINE_MS", value_name = "MS", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(10..=3_600_000), help_heading = "Sandbox")]
    pub deadline_ms: u64,
}

impl SandboxArgs {
    /// Memory that one sandbox may use, in MiB, where nothing else limits it.
    pub fn memory_mib(&self) -> u32 {
        self.memory_mib.unwrap_or(512)
    }
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
