//! The guest: image bytes to predictions, in stages that know nothing of WebAssembly.
//!
//! `decode` (and `jpeg`) -> `preprocess` -> `infer` -> `rank`, put together in `model`. `onnx` reads model files, `recognise` finds the layers that our own kernels run, `alloc`
//! keeps snapshots small. What makes a component of it is in the binary: `bindings`, `component` and `cli`.

pub mod alloc;
pub mod decode;
pub mod error;
pub mod infer;
mod jpeg;
pub mod model;
mod onnx;
pub mod preprocess;
pub mod rank;
mod recognise;

pub use pinhole_kernels::Precision;
