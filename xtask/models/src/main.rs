//! `cargo xtask fetch-model` and `cargo xtask accuracy`: where models come from, and how good they are.
//!
//! A crate apart from xtask, which every new user compiles first: this one brings TLS along.

mod accuracy;
mod digest;
mod fetch;
mod http;
mod images;
mod judge;
mod lite0;
mod progress;
mod zoo;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Download a model, and check its SHA-256 before it gets its name; without a name, list what there is.
    FetchModel(zoo::Args),
    /// Top-1 of a component on CIFAR-10's test images, or on photographs of your own.
    Accuracy(accuracy::Args),
}

fn main() -> ExitCode {
    let result = match &Cli::parse().command {
        Command::FetchModel(args) => zoo::run(args),
        Command::Accuracy(args) => accuracy::run(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
