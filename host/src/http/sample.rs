//! A small model for tests.

use crate::bindings::exports::pinhole::vision::classify::{
    Aspect, Colour, ElementType, Interpolation, Layout, ModelInfo, Preprocessing, TensorInfo,
};

/// Takes two numbers, in three dimensions.
pub fn model() -> ModelInfo {
    ModelInfo {
        name: "m".into(),
        version: "1".into(),
        sha256: String::new(),
        input: TensorInfo {
            name: "image".into(),
            shape: vec![1, 1, 2, 1],
            element_type: ElementType::Float32,
        },
        labels: vec!["a".into(), "b".into()],
        preprocessing: Preprocessing {
            resize: 2,
            aspect: Aspect::Keep,
            crop: 2,
            interpolation: Interpolation::Nearest,
            mean: vec![0.0],
            std: vec![1.0],
            layout: Layout::Nchw,
            colour: Colour::Grey,
        },
        engine: "none".into(),
    }
}
