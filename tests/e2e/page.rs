//! `GET /`: what is sent along with the page, and the page in a real Chromium.

use crate::common::pictures::{jpeg, scene};
use crate::common::server::Server;
use crate::common::{in_ci, python, root, run, say, shared, skipped};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Debian's Chromium, or none, said aloud, where it is not installed. In CI it must be.
pub fn chromium() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .flat_map(|folder| {
            ["chromium", "chromium-browser", "google-chrome"].map(|name| folder.join(name))
        })
        .find(|file| file.is_file());
    assert!(
        found.is_some() || !in_ci(),
        "there is no Chromium, and in CI there must be: install Debian's chromium"
    );
    if found.is_none() {
        skipped("there is no Chromium");
    }
    found
}

/// Where screenshots of this name go: they lie below the target folder, for whoever wants to look.
pub fn screenshots(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("screenshots")
        .join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn the_page_forbids_what_it_does_not_need() {
    let server = Server::start(&[]);
    let page = server
        .client
        .get_with("/", ("accept", "text/html,*/*;q=0.8"));
    assert_eq!(page.status, 200);
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
    let policy = page.header("content-security-policy").unwrap();
    for part in [
        "default-src 'none'",
        "connect-src 'self'",
        "frame-ancestors 'none'",
        "form-action 'none'",
    ] {
        assert!(policy.split("; ").any(|found| found == part), "{policy}");
    }
    assert!(
        !policy.contains("unsafe") && !policy.contains('*'),
        "{policy}"
    );
    // Whoever posts a picture here has the wrong address.
    server
        .client
        .post("/", "image/jpeg", b"x")
        .refusal(405, "method-not-allowed");
}

#[test]
fn a_browser_shows_what_the_service_says() {
    let (Some(python), Some(chromium)) = (python(), chromium()) else {
        return;
    };
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let mut script = Command::new(python);
    script
        .arg(root().join("tests/clients/page.py"))
        .arg(chromium)
        .arg(&server.client.address)
        .arg(screenshots("page"))
        .arg(file("notes.jpg", b"not a picture"))
        .arg(file("scene <b>&amp;.jpg", &jpeg(&scene(320, 240))))
        .arg(file("upright.jpg", &jpeg(&scene(240, 320))));
    // A photograph, where there are any.
    if let Some(images) = shared("images") {
        script.arg(images.join("n01514859_hen.jpg"));
    }
    say(run(&mut script, b"").ok().trim());
}
