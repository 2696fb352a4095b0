//! What a model file does not say: its labels, its name, and how images become its input.

use crate::bindings::exports::pinhole::vision::setup::{
    Aspect, Colour, Config, Engine, Interpolation, Layout, Precision, Scores,
};
use crate::cli::{BakeArgs, BakedEngine};
use crate::files;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::path::Path;

/// Pictures of up to this many pixels are classified: 40 megapixels, more than most cameras make.
const MAX_PIXELS: u64 = 40_000_000;

/// The configuration file, as users write it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    name: Option<String>,
    version: Option<String>,
    max_pixels: Option<u64>,
    preprocess: Preprocess,
    output: Output,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Preprocess {
    resize: Option<u32>,
    aspect: Option<AspectName>,
    crop: Option<u32>,
    interpolation: Option<InterpolationName>,
    mean: Option<Vec<f32>>,
    std: Option<Vec<f32>>,
    layout: Option<LayoutName>,
    colour: Option<ColourName>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Output {
    softmax: Option<bool>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum AspectName {
    Keep,
    Stretch,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum InterpolationName {
    Nearest,
    Bilinear,
    Bicubic,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum LayoutName {
    Nchw,
    Nhwc,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ColourName {
    Rgb,
    Bgr,
    Grey,
}

/// Reads the labels and the configuration file. The error is one sentence.
pub fn read(args: &BakeArgs) -> Result<Config> {
    let file = match &args.config {
        Some(path) => parse(path)?,
        None => File::default(),
    };
    let stem = args
        .model
        .file_stem()
        .map(|stem| stem.to_string_lossy().into_owned());
    let name = args.name.clone().or(file.name).or(stem).unwrap_or_default();
    if name.is_empty()
        || !name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    {
        bail!(
            "The model's name `{name}` must be letters, digits, `.`, `_` and `-`: it becomes part of URLs. Give one with --name."
        );
    }
    let preprocess = file.preprocess;
    Ok(Config {
        name,
        version: args
            .model_version
            .clone()
            .or(file.version)
            .unwrap_or_else(|| "1".into()),
        labels: labels(&args.labels)?,
        resize: preprocess.resize,
        aspect: preprocess.aspect.map(|name| match name {
            AspectName::Keep => Aspect::Keep,
            AspectName::Stretch => Aspect::Stretch,
        }),
        crop: preprocess.crop,
        interpolation: preprocess.interpolation.map(|name| match name {
            InterpolationName::Nearest => Interpolation::Nearest,
            InterpolationName::Bilinear => Interpolation::Bilinear,
            InterpolationName::Bicubic => Interpolation::Bicubic,
        }),
        mean: preprocess.mean,
        std: preprocess.std,
        layout: preprocess.layout.map(|name| match name {
            LayoutName::Nchw => Layout::Nchw,
            LayoutName::Nhwc => Layout::Nhwc,
        }),
        colour: preprocess.colour.map(|name| match name {
            ColourName::Rgb => Colour::Rgb,
            ColourName::Bgr => Colour::Bgr,
            ColourName::Grey => Colour::Grey,
        }),
        scores: file.output.softmax.map(|softmax| {
            if softmax {
                Scores::Logits
            } else {
                Scores::Probabilities
            }
        }),
        engine: match args.engine {
            BakedEngine::Guest => Engine::Guest,
            BakedEngine::Nn => Engine::Host,
        },
        precision: match args.precision {
            Some(crate::cli::Precision::Fp32) => Precision::Fp32,
            Some(crate::cli::Precision::Int8) | None => Precision::Int8,
        },
        max_pixels: file.max_pixels.unwrap_or(MAX_PIXELS),
    })
}

fn parse(path: &Path) -> Result<File> {
    let text = files::read_text(path, "configuration")?;
    toml::from_str(&text).with_context(|| format!("The configuration {} is wrong", path.display()))
}

/// One label a line: line i, from 0, names class i. The file may end in a newline; a line between others must not be
/// empty, because it would shift every class after it.
fn labels(path: &Path) -> Result<Vec<String>> {
    let text = files::read_text(path, "labels file")?;
    let labels: Vec<String> = text
        .trim_end()
        .lines()
        .map(|line| line.trim().to_string())
        .collect();
    if labels.is_empty() {
        bail!(
            "The labels {} are empty: write one class a line.",
            path.display()
        );
    }
    if let Some(line) = labels.iter().position(String::is_empty) {
        bail!(
            "Line {} of the labels {} is empty: write one class a line.",
            line + 1,
            path.display()
        );
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn labels_keep_their_lines() {
        let read = |text: &str| labels(written(text).path());
        assert_eq!(read("a\r\nb c\n").unwrap(), ["a", "b c"]);
        assert_eq!(read("a\nb").unwrap(), ["a", "b"]);
        assert_eq!(read("\u{feff}a\nb\n").unwrap(), ["a", "b"]);
        assert!(read("").is_err());
        assert!(read("\n\n").is_err());
        assert!(read("a\n\nb\n").unwrap_err().to_string().contains("Line 2"));
    }

    #[test]
    fn a_configuration_is_read_whole_or_refused() {
        let file = parse(written("name = \"x\"\n[preprocess]\nmean = [0.5, 0.5, 0.5]\nlayout = \"nhwc\"\n[output]\nsoftmax = false\n").path()).unwrap();
        assert_eq!(file.name.as_deref(), Some("x"));
        assert_eq!(file.preprocess.mean.as_deref(), Some(&[0.5; 3][..]));
        assert_eq!(file.output.softmax, Some(false));
        assert!(parse(written("[preprocess]\nreszie = 3\n").path()).is_err());
        assert!(parse(written("[preprocess]\ninterpolation = \"cubic-ish\"\n").path()).is_err());
    }
}
