//! The flags of `pinhole serve`.

use super::{LogArgs, SandboxArgs};
use crate::http::cors;
use axum::http::HeaderValue;
use clap::Args;
use std::net::SocketAddr;
use std::path::PathBuf;

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

    /// Origin of pages that may ask from a browser, such as https://example.org, or * for any; may be repeated, or be a
    /// list with commas [default: none but the service's own page]
    #[arg(long, env = "PINHOLE_CORS_ORIGIN", value_name = "ORIGIN", value_delimiter = ',', value_parser = cors::origin, help_heading = "Service")]
    pub cors_origin: Vec<HeaderValue>,

    /// How long requests in flight may go on after SIGTERM, SIGINT or SIGHUP, in seconds
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

    /// Classifications that run at the same time [default: the cores of this machine, or what the container's memory leaves]
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

    /// Memory for the bodies of requests that arrive or wait, and for long answers that are fetched, in MiB; a request
    /// beyond it is answered 503 [default: 256, or what the container's memory leaves]
    #[arg(long, env = "PINHOLE_BODIES_MIB", value_name = "MIB", value_parser = clap::value_parser!(u32).range(1..=65_536), help_heading = "Admission")]
    pub bodies_mib: Option<u32>,

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

    /// How long an answer may wait for its client to take it, in milliseconds
    #[arg(
        long,
        env = "PINHOLE_ANSWER_TIMEOUT_MS",
        value_name = "MS",
        default_value_t = 30_000,
        help_heading = "Connections"
    )]
    pub answer_timeout_ms: u64,

    /// The slowest that an answer that waits may be taken, in bytes a second, after its first five seconds (one, where others wait
    /// for a connection); 0 turns this off
    #[arg(
        long,
        env = "PINHOLE_MIN_ANSWER_RATE",
        value_name = "BYTES",
        default_value_t = 1000,
        help_heading = "Connections"
    )]
    pub min_answer_rate: u64,

    /// Connections that are open at the same time; further ones wait to be accepted, but for a few that may ask for health and
    /// metrics
    #[arg(long, env = "PINHOLE_MAX_CONNECTIONS", value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=1_000_000), help_heading = "Connections")]
    pub max_connections: u32,

    #[command(flatten)]
    #[allow(missing_docs, reason = "documented where it is defined")]
    pub log: LogArgs,
}
