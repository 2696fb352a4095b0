//! The command line.

use anyhow::{Context, Result, bail, ensure};
use lexopt::prelude::*;
use std::path::{Path, PathBuf};

const USAGE: &str = "\
Measures Pinhole beside FastAPI and ONNX Runtime, and writes bench/RESULTS.md, bench/results.json and bench/*.svg.

Usage: cargo xtask bench [OPTIONS]

Options:
  --rounds N          Turns of everything that is compared [default: 5]
  --seconds S         Seconds of load in one turn [default: 4]
  --starts N          Cold starts of each service [default: 9]
  --model FILE.onnx   The model [default: ../shared/models/mobilenetv2-imagenet.onnx]
  --labels FILE       Its classes [default: models/imagenet.labels.txt]
  --picture FILE.jpg  The picture [default: ../shared/images/n02092339_Weimaraner.jpg]
  --out FOLDER        Where results are written [default: bench/]
  --quick             Two short rounds into a folder below the target folder: whether it works, not how fast
";

/// What was asked for.
#[derive(Debug, PartialEq)]
pub struct Options {
    /// Turns of everything.
    pub rounds: u32,
    /// Seconds of load a turn.
    pub seconds: u32,
    /// Cold starts of each service.
    pub starts: u32,
    /// The model.
    pub model: PathBuf,
    /// Its classes.
    pub labels: PathBuf,
    /// The picture.
    pub picture: PathBuf,
    /// Where results are written.
    pub out: PathBuf,
    /// Whether the picture's answer can be looked up: it is known for one model.
    model_is_default: bool,
}

impl Options {
    /// Reads the command line. None where it asked for help, and got it.
    pub fn read(root: &Path, target: &Path) -> Result<Option<Self>> {
        let Some(options) = Self::parse(lexopt::Parser::from_env(), root, target)? else {
            print!("{USAGE}");
            return Ok(None);
        };
        for (what, file) in [
            ("--model", &options.model),
            ("--labels", &options.labels),
            ("--picture", &options.picture),
        ] {
            ensure!(
                file.is_file(),
                "there is no {}: name another file with {what}.",
                file.display()
            );
        }
        Ok(Some(options))
    }

    fn parse(mut parser: lexopt::Parser, root: &Path, target: &Path) -> Result<Option<Self>> {
        let (mut rounds, mut seconds, mut starts) = (None, None, None);
        let (mut model, mut labels, mut picture, mut out) = (None, None, None, None);
        let mut quick = false;
        while let Some(argument) = parser.next()? {
            match argument {
                Long("rounds") => rounds = Some(parser.value()?.parse()?),
                Long("seconds") => seconds = Some(parser.value()?.parse()?),
                Long("starts") => starts = Some(parser.value()?.parse()?),
                Long("model") => model = Some(PathBuf::from(parser.value()?)),
                Long("labels") => labels = Some(PathBuf::from(parser.value()?)),
                Long("picture") => picture = Some(PathBuf::from(parser.value()?)),
                Long("out") => out = Some(PathBuf::from(parser.value()?)),
                Long("quick") => quick = true,
                Long("help") | Short('h') => return Ok(None),
                _ => return Err(argument.unexpected().into()),
            }
        }
        let model_is_default = model.is_none();
        if !model_is_default && labels.is_none() {
            bail!("a --model of your own needs its --labels, one class a line.");
        }
        let options = Self {
            rounds: rounds.unwrap_or(if quick { 2 } else { 5 }),
            seconds: seconds.unwrap_or(if quick { 1 } else { 4 }),
            starts: starts.unwrap_or(if quick { 3 } else { 9 }),
            model: model.unwrap_or_else(|| root.join("../shared/models/mobilenetv2-imagenet.onnx")),
            labels: labels.unwrap_or_else(|| root.join("models/imagenet.labels.txt")),
            picture: picture
                .unwrap_or_else(|| root.join("../shared/images/n02092339_Weimaraner.jpg")),
            out: out.unwrap_or_else(|| {
                if quick {
                    target.join("bench/quick")
                } else {
                    root.join("bench")
                }
            }),
            model_is_default,
        };
        ensure!(
            options.rounds > 0 && options.seconds > 0 && options.starts > 0,
            "--rounds, --seconds and --starts are at least 1."
        );
        Ok(Some(options))
    }

    /// The picture's class as ONNX Runtime told it of the default model, where `reference.json` lies beside the picture.
    pub fn class(&self) -> Result<Option<u32>> {
        let file = self.picture.with_file_name("reference.json");
        if !self.model_is_default || !file.is_file() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(&file)
            .with_context(|| format!("{} cannot be read", file.display()))?;
        let reference: serde_json::Value = serde_json::from_str(&text)
            .with_context(|| format!("{} is not JSON", file.display()))?;
        let name = self.picture.file_name().unwrap_or_default();
        let class = &reference["images"][&*name.to_string_lossy()]["top5"][0]["class_id"];
        Ok(class.as_u64().and_then(|class| u32::try_from(class).ok()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Option<Options>> {
        let parser = lexopt::Parser::from_args(arguments);
        Options::parse(parser, Path::new("/root"), Path::new("/target"))
    }

    #[test]
    fn a_quick_run_never_replaces_results() {
        let options = parse(&["--quick", "--seconds", "2"]).unwrap().unwrap();
        assert_eq!(options.out, Path::new("/target/bench/quick"));
        assert_eq!((options.rounds, options.seconds), (2, 2));
        let options = parse(&[]).unwrap().unwrap();
        assert_eq!(options.out, Path::new("/root/bench"));
        assert!(options.rounds >= 5 && options.starts >= 9);
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(parse(&["--rounds", "0"]).is_err());
        assert!(parse(&["--rounds", "x"]).is_err());
        assert!(parse(&["--model", "m.onnx"]).is_err());
        assert!(parse(&["extra"]).is_err());
        assert_eq!(parse(&["--help"]).unwrap(), None);
    }
}
