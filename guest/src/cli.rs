//! The component as a command line program, for any WASI runtime:
//! `wasmtime run --dir . guest.wasm cat.jpg [more.png ...]`.
//!
//! WASI 0.2 knows only two exit codes, so that every failure is 1 here; the host's command line tells them apart.

use crate::component::{model, nanoseconds};
use lexopt::{Arg, ValueExt};
use pinhole_report::{Answer, Model, Outcome, Prediction, Refusal, TimingsMs};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

const USAGE: &str = "\
Classifies images with the model in this component.

Usage: wasmtime run --dir . guest.wasm [OPTIONS] IMAGE...

Arguments:
  IMAGE...     JPEG, PNG, WebP, GIF or BMP files; `-` reads standard input

Options:
  --top-k N    How many classes to print for each image [default: 5]
  --json       Print a line of JSON for each image
  --help       Print this help
";

struct Options {
    top_k: u32,
    json: bool,
    images: Vec<PathBuf>,
}

/// Runs the command line: 0 when every image was classified.
pub fn run() -> ExitCode {
    let options = match parse() {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("{error}\nTry --help.");
            return ExitCode::FAILURE;
        }
    };
    if let Err(error) = model() {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    let mut failed = false;
    for path in &options.images {
        let name = path.to_string_lossy();
        let outcome = classify(path, options.top_k);
        failed |= outcome.is_err();
        match &outcome {
            _ if options.json => {
                print(&format!("{}\n", pinhole_report::json_line(&name, &outcome)))
            }
            Ok(answer) => print(&pinhole_report::text(&name, answer)),
            Err(refusal) => eprintln!("{name}: {}", refusal.error),
        }
    }
    if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// Prints, and ends quietly where the reader has gone (as `head` does), instead of panicking.
fn print(text: &str) {
    if std::io::stdout().write_all(text.as_bytes()).is_err() {
        std::process::exit(1);
    }
}

fn parse() -> Result<Option<Options>, lexopt::Error> {
    let mut options = Options {
        top_k: 5,
        json: false,
        images: Vec::new(),
    };
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Arg::Long("top-k") => options.top_k = arguments.value()?.parse()?,
            Arg::Long("json") => options.json = true,
            Arg::Short('h') | Arg::Long("help") => return Ok(None),
            Arg::Value(path) => options.images.push(path.into()),
            other => return Err(other.unexpected()),
        }
    }
    if options.images.is_empty() {
        return Err("No image is given.".into());
    }
    if options.top_k == 0 {
        return Err("--top-k must be at least 1.".into());
    }
    Ok(Some(options))
}

fn classify(path: &std::path::Path, top_k: u32) -> Outcome {
    let start = Instant::now();
    let bytes = read(path).map_err(|error| Refusal {
        error: format!("The file cannot be read: {error}."),
        code: "unreadable-file".into(),
    })?;
    let refuse = |error: pinhole_guest::error::ClassifyError| Refusal {
        error: error.to_string(),
        code: error.code().into(),
    };
    let model = model().map_err(refuse)?;
    let answer = model.classify(&bytes, top_k).map_err(refuse)?;
    let milliseconds = |duration| pinhole_report::milliseconds(nanoseconds(duration));
    Ok(Answer {
        model: Model {
            name: model.name.clone(),
            version: model.version.clone(),
        },
        predictions: answer
            .predictions
            .into_iter()
            .map(|prediction| Prediction {
                class_id: prediction.class_id,
                label: prediction.label,
                probability: prediction.probability,
            })
            .collect(),
        complete: answer.complete,
        timings_ms: TimingsMs {
            decode: milliseconds(answer.decode),
            preprocess: milliseconds(answer.preprocess),
            inference: milliseconds(answer.inference),
            queue: 0.0,
            total: milliseconds(start.elapsed()),
        },
    })
}

fn read(path: &std::path::Path) -> std::io::Result<Vec<u8>> {
    if path.as_os_str() != "-" {
        return std::fs::read(path);
    }
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes)?;
    Ok(bytes)
}
