//! Pinhole's host: reads the command line, and does what it says.
//!
//! Exit codes: 0 fine, 1 an image failed, 2 usage, 3 cannot start, 130 interrupted.

mod allocator;
#[cfg(feature = "bake")]
mod bake;
mod bindings;
mod bmp;
#[cfg(feature = "nn")]
mod bounded;
mod classify;
mod cli;
mod engine;
mod error;
mod files;
mod healthcheck;
mod http;
mod log;
mod memory;
mod metrics;
#[cfg(feature = "nn")]
mod nn;
#[cfg(not(feature = "nn"))]
#[path = "nn/off.rs"]
mod nn;
mod queue;
mod serve;
mod trace;
mod workers;

use clap::Parser;
use cli::{Cli, Command};
use std::io::Write;
use std::process::ExitCode;

/// Something that has nothing to do with an image is wrong: configuration, files, ports.
const CANNOT_START: u8 = 3;

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Classify(args) => classify::run(&args),
        Command::Serve(args) => serve::run(*args),
        #[cfg(feature = "bake")]
        Command::Bake(args) => bake::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Healthcheck(args) => healthcheck::run(&args),
        #[cfg(feature = "completions")]
        Command::Completions(args) => completions(&args),
    };
    result.unwrap_or_else(|error| {
        // Not `eprintln`, which panics where nobody can be told.
        let _ = writeln!(std::io::stderr(), "{}", sentence(&error));
        ExitCode::from(CANNOT_START)
    })
}

/// Written to memory first: a reader that goes away early, as `head` does, is no reason to panic.
#[cfg(feature = "completions")]
fn completions(args: &cli::CompletionsArgs) -> anyhow::Result<ExitCode> {
    use clap::CommandFactory;
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "pinhole", &mut script);
    Ok(match std::io::stdout().write_all(&script) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    })
}

/// An error and its causes as one sentence on one line.
fn sentence(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("{}.", line.trim_end_matches('.'))
}
