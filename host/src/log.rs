//! The log: lines on standard error, for people or for machines.

mod lines;

use crate::cli::{LogArgs, LogFormat};
use crate::trace;
use anyhow::{Result, anyhow};
use lines::Lines;
pub use lines::lost;
use std::io::IsTerminal;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// What others log of every mistake of a guest's, in the guest's words and as often as it makes it. We say it once a request.
const QUIET: &str = "wasmtime_wasi_nn=off";

/// What is to happen at the end.
pub struct Guard {
    _spans: trace::Guard,
    lines: Lines,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.lines.finish();
    }
}

/// Starts logging, and traces where a collector is named. Lines and spans that were not sent yet are when the guard is dropped.
pub fn start(args: &LogArgs) -> Result<Guard> {
    let filter = EnvFilter::try_new(format!("{QUIET},{}", args.log_level)).map_err(|error| {
        anyhow!(
            "The log level `{}` is not understood: {error}.",
            args.log_level
        )
    })?;
    let writer = Lines::start().map_err(|error| anyhow!("The log cannot be started: {error}."))?;
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(writer.clone())
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    let lines = match args.log_format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let (spans, guard) = trace::exporter()?;
    // The filter is for lines: which requests are traced is not the log's business.
    tracing_subscriber::registry()
        .with(spans)
        .with(lines.with_filter(filter))
        .try_init()
        .map_err(|error| anyhow!("The log cannot be started: {error}."))?;
    // What the standard library writes itself would wait for the log's reader.
    std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
    Ok(Guard {
        _spans: guard,
        lines: writer,
    })
}
