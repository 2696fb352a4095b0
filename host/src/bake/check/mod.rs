//! What a component answers, before it is written: it classifies pictures, through the whole path of `classify`.
//!
//! `agreement` judges what rounding costs, `plausible` whether answers look like those of a classifier.

mod agreement;
mod plausible;

pub use agreement::Agreement;

use crate::bindings::exports::pinhole::vision::classify::ClassifyError;
use crate::bindings::{Classifier, ClassifierPre};
use crate::bmp::bmp;
use crate::bounded::{Bounds, Over};
use crate::engine::state::{State, linker};
use crate::engine::ticker::{Ticker, ticks};
use crate::files;
use anyhow::{Context, Result, anyhow, bail};
use pinhole_probes::{Picture, scene};
use std::path::Path;
use wasmtime::component::Component;
use wasmtime::{Engine, Store, Trap};

/// Pictures that are made up where none are given.
const GENERATED: u32 = 24;

/// Their side, in pixels.
const SIDE: u32 = 256;

/// Memory for one picture, in bytes: whatever serving it then takes, it is said.
const MEMORY_BYTES: usize = 4 << 30;

/// What the largest file among the pictures may have, in bytes.
const PICTURE_BYTES: u64 = 1 << 30;

/// The engine that components are tried in.
pub struct Bench {
    /// As for precompiling: its code is what is written.
    pub engine: Engine,
    bounds: Bounds,
    _ticker: Ticker,
}

/// How a component did.
pub struct Tried {
    /// What runs the model.
    pub engine: String,
    /// The probabilities of each picture, in the order of classes; none of what is no picture.
    pub answers: Vec<Option<Vec<f32>>>,
    /// The most memory that a sandbox had, in bytes.
    pub memory_bytes: usize,
}

impl Bench {
    /// To be made once: it has a thread.
    pub fn new(engine: Engine, bounds: Bounds) -> Result<Self> {
        Ok(Self {
            _ticker: Ticker::start(&engine)
                .context("The thread for the clock cannot be started")?,
            engine,
            bounds,
        })
    }

    /// Classifies pictures, each in a sandbox of its own. Files that are no pictures are left out.
    pub fn run(&self, component: &Component, pictures: &[Vec<u8>]) -> Result<Tried> {
        let component = linker(&self.engine)
            .and_then(|linker| linker.instantiate_pre(component))
            .and_then(ClassifierPre::new)
            .map_err(|error| anyhow!("The component cannot be tried: {error:#}."))?;
        let (mut store, instance) = self.instance(&component)?;
        let described = instance
            .pinhole_vision_classify()
            .call_describe(&mut store)
            .map_err(|error| anyhow!("The component cannot say what it is: {error:#}."))?;
        let mut tried = Tried {
            engine: described.map(|info| info.engine).unwrap_or_default(),
            answers: Vec::with_capacity(pictures.len()),
            memory_bytes: store.data().memory_bytes(),
        };
        for picture in pictures {
            let answer = self.classify(&component, picture, &mut tried.memory_bytes)?;
            tried.answers.push(answer);
        }
        if tried.answers.iter().all(Option::is_none) {
            bail!(
                "None of the files to check with is a picture: give a folder of JPEG or PNG files."
            );
        }
        Ok(tried)
    }

    fn instance(&self, component: &ClassifierPre<State>) -> Result<(Store<State>, Classifier)> {
        let mut store = Store::new(&self.engine, State::new(MEMORY_BYTES));
        store.limiter(|state| state);
        store.set_epoch_deadline(ticks(self.bounds.time));
        let instance = component
            .instantiate(&mut store)
            .map_err(anyhow::Error::from)
            .context("The component cannot be tried")?;
        Ok((store, instance))
    }

    fn classify(
        &self,
        component: &ClassifierPre<State>,
        picture: &[u8],
        memory_bytes: &mut usize,
    ) -> Result<Option<Vec<f32>>> {
        let (mut store, instance) = self.instance(component)?;
        let answer = instance
            .pinhole_vision_classify()
            .call_classify(&mut store, picture, u32::MAX)
            .map_err(|error| match error.downcast_ref() {
                Some(Trap::Interrupt) => anyhow!(
                    "The model cannot be tried on a picture: {}.",
                    Over::Time(self.bounds.time)
                ),
                _ => anyhow!("The component failed on a picture: {error:#}."),
            })?;
        *memory_bytes = (*memory_bytes).max(store.data().memory_bytes());
        match answer {
            Ok(answer) => {
                let mut probabilities = vec![0.0; answer.predictions.len()];
                for prediction in answer.predictions {
                    if let Some(place) = probabilities.get_mut(prediction.class_id as usize) {
                        *place = prediction.probability;
                    }
                }
                Ok(Some(probabilities))
            }
            Err(ClassifyError::Inference(sentence)) => {
                bail!("The model fails on a picture: {sentence}")
            }
            Err(_) => Ok(None),
        }
    }
}

/// The files of a folder, or generated pictures where there is none.
pub fn pictures(folder: Option<&Path>) -> Result<Vec<Vec<u8>>> {
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
        .map(|path| files::read(path, "picture", PICTURE_BYTES))
        .collect()
}

fn generated(seed: u32) -> Vec<u8> {
    // The first ones are what the guest itself tries the model on.
    let Picture { side, pixels } = scene(100 + seed, SIDE);
    bmp(side, |x, y| pixels[(y * side + x) as usize])
}
