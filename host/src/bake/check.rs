//! What rounding costs: a component in reduced precision beside the same model in full precision, on the same pictures.

use crate::bindings::exports::pinhole::vision::classify::Prediction;
use crate::bindings::{Classifier, ClassifierPre};
use crate::bmp::bmp;
use crate::engine::state::{State, linker};
use crate::files;
use anyhow::{Context, Result, anyhow, bail};
use std::fmt::{self, Display, Formatter};
use std::path::Path;
use wasmtime::component::Component;
use wasmtime::{Engine, Store};

/// Pictures that are made up where none are given.
const GENERATED: u32 = 16;

/// Their side, in pixels.
const SIDE: u32 = 256;

/// Memory for one picture, in bytes.
const MEMORY_BYTES: usize = 1 << 30;

/// How two components agree.
pub struct Agreement {
    pictures: usize,
    same_class: usize,
    largest_difference: f32,
    generated: bool,
}

impl Agreement {
    /// Whether more than one picture in ten changes its class.
    pub fn is_poor(&self) -> bool {
        (self.pictures - self.same_class) * 10 > self.pictures
    }
}

impl Display for Agreement {
    fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
        write!(
            to,
            "the class of fp32 on {} of {}{} pictures, probabilities within {:.3}",
            self.same_class,
            self.pictures,
            if self.generated { " generated" } else { "" },
            self.largest_difference
        )
    }
}

/// Whether a component computes in our own reduced precision.
pub fn is_int8(engine: &Engine, component: &[u8]) -> Result<bool> {
    let component = prepare(engine, component)?;
    let (mut store, instance) = instance(engine, &component)?;
    let described = instance
        .pinhole_vision_classify()
        .call_describe(&mut store)
        .map_err(|error| anyhow!("The component cannot say what it is: {error:#}."))?;
    Ok(described.is_some_and(|info| info.engine == "kernels-int8"))
}

/// Classifies pictures with two components of the same model, in full and in reduced precision: those of a folder, or
/// generated ones. Files that are no pictures are left out.
pub fn agreement(
    engine: &Engine,
    components: [&[u8]; 2],
    folder: Option<&Path>,
) -> Result<Agreement> {
    let mut agreement = Agreement {
        pictures: 0,
        same_class: 0,
        largest_difference: 0.0,
        generated: folder.is_none(),
    };
    let [full, reduced] = components;
    let (full, reduced) = (prepare(engine, full)?, prepare(engine, reduced)?);
    for picture in pictures(folder)? {
        let (Some(full), Some(reduced)) = (
            classify(engine, &full, &picture)?,
            classify(engine, &reduced, &picture)?,
        ) else {
            continue;
        };
        agreement.pictures += 1;
        let class = |answer: &[Prediction]| answer.first().map(|first| first.class_id);
        agreement.same_class += usize::from(class(&full) == class(&reduced));
        for one in &full {
            let other = reduced.iter().find(|other| other.class_id == one.class_id);
            let difference = other.map_or(1.0, |other| (one.probability - other.probability).abs());
            agreement.largest_difference = agreement.largest_difference.max(difference);
        }
    }
    if agreement.pictures == 0 {
        bail!("None of the files to check with is a picture: give a folder of JPEG or PNG files.");
    }
    Ok(agreement)
}

fn prepare(engine: &Engine, component: &[u8]) -> Result<ClassifierPre<State>> {
    Component::new(engine, component)
        .and_then(|component| linker(engine)?.instantiate_pre(&component))
        .and_then(ClassifierPre::new)
        .map_err(|error| anyhow!("The component cannot be tried: {error:#}."))
}

fn instance(
    engine: &Engine,
    component: &ClassifierPre<State>,
) -> Result<(Store<State>, Classifier)> {
    let mut store = Store::new(engine, State::new(MEMORY_BYTES));
    store.limiter(|state| state);
    store.set_epoch_deadline(u64::MAX / 2);
    let instance = component
        .instantiate(&mut store)
        .map_err(anyhow::Error::from)
        .context("The component cannot be tried")?;
    Ok((store, instance))
}

fn pictures(folder: Option<&Path>) -> Result<Vec<Vec<u8>>> {
    let Some(folder) = folder else {
        return Ok((0..GENERATED).map(generated).collect());
    };
    let unreadable = |error| {
        anyhow!(
            "The pictures in {} cannot be read: {error}.",
            folder.display()
        )
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    let pictures = paths.iter();
    pictures
        .map(|path| files::read(path, "picture", MEMORY_BYTES as u64))
        .collect()
}

/// All classes of a picture, best first; none when it is no picture.
fn classify(
    engine: &Engine,
    component: &ClassifierPre<State>,
    picture: &[u8],
) -> Result<Option<Vec<Prediction>>> {
    let (mut store, instance) = instance(engine, component)?;
    let answer = instance
        .pinhole_vision_classify()
        .call_classify(&mut store, picture, u32::MAX)
        .map_err(|error| anyhow!("The component failed on a picture: {error:#}."))?;
    Ok(answer.ok().map(|answer| answer.predictions))
}

/// A picture without meaning, but with colours, edges and texture: waves of two sizes behind a disc.
fn generated(seed: u32) -> Vec<u8> {
    // Multiples of an odd number spread over all values.
    let vary = |part: u32| (seed * 7 + part).wrapping_mul(0x9e37_79b1) >> 16;
    let value = |part: u32| vary(part) as f32 / 65_536.0;
    bmp(SIDE, |x, y| {
        let (x, y) = (x as f32 / SIDE as f32, y as f32 / SIDE as f32);
        let wave = |size: f32, part: u32| {
            let turned = x * (value(part) - 0.5) + y * (value(part + 1) - 0.5);
            (turned * size + value(part + 2) * 6.3).sin()
        };
        let (dx, dy) = (x - 0.3 - 0.4 * value(1), y - 0.3 - 0.4 * value(2));
        let inside = dx * dx + dy * dy < 0.02 + 0.06 * value(3);
        [4, 9, 14].map(|part| {
            let light = if inside {
                value(part) + 0.3 * wave(160.0, part)
            } else {
                value(part + 1) + 0.4 * wave(24.0, part + 2)
            };
            (light.clamp(0.0, 1.0) * 255.0) as u8
        })
    })
}
