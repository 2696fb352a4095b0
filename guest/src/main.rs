//! The component's binary: exports the contract of `wit/`, and `wasi:cli/run` for use from a command line.

#[cfg(target_family = "wasm")]
mod bindings;
#[cfg(target_family = "wasm")]
mod cli;
#[cfg(target_family = "wasm")]
mod component;
#[cfg(all(target_family = "wasm", feature = "nn"))]
mod nn;

#[cfg(target_family = "wasm")]
#[global_allocator]
static ALLOCATOR: pinhole_guest::alloc::Zeroing = pinhole_guest::alloc::Zeroing;

#[cfg(target_family = "wasm")]
fn main() -> std::process::ExitCode {
    cli::run()
}

#[cfg(not(target_family = "wasm"))]
fn main() -> std::process::ExitCode {
    eprintln!("This is a WebAssembly component: build it with `cargo xtask build`.");
    std::process::ExitCode::from(2)
}
