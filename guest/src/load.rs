//! An ONNX file to a model: parse, check, optimise, compare.
//!
//! tract reads every model and judges what was recognised for our own kernels: the two must agree on the same input
//! before ours are believed.

use crate::compiled::{self, Compiled, Outline};
use crate::error::ClassifyError;
use crate::infer::{ElementType, Input, Network};
use crate::model::Model;
use crate::onnx;
use crate::preprocess::{Aspect, Colour, Interpolation, Layout, Preprocessing};
use crate::tract::{Plan, classes_of};
use image::{Rgb, RgbImage};
use pinhole_kernels::Precision;
use pinhole_onnx::{Obstacle, Recognised, agree, not_run_quantised, recognise};
use pinhole_probes::{Picture, noise, scene};
use sha2::{Digest, Sha256};
use tract_onnx::Onnx;
use tract_onnx::prelude::DatumType;

/// What a model file does not say. What is `None` is read from the model where it says so, and is otherwise what
/// torchvision's ImageNet classifiers use.
#[derive(Clone, Debug)]
pub struct ModelConfig {
    /// The model's name.
    pub name: String,
    /// The model's version.
    pub version: String,
    /// One name a class, in order.
    pub labels: Vec<String>,
    /// The shorter side after resizing, in pixels; both, if it stretches.
    pub resize: Option<u32>,
    /// What becomes of the proportions.
    pub aspect: Option<Aspect>,
    /// Side of the square that the model sees, in pixels.
    pub crop: Option<u32>,
    /// Filter used for resizing.
    pub interpolation: Option<Interpolation>,
    /// One value a channel.
    pub mean: Option<Vec<f32>>,
    /// One value a channel.
    pub std: Option<Vec<f32>>,
    /// Order of the tensor's dimensions.
    pub layout: Option<Layout>,
    /// Order of the channels.
    pub colour: Option<Colour>,
    /// Whether the output holds probabilities already.
    pub probabilities: Option<bool>,
    /// How the arithmetic is done, where our own kernels run the model.
    pub precision: Precision,
    /// Images of more pixels are refused.
    pub max_pixels: u64,
}

/// Parses, checks and optimises an ONNX file, and runs it once. `ended` is told the name of each stage that has ended. The
/// error is one plain sentence.
pub fn load(file: &[u8], config: ModelConfig, ended: fn(&str)) -> Result<Model, String> {
    let onnx = pinhole_onnx::framework();
    let (described, preprocessing, input) = parsed(&onnx, file, &config, ended)?;
    let told = config.probabilities;
    let ends_in_probabilities = described.ends_in_probabilities;
    let tries = tries(&input, &preprocessing)?;
    let (network, seen) = network(&onnx, described, input, &tries, config.precision, ended)?;
    one_label_a_class(network.classes, &config.labels)?;
    let scores_are_probabilities = meaning(told, ends_in_probabilities, &seen)?;
    Ok(Model {
        name: config.name,
        version: config.version,
        sha256: sha256(file),
        labels: config.labels,
        preprocessing,
        scores_are_probabilities,
        max_pixels: config.max_pixels,
        network,
    })
}

/// Parses and checks an ONNX file that the host will run, and writes down in `compiled`'s form what a guest must know of it.
/// The error is one plain sentence.
pub fn for_host(file: &[u8], config: ModelConfig, ended: fn(&str)) -> Result<Vec<u8>, String> {
    let onnx = pinhole_onnx::framework();
    let (described, preprocessing, input) = parsed(&onnx, file, &config, ended)?;
    let (output, told) = (described.output.clone(), config.probabilities);
    let ends_in_probabilities = described.ends_in_probabilities;
    let (classes, scores_are_probabilities) = if described.is_quantised() {
        // tract's scores of such a model are not to be believed, and the host may have an engine that runs it.
        let classes = classes_of(&onnx, described, input.shape)?;
        (classes, told.unwrap_or(ends_in_probabilities))
    } else {
        let (plan, classes) = Plan::new(&onnx, described, input.shape)?;
        ended("optimise");
        let tries = tries(&input, &preprocessing)?;
        let seen = each(&tries, |tensor| plan.run(tensor))?;
        ended("warm up");
        (classes, meaning(told, ends_in_probabilities, &seen)?)
    };
    one_label_a_class(classes, &config.labels)?;
    compiled::on_host(&Compiled {
        name: config.name,
        version: config.version,
        sha256: sha256(file),
        labels: config.labels,
        preprocessing,
        scores_are_probabilities,
        max_pixels: config.max_pixels,
        input,
        softmax: false,
        network: Outline { output },
    })
}

fn parsed(
    onnx: &Onnx,
    file: &[u8],
    config: &ModelConfig,
    ended: fn(&str),
) -> Result<(onnx::Described, Preprocessing, Input), String> {
    let described = onnx::describe(onnx, file)?;
    ended("parse");
    let (preprocessing, input) = settle(&described, config)?;
    Ok((described, preprocessing, input))
}

