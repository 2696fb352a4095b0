//! A small inference engine for MobileNet-style image classifiers, written for WebAssembly SIMD under Cranelift.
//!
//! Describe the layers to a [`NetworkBuilder`], [`build`](NetworkBuilder::build) them for a [`Precision`], then
//! [`run`](Network::run) images through the [`Network`] with one [`Arena`]. Everything is channels last (NHWC) with a
//! batch of one, and nothing is allocated while a network runs.
//!
//! With the feature `serde`, a network can be stored and read back; it is checked as it is read.
//!
//! What it does to be fast is told in `NOTES.md`, with figures.

mod builder;
#[cfg(feature = "serde")]
mod check;
mod conv;
mod dense;
mod depthwise;
mod epilogue;
mod error;
mod fence;
mod gemm_f32;
mod gemm_i16;
mod gemm_i8;
mod layers;
mod layout;
mod network;
mod op;
mod pack;
mod plan;
mod quantised;
mod requantise;
mod shape;
mod simd;
#[cfg(feature = "serde")]
mod stored;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that fails may panic")]
mod exact;
#[cfg(test)]
mod reference;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that fails may panic")]
mod tests;

pub use builder::{Attention, Conv, NetworkBuilder, Pool};
pub use error::BuildError;
pub use network::{Arena, LayerTime, Network};
pub use op::{Activation, Binary, Pooling, Precision, TensorId, Unary};
pub use requantise::Steps;
pub use shape::Shape;
