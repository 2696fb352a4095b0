//! Clients that send a byte a second, hundreds at a time: each is cut off in time, and nobody else notices.

use super::traffic::{Connection, Picture, twenty};
use super::{quantile, short_or_long};
use crate::common::server::Server;
use crate::common::{say, wait};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// From a slow client's byte to its next one.
const PAUSE: Duration = Duration::from_secs(1);

/// A client that takes its time.
struct Dripping {
    stream: TcpStream,
    is_body: bool,
    opened: Instant,
    last: Instant,
    reply: Vec<u8>,
    /// How long it lasted.
    ended: Option<Duration>,
}

impl Dripping {
    fn open(address: &str, is_body: bool) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        let start: &[u8] = if is_body {
            b"POST /predict HTTP/1.1\r\nHost: soak\r\nContent-Length: 100000\r\n\r\n"
        } else {
            b"POST /predict HTTP/1.1\r\nHost: soak\r\nX-Slow: "
        };
        stream.write_all(start).unwrap();
        stream.set_nonblocking(true).unwrap();
        Self {
            stream,
            is_body,
            opened: Instant::now(),
            last: Instant::now(),
            reply: Vec::new(),
            ended: None,
        }
    }

    /// Sends the next byte if it is time to, and takes note of what came back.
    fn step(&mut self) {
        if self.ended.is_some() {
            return;
        }
        let mut is_closed = false;
        if self.last.elapsed() >= PAUSE {
            self.last = Instant::now();
            let written = self.stream.write(b"x");
            is_closed |= written.is_err_and(|error| error.kind() != ErrorKind::WouldBlock);
        }
        let mut chunk = [0; 1024];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => is_closed = true,
                Ok(length) => {
                    self.reply.extend_from_slice(&chunk[..length]);
                    continue;
                }
                Err(error) => is_closed |= error.kind() != ErrorKind::WouldBlock,
            }
            break;
        }
        if is_closed {
            self.ended = Some(self.opened.elapsed());
        }
    }
}

#[test]
fn slow_clients_are_cut_off() {
    let count = short_or_long(50, 500);
    // Without a least rate, which would end them sooner: it is the timeouts that are tried.
    let options = [
        "--header-timeout-ms",
        "3000",
        "--body-timeout-ms",
        "4000",
        "--min-body-rate",
        "0",
    ];
    let server = Server::start(&options);
    let address = &server.client.address;
    let pictures = twenty();
    let (begun, over) = (AtomicBool::new(false), AtomicBool::new(false));
    let (mut headers, mut bodies, (mut before, mut beside)) = thread::scope(|scope| {
        let (begun, over, pictures) = (&begun, &over, &pictures);
        let good = scope.spawn(move || good_traffic(address, pictures, begun, over));
        wait("usual latencies", 60, || {
            begun.load(Ordering::Relaxed).then_some(())
        });
        let mut slow: Vec<Dripping> = (0..count)
            .map(|client| Dripping::open(address, client % 2 == 0))
            .collect();
        wait("the end of every slow client", 60, || {
            slow.iter_mut().for_each(Dripping::step);
            slow.iter()
                .all(|client| client.ended.is_some())
                .then_some(())
        });
        over.store(true, Ordering::Relaxed);
        for client in slow.iter().filter(|client| client.is_body) {
            let reply = String::from_utf8_lossy(&client.reply);
            assert!(reply.starts_with("HTTP/1.1 408 "), "{reply}");
        }
        let times = |of_bodies: bool| -> Vec<Duration> {
            let those = slow.iter().filter(|client| client.is_body == of_bodies);
            those.filter_map(|client| client.ended).collect()
        };
        (times(false), times(true), good.join().unwrap())
    });
    say(&format!(
        "{count} slow clients: heads ended within {:.1?} (limit 3 s), bodies within {:.1?} (limit 4 s); \
         {} good requests beside them, half within {:.1?} (before: {:.1?}), 99 % within {:.1?}",
        quantile(&mut headers, 1.0),
        quantile(&mut bodies, 1.0),
        beside.len(),
        quantile(&mut beside, 0.5),
        quantile(&mut before, 0.5),
        quantile(&mut beside, 0.99),
    ));
    assert!(!beside.is_empty());
    // Not sooner, either: a slow client within its limits is a client.
    let earliest = quantile(&mut headers, 0.0).min(quantile(&mut bodies, 0.0));
    assert!(earliest > Duration::from_secs(2), "{earliest:?}");
}

/// Good requests, one after another, and how long each took: first undisturbed, then until `over`.
fn good_traffic(
    address: &str,
    pictures: &[Picture],
    begun: &AtomicBool,
    over: &AtomicBool,
) -> (Vec<Duration>, Vec<Duration>) {
    let mut connection = Connection::open(address).unwrap();
    let (mut before, mut beside) = (Vec::new(), Vec::new());
    for picture in pictures.iter().cycle() {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let start = Instant::now();
        let reply = connection.ask(&picture.request).unwrap();
        assert!(picture.is_answered_by(&reply), "{}", reply.body);
        if begun.load(Ordering::Relaxed) {
            beside.push(start.elapsed());
        } else {
            before.push(start.elapsed());
        }
        if before.len() == pictures.len() {
            begun.store(true, Ordering::Relaxed);
        }
    }
    (before, beside)
}
