//! Inference alone, on one core: in a fresh sandbox, and by ONNX Runtime in a process of its own, in turns.

use crate::measure::Bench;
use crate::say;
use crate::services::{Kind, Programs};
use crate::stats::median;
use anyhow::{Context, Result};
use serde::Serialize;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Inferences in one turn.
const TIMES: u32 = 40;

/// Milliseconds for one inference, a median a round.
#[derive(Clone, Debug, Serialize)]
pub struct Inference {
    /// ONNX Runtime in fp32, one thread.
    pub onnx_runtime: Vec<f64>,
    /// Pinhole, a fresh sandbox each, as its answers say.
    pub pinhole: BTreeMap<Kind, Vec<f64>>,
}

impl Bench<'_> {
    /// Takes turns on one core.
    pub fn inference(&self, picture: &Path) -> Result<Inference> {
        let what = "inference on one core";
        say(what);
        let one = &self.placement.one;
        let mut services = Vec::new();
        for kind in Kind::PINHOLE {
            let service = self.programs.start(kind, one, &["--workers", "1"])?;
            self.check(kind, &service)?;
            service.pause()?;
            services.push((kind, service));
        }
        let peer = RefCell::new(OnnxRuntime::start(self.programs, one.list(), picture)?);
        peer.borrow_mut().run(TIMES)?;
        let mut inference = Inference {
            onnx_runtime: Vec::new(),
            pinhole: BTreeMap::new(),
        };
        for _ in 0..self.rounds {
            let (times, _) = self
                .quiet
                .measure(what, &[], || peer.borrow_mut().run(TIMES))?;
            inference.onnx_runtime.push(middle(&times)?);
            for (kind, service) in &services {
                let (answers, _) = self.quiet.measure(what, &[service], || {
                    self.turn(service, |service| service.predict_times(&self.form, TIMES))
                })?;
                let times: Vec<f64> = answers
                    .iter()
                    .map(|answer| answer.timings_ms.inference)
                    .collect();
                let values = inference.pinhole.entry(*kind).or_default();
                values.push(middle(&times)?);
            }
        }
        Ok(inference)
    }
}

fn middle(times: &[f64]) -> Result<f64> {
    median(times).context("nothing was timed")
}

/// A process that infers when it is told to, and waits for its standard input otherwise.
struct OnnxRuntime {
    child: Child,
    orders: ChildStdin,
    times: BufReader<ChildStdout>,
}

impl OnnxRuntime {
    fn start(programs: &Programs, core: &str, picture: &Path) -> Result<Self> {
        let mut child = Command::new("taskset")
            .args(["-c", core])
            .arg(&programs.python)
            .arg(programs.app.join("inference.py"))
            .args([&programs.model, &programs.labels])
            .arg(picture)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("bench/fastapi/inference.py cannot be started")?;
        let (Some(orders), Some(times)) = (child.stdin.take(), child.stdout.take()) else {
            anyhow::bail!("bench/fastapi/inference.py has no pipes.");
        };
        Ok(Self {
            child,
            orders,
            times: BufReader::new(times),
        })
    }

    /// Infers so many times. Returns what each took, in milliseconds.
    fn run(&mut self, times: u32) -> Result<Vec<f64>> {
        let what = "bench/fastapi/inference.py ended: see its message above";
        writeln!(self.orders, "{times}").context(what)?;
        self.orders.flush().context(what)?;
        let mut line = String::new();
        self.times.read_line(&mut line).context(what)?;
        serde_json::from_str(&line).context(what)
    }
}

impl Drop for OnnxRuntime {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
