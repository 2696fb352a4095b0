//! The log: lines on standard error, for people or for machines.

use crate::cli::{LogArgs, LogFormat};
use anyhow::{Result, anyhow};
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// What others log of every mistake of a guest's, in the guest's words and as often as it makes it. We say it once a request.
const QUIET: &str = "wasmtime_wasi_nn=off";

/// Starts logging.
pub fn start(args: &LogArgs) -> Result<()> {
    let filter = EnvFilter::try_new(format!("{QUIET},{}", args.log_level)).map_err(|error| {
        anyhow!(
            "The log level `{}` is not understood: {error}.",
            args.log_level
        )
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    match args.log_format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    }
    .map_err(|error| anyhow!("The log cannot be started: {error}."))
}
