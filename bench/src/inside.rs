//! Where Pinhole's time goes, as its answers and its log tell it.

use crate::measure::{Bench, SOME_CLIENTS, WARM_UP};
use crate::say;
use crate::services::{Answer, Kind};
use crate::stats::{median, percentile};
use anyhow::{Context, Result};
use serde::Serialize;
use std::collections::BTreeMap;

/// Where the time of one answer goes, for one client: medians in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Stages {
    /// From bytes to pixels.
    pub decode: f64,
    /// From pixels to the model's input.
    pub preprocess: f64,
    /// From the model's input to scores.
    pub inference: f64,
    /// Making the sandbox.
    pub instance: f64,
    /// All else: reading the body, copying the picture in, ranking, removing the sandbox.
    pub rest: f64,
    /// All of it.
    pub total: f64,
}

/// What making a sandbox takes, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Instance {
    /// Sandboxes that were made.
    pub count: usize,
    /// Half of them took no longer.
    pub p50: f64,
    /// All but a hundredth took no longer.
    pub p99: f64,
}

/// Where Pinhole's time goes.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Inside {
    /// The stages.
    pub stages: Stages,
    /// Sandboxes for one client.
    pub instance: Instance,
    /// Sandboxes under load.
    pub instance_loaded: Instance,
}

impl Bench<'_> {
    /// Pinhole's stages and sandboxes, as it reports them itself.
    pub fn inside(&self) -> Result<BTreeMap<Kind, Inside>> {
        let mut all = BTreeMap::new();
        for kind in Kind::PINHOLE {
            let what = &format!("stages, {}", kind.name());
            say(what);
            let cores = &self.placement.services;
            let options = ["--log-level", "info", "--log-format", "json"];
            let service = self.programs.start(kind, cores, &options)?;
            self.check(kind, &service)?;
            service.predict_times(&self.form, WARM_UP)?;
            let ((answers, alone), _) = self.quiet.measure(what, &[&service], || {
                let before = instances(&service.log()?).len();
                let answers = service.predict_times(&self.form, self.rounds * 50)?;
                Ok((answers, instances(&service.log()?).split_off(before)))
            })?;
            let (loaded, _) = self.quiet.measure(what, &[&service], || {
                let before = instances(&service.log()?).len();
                self.load
                    .run(&service.address, SOME_CLIENTS, self.seconds)?;
                Ok(instances(&service.log()?).split_off(before))
            })?;
            let instance = Instance::of(&alone)?;
            all.insert(
                kind,
                Inside {
                    stages: stages(&answers, instance.p50)?,
                    instance,
                    instance_loaded: Instance::of(&loaded)?,
                },
            );
        }
        Ok(all)
    }
}

impl Instance {
    fn of(times: &[f64]) -> Result<Self> {
        let at = |percent| {
            percentile(times, percent)
                .context("Pinhole's log names no `instantiate_ms`: has its log line changed?")
        };
        Ok(Self {
            count: times.len(),
            p50: at(50.0)?,
            p99: at(99.0)?,
        })
    }
}

/// What the requests in a log took to be given a sandbox. Pinhole writes a request's line before it answers.
fn instances(log: &str) -> Vec<f64> {
    log.lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|line| line.get("instantiate_ms")?.as_f64())
        .collect()
}

fn stages(answers: &[Answer], instance: f64) -> Result<Stages> {
    let median_of = |value: &dyn Fn(&Answer) -> f64| {
        median(&answers.iter().map(value).collect::<Vec<_>>()).context("nothing was answered")
    };
    let rest = |answer: &Answer| {
        let timings = answer.timings_ms;
        timings.total - timings.queue - timings.decode - timings.preprocess - timings.inference
    };
    Ok(Stages {
        decode: median_of(&|answer| answer.timings_ms.decode)?,
        preprocess: median_of(&|answer| answer.timings_ms.preprocess)?,
        inference: median_of(&|answer| answer.timings_ms.inference)?,
        instance,
        rest: median_of(&rest)? - instance,
        total: median_of(&|answer| answer.timings_ms.total)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::Timings;

    #[test]
    fn sandboxes_are_found_in_a_log() {
        let log = "not JSON\n{\"message\":\"listening\"}\n{\"message\":\"request\",\"instantiate_ms\":0.25}\n";
        assert_eq!(instances(log), [0.25]);
        assert!(Instance::of(&[]).is_err());
    }

    #[test]
    fn stages_add_up() {
        let answer = Answer {
            predictions: Vec::new(),
            timings_ms: Timings {
                decode: 2.0,
                preprocess: 1.0,
                inference: 10.0,
                queue: 0.5,
                total: 15.0,
            },
        };
        let stages = stages(&[answer], 0.5).unwrap();
        assert_eq!((stages.rest, stages.total), (1.0, 15.0));
    }
}
