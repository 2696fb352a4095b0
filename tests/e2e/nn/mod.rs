//! Models that the host runs for its guests: the same answers, and nothing that a guest can do with them but ask.

mod answers;
mod choice;
mod misdeeds;

use crate::common::imagenet::ImageNet;
use crate::common::onnx::{COLOURS, Model};
use std::path::PathBuf;

/// As `COLOURS`, with the opposite scores.
const OPPOSITE: Model<'static> = Model {
    nodes: &[
        ("GlobalAveragePool", &["image"], &["means"]),
        ("Flatten", &["means"], &["flat"]),
        ("Neg", &["flat"], &["scores"]),
    ],
    ..COLOURS
};

/// A model that our own kernels cannot run.
fn quantised(model: &ImageNet) -> PathBuf {
    model
        .onnx
        .with_file_name("mobilenetv2-imagenet-int8-qdq.onnx")
}
