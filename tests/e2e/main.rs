//! End-to-end tests, on what `cargo xtask build` and `cargo xtask image` left in `dist/`: a file an aspect.
//!
//! Tests on real weights and photographs read the folder `../shared` beside the repository, and say that they are skipped
//! where it is not there. Nothing sleeps to wait: everything polls with a deadline.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![cfg(unix)]

mod attacks;
mod bake;
mod bake_checks;
mod clients;
mod command_line;
mod common;
mod container;
mod corpora;
mod cors;
mod damage;
mod deploy;
mod folders;
mod forms;
mod giants;
mod golden;
mod heads;
mod hostile;
mod http;
mod instance;
mod lite0;
mod load;
mod metrics;
mod nn;
mod openapi;
mod page;
mod paths;
mod pictures;
mod readme;
mod soak;
mod traces;
mod unheard;
mod uploads;
mod v1;
mod v2;
mod wasi_http;
mod zoo;
