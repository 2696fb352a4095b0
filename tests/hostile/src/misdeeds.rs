//! What a guest can do to its host, by name.

use crate::answer;
use crate::bindings::exports::pinhole::vision::classify::{Classification, ClassifyError};
use std::hint::black_box;
use std::io::Write;
use std::time::Duration;

/// Memory that `plant` writes and `search` looks through, in pages of 64 KiB: 32 MiB.
const PAGES: usize = 512;

/// Does what the image names. None when it names no misdeed; an answer where there is one to give.
pub fn commit(image: &str) -> Option<Result<Classification, ClassifyError>> {
    match image {
        "trap" => core::arch::wasm32::unreachable(),
        "panic" => panic!("this guest panics\nover two lines"),
        "exit" => std::process::exit(0),
        "loop" => forever(),
        "sleep" => {
            std::thread::sleep(Duration::from_secs(3600));
            None
        }
        "overflow" => {
            black_box(recurse(u64::MAX));
            None
        }
        "grab" => grab(),
        "chatter" => chatter(),
        // More than anybody has a use for.
        "sentence" => Some(Err(ClassifyError::InvalidImage("x".repeat(48 << 20)))),
        "list" => Some(Ok(answer((0..1 << 20).map(|_| String::new())))),
        // What the contract's types rule out.
        "no-text" => Some(Ok(answer([no_text()].into_iter()))),
        "no-end" => Some(Ok(answer([no_end()].into_iter()))),
        "no-number" => Some(Ok(no_number())),
        "plant" => {
            fresh_pages().fill(0xa5);
            Some(Ok(answer(["planted".into()].into_iter())))
        }
        "search" => {
            let found = fresh_pages().iter().filter(|byte| **byte != 0).count();
            Some(Ok(answer([found.to_string()].into_iter())))
        }
        _ => None,
    }
}

fn forever() -> ! {
    let mut turn = 0_u64;
    loop {
        turn = black_box(turn.wrapping_add(1));
    }
}

fn recurse(depth: u64) -> u64 {
    if black_box(depth) == 0 {
        return 0;
    }
    black_box(recurse(depth - 1)).wrapping_add(depth)
}

/// Takes memory until it is refused, and dies as any Rust program then does.
fn grab() -> ! {
    let mut held = Vec::new();
    loop {
        held.push(black_box(vec![1_u8; 1 << 20]));
    }
}

/// Writes far more to standard error than a log should take.
fn chatter() -> ! {
    let mut stderr = std::io::stderr();
    for _ in 0..10_000 {
        // That nobody listens any more does not stop it.
        let _ = stderr.write_all(&[b'!'; 1000]);
    }
    core::arch::wasm32::unreachable()
}

#[allow(unsafe_code, reason = "breaking the contract is the point")]
fn no_text() -> String {
    // SAFETY: nothing here looks into the string; the host gets its address and length.
    unsafe { String::from_utf8_unchecked(vec![0xff; 8]) }
}

#[allow(unsafe_code, reason = "breaking the contract is the point")]
fn no_end() -> String {
    let length = u32::MAX as usize / 2;
    let start = Box::leak(Box::new(0_u8));
    // SAFETY: nothing here looks into the string, and the call never returns to free it: the host gets its address and
    // length, and finds that it ends outside of memory.
    unsafe { String::from_raw_parts(start, length, length) }
}

fn no_number() -> Classification {
    let mut answer = answer(["no number".into()].into_iter());
    answer.predictions[0].probability = f32::NAN;
    answer
}

/// Memory that this instance has never had before.
#[allow(unsafe_code, reason = "what an allocator returns may have been used")]
fn fresh_pages() -> &'static mut [u8] {
    let page = core::arch::wasm32::memory_grow::<0>(PAGES);
    assert!(page != usize::MAX, "the memory does not grow");
    // SAFETY: these pages were made by the line above, and nothing else knows of them.
    unsafe { core::slice::from_raw_parts_mut((page << 16) as *mut u8, PAGES << 16) }
}
