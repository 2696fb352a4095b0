//! `cargo xtask accuracy`: how often a component is right.

use crate::images::{Labelled, cifar, photographs};
use crate::judge::{Answer, judge};
use crate::progress::say;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What to judge, and on what.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The component to judge; a .cwasm starts faster than a .wasm [default: dist/guest.cwasm]
    #[arg(long, value_name = "FILE")]
    component: Option<PathBuf>,

    /// Bake the default model in this precision, and judge that
    #[arg(long, conflicts_with = "component", value_parser = ["fp32", "int8"])]
    precision: Option<String>,

    /// Another component: tells its accuracy, too, and how many answers differ
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,

    /// A ZIP with CIFAR-10's test images, test/<class>/*.jpg [default: ../shared/data/cifar10-jpg.zip beside the repository]
    #[arg(long, value_name = "ZIP")]
    data: Option<PathBuf>,

    /// Photographs instead: FOLDER/<label>/*.jpg, or names with an ImageNet class in them
    #[arg(long, value_name = "FOLDER", conflicts_with = "data")]
    photos: Option<PathBuf>,

    /// The labels that photographs may have, one a line [default: the default model's]
    #[arg(long, value_name = "FILE", requires = "photos")]
    labels: Option<PathBuf>,
}

/// Judges one component, or two, and prints how often they are right.
pub fn run(args: &Args) -> Result<()> {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let pinhole = root
        .join("dist/pinhole")
        .with_extension(std::env::consts::EXE_EXTENSION);
    if !pinhole.is_file() {
        bail!("dist/pinhole is not there: `cargo xtask build` makes it.");
    }
    let folder = tempfile::tempdir().context("There is no place for temporary files")?;
    let component = match (&args.component, &args.precision) {
        (Some(component), _) => component.clone(),
        (None, Some(precision)) => bake(root, &pinhole, precision, folder.path())?,
        (None, None) => root.join("dist/guest.cwasm"),
    };
    let images = match &args.photos {
        Some(photos) => {
            let default = root.join("models/default.labels.txt");
            photographs(photos, &labels(args.labels.as_ref().unwrap_or(&default))?)?
        }
        None => {
            let default = root.join("../shared/data/cifar10-jpg.zip");
            cifar(args.data.as_ref().unwrap_or(&default), folder.path())?
        }
    };

    let paths: Vec<_> = images.iter().map(|image| image.path.as_path()).collect();
    let answers = judge(&pinhole, &component, &paths)?;
    if args.photos.is_some() {
        for (image, answer) in images.iter().zip(&answers) {
            println!("{}", verdict(image, answer));
        }
    }
    print!("{}", Tally::of(&images, &answers));
    if let Some(other) = &args.against {
        let others = judge(&pinhole, other, &paths)?;
        println!("\n{}:", other.display());
        print!("{}", Tally::of(&images, &others));
        let differ = answers
            .iter()
            .zip(&others)
            .filter(|(a, b)| !same(a, b))
            .count();
        println!("\n{differ} of {} answers differ", images.len());
    }
    Ok(())
}

/// Bakes the default model in another precision.
fn bake(root: &Path, pinhole: &Path, precision: &str, folder: &Path) -> Result<PathBuf> {
    say(&format!("baking the default model in {precision}"));
    let model = |end: &str| root.join("models").join(format!("default.{end}"));
    let status = Command::new(pinhole)
        .args(["bake", "--precompile", "--precision", precision])
        .arg("--model")
        .arg(model("onnx"))
        .arg("--labels")
        .arg(model("labels.txt"))
        .arg("--config")
        .arg(model("toml"))
        .arg("-o")
        .arg(folder.join("baked.wasm"))
        // Standard output is for the figures.
        .stdout(Stdio::null())
        .status()
        .with_context(|| format!("{} cannot be started", pinhole.display()))?;
    if !status.success() {
        bail!("`pinhole bake --precision {precision}` failed ({status}): see its message above.");
    }
    Ok(folder.join("baked.cwasm"))
}

