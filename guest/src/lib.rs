//! The guest: image bytes to predictions, in stages that know nothing of WebAssembly.
//!
//! `decode` -> `preprocess` -> `infer` -> `rank`, put together in `model`. What makes a component of it is in
//! the binary: `bindings`, `component` and `cli`.
//!
//! Models come as ONNX files, which `load` makes ready (`onnx` checks them, `tract` runs them; our own kernels run the
//! layers that `pinhole-onnx` recognises instead), or in the form that `compiled` writes and reads. `on_host` is for models
//! that the host runs. `alloc` keeps snapshots small.

pub mod alloc;
pub mod compiled;
pub mod decode;
pub mod error;
pub mod infer;
#[cfg(feature = "tract")]
pub mod load;
pub mod model;
#[cfg(feature = "nn")]
pub mod on_host;
#[cfg(feature = "tract")]
mod onnx;
pub mod preprocess;
pub mod rank;
#[cfg(feature = "tract")]
mod tract;

#[cfg(feature = "kernels")]
pub use pinhole_kernels::Precision;

#[cfg(not(any(feature = "kernels", feature = "nn")))]
compile_error!("a guest runs models by the feature `tract`, `kernels` or `nn`");
