//! Load, made by wrk: a generator in C, which takes little of the cores that it shares with what it measures.

use crate::machine::Cores;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// How load is made.
pub struct Generator {
    /// Our script for wrk.
    pub script: PathBuf,
    /// The picture that is posted.
    pub picture: PathBuf,
    /// Where wrk may run.
    pub cores: Cores,
}

/// What one run of wrk saw.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Load {
    /// Answers a second.
    pub images_per_s: f64,
    /// Half of the answers took no longer, in milliseconds.
    pub p50_ms: f64,
    /// All but a hundredth took no longer, in milliseconds.
    pub p99_ms: f64,
    /// Answers.
    pub answers: u64,
    /// The share of the services' cores that other processes took meanwhile, in percent.
    pub others_percent: f64,
}

/// The line that `bench/post.lua` prints.
#[derive(Deserialize)]
struct Line {
    requests: u64,
    failed: u64,
    duration_us: f64,
    p50_us: f64,
    p99_us: f64,
}

impl Generator {
    /// Keeps so many clients asking for so many seconds: each waits for its answer before it asks again.
    pub fn run(&self, address: &str, clients: u32, seconds: u32) -> Result<Load> {
        let output = Command::new("taskset")
            .args(["-c", self.cores.list(), "wrk", "-t1", "--timeout", "30s"])
            .arg(format!("-c{clients}"))
            .arg(format!("-d{seconds}s"))
            .arg("-s")
            .arg(&self.script)
            .arg(format!("http://{address}/predict"))
            .arg("--")
            .arg(&self.picture)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .context("wrk cannot be started")?;
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            bail!("wrk failed ({}): {text}", output.status);
        }
        parse(&text)
    }

    /// The script in this repository, and this picture.
    pub fn new(root: &Path, picture: &Path, cores: Cores) -> Self {
        Self {
            script: root.join("bench/post.lua"),
            picture: picture.to_path_buf(),
            cores,
        }
    }
}

/// Reads wrk's output. A run with a failed request measures something else, and is an error.
fn parse(text: &str) -> Result<Load> {
    let line = text
        .lines()
        .rfind(|line| line.starts_with('{'))
        .with_context(|| format!("wrk did not run bench/post.lua to its end: {text}"))?;
    let line: Line =
        serde_json::from_str(line).with_context(|| format!("wrk printed nonsense: {line}"))?;
    if line.failed > 0 {
        bail!(
            "{} of {} requests failed under load: see the service's log.",
            line.failed,
            line.requests
        );
    }
    if line.requests == 0 || line.duration_us <= 0.0 {
        bail!("no request was answered while load was made: give it more --seconds.");
    }
    Ok(Load {
        images_per_s: line.requests as f64 / (line.duration_us / 1e6),
        p50_ms: line.p50_us / 1e3,
        p99_ms: line.p99_us / 1e3,
        answers: line.requests,
        others_percent: 0.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(requests: u64, failed: u64) -> String {
        format!(
            "Running 2s test\n  1 threads\n{{\"requests\":{requests},\"failed\":{failed},\"duration_us\":2000000,\
             \"p50_us\":4000,\"p90_us\":5000,\"p99_us\":6500,\"max_us\":9000}}\n"
        )
    }

    #[test]
    fn a_run_is_read() {
        let load = parse(&printed(100, 0)).unwrap();
        assert_eq!(load.images_per_s, 50.0);
        assert_eq!((load.p50_ms, load.p99_ms, load.answers), (4.0, 6.5, 100));
    }

    #[test]
    fn a_run_with_failures_or_without_answers_does_not_count() {
        assert!(parse(&printed(100, 1)).is_err());
        assert!(parse(&printed(0, 0)).is_err());
        assert!(parse("unable to connect").is_err());
    }
}
