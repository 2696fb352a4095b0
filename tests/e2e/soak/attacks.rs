//! Clients who hold what others need, as many as it takes: beside them every good request is answered, health is told, and memory
//! stays within what a container is given.

use super::hostility::resident;
use super::traffic::{Connection, Picture, twenty};
use super::{is_long, length, quantile, short_or_long};
use crate::attacks::canvas;
use crate::common::say;
use crate::common::server::{Server, form_of};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// What the manifests in `deploy/` give a container, in kB.
const CONTAINER_KB: u64 = 1536 << 10;

/// From one step of an attacker to the next.
const STEP: Duration = Duration::from_millis(100);

/// A connection of an attacker's: what it sends at first, and at each step. It is opened again when it is closed.
struct Attacker<'a> {
    address: &'a str,
    first: &'a [u8],
    then: &'a [u8],
    stream: Option<TcpStream>,
    sent: usize,
}

impl<'a> Attacker<'a> {
    fn new(address: &'a str, first: &'a [u8], then: &'a [u8]) -> Self {
        Self {
            address,
            first,
            then,
            stream: None,
            sent: 0,
        }
    }

    /// Sends as much as is taken. Answers are read only where they are looked for.
    fn step(&mut self, reads: bool) {
        let Some(stream) = &mut self.stream else {
            self.stream = TcpStream::connect(self.address).ok();
            self.sent = 0;
            if let Some(stream) = &self.stream {
                let _ = stream.set_nonblocking(true);
            }
            return;
        };
        let bytes = match self.first.get(self.sent..) {
            Some(rest) if !rest.is_empty() => rest,
            _ => self.then,
        };
        let mut is_closed = false;
        match stream.write(bytes) {
            Ok(written) => self.sent += written,
            Err(error) => is_closed = error.kind() != ErrorKind::WouldBlock,
        }
        if reads {
            let mut chunk = [0; 4096];
            loop {
                match stream.read(&mut chunk) {
                    Ok(0) => is_closed = true,
                    Ok(_) => continue,
                    Err(error) => is_closed |= error.kind() != ErrorKind::WouldBlock,
                }
                break;
            }
        }
        if is_closed {
            self.stream = None;
        }
    }
}

/// Has attackers do what they do beside a good client, and somebody who asks for health.
fn beside(server: &Server, name: &str, attack: impl FnOnce(&str, &AtomicBool) + Send) {
    let address = &server.client.address;
    let pictures = twenty();
    let over = AtomicBool::new(false);
    let (mut times, mut healths, largest) = thread::scope(|scope| {
        let (over, pictures) = (&over, &pictures);
        scope.spawn(move || attack(address, over));
        let health = scope.spawn(move || ask_for_health(server, over));
        let memory = scope.spawn(move || {
            let mut largest = 0;
            while !over.load(Ordering::Relaxed) {
                largest = largest.max(resident(server.pid()));
            }
            largest
        });
        // Whatever becomes of this, the others end.
        let end = End(over);
        let times = good_requests(address, pictures, length());
        drop(end);
        (times, health.join().unwrap(), memory.join().unwrap())
    });
    say(&format!(
        "{name}: {} good requests beside it, all answered, half within {:.1?}, all within {:.1?}; health asked {} times, within \
         {:.1?}; {} MiB at most",
        times.len(),
        quantile(&mut times, 0.5),
        quantile(&mut times, 1.0),
        healths.len(),
        quantile(&mut healths, 1.0),
        largest >> 10
    ));
    assert!(largest < CONTAINER_KB, "{largest} kB");
    assert!(!times.is_empty() && !healths.is_empty());
    assert!(!is_long() || quantile(&mut times, 0.99) < Duration::from_secs(10));
}

struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Each on a connection of its own, as a client that comes anew; none may be refused.
fn good_requests(address: &str, pictures: &[Picture], length: Duration) -> Vec<Duration> {
    let begun = Instant::now();
    let mut times = Vec::new();
    for picture in pictures.iter().cycle() {
        if begun.elapsed() >= length {
            break;
        }
        let start = Instant::now();
        let mut connection = Connection::open(address).unwrap();
        let reply = connection.ask(&picture.request).unwrap();
        assert!(
            picture.is_answered_by(&reply),
            "{} {}",
            reply.status,
            reply.body
        );
        times.push(start.elapsed());
    }
    times
}

fn ask_for_health(server: &Server, over: &AtomicBool) -> Vec<Duration> {
    let mut times = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let start = Instant::now();
        let request = b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        let reply = server.client.raw(request);
        assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
        times.push(start.elapsed());
        thread::park_timeout(STEP);
    }
    times
}

/// Steps all of them until it is over.
fn attack(
    count: usize,
    address: &str,
    (first, then): (&[u8], &[u8]),
    reads: bool,
    over: &AtomicBool,
) {
    let mut all: Vec<Attacker<'_>> = (0..count)
        .map(|_| Attacker::new(address, first, then))
        .collect();
    while !over.load(Ordering::Relaxed) {
        all.iter_mut().for_each(|attacker| attacker.step(reads));
        thread::park_timeout(STEP);
    }
}

#[test]
fn readers_that_never_read() {
    let count = short_or_long(64, 1024);
    let server = Server::start(&[]);
    let requests = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(200);
    beside(
        &server,
        &format!("{count} clients that never read"),
        |address, over| {
            attack(count, address, (&requests, &requests), false, over);
        },
    );
}

#[test]
fn keys_of_megabytes() {
    let count = short_or_long(4, 40);
    let server = Server::start(&[]);
    let key = "k".repeat(short_or_long(1_900_000, 19_000_000));
    let body = format!("{{\"{key}\": 1}}");
    let head = format!(
        "POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let request = format!("{head}{body}").into_bytes();
    // One after another, as the budget for bodies lets them in: what is tried is what they are answered.
    beside(&server, &format!("{count} giant keys"), |address, over| {
        for _ in 0..count {
            if over.load(Ordering::Relaxed) {
                break;
            }
            let mut connection = Connection::open(address).unwrap();
            let reply = connection.ask(&request).unwrap();
            assert_eq!(reply.status, 400, "{}", reply.body);
            assert!(reply.body.len() < 1000);
        }
    });
}

#[test]
fn bodies_that_are_only_declared() {
    let count = short_or_long(14, 14);
    let server = Server::start(&[]);
    let head = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: image/jpeg\r\nContent-Length: 19900000\r\n\r\n";
    // A tenth of the rate a second, so many times a second: 1.2 kB/s, which is above the least.
    let drop = [0xff; 120];
    beside(
        &server,
        &format!("{count} bodies that are declared"),
        |address, over| {
            attack(count, address, (head, &drop), true, over);
        },
    );
}

#[test]
fn forms_of_small_files_that_are_much_work() {
    let count = short_or_long(2, 9);
    // The first image of each form comes before a good one; that all of them did would take a minute.
    let server = Server::start(&["--queue-timeout-ms", "10000"]);
    let large = canvas(6300);
    let files: Vec<(&str, &str, &[u8])> = (0..32).map(|_| ("image", "a.gif", &large[..])).collect();
    let (content_type, body) = form_of(&files);
    let head = format!(
        "POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let request = [head.into_bytes(), body].concat();
    beside(
        &server,
        &format!("{count} clients with forms of 32 canvases"),
        |address, over| {
            thread::scope(|scope| {
                for _ in 0..count {
                    scope.spawn(|| {
                        while !over.load(Ordering::Relaxed) {
                            let reply = Connection::open(address)
                                .and_then(|mut connection| connection.ask(&request));
                            let reply = reply.unwrap();
                            assert!([200, 503].contains(&reply.status), "{}", reply.body);
                        }
                    });
                }
            });
        },
    );
}
