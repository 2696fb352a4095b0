//! The guest: image bytes to predictions, in stages that know nothing of WebAssembly.
//!
//! `decode` (and `jpeg`) -> `preprocess` -> `infer` -> `rank`, put together in `model`. What makes a component of it is in
//! the binary: `bindings`, `component` and `cli`.
//!
//! Models come as ONNX files, which `load` makes ready (`onnx` checks them, `tract` runs them, `recognise` finds the layers
//! that our own kernels run instead), or in the form that `compiled` writes and reads. `alloc` keeps snapshots small.

pub mod alloc;
pub mod compiled;
pub mod decode;
pub mod error;
pub mod infer;
mod jpeg;
#[cfg(feature = "tract")]
pub mod load;
pub mod model;
#[cfg(feature = "tract")]
mod onnx;
pub mod preprocess;
pub mod rank;
#[cfg(feature = "tract")]
mod recognise;
#[cfg(feature = "tract")]
mod tract;

pub use pinhole_kernels::Precision;
