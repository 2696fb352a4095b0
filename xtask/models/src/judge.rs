//! Many images through `pinhole classify`: the program and the component that users run, not a copy of what they do.

use crate::progress::Progress;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many images one process gets: many enough that its start does not count, and few enough for a command line.
const CHUNK: usize = 250;

/// What the component says about one image.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The likeliest class, and how likely it is.
    Class(String, f64),
    /// Why there is no answer.
    Refused(String),
}

impl Answer {
    /// Whether it names this class.
    pub fn is(&self, label: &str) -> bool {
        matches!(self, Self::Class(class, _) if class == label)
    }
}

/// The number of a chunk, and what was said about its images.
type Judged = Vec<(usize, Vec<Answer>)>;

/// Classifies images, in their order: one process a core, side by side.
pub fn judge(pinhole: &Path, component: &Path, images: &[&Path]) -> Result<Vec<Answer>> {
    let chunks: Vec<_> = images.chunks(CHUNK).collect();
    let next = AtomicUsize::new(0);
    let done = Mutex::new((Progress::new(), 0));
    let worker = || -> Result<Judged> {
        let mut judged = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(chunk) = chunks.get(index) else {
                return Ok(judged);
            };
            let answers = classify(pinhole, component, chunk);
            // The others need not go on.
            let answers = answers.inspect_err(|_| next.store(chunks.len(), Ordering::Relaxed))?;
            judged.push((index, answers));
            if let Ok(mut done) = done.lock() {
                done.1 += chunk.len();
                let count = done.1;
                done.0
                    .show(|| format!("{count} of {} images", images.len()));
            }
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut judged = std::thread::scope(|scope| -> Result<Judged> {
        let workers: Vec<_> = (0..cores.min(chunks.len()))
            .map(|_| scope.spawn(worker))
            .collect();
        let mut judged = Vec::new();
        for worker in workers {
            match worker.join() {
                Ok(answers) => judged.extend(answers?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(judged)
    })?;
    judged.sort_by_key(|(index, _)| *index);
    Ok(judged
        .into_iter()
        .flat_map(|(_, answers)| answers)
        .collect())
}

/// One process for a few images.
fn classify(pinhole: &Path, component: &Path, images: &[&Path]) -> Result<Vec<Answer>> {
    let output = Command::new(pinhole)
        .args(["classify", "--json", "--top-k", "1", "--component"])
        .arg(component)
        // Answers count here, however busy the machine is.
        .args(["--deadline-ms", "600000", "--"])
        .args(images)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{} cannot be started", pinhole.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let answers = text
        .lines()
        .zip(images)
        .map(|(line, image)| answer(line, image));
    let answers: Vec<_> = answers.collect::<Result<_>>()?;
    if answers.len() < images.len() {
        // Images that fail have a line, too: this is another failure.
        bail!(
            "`pinhole classify` with {} stopped early ({}): {}",
            component.display(),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(answers)
}

/// What one line of `pinhole classify --json` says.
fn answer(line: &str, image: &Path) -> Result<Answer> {
    let value: Value = serde_json::from_str(line).unwrap_or_default();
    if value["file"].as_str().map(PathBuf::from).as_deref() != Some(image) {
        bail!(
            "`pinhole classify` printed this for {}: {line}",
            image.display()
        );
    }
    let best = &value["predictions"][0];
    match (
        best["label"].as_str(),
        best["probability"].as_f64(),
        value["error"].as_str(),
    ) {
        (Some(label), Some(probability), _) => Ok(Answer::Class(label.into(), probability)),
        (_, _, Some(error)) => Ok(Answer::Refused(error.into())),
        _ => bail!(
            "`pinhole classify` printed this for {}: {line}",
            image.display()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_an_answer_a_refusal_or_an_error() {
        let image = Path::new("a.jpg");
        let cat =
            r#"{"file":"a.jpg","predictions":[{"class_id":3,"label":"cat","probability":0.5}]}"#;
        assert_eq!(
            answer(cat, image).unwrap(),
            Answer::Class("cat".into(), 0.5)
        );
        let refused = r#"{"file":"a.jpg","error":"No.","code":"invalid-image"}"#;
        assert_eq!(
            answer(refused, image).unwrap(),
            Answer::Refused("No.".into())
        );
        for line in [
            "",
            "{}",
            r#"{"file":"a.jpg"}"#,
            r#"{"file":"b.jpg","error":"No."}"#,
        ] {
            assert!(answer(line, image).is_err(), "{line}");
        }
        assert!(answer(cat, Path::new("b.jpg")).is_err());
    }
}
