//! The same picture gives the same answer wherever the component runs, and command lines keep their manners.

use crate::common::imagenet::imagenet;
use crate::common::server::Server;
use crate::common::{
    Ended, answer, assert_same, dist, files, pictures, pinhole, run, wasmtime, wasmtime_run,
};
use pinhole_report::Prediction;
use std::path::Path;
use tempfile::TempDir;

/// What the host's command line says.
fn by_host(component: &Path, image: &Path) -> Vec<Prediction> {
    let json = run(
        pinhole()
            .args(["classify", "--json", "--component"])
            .arg(component)
            .arg(image),
        b"",
    )
    .ok();
    answer(&json).predictions
}

/// What stock Wasmtime says, with no access but to the picture's folder.
fn by_wasmtime(component: &Path, image: &Path) -> Vec<Prediction> {
    let (folder, name) = (image.parent().unwrap(), image.file_name().unwrap());
    let json = run(
        wasmtime()
            .current_dir(folder)
            .args(["run", "--dir", "."])
            .arg(component)
            .arg("--json")
            .arg(name),
        b"",
    )
    .ok();
    answer(&json).predictions
}

fn picture_in(folder: &TempDir) -> std::path::PathBuf {
    let path = folder.path().join("cat.jpg");
    std::fs::write(&path, pictures::jpeg(&pictures::scene(500, 375))).unwrap();
    path
}

#[test]
fn stock_wasmtime_the_host_and_http_agree() {
    let folder = TempDir::new().unwrap();
    let image = picture_in(&folder);
    let expected = by_host(&dist("guest.cwasm"), &image);
    assert_same(&by_host(&dist("guest.wasm"), &image), &expected);
    assert_same(&by_wasmtime(&dist("guest.wasm"), &image), &expected);
    let server = Server::start(&[]);
    let bytes = std::fs::read(&image).unwrap();
    assert_same(
        &server
            .client
            .predict_form("image", "cat.jpg", &bytes)
            .answer()
            .predictions,
        &expected,
    );
    assert_same(
        &server.client.predict(&bytes).answer().predictions,
        &expected,
    );
}

#[test]
fn they_agree_on_a_real_photograph_with_real_weights() {
    let Some(model) = imagenet() else { return };
    let image = files(&model.images, "jpg").swap_remove(0);
    let expected = by_host(&model.cwasm, &image);
    assert_same(&by_wasmtime(&model.wasm, &image), &expected);
    let server = Server::of(&model.cwasm, &[]);
    let bytes = std::fs::read(&image).unwrap();
    assert_same(
        &server
            .client
            .predict_form("image", "cat.jpg", &bytes)
            .answer()
            .predictions,
        &expected,
    );
}

#[test]
fn text_is_the_same_from_both_command_lines() {
    let folder = TempDir::new().unwrap();
    picture_in(&folder);
    let ours = run(
        pinhole().current_dir(&folder).args(["classify", "cat.jpg"]),
        b"",
    )
    .ok();
    let theirs = run(wasmtime_run(folder.path()).arg("cat.jpg"), b"");
    assert_eq!(ours, theirs.ok());
    let lines: Vec<&str> = ours.lines().collect();
    assert_eq!((lines[0], lines.len()), ("cat.jpg", 6));
    assert!(
        lines[1..].iter().all(|line| line.contains(" %  ")),
        "{ours}"
    );
}

#[test]
fn a_picture_may_come_from_standard_input() {
    let folder = TempDir::new().unwrap();
    let image = picture_in(&folder);
    let bytes = std::fs::read(&image).unwrap();
    let expected = by_host(&dist("guest.cwasm"), &image);
    let json = run(pinhole().args(["classify", "--json", "-"]), &bytes).ok();
    assert_same(&answer(&json).predictions, &expected);
    let json = run(wasmtime_run(folder.path()).args(["--json", "-"]), &bytes).ok();
    assert_same(&answer(&json).predictions, &expected);
}

