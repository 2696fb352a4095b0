//! `pinhole classify`: files in, predictions out.

use crate::cli::ClassifyArgs;
use crate::engine::artifact::beside_the_program;
use crate::engine::sandbox::{Limits, Sandbox};
use crate::error::Error;
use crate::nn::Choice;
use anyhow::Result;
use pinhole_report::{Answer, Outcome, Refusal, TimingsMs};
use std::io::{Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Classifies each file; 0 when all of them could be.
pub fn run(args: &ClassifyArgs) -> Result<ExitCode> {
    let component = match &args.sandbox.component {
        Some(path) => path.clone(),
        None => beside_the_program()?,
    };
    let choice = Choice::new(&args.sandbox)?;
    let sandbox = Sandbox::load(&component, 1, Limits::new(&args.sandbox), &choice)?;
    let mut failed = false;
    for path in &args.images {
        let name = path.to_string_lossy();
        let outcome = classify(&sandbox, path, args.top_k);
        failed |= outcome.is_err();
        let printed = match &outcome {
            _ if args.json => print(&format!("{}\n", pinhole_report::json_line(&name, &outcome))),
            Ok(answer) => print(&pinhole_report::text(&name, answer)),
            Err(refusal) => {
                eprintln!("{name}: {}", refusal.error);
                Ok(())
            }
        };
        if printed.is_err() {
            // The reader has gone, as `head` does.
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn print(text: &str) -> std::io::Result<()> {
    std::io::stdout().write_all(text.as_bytes())
}

fn classify(sandbox: &Sandbox, path: &Path, top_k: u32) -> Outcome {
    let start = Instant::now();
    let bytes = read(path).map_err(|error| Refusal {
        error: format!("The file cannot be read: {error}."),
        code: "unreadable-file".into(),
    })?;
    let answered = sandbox
        .classify(&mut None, &bytes, top_k, Arc::default())
        .map_err(|error: Error| Refusal {
            error: error.to_string(),
            code: error.code().into(),
        })?;
    Ok(answered.report(sandbox.model(), Duration::ZERO, start.elapsed()))
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    if path.as_os_str() != "-" {
        return std::fs::read(path);
    }
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl crate::engine::sandbox::Answered {
    /// The answer as users see it.
    pub fn report(
        self,
        model: &crate::bindings::exports::pinhole::vision::classify::ModelInfo,
        queue: Duration,
        total: Duration,
    ) -> Answer {
        let milliseconds = |duration: Duration| {
            pinhole_report::milliseconds(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
        };
        let timings = self.output.timings;
        Answer {
            model: pinhole_report::Model {
                name: model.name.clone(),
                version: model.version.clone(),
            },
            predictions: self
                .output
                .predictions
                .into_iter()
                .map(|prediction| pinhole_report::Prediction {
                    class_id: prediction.class_id,
                    label: prediction.label,
                    probability: prediction.probability,
                })
                .collect(),
            timings_ms: TimingsMs {
                decode: pinhole_report::milliseconds(timings.decode),
                preprocess: pinhole_report::milliseconds(timings.preprocess),
                inference: pinhole_report::milliseconds(timings.inference),
                queue: milliseconds(queue),
                total: milliseconds(total),
            },
        }
    }
}
