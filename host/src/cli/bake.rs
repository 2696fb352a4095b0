//! The flags of `pinhole bake`.

use super::load::LoadArgs;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// `pinhole bake`.
#[derive(Args, Debug)]
#[command(after_long_help = BAKE_EXAMPLES)]
pub struct BakeArgs {
    /// The model: an ONNX image classifier with one image as its input
    #[arg(long, value_name = "FILE")]
    pub model: PathBuf,

    /// The model's classes: one label a line, line i (from zero) for class i
    #[arg(long, value_name = "FILE")]
    pub labels: PathBuf,

    /// What the model file does not say: name, version, preprocessing, output; see below
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// The model's name [default: from the configuration, or the model's file name]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,

    /// The model's version [default: from the configuration, or 1]
    #[arg(long, value_name = "VERSION")]
    pub model_version: Option<String>,

    /// Who is to run the model
    #[arg(long, value_name = "ENGINE", default_value = "guest")]
    pub engine: BakedEngine,

    /// How the arithmetic is done, where Pinhole's own kernels can run the model; a quantised (QDQ) file says so itself
    /// [default: int8, or fp32 where the check finds that int8 changes answers]
    #[arg(long, value_name = "PRECISION")]
    pub precision: Option<Precision>,

    /// A folder of pictures on which int8 is compared with fp32 [default: generated pictures]
    #[arg(long, value_name = "FOLDER")]
    pub check: Option<PathBuf>,

    #[command(flatten)]
    #[allow(missing_docs, reason = "documented where it is defined")]
    pub load: LoadArgs,

    /// The folder of the bare guests, guest-tract.wasm, guest-kernels.wasm and guest-nn.wasm [default: this program's folder]
    #[arg(long, env = "PINHOLE_GUESTS", value_name = "FOLDER")]
    pub guests: Option<PathBuf>,

    /// The component to write
    #[arg(short, long, value_name = "FILE.wasm")]
    pub output: PathBuf,

    /// With `--engine nn`: write the model in the form of Pinhole's own kernels as well, for `serve --engine kernels`, which
    /// then needs neither the ONNX file nor tract
    #[cfg(feature = "nn-tract")]
    #[arg(long, value_name = "FILE")]
    pub network: Option<PathBuf>,

    /// Write native code beside the component as well, as FILE.cwasm: it starts at once
    #[arg(long)]
    pub precompile: bool,
}

/// Who runs a baked model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BakedEngine {
    /// The guest: the component has all that it needs.
    Guest,
    /// The host, through wasi:nn: the component has labels and preprocessing, and `--engine` of serve and classify the rest.
    Nn,
}

/// How a baked model does its arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Precision {
    /// 32-bit floating point throughout.
    Fp32,
    /// 8-bit weights and 7-bit activations where most of the work is: faster and smaller, a little less exact.
    Int8,
}

const BAKE_EXAMPLES: &str = "\
Examples:
  An ImageNet classifier of torchvision's, with its own preprocessing:
    pinhole bake --model mobilenet_v2.onnx --labels imagenet.txt -o mobilenet.wasm --precompile
    pinhole serve --component mobilenet.cwasm

  The same, run natively by the host, while pictures are still decoded in the sandbox:
    pinhole bake --engine nn --model mobilenet_v2.onnx --labels imagenet.txt -o mobilenet-nn.wasm --precompile
    pinhole serve --component mobilenet-nn.cwasm --engine tract --model mobilenet_v2.onnx

  A model with preprocessing of its own:
    pinhole bake --model cats.onnx --labels cats.txt --config cats.toml -o cats.wasm

  cats.toml, where every line may be left out:
    name = \"cats\"
    version = \"3\"
    max_pixels = 40000000        # larger images are refused

    [preprocess]
    resize = 256                 # shorter side, in pixels
    aspect = \"keep\"              # or \"stretch\": both sides become `resize`
    crop = 224                   # centre crop, in pixels; the model's own size where it has one
    interpolation = \"bilinear\"   # or \"bicubic\", \"nearest\"
    mean = [0.485, 0.456, 0.406] # of pixels from 0 to 1
    std = [0.229, 0.224, 0.225]
    layout = \"nchw\"              # or \"nhwc\"; read from the model where it says so
    colour = \"rgb\"               # or \"bgr\", \"grey\"

    [output]
    softmax = true               # false where the model gives probabilities";
