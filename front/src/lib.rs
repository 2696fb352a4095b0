//! The front: HTTP for a component that knows none of it.
//!
//! It imports `pinhole:vision/classify`, exports `wasi:http/incoming-handler`, and is composed with a baked guest, which stays
//! as it is. Whoever runs the two (`wasmtime serve`, Spin, wasmCloud) brings connections, limits and isolation; what is left
//! is here: `routes` -> the guest -> JSON, as the host answers it, from requests as the host takes them. `error` alone chooses
//! statuses.
//!
//! `component` and `bindings` make a component of it; the rest knows nothing of WebAssembly.

#[cfg(target_family = "wasm")]
mod bindings;
#[cfg(target_family = "wasm")]
mod component;
mod error;
pub mod routes;

pub use error::{Error, Kind};
