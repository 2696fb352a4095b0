//! Files that are not as they were made: refused before anything of them is run, and what runs already does not mind.

use crate::common::pictures::{jpeg, scene};
use crate::common::server::Server;
use crate::common::{Ended, answer, assert_same, dist, pinhole, root, run};
use std::io::Write;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The bytes that a sealed file begins with.
const SEAL: usize = 64;

/// Copies of a file that are not what it is, and what each is: single bits the other way round in the seal, near both ends
/// and in between; cut short; with something at the end. The host's own tests have thousands more.
fn spoiled(good: &[u8]) -> Vec<(String, Vec<u8>)> {
    let last = good.len() - 1;
    let places = [0, 11, 12, 14, 16, 23, 31, 32, SEAL - 1, SEAL, SEAL + 100];
    let spread = (1..6).map(|sixth| last / 6 * sixth);
    let mut copies: Vec<_> = places
        .into_iter()
        .chain(spread)
        .chain([last - 1, last])
        .map(|place| {
            let mut copy = good.to_vec();
            copy[place] ^= 1 << (place % 8);
            (format!("a bit of byte {place}"), copy)
        })
        .collect();
    for length in [0, 7, SEAL, good.len() / 2, last] {
        copies.push((format!("{length} bytes"), good[..length].to_vec()));
    }
    for more in [&b"\0"[..], b"\n", &[0xaa; 4096]] {
        copies.push((format!("{} bytes more", more.len()), [good, more].concat()));
    }
    copies
}

fn classify(options: &[&str], files: &[&Path]) -> Ended {
    let mut command = pinhole();
    command.args(["classify", "--json", "-"]).args(options);
    run(command.args(files), &jpeg(&scene(64, 64)))
}

/// Fails unless that ended with 3, and one sentence about this file.
#[track_caller]
fn refused(ended: &Ended, file: &Path, what: &str) {
    let Ended {
        code,
        stdout,
        stderr,
    } = ended;
    assert_eq!((*code, stdout.as_str()), (Some(3), ""), "{what}: {stderr}");
    assert_eq!(stderr.lines().count(), 1, "{what}: {stderr}");
    assert!(
        stderr.contains(&*file.to_string_lossy()),
        "{what}: {stderr}"
    );
    assert!(stderr.ends_with(".\n"), "{what}: {stderr}");
}

#[test]
fn damaged_code_is_never_run() {
    let folder = TempDir::new().unwrap();
    let copy = folder.path().join("copy.cwasm");
    let good = std::fs::read(dist("guest.cwasm")).unwrap();
    let ask = |options: &[&str]| {
        let component = ["--component", copy.to_str().unwrap()];
        classify(&[&component, options].concat(), &[])
    };
    std::fs::write(&copy, &good).unwrap();
    let right = answer(&ask(&[]).ok()).predictions;
    for (what, bytes) in spoiled(&good) {
        std::fs::write(&copy, bytes).unwrap();
        refused(&ask(&[]), &copy, &what);
        // A seal that is wrong is refused, whoever trusts files without one.
        refused(&ask(&["--trust-unsealed"]), &copy, &what);
    }

    // What `wasmtime compile` leaves has none.
    std::fs::write(&copy, &good[SEAL..]).unwrap();
    let ended = ask(&[]);
    refused(&ended, &copy, "no seal");
    assert!(
        ended.stderr.contains("--trust-unsealed"),
        "{}",
        ended.stderr
    );
    let ended = ask(&["--trust-unsealed"]);
    assert!(ended.stderr.contains("no checksum"), "{}", ended.stderr);
    assert_same(&answer(&ended.ok()).predictions, &right);
}