/// Whether scores are probabilities: as the configuration says, if what the model gave where it was tried can be that; else as the file
/// or these tell.
fn meaning(
    told: Option<bool>,
    ends_in_probabilities: bool,
    seen: &[Vec<f32>],
) -> Result<bool, String> {
    /// How far their sum may be from 1: 16-bit floats, and steps of 1/256.
    const NEAR: f32 = 0.05;
    let each = |is: fn(&[f32]) -> bool| seen.iter().all(|scores| is(scores));
    let within = each(|scores| scores.iter().all(|score| (-1e-3..=1.001).contains(score)));
    let add_up =
        each(|scores| scores.len() > 1 && (scores.iter().sum::<f32>() - 1.0).abs() <= NEAR);
    match told {
        Some(true) if !within => Err(
            "The configuration says `softmax = false`, but the model's scores are no probabilities: some are below 0 or above 1. Leave `softmax` out, or say `softmax = true`."
                .into(),
        ),
        Some(false) if within && add_up => Err(
            "The configuration says `softmax = true`, but the model's scores are probabilities already: they add up to 1. Leave `softmax` out, or say `softmax = false`."
                .into(),
        ),
        Some(told) => Ok(told),
        None => Ok(within && (ends_in_probabilities || add_up)),
    }
}

fn one_label_a_class(classes: usize, labels: &[String]) -> Result<(), String> {
    if classes == labels.len() {
        return Ok(());
    }
    Err(format!(
        "The model has {classes} classes, but there are {} labels: there must be exactly one label a class.",
        labels.len()
    ))
}