#[test]
fn top_k_asks_for_more_or_fewer_classes() {
    let folder = TempDir::new().unwrap();
    let image = picture_in(&folder);
    let ask = |k: &str| {
        let json = run(
            pinhole()
                .args(["classify", "--json", "--top-k", k])
                .arg(&image),
            b"",
        )
        .ok();
        answer(&json).predictions
    };
    let all = ask("100000");
    assert_same(&ask("1"), &all[..1]);
    assert!(all.is_sorted_by(|a, b| a.probability >= b.probability));
    let sum: f32 = all.iter().map(|prediction| prediction.probability).sum();
    assert!((sum - 1.0).abs() < 1e-4, "{sum}");
}

#[test]
fn one_bad_picture_fails_alone() {
    let folder = TempDir::new().unwrap();
    let image = picture_in(&folder);
    let text = folder.path().join("notes.jpg");
    std::fs::write(&text, "not a picture").unwrap();
    let missing = folder.path().join("none.jpg");

    let ended = run(
        pinhole()
            .args(["classify", "--json"])
            .args([&text, &image, &missing]),
        b"",
    );
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let codes: Vec<Option<String>> = ended
        .stdout
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["code"]
                .as_str()
                .map(str::to_string)
        })
        .collect();
    assert_eq!(
        codes,
        [
            Some("unsupported-format".into()),
            None,
            Some("unreadable-file".into())
        ]
    );

    let ended = run(pinhole().arg("classify").args([&text, &image]), b"");
    assert_eq!(ended.code, Some(1));
    assert!(ended.stdout.contains("cat.jpg\n"), "{}", ended.stdout);
    assert!(
        ended.stderr.contains("notes.jpg: This is not an image; "),
        "{}",
        ended.stderr
    );

    let ended = run(wasmtime_run(folder.path()).args(["notes.jpg"]), b"");
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
}

#[test]
fn wrong_usage_is_2_and_what_cannot_start_is_3() {
    let code = |command: &mut std::process::Command| {
        let Ended { code, stderr, .. } = run(command, b"");
        assert!(!stderr.is_empty());
        (code, stderr)
    };
    for wrong in [
        &["classify"][..],
        &["classify", "--top-k", "0", "x.jpg"],
        &["nonsense"],
        &["serve", "--listen", "x"],
        &[],
    ] {
        assert_eq!(code(pinhole().args(wrong)).0, Some(2), "{wrong:?}");
    }
    let folder = TempDir::new().unwrap();
    let damaged = folder.path().join("damaged.cwasm");
    let good = std::fs::read(dist("guest.cwasm")).unwrap();
    std::fs::write(&damaged, &good[..good.len() / 3]).unwrap();
    // One bit of its code or weights: Wasmtime itself would run it.
    let spoiled = folder.path().join("spoiled.cwasm");
    let mut bytes = good.clone();
    bytes[good.len() / 2] ^= 1;
    std::fs::write(&spoiled, bytes).unwrap();
    let none = folder.path().join("none.wasm");
    for component in [
        &damaged,
        &spoiled,
        &none,
        &dist("guest-kernels.wasm"),
        &dist("pinhole"),
    ] {
        for command in [
            &["classify", "x.jpg"][..],
            &["serve", "--listen", "127.0.0.1:0"],
        ] {
            let (code, stderr) = code(pinhole().args(command).arg("--component").arg(component));
            assert_eq!(code, Some(3), "{stderr}");
            assert_eq!(
                stderr
                    .lines()
                    .filter(|line| !line.contains(" INFO "))
                    .count(),
                1,
                "{stderr}"
            );
        }
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, stderr) = code(pinhole().args(["serve", "--listen", &address]));
    assert_eq!(code, Some(3), "{stderr}");
    assert!(stderr.contains(&address), "{stderr}");
}

#[test]
fn healthcheck_tells_ready_from_absent() {
    let mut server = Server::start(&[]);
    let check = |address: &str| run(pinhole().args(["healthcheck", "--listen", address]), b"").code;
    let address = server.client.address.clone();
    assert_eq!(check(&address), Some(0));
    server.terminate();
    assert_eq!(server.wait().code(), Some(0), "{}", server.log());
    assert_eq!(check(&address), Some(1));
}
