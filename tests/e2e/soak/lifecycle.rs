//! The end and the beginning, under load: a service that is asked to end loses nothing that it has accepted, and one that
//! was killed is soon there again.

use super::traffic::{Connection, Picture, twenty};
use super::{is_long, quantile, short_or_long};
use crate::common::server::Server;
use crate::common::{dist, say, wait};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Answers after which the service is under way.
const UNDER_WAY: usize = 30;

/// Clients that ask without a pause: half on a connection for each request, half on one that they keep.
const CLIENTS: usize = 8;

/// What became of one request.
struct Fate {
    /// When it was the service's to answer. A new connection is accepted when the kernel has taken it, whatever is sent when.
    /// On a kept connection it is when the request was written: until then the service may close it, as HTTP has it.
    accepted: Instant,
    /// Why there is no answer, or only a part of one.
    lost: Option<String>,
    /// Whether a part of an answer came.
    is_cut_off: bool,
}

#[test]
fn nothing_that_was_accepted_is_lost_on_sigterm() {
    let pictures = twenty();
    let (mut answered, mut late) = (0, 0);
    let mut times = Vec::new();
    for turn in 0..short_or_long(3, 20) {
        let mut server = Server::start(&[]);
        let address = server.client.address.clone();
        let count = AtomicUsize::new(0);
        let (asked, fates) = thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|client| {
                    let (address, count, pictures) = (&address, &count, &pictures);
                    scope.spawn(move || until_the_end(address, pictures, client % 2 == 0, count))
                })
                .collect();
            wait("traffic", 60, || {
                // Not always at the same moment.
                (count.load(Ordering::Relaxed) >= UNDER_WAY + turn).then_some(())
            });
            let asked = Instant::now();
            server.terminate();
            let fates: Vec<Fate> = clients
                .into_iter()
                .flat_map(|client| client.join().unwrap())
                .collect();
            (asked, fates)
        });
        let code = server.wait().code();
        times.push(asked.elapsed());
        assert_eq!(code, Some(0), "{}", server.log());
        assert!(
            server.log().contains("every request was answered"),
            "{}",
            server.log()
        );
        for fate in &fates {
            let is_ours = fate.accepted < asked || fate.is_cut_off;
            match &fate.lost {
                Some(why) if is_ours => panic!("turn {turn}: {why}\n{}", server.log()),
                Some(_) => late += 1,
                None => answered += 1,
            }
        }
    }
    say(&format!(
        "{} ends under load: {answered} requests answered, none that was accepted lost, {late} came too late; \
         ended within {:.1?}",
        times.len(),
        quantile(&mut times, 1.0)
    ));
}

/// Asks until nobody is there any more. Panics where an answer is neither the right one nor a refusal for lack of room.
fn until_the_end(
    address: &str,
    pictures: &[Picture],
    keeps: bool,
    count: &AtomicUsize,
) -> Vec<Fate> {
    let mut fates = Vec::new();
    let mut kept = None;
    loop {
        let is_kept = kept.is_some();
        let mut connection = match kept.take().map_or_else(|| Connection::open(address), Ok) {
            Ok(connection) => connection,
            // Refused: the service listens no more.
            Err(_) => return fates,
        };
        let opened = Instant::now();
        let picture = &pictures[count.load(Ordering::Relaxed) % pictures.len()];
        let sent = connection.send(&picture.request);
        let accepted = if is_kept { Instant::now() } else { opened };
        let lost = match sent.and_then(|()| connection.receive()) {
            Ok(reply) => {
                let is_right = reply.status == 200 && picture.is_answered_by(&reply);
                assert!(is_right || reply.status == 503, "{}", reply.body);
                count.fetch_add(1, Ordering::Relaxed);
                if keeps && reply.header("connection") != Some("close") {
                    kept = Some(connection);
                }
                fates.push(Fate {
                    accepted,
                    lost: None,
                    is_cut_off: false,
                });
                continue;
            }
            Err(error) => format!("kept: {is_kept}, {error}"),
        };
        fates.push(Fate {
            accepted,
            lost: Some(lost),
            is_cut_off: connection.has_begun(),
        });
    }
}

#[test]
fn a_killed_service_is_soon_there_again() {
    let pictures = twenty();
    let mut server = Server::start(&[]);
    // On the same port, where connections of its former self are not forgotten.
    let address = server.client.address.clone();
    let mut times = Vec::new();
    for _ in 0..short_or_long(2, 10) {
        let count = AtomicUsize::new(0);
        thread::scope(|scope| {
            for client in 0..CLIENTS {
                let (address, count, pictures) = (&address, &count, &pictures);
                scope.spawn(move || until_the_end(address, pictures, client % 2 == 0, count));
            }
            wait("traffic", 60, || {
                (count.load(Ordering::Relaxed) >= UNDER_WAY).then_some(())
            });
            server.kill();
        });
        let start = Instant::now();
        server = Server::at(&dist("guest.cwasm"), &address, &[]);
        times.push(start.elapsed());
        let reply = Connection::open(&address)
            .unwrap()
            .ask(&pictures[0].request);
        assert!(pictures[0].is_answered_by(&reply.unwrap()));
    }
    let longest = quantile(&mut times, 1.0);
    say(&format!(
        "{} restarts after SIGKILL: ready within {longest:.1?}",
        times.len()
    ));
    assert!(
        !is_long() || longest < Duration::from_secs(1),
        "{longest:?}"
    );
}