#[test]
fn a_service_says_that_it_runs_code_without_a_checksum() {
    let folder = TempDir::new().unwrap();
    let copy = folder.path().join("copy.cwasm");
    let good = std::fs::read(dist("guest.cwasm")).unwrap();
    std::fs::write(&copy, &good[SEAL..]).unwrap();
    for (options, env) in [
        (&["--trust-unsealed"][..], &[][..]),
        (&[], &[("PINHOLE_TRUST_UNSEALED", "true")]),
    ] {
        let mut serve = pinhole();
        serve.args(["serve", "--listen", "127.0.0.1:0", "--component"]);
        serve.arg(&copy).args(options).envs(env.iter().copied());
        let server = Server::run(&mut serve);
        let log = server.log();
        let warned = |line: &str| line.contains("WARN") && line.contains("has no checksum");
        assert!(log.lines().any(warned), "{log}");
        server.client.predict(&jpeg(&scene(64, 64))).answer();
    }
    let sealed = Server::start(&["--trust-unsealed"]);
    assert!(!sealed.log().contains("checksum"), "{}", sealed.log());
}

/// The default model for the host to run: a component, and the network.
fn for_the_host(folder: &Path) -> (PathBuf, PathBuf) {
    let (component, network) = (folder.join("nn.wasm"), folder.join("nn.network"));
    let file = |end: &str| root().join("models").join(format!("default.{end}"));
    let mut bake = pinhole();
    bake.args(["bake", "--engine", "nn", "--precompile"])
        .args([Path::new("--model"), &file("onnx")])
        .args([Path::new("--labels"), &file("labels.txt")])
        .args([Path::new("--config"), &file("toml")])
        .args([Path::new("--network"), &network])
        .args([Path::new("-o"), &component]);
    run(&mut bake, b"").ok();
    (component.with_extension("cwasm"), network)
}

#[test]
fn a_damaged_network_is_never_run() {
    let folder = TempDir::new().unwrap();
    let (component, network) = for_the_host(folder.path());
    let copy = folder.path().join("copy.network");
    let good = std::fs::read(&network).unwrap();
    let ask = |options: &[&str]| {
        let kernels = [&["--engine", "kernels"], options].concat();
        let (model, component) = (Path::new("--component"), &*component);
        classify(&kernels, &[model, component, Path::new("--model"), &copy])
    };
    std::fs::write(&copy, &good).unwrap();
    let right = answer(&ask(&[]).ok()).predictions;
    for (what, bytes) in spoiled(&good) {
        std::fs::write(&copy, bytes).unwrap();
        refused(&ask(&[]), &copy, &what);
        refused(&ask(&["--trust-unsealed"]), &copy, &what);
    }
    std::fs::write(&copy, &good[SEAL..]).unwrap();
    refused(&ask(&[]), &copy, "no seal");
    let ended = ask(&["--trust-unsealed"]);
    assert!(ended.stderr.contains("no checksum"), "{}", ended.stderr);
    assert_same(&answer(&ended.ok()).predictions, &right);
}

#[test]
fn files_that_are_copied_over_while_in_use_do_not_matter() {
    let folder = TempDir::new().unwrap();
    let (component, network) = for_the_host(folder.path());
    let own = folder.path().join("own.cwasm");
    std::fs::copy(dist("guest.cwasm"), &own).unwrap();
    let image = jpeg(&scene(64, 64));
    let kernels = ["--engine", "kernels", "--model", network.to_str().unwrap()];
    for (component, options) in [(&own, &[][..]), (&component, &kernels)] {
        // A worker that has made no instance yet meets pages that nobody has read.
        let server = Server::of(component, options);
        let right = server.client.predict(&image).answer().predictions;
        // In place, as `cp` does it, with other bytes and then with none.
        for file in [component, &network] {
            let length = std::fs::metadata(file).unwrap().len();
            let mut open = std::fs::OpenOptions::new().write(true).open(file).unwrap();
            open.write_all(&vec![0xcc; length as usize]).unwrap();
            open.sync_all().unwrap();
        }
        for _ in 0..8 {
            let answer = server.client.predict(&image).answer();
            assert_same(&answer.predictions, &right);
        }
        for file in [component, &network] {
            std::fs::write(file, b"").unwrap();
        }
        for _ in 0..8 {
            let answer = server.client.predict(&image).answer();
            assert_same(&answer.predictions, &right);
        }
        assert_eq!(server.client.get("/health").status, 200);
        if std::ptr::eq(component, &own) {
            // The second round needs it whole.
            let (_, again) = for_the_host(folder.path());
            assert_eq!(again, network);
        }
    }
}
