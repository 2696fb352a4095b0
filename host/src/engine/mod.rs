//! The sandbox: one Wasmtime engine, one pre-linked component, a fresh instance for every call.
//!
//! `config` says how code is compiled and run, `artifact` loads components, `seal` finds damaged ones, `staged` keeps them as
//! they were, `state` is what an instance may touch, `ticker` drives interruption, `sandbox` makes the calls.

pub mod artifact;
pub mod config;
pub mod sandbox;
pub mod seal;
mod staged;
pub mod state;
pub mod ticker;
