//! Hostile pictures and a hostile guest beside good traffic: the good is served, and nothing is left behind.

use super::traffic::{Connection, request, twenty};
use super::{is_long, length};
use crate::common::pictures::{encode, jpeg, jpeg_announcing, scene};
use crate::common::server::{Reply, Server};
use crate::common::{files, say, shared, wait};
use crate::hostile::{MISDEEDS, serve};
use image::ImageFormat;
use pinhole_report::Answer;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Nothing is refused for want of a place: what is tested here is what gets in.
const PATIENCE: [&str; 4] = ["--queue", "64", "--queue-timeout-ms", "60000"];

#[test]
fn hostile_pictures_beside_good_ones() {
    let mut server = Server::start(&PATIENCE);
    let (good, bad) = (twenty(), hostile_pictures());
    let is_right = |turn: usize, reply: &Reply| {
        reply.status == 200 && good[turn % good.len()].is_answered_by(reply)
    };
    grow(&server);
    let is_a_verdict = |_: usize, reply: &Reply| [200, 413, 415, 422].contains(&reply.status);
    press(
        &mut server,
        &Party {
            request: &|turn| good[turn % good.len()].request.clone(),
            is_right: &is_right,
        },
        &Party {
            request: &|turn| request(&bad[turn % bad.len()]),
            is_right: &is_a_verdict,
        },
    );
}

#[test]
fn a_hostile_guest_beside_good_ones() {
    let options = [
        &PATIENCE[..],
        &["--deadline-ms", "200", "--memory-mib", "64"],
    ]
    .concat();
    let mut server = serve(&options);
    let harmless = |turn: usize| format!("harmless {turn}");
    let is_right = |turn: usize, reply: &Reply| {
        let answer = serde_json::from_str::<Answer>(&reply.body);
        reply.status == 200
            && answer.is_ok_and(|answer| {
                answer.predictions.len() == 1 && answer.predictions[0].label == harmless(turn)
            })
    };
    let is_its_price = |turn: usize, reply: &Reply| {
        let (_, status, code, _) = MISDEEDS[turn % MISDEEDS.len()];
        // On a machine that is slow enough, the deadline comes before the misdeed.
        reply.status == 504 || (reply.status == status && reply.body.contains(code))
    };
    press(
        &mut server,
        &Party {
            request: &|turn| request(harmless(turn).as_bytes()),
            is_right: &is_right,
        },
        &Party {
            request: &|turn| request(MISDEEDS[turn % MISDEEDS.len()].0.as_bytes()),
            is_right: &is_its_price,
        },
    );
}

/// Has every worker meet large pictures: pages that they keep between instances are filled by nothing else, and might be much
/// later.
fn grow(server: &Server) {
    let large = request(&jpeg(&scene(4000, 3000)));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut connection = Connection::open(&server.client.address).unwrap();
                for _ in 0..5 {
                    assert_eq!(connection.ask(&large).unwrap().status, 200);
                }
            });
        }
    });
}

/// Some of the clients: what they send, turn by turn, and what they may be answered.
struct Party<'a> {
    request: &'a (dyn Fn(usize) -> Vec<u8> + Sync),
    is_right: &'a (dyn Fn(usize, &Reply) -> bool + Sync),
}

/// Has both parties send at the same time, and looks at the service's memory: once it has seen them, and in the end.
fn press(server: &mut Server, good: &Party, bad: &Party) {
    let counts = [AtomicUsize::new(0), AtomicUsize::new(0)];
    let round = |server: &Server, length: Duration| {
        let end = Instant::now() + length;
        let address = &server.client.address;
        let counts = &counts;
        thread::scope(|scope| {
            for (party, count) in [(good, &counts[0]), (bad, &counts[1])] {
                // Two of each.
                for _ in 0..2 {
                    scope.spawn(move || clients(address, party, count, end));
                }
            }
        });
    };
    round(server, length() / 3);
    let before = resident(server.pid());
    round(server, length());
    let after = resident(server.pid());
    assert!(server.is_alive());
    let [good, bad] = counts.map(AtomicUsize::into_inner);
    assert!(good > 0 && bad > 0);
    let growth = 100.0 * (after as f64 / before as f64 - 1.0);
    say(&format!(
        "{good} good and {bad} bad requests; resident memory {before} kB, afterwards {after} kB: {growth:+.1} %"
    ));
    assert!(!is_long() || growth <= 5.0, "{growth} %");
}

/// One client of a party.
fn clients(address: &str, party: &Party, count: &AtomicUsize, end: Instant) {
    let mut connection = Connection::open(address).unwrap();
    while Instant::now() < end {
        let turn = count.fetch_add(1, Ordering::Relaxed);
        let reply = connection.ask(&(party.request)(turn)).unwrap();
        assert!(
            (party.is_right)(turn, &reply),
            "{turn}: {} {}",
            reply.status,
            reply.body
        );
    }
}

/// Resident memory in kB, once it moves no more.
pub fn resident(pid: u32) -> u64 {
    let now = || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        // Where there is no /proc, there is nothing to see.
        line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
            .unwrap_or(1)
    };
    let (mut last, mut since) = (now(), Instant::now());
    wait("memory to settle", 30, || {
        let size = now();
        if size != last {
            (last, since) = (size, Instant::now());
        }
        (since.elapsed() > Duration::from_millis(200)).then_some(last)
    })
}

/// Pictures that have gone wrong: our own, and other people's where they are there.
fn hostile_pictures() -> Vec<Vec<u8>> {
    let picture = scene(500, 375);
    let mut all = vec![
        jpeg_announcing(65_535, 65_535),
        jpeg_announcing(1, 65_535),
        jpeg_announcing(5000, 5000),
        b"not a picture".to_vec(),
        b"\xff\xd8\xff".to_vec(),
    ];
    let formats = [
        ImageFormat::Png,
        ImageFormat::WebP,
        ImageFormat::Gif,
        ImageFormat::Bmp,
    ];
    for file in formats
        .map(|format| encode(&picture, format))
        .into_iter()
        .chain([jpeg(&picture)])
    {
        all.extend([file.len() / 2, 40, file.len() - 9].map(|length| file[..length].to_vec()));
    }
    let mut take = |folder: &str, extension: &str, is_bad: fn(&str) -> bool| {
        let Some(folder) = shared(folder) else { return };
        for path in files(&folder, extension) {
            if is_bad(&path.file_name().unwrap().to_string_lossy()) {
                all.push(std::fs::read(path).unwrap());
            }
        }
    };
    take("corpora/jpeg-fuzz", "jpg", |_| true);
    take("corpora/pngsuite", "png", |name| name.starts_with('x'));
    // An empty picture is refused before anybody looks at it, and is no test of the sandbox.
    all.retain(|picture| !picture.is_empty());
    all
}
