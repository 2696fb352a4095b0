use super::server::{Reply, Request, Server, length};
use super::*;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tempfile::TempDir;

/// Large enough to arrive in several pieces, and no two places alike.
fn file() -> Vec<u8> {
    (0..300_000_u32)
        .flat_map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes())
        .collect()
}

const HALF: usize = 600_000;

fn digest(bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::default();
    hasher.update(bytes);
    hasher.digest()
}

/// One download: a folder, what is meant, and who asks for it.
struct Download {
    folder: TempDir,
    wanted: Wanted,
    timeout: Duration,
}

impl Download {
    fn of(server: &Server, bytes: &[u8]) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            wanted: Wanted {
                url: server.url("/m.onnx"),
                sha256: digest(bytes),
                size: None,
            },
            timeout: Duration::from_secs(30),
        }
    }

    fn sized(mut self, size: usize) -> Self {
        self.wanted.size = Some(size as u64);
        self
    }

    /// Leaves this from an earlier attempt.
    fn after(self, partial: &[u8]) -> Self {
        std::fs::write(self.folder.path().join("m.onnx.partial"), partial).unwrap();
        self
    }

    fn run(&self) -> Result<()> {
        let http = Http::new(self.timeout, false);
        fetch(&self.wanted, &self.folder.path().join("m.onnx"), &http)
    }

    /// What went wrong, in a sentence.
    fn sentence(&self) -> String {
        let sentence = format!("{:#}", self.run().unwrap_err());
        assert!(sentence.ends_with('.'), "{sentence}");
        sentence
    }

    fn fetched(&self) -> Option<Vec<u8>> {
        std::fs::read(self.folder.path().join("m.onnx")).ok()
    }

    fn partial(&self) -> Option<Vec<u8>> {
        std::fs::read(self.folder.path().join("m.onnx.partial")).ok()
    }

    /// The file is there, whole, and nothing else.
    fn assert_done(&self) {
        assert!(self.fetched() == Some(file()), "another file");
        assert_eq!(self.partial(), None);
    }

    fn assert_nothing_kept(&self) {
        assert_eq!(std::fs::read_dir(self.folder.path()).unwrap().count(), 0);
    }
}

/// Serves the file, as a good server does.
fn good() -> Server {
    Server::start(|request| Reply::from(&file(), request.from))
}

fn asked(path: &str, from: Option<usize>) -> Request {
    Request {
        path: path.into(),
        from,
    }
}

#[test]
fn a_file_arrives_and_gets_its_name() {
    let server = good();
    for download in [
        Download::of(&server, &file()),
        Download::of(&server, &file()).sized(file().len()),
    ] {
        download.run().unwrap();
        download.assert_done();
    }
    assert_eq!(
        server.requests(),
        [asked("/m.onnx", None), asked("/m.onnx", None)]
    );
}

#[test]
fn a_file_without_an_announced_length_arrives() {
    let server = Server::start(|_| Reply::new("200 OK", &[], &file()));
    let download = Download::of(&server, &file());
    download.run().unwrap();
    download.assert_done();
}

#[test]
fn a_wrong_digest_leaves_nothing_and_is_told() {
    let server = good();
    let download = Download::of(&server, b"another file");
    let sentence = download.sentence();
    assert!(
        sentence.contains(&digest(&file()).to_string()),
        "{sentence}"
    );
    assert!(
        sentence.contains(&digest(b"another file").to_string()),
        "{sentence}"
    );
    download.assert_nothing_kept();
}

#[test]
fn a_wrong_size_is_refused_before_it_is_downloaded() {
    let server = good();
    let download = Download::of(&server, &file()).sized(HALF);
    let sentence = download.sentence();
    assert!(
        sentence.contains("has 1200000 bytes, not 600000"),
        "{sentence}"
    );
    download.assert_nothing_kept();
}

#[test]
fn a_body_without_end_is_cut_off() {
    let server = Server::start(|_| Reply::new("200 OK", &[], &file()).hanging());
    let download = Download::of(&server, &file()).sized(HALF);
    let sentence = download.sentence();
    assert!(sentence.contains("more than 600000 bytes"), "{sentence}");
    download.assert_nothing_kept();
}

#[test]
fn a_transfer_that_was_cut_off_goes_on() {
    let attempts = AtomicUsize::new(0);
    let server = Server::start(move |request| {
        let reply = Reply::from(&file(), request.from);
        match attempts.fetch_add(1, Ordering::Relaxed) {
            0 => reply.cut(file().len() - HALF),
            _ => reply,
        }
    });
    let download = Download::of(&server, &file());
    let sentence = download.sentence();
    assert!(
        sentence.contains("after 600000 of 1200000 bytes"),
        "{sentence}"
    );
    assert_eq!(download.fetched(), None);
    assert_eq!(download.partial().unwrap(), file()[..HALF]);

    download.run().unwrap();
    download.assert_done();
    assert_eq!(server.requests()[1], asked("/m.onnx", Some(HALF)));
}

#[test]
fn a_server_without_ranges_sends_all_of_it() {
    let server = Server::start(|_| Reply::whole(&file()));
    let download = Download::of(&server, &file()).after(&file()[..HALF]);
    download.run().unwrap();
    download.assert_done();
    assert_eq!(server.requests(), [asked("/m.onnx", Some(HALF))]);
}

#[test]
fn a_server_that_sends_another_part_is_asked_for_all_of_it() {
    let server = Server::start(|request| Reply::from(&file(), request.from.map(|from| from + 1)));
    let download = Download::of(&server, &file()).after(&file()[..HALF]);
    download.run().unwrap();
    download.assert_done();
}

