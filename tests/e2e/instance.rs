//! A fresh sandbox for every request is cheap only while its memory is mapped, and not copied.

use crate::common::pictures::{jpeg, scene};
use crate::common::server::Server;
use std::path::Path;

/// A model takes more memory than this, and nothing else that is mapped so does, in bytes.
const MODEL: u64 = 1 << 20;

/// One line of `/proc/PID/maps`.
struct Mapping {
    bytes: u64,
    writable: bool,
    private: bool,
    path: String,
}

fn mappings(pid: u32) -> Vec<Mapping> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    maps.lines()
        .map(|line| {
            let mut words = line.split_whitespace();
            let (from, to) = words.next().unwrap().split_once('-').unwrap();
            let address = |hex| u64::from_str_radix(hex, 16).unwrap();
            let rights = words.next().unwrap();
            Mapping {
                bytes: address(to) - address(from),
                writable: rights.contains('w'),
                private: rights.ends_with('p'),
                path: words.nth(3).unwrap_or_default().to_string(),
            }
        })
        .collect()
}

/// Fails unless the component's memory is mapped copy-on-write: Wasmtime copies it instead, silently, where it cannot.
#[test]
fn memory_is_mapped_copy_on_write() {
    if !Path::new("/proc/self/maps").exists() {
        return crate::common::skipped("there is no /proc here");
    }
    let server = Server::start(&["--workers", "1"]);
    let image = jpeg(&scene(64, 64));
    server.client.predict(&image).answer();
    let is_image = |mapping: &&Mapping| {
        let backed = mapping.path.contains("memfd:wasm-memory-image")
            || mapping.path.contains("memfd:pinhole-component");
        mapping.writable && mapping.private && backed && mapping.bytes > MODEL
    };
    let before = mappings(server.pid());
    assert!(
        before.iter().any(|mapping| is_image(&mapping)),
        "{}",
        listing(&before)
    );

    // Instances come and go: what they are mapped into does not grow.
    for _ in 0..50 {
        server.client.predict(&image).answer();
    }
    let after = mappings(server.pid());
    assert!(
        after.iter().filter(is_image).count() <= before.iter().filter(is_image).count(),
        "{}",
        listing(&after)
    );
}

fn listing(mappings: &[Mapping]) -> String {
    let line = |mapping: &Mapping| {
        let Mapping {
            bytes,
            writable,
            private,
            path,
        } = mapping;
        format!("{bytes:>14} writable: {writable:5} private: {private:5} {path}")
    };
    mappings.iter().map(line).collect::<Vec<_>>().join("\n")
}