fn sha256(file: &[u8]) -> String {
    Sha256::digest(file)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Photographs, as far as generated pictures are like them, that a model is tried on.
const SCENES: u32 = 2;
const SCENE_SIDE: u32 = 256;

/// What a model is tried on, as tensors in its own layout: noise, a flat colour, and pictures that are like photographs.
fn tries(input: &Input, preprocessing: &Preprocessing) -> Result<Vec<Vec<f32>>, String> {
    let mut tries = vec![noise(input.elements()), vec![0.25; input.elements()]];
    for seed in 0..SCENES {
        let Picture { side, pixels } = scene(seed, SCENE_SIDE);
        let picture = RgbImage::from_fn(side, side, |x, y| Rgb(pixels[(y * side + x) as usize]));
        let tensor = preprocessing.apply(&picture, input.layout);
        tries.push(tensor.map_err(|error| error.to_string())?);
    }
    Ok(tries)
}

/// The scores of each.
fn each(
    tries: &[Vec<f32>],
    run: impl Fn(&[f32]) -> Result<Vec<f32>, ClassifyError>,
) -> Result<Vec<Vec<f32>>, String> {
    let scores = tries.iter().map(|tensor| run(tensor));
    scores
        .collect::<Result<_, _>>()
        .map_err(|error| error.to_string())
}

/// The network of a model, and its scores of what it was tried on.
fn network(
    onnx: &Onnx,
    model: onnx::Described,
    input: Input,
    tries: &[Vec<f32>],
    precision: Precision,
    ended: fn(&str),
) -> Result<(Network, Vec<Vec<f32>>), String> {
    // Two copies: one is checked in full precision, whatever precision is wanted, and one is kept.
    let kept = layers(onnx, &model, &input);
    let checked = kept.clone();
    let rounds = |layers: &Recognised| layers.builder.is_quantised();
    let is_quantised = model.is_quantised();
    let rounds_here = checked.as_ref().is_ok_and(rounds);
    // Rounding makes much of a last bit: what rounds is compared without.
    let smooth = rounds_here.then(|| model.without_rounding(onnx));
    let (plan, classes) = Plan::new(onnx, model, input.shape)?;
    ended("optimise");
    // These runs show that the model can be run at all, too.
    let seen = each(tries, |tensor| plan.run(tensor))?;
    ended("warm up");
    let own = || -> Result<Network, Obstacle> {
        let mut checked = checked?;
        let smooth = match smooth {
            Some(smooth) => {
                checked.builder = checked.builder.without_rounding();
                let (plan, _) = Plan::new(onnx, smooth?, input.shape)?;
                Some(each(tries, |tensor| plan.run(tensor))?)
            }
            None => None,
        };
        let checked = built(&input, checked, Precision::Fp32)?;
        let own = each(tries, |tensor| checked.run(tensor))?;
        let mut pairs = own.iter().zip(smooth.as_ref().unwrap_or(&seen));
        if !pairs.all(|(own, expected)| agree(own, expected)) {
            return Err("the recognised layers give other scores than the model".into());
        }
        Ok(built(&input, kept?, precision)?)
    };
    match own() {
        // What tract makes of rounded tensors is not to be believed.
        Ok(own) if rounds_here => {
            let seen = each(tries, |tensor| own.run(tensor))?;
            Ok((own, seen))
        }
        Ok(own) => Ok((own, seen)),
        Err(why) if is_quantised => Err(format!(
            "The model cannot be baked: {}.",
            not_run_quantised(&why)
        )),
        Err(why) => Ok((Network::on_tract(input, classes, plan, why), seen)),
    }
}

/// The model as layers of our kernels, or why it is none.
fn layers(onnx: &Onnx, model: &onnx::Described, input: &Input) -> Result<Recognised, Obstacle> {
    if input.element_type == ElementType::Float16 {
        return Err("the input is 16-bit floats".into());
    }
    let graph = model.proto.graph.as_ref().ok_or("there is no graph")?;
    let last = input.layout == Layout::Nhwc;
    let channels = input.shape[if last { 3 } else { 1 }];
    recognise(onnx, graph, &input.name, input.shape[2], (channels, last))
}

fn built(input: &Input, layers: Recognised, precision: Precision) -> Result<Network, String> {
    let Recognised {
        builder,
        output,
        softmax,
    } = layers;
    let network = builder
        .build(output, precision)
        .map_err(|error| error.to_string())?;
    Ok(Network::on_kernels(input.clone(), network, softmax))
}

/// Settles what the configuration leaves open from what the file says, and checks that the two agree.
fn settle(model: &onnx::Described, config: &ModelConfig) -> Result<(Preprocessing, Input), String> {
    let layout = config.layout.or_else(|| model.layout()).ok_or(
        "The model's input does not say where its channels are: give `layout` in the configuration.",
    )?;
    let [batch, channels, height, width] = match layout {
        Layout::Nchw => model.dims,
        Layout::Nhwc => [model.dims[0], model.dims[3], model.dims[1], model.dims[2]],
    };
    if batch.is_some_and(|size| size != 1) {
        return Err(format!(
            "The model takes batches of exactly {}: export it for a batch of 1, or of any size.",
            batch.unwrap_or_default()
        ));
    }
    let colour = config.colour.unwrap_or(if channels == Some(1) {
        Colour::Grey
    } else {
        Colour::Rgb
    });
    if channels.is_some_and(|channels| channels != colour.channels()) {
        return Err(format!(
            "The model's input has {} channels, but the configuration gives it {}.",
            channels.unwrap_or_default(),
            colour.channels()
        ));
    }
    if let (Some(height), Some(width)) = (height, width)
        && height != width
    {
        return Err(format!(
            "The model takes images of {width} x {height} pixels; only square inputs are supported."
        ));
    }
    let size = height.or(width).and_then(|size| u32::try_from(size).ok());
    if let (Some(size), Some(crop)) = (size, config.crop)
        && size != crop
    {
        return Err(format!(
            "The model takes images of {size} pixels a side, but the configuration crops to {crop}."
        ));
    }
    let crop = size.or(config.crop).unwrap_or(224);
    let bytes = model.element_type == DatumType::U8;
    let (mean, std): (&[f32], &[f32]) = match colour {
        // A model that takes bytes takes pixels as they are, and does the rest itself.
        Colour::Grey if bytes => (&[0.0], &[1.0 / 255.0]),
        _ if bytes => (&[0.0; 3], &[1.0 / 255.0; 3]),
        Colour::Rgb => (&[0.485, 0.456, 0.406], &[0.229, 0.224, 0.225]),
        Colour::Bgr => (&[0.406, 0.456, 0.485], &[0.225, 0.224, 0.229]),
        Colour::Grey => (&[0.5], &[0.5]),
    };
    let preprocessing = Preprocessing {
        resize: config
            .resize
            .unwrap_or_else(|| crop.saturating_mul(8).div_ceil(7)),
        aspect: config.aspect.unwrap_or(Aspect::Keep),
        crop,
        interpolation: config.interpolation.unwrap_or(Interpolation::Bilinear),
        mean: config.mean.clone().unwrap_or_else(|| mean.to_vec()),
        std: config.std.clone().unwrap_or_else(|| std.to_vec()),
        layout,
        colour,
    };
    preprocessing.check()?;
    let (side, channels) = (crop as usize, colour.channels());
    let shape = match layout {
        Layout::Nchw => [1, channels, side, side],
        Layout::Nhwc => [1, side, side, channels],
    };
    let element_type = match model.element_type {
        DatumType::U8 => ElementType::Uint8,
        DatumType::F16 => ElementType::Float16,
        _ => ElementType::Float32,
    };
    let input = Input {
        name: model.input.clone(),
        shape,
        layout,
        element_type,
    };
    Ok((preprocessing, input))
}