#[test]
fn redirects_are_followed_with_the_range() {
    let server = Server::start(|request| match request.path.as_str() {
        "/media" => Reply::from(&file(), request.from),
        _ => Reply::new("302 Found", &[length(0), "Location: /media".into()], b""),
    });
    let download = Download::of(&server, &file()).after(&file()[..HALF]);
    download.run().unwrap();
    download.assert_done();
    assert_eq!(
        server.requests(),
        [asked("/m.onnx", Some(HALF)), asked("/media", Some(HALF))]
    );
}

#[test]
fn redirects_in_circles_end() {
    let server =
        Server::start(|_| Reply::new("302 Found", &[length(0), "Location: /m.onnx".into()], b""));
    let download = Download::of(&server, &file());
    assert!(download.sentence().contains("circles"));
    download.assert_nothing_kept();
}

#[test]
fn what_is_not_there_is_told_with_its_status() {
    for status in [
        "404 Not Found",
        "500 Internal Server Error",
        "204 No Content",
    ] {
        let server = Server::start(move |_| Reply::new(status, &[length(0)], b""));
        let download = Download::of(&server, &file());
        let sentence = download.sentence();
        assert!(
            sentence.contains(&status[..3]) && sentence.contains("/m.onnx"),
            "{sentence}"
        );
        download.assert_nothing_kept();
        // What was there is not lost to a server that fails.
        let download = download.after(&file()[..HALF]);
        download.sentence();
        assert_eq!(download.partial().unwrap(), file()[..HALF]);
    }
}

#[test]
fn a_file_that_is_there_is_not_downloaded_again() {
    let server = good();
    let download = Download::of(&server, &file());
    std::fs::write(download.folder.path().join("m.onnx"), file()).unwrap();
    download.run().unwrap();
    download.assert_done();
    assert_eq!(server.requests(), []);
}

#[test]
fn another_file_of_that_name_is_left_alone() {
    let server = good();
    let download = Download::of(&server, &file());
    std::fs::write(download.folder.path().join("m.onnx"), "mine").unwrap();
    let sentence = download.sentence();
    assert!(
        sentence.contains(&digest(b"mine").to_string()),
        "{sentence}"
    );
    assert!(
        sentence.contains(&digest(&file()).to_string()),
        "{sentence}"
    );
    assert_eq!(download.fetched().unwrap(), b"mine");
    assert_eq!(server.requests(), []);
}

#[test]
fn a_partial_file_that_is_whole_only_gets_its_name() {
    let server = good();
    let download = Download::of(&server, &file()).after(&file());
    download.run().unwrap();
    download.assert_done();
    assert_eq!(server.requests(), []);
}

#[test]
fn a_partial_file_that_is_too_long_is_begun_again() {
    let too_long = [file(), b"more".to_vec()].concat();
    // Where the size is not known, the server says that there is no such part.
    let server = good();
    let download = Download::of(&server, &file()).after(&too_long);
    download.run().unwrap();
    download.assert_done();
    assert_eq!(
        server.requests(),
        [
            asked("/m.onnx", Some(too_long.len())),
            asked("/m.onnx", None)
        ]
    );
    // Where it is known, nobody needs to ask.
    let server = good();
    let download = Download::of(&server, &file())
        .sized(file().len())
        .after(&too_long);
    download.run().unwrap();
    download.assert_done();
    assert_eq!(server.requests(), [asked("/m.onnx", None)]);
}

#[test]
fn a_partial_file_of_another_file_is_begun_again() {
    let server = good();
    let download = Download::of(&server, &file()).after(&[7; HALF]);
    download.run().unwrap();
    download.assert_done();
    assert_eq!(
        server.requests(),
        [asked("/m.onnx", Some(HALF)), asked("/m.onnx", None)]
    );
}

#[test]
fn a_server_that_falls_silent_is_given_up() {
    // Before the head, and in the middle of the body.
    for (reply, kept) in [
        (Reply::none as fn() -> Reply, None),
        (
            || Reply::whole(&file()).cut(file().len() - HALF),
            Some(HALF),
        ),
    ] {
        let server = Server::start(move |_| reply().hanging());
        let mut download = Download::of(&server, &file());
        download.timeout = Duration::from_millis(300);
        let sentence = download.sentence();
        assert!(sentence.contains("0.3 s"), "{sentence}");
        assert_eq!(download.fetched(), None);
        assert_eq!(download.partial().map(|partial| partial.len()), kept);
    }
}

#[test]
fn a_server_that_is_not_there_or_speaks_something_else_is_told() {
    let server = Server::start(|_| Reply::none());
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    for url in [
        server.url("/m.onnx"),
        format!("http://{address}/m.onnx"),
        format!("https://{}/m.onnx", not_encrypted()),
        "m.onnx".into(),
        "ftp://localhost/m.onnx".into(),
    ] {
        let mut download = Download::of(&server, &file());
        download.wanted.url = url.clone();
        let sentence = download.sentence();
        assert!(sentence.contains(&url), "{sentence}");
        assert_eq!(
            sentence.contains("CA certificates"),
            url.starts_with("https:")
        );
        download.assert_nothing_kept();
    }
}

/// A server that answers TLS's first message as plain HTTP servers do.
fn not_encrypted() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0]).unwrap();
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .unwrap();
        // Until the client goes: closing earlier would be another failure.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    address
}

#[test]
fn two_processes_do_not_write_the_same_file() {
    let server = good();
    let download = Download::of(&server, &file());
    let other = Partial::open(&download.folder.path().join("m.onnx")).unwrap();
    let sentence = download.sentence();
    assert!(sentence.contains("Another process"), "{sentence}");
    drop(other);
    download.run().unwrap();
    download.assert_done();
}
