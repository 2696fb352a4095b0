//! More than one request at a time: every one is answered, rightly or with a refusal, and none when the service ends is lost.

use crate::common::pictures::{encode, jpeg, large, scene};
use crate::common::server::{Reply, Server};
use crate::common::{assert_same, wait};
use image::ImageFormat;
use std::thread;

/// Sends these at the same time, each on a connection of its own.
fn at_once(server: &Server, images: &[Vec<u8>]) -> Vec<Reply> {
    thread::scope(|scope| {
        let asked: Vec<_> = images
            .iter()
            .map(|image| scope.spawn(|| server.client.predict(image)))
            .collect();
        asked
            .into_iter()
            .map(|reply| reply.join().unwrap())
            .collect()
    })
}

#[test]
fn answers_are_not_mixed_up() {
    let server = Server::start(&["--queue", "1000", "--queue-timeout-ms", "60000"]);
    let pictures: Vec<Vec<u8>> = (0..8)
        .map(|turn| {
            let mut picture = scene(320, 240);
            picture
                .pixels_mut()
                .for_each(|pixel| pixel.0.rotate_left(turn % 3));
            if turn > 3 {
                image::imageops::invert(&mut picture);
            }
            encode(
                &picture,
                if turn % 2 == 0 {
                    ImageFormat::Png
                } else {
                    ImageFormat::Jpeg
                },
            )
        })
        .collect();
    let alone: Vec<_> = pictures
        .iter()
        .map(|image| server.client.predict(image).answer().predictions)
        .collect();
    let many: Vec<Vec<u8>> = (0..64).map(|turn| pictures[turn % 8].clone()).collect();
    for (turn, reply) in at_once(&server, &many).iter().enumerate() {
        assert_same(&reply.answer().predictions, &alone[turn % 8]);
    }
}

#[test]
fn one_too_many_is_503_at_once() {
    let server = Server::start(&["--workers", "1", "--queue", "0"]);
    let replies = at_once(&server, &vec![large(); 4]);
    let count = |status| {
        replies
            .iter()
            .filter(|reply| reply.status == status)
            .count()
    };
    assert_eq!(count(200) + count(503), 4, "{replies:?}");
    assert!(count(200) >= 1 && count(503) >= 1, "{replies:?}");
    for reply in replies.iter().filter(|reply| reply.status == 503) {
        reply.refusal(503, "busy");
        assert!(reply.header("retry-after").unwrap().parse::<u32>().unwrap() >= 1);
    }
    server.client.predict(&jpeg(&scene(64, 64))).answer();
}

#[test]
fn a_request_in_flight_is_answered_before_the_end() {
    let mut server = Server::start(&["--workers", "1"]);
    let image = large();
    let reply = thread::scope(|scope| {
        let asked = scope.spawn(|| server.client.predict(&image));
        wait("the request to be in flight", 30, || {
            let metrics = server.client.get("/metrics").body;
            metrics.contains("pinhole_workers_busy 1\n").then_some(())
        });
        server.terminate();
        asked.join().unwrap()
    });
    reply.answer();
    assert_eq!(server.wait().code(), Some(0), "{}", server.log());
    wait("the port to be free", 5, || {
        server.client.try_get("/health").is_err().then_some(())
    });
}
