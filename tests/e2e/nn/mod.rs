//! Models that the host runs for its guests: the same answers, and nothing that a guest can do with them but ask.

mod answers;
mod choice;
mod misdeeds;

use crate::common::imagenet::ImageNet;
use crate::common::onnx::{COLOURS, Model};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// As `COLOURS`, with the opposite scores.
const OPPOSITE: Model<'static> = Model {
    nodes: &[
        ("GlobalAveragePool", &["image"], &["means"]),
        ("Flatten", &["means"], &["flat"]),
        ("Neg", &["flat"], &["scores"]),
    ],
    ..COLOURS
};

/// The same model with something aside that our own kernels do not know, so that they cannot run it.
fn for_tract(model: &ImageNet) -> &'static Path {
    static WRITTEN: OnceLock<PathBuf> = OnceLock::new();
    WRITTEN.get_or_init(|| {
        let aside = Model {
            nodes: &[("Neg", &["input"], &["aside"])],
            inputs: &[],
            outputs: &[],
        };
        let path = model.network.with_file_name("for-tract.onnx");
        let file = std::fs::read(&model.onnx).unwrap();
        std::fs::write(&path, [file, aside.addition()].concat()).unwrap();
        path
    })
}