fn labels(path: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("{} cannot be read", path.display()))?;
    Ok(text.lines().map(String::from).collect())
}

/// Whether two components say the same class.
fn same(a: &Answer, b: &Answer) -> bool {
    match (a, b) {
        (Answer::Class(a, _), Answer::Class(b, _)) => a == b,
        (Answer::Refused(_), Answer::Refused(_)) => true,
        _ => false,
    }
}

/// One photograph's line.
fn verdict(image: &Labelled, answer: &Answer) -> String {
    let Labelled { name, label, .. } = image;
    match answer {
        Answer::Class(class, odds) if class == label => format!("right  {name}: {class} {odds:.2}"),
        Answer::Class(class, odds) => format!("WRONG  {name}: {class} {odds:.2}, is {label}"),
        Answer::Refused(sentence) => format!("WRONG  {name}: {sentence} Is {label}"),
    }
}

/// How many images there are and how many are right, class by class.
#[derive(Default)]
struct Tally {
    classes: BTreeMap<String, Count>,
    /// Why the first image that got no answer got none, and how many there are.
    refused: Option<(String, usize)>,
}

#[derive(Clone, Copy, Default)]
struct Count {
    right: usize,
    all: usize,
}

impl Tally {
    fn of(images: &[Labelled], answers: &[Answer]) -> Self {
        let mut tally = Self::default();
        for (image, answer) in images.iter().zip(answers) {
            let count = tally.classes.entry(image.label.clone()).or_default();
            count.all += 1;
            count.right += usize::from(answer.is(&image.label));
            if let Answer::Refused(sentence) = answer {
                let first = || (format!("{}: {sentence}", image.name), 0);
                tally.refused.get_or_insert_with(first).1 += 1;
            }
        }
        tally
    }

    fn total(&self) -> Count {
        let sum = |part: fn(&Count) -> usize| self.classes.values().map(part).sum();
        Count {
            right: sum(|count| count.right),
            all: sum(|count| count.all),
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (label, Count { right, all }) in &self.classes {
            writeln!(f, "{label:10} {right} of {all}")?;
        }
        if let Some((first, count)) = &self.refused {
            writeln!(
                f,
                "{count} got no answer, and count as wrong; the first is {first}"
            )?;
        }
        let Count { right, all } = self.total();
        let percent = 100.0 * right as f64 / all.max(1) as f64;
        writeln!(f, "top-1 {percent:.2} %, {right} of {all}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(name: &str, label: &str) -> Labelled {
        Labelled {
            name: name.into(),
            label: label.into(),
            path: name.into(),
        }
    }

    fn class(label: &str) -> Answer {
        Answer::Class(label.into(), 0.875)
    }

    #[test]
    fn a_tally_counts_refusals_as_wrong() {
        let images = ["dog", "cat", "dog"].map(|label| image("x.jpg", label));
        let answers = [class("dog"), class("dog"), Answer::Refused("No.".into())];
        assert_eq!(
            Tally::of(&images, &answers).to_string(),
            "cat        0 of 1\n\
             dog        1 of 2\n\
             1 got no answer, and count as wrong; the first is x.jpg: No.\n\
             top-1 33.33 %, 1 of 3\n"
        );
        assert_eq!(Tally::of(&[], &[]).to_string(), "top-1 0.00 %, 0 of 0\n");
    }

    #[test]
    fn a_photograph_gets_a_line() {
        let photo = image("p.jpg", "dog");
        assert_eq!(verdict(&photo, &class("dog")), "right  p.jpg: dog 0.88");
        assert_eq!(
            verdict(&photo, &class("cat")),
            "WRONG  p.jpg: cat 0.88, is dog"
        );
    }

    #[test]
    fn answers_are_compared_by_class() {
        assert!(same(&class("a"), &Answer::Class("a".into(), 0.1)));
        assert!(!same(&class("a"), &class("b")));
        assert!(!same(&class("a"), &Answer::Refused("No.".into())));
    }
}
