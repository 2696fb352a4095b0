//! `pinhole classify`: files in, predictions out.
//!
//! `inputs` tells which files are meant, workers take one after another, `print` writes answers in the files' order, and
//! `progress` how far they are; `interrupt` ends it all early.

mod inputs;
mod interrupt;
mod print;
mod progress;

use crate::cli::ClassifyArgs;
use crate::engine::artifact::Source;
use crate::engine::sandbox::{Limits, Sandbox};
use crate::error::Error;
use crate::nn::Choice;
use crate::workers::{STACK_BYTES, cores};
use anyhow::{Context, Result};
use inputs::Input;
use pinhole_report::{Answer, Outcome, Refusal, TimingsMs};
use print::Printer;
use progress::Progress;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// What shells say of a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// Classifies each file; 0 when all of them could be.
pub fn run(args: &ClassifyArgs) -> Result<ExitCode> {
    let component = Source::new(&args.sandbox, None)?;
    let inputs = inputs::expand(&args.images);
    let most = u32::try_from(inputs.len()).unwrap_or(u32::MAX);
    let workers = args.workers.unwrap_or_else(cores).min(most);
    let choice = Choice::new(&args.sandbox)?;
    let limits = Limits::new(&args.sandbox);
    let work = Arc::new(Work {
        sandbox: Sandbox::load(&component, workers, limits, &choice)?,
        most_bytes: limits.memory_bytes,
        inputs,
        top_k: args.top_k,
        next: AtomicUsize::new(0),
        stop: Arc::default(),
    });
    let (sender, events) = channel();
    interrupt::watch(work.stop.clone(), sender.clone())?;
    for index in 0..workers {
        let (work, sender) = (work.clone(), sender.clone());
        // Nobody joins them: what one still reads or runs when all is said ends with the process.
        std::thread::Builder::new()
            .name(format!("classify-{index}"))
            .stack_size(STACK_BYTES)
            .spawn(move || work.run(&sender))
            .context("The worker threads cannot be started")?;
    }
    print_all(&work.inputs, &events, Printer::new(args.format()))
}

/// What reaches the thread that prints.
enum Event {
    /// The file of this index is done.
    Done(usize, Outcome),
    /// The user has seen enough.
    Interrupted,
}

/// Prints answers in the order of their files, as soon as all before them are printed.
fn print_all(inputs: &[Input], events: &Receiver<Event>, mut printer: Printer) -> Result<ExitCode> {
    let mut progress = Progress::new(inputs.len());
    // Those that came before their turn.
    let mut early = BTreeMap::new();
    let mut failed = false;
    let mut printed = 0;
    while printed < inputs.len() {
        let event = events
            .recv()
            .context("The worker threads have ended early")?;
        let Event::Done(index, outcome) = event else {
            progress.clear();
            return Ok(ExitCode::from(INTERRUPTED));
        };
        progress.count(outcome.is_err());
        early.insert(index, outcome);
        while let Some(outcome) = early.remove(&printed) {
            failed |= outcome.is_err();
            progress.clear();
            if printer.print(&inputs[printed].name(), &outcome).is_err() {
                // The reader has gone, as `head` does.
                return Ok(ExitCode::FAILURE);
            }
            printed += 1;
        }
        progress.show();
    }
    progress.clear();
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// What the workers share.
struct Work {
    sandbox: Sandbox,
    inputs: Vec<Input>,
    top_k: u32,
    /// The largest file that a sandbox could hold.
    most_bytes: usize,
    /// The file that nobody has taken yet.
    next: AtomicUsize,
    stop: Arc<AtomicBool>,
}

impl Work {
    /// Takes files until there are none left, or nobody wants to know.
    fn run(&self, events: &Sender<Event>) {
        while !self.stop.load(Ordering::Relaxed) {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(input) = self.inputs.get(index) else {
                return;
            };
            let outcome =
                catch_unwind(AssertUnwindSafe(|| self.classify(input))).unwrap_or_else(|_| {
                    Err(refusal(&Error::Instance(wasmtime::format_err!(
                        "the host panicked"
                    ))))
                });
            if events.send(Event::Done(index, outcome)).is_err() {
                return;
            }
        }
    }

    fn classify(&self, input: &Input) -> Outcome {
        let start = Instant::now();
        let bytes = input.read(self.most_bytes)?;
        let answered = self
            .sandbox
            .classify(&mut None, &bytes, self.top_k, self.stop.clone())
            .map_err(|error| refusal(&error))?;
        Ok(answered.report(self.sandbox.model(), Duration::ZERO, start.elapsed()))
    }
}

fn refusal(error: &Error) -> Refusal {
    Refusal {
        error: error.to_string(),
        code: error.code().into(),
    }
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
            complete: self.output.complete,
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
