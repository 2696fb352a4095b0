//! A guest that misuses the host's models, and several guests at once.

use super::{OPPOSITE, for_tract};
use crate::common::imagenet::imagenet_nn;
use crate::common::onnx::{COLOURS, Model};
use crate::common::server::Server;
use crate::common::{dist, wait};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use tempfile::TempDir;

/// Fails midway, unless the image is black: what is not zero is counted, and the count is no index.
const FAILING: Model<'static> = Model {
    nodes: &[
        ("NonZero", &["image"], &["places"]),
        ("Gather", &["image", "places"], &["scores"]),
    ],
    ..COLOURS
};

/// A service of the hostile guest with small models.
struct Hostile {
    server: Server,
    _models: TempDir,
}

impl Hostile {
    fn start(options: &[&str]) -> Self {
        let models = TempDir::new().unwrap();
        let mut arguments: Vec<String> = vec!["--engine".into(), "tract".into()];
        for (name, model) in [
            ("hostile", COLOURS),
            ("other", OPPOSITE),
            ("failing", FAILING),
        ] {
            let file = models.path().join(format!("{name}.onnx"));
            std::fs::write(&file, model.encode()).unwrap();
            arguments.push("--model".into());
            arguments.push(format!("{name}={}", file.display()));
        }
        let arguments: Vec<&str> = arguments
            .iter()
            .map(String::as_str)
            .chain(options.iter().copied())
            .collect();
        Self {
            server: Server::of(&dist("tests/hostile-nn.wasm"), &arguments),
            _models: models,
        }
    }

    /// What the guest has to say to this.
    #[track_caller]
    fn label(&self, image: &str) -> String {
        let mut answer = self.server.client.predict(image.as_bytes()).answer();
        answer.predictions.swap_remove(0).label
    }

    /// Fails unless the model of this name gives its own scores of this value.
    #[track_caller]
    fn assert_right(&self, name: &str, value: u32) {
        let sign = if name == "hostile" { "" } else { "-" };
        let scores: Vec<String> = (value..value + 3)
            .map(|score| format!("{sign}{score}"))
            .collect();
        assert_eq!(
            self.label(&format!("model {name} {value}")),
            scores.join(" ")
        );
    }
}

/// Misdeeds, what the client is told, and a word of the line that says more in the log, where there is more to say.
const MISDEEDS: [(&str, &str, &str, &str); 18] = [
    (
        "name",
        "inference",
        "RuntimeError",
        "no tensor for the input `image`",
    ),
    ("type", "inference", "RuntimeError", "elements of"),
    (
        "shape",
        "inference",
        "RuntimeError",
        "the shape [1, 8, 8, 3]",
    ),
    ("rank", "inference", "RuntimeError", "the shape [192]"),
    (
        "product",
        "inference",
        "RuntimeError",
        "the shape [4294967295",
    ),
    ("few-bytes", "inference", "RuntimeError", "767 bytes"),
    ("no-bytes", "inference", "RuntimeError", "0 bytes"),
    ("nan", "inference", "RuntimeError", "not numbers"),
    ("none", "inference", "RuntimeError", "0 tensors"),
    ("twice", "inference", "RuntimeError", "2 tensors"),
    ("graph", "inference", "NotFound", ""),
    ("load", "inference", "InvalidEncoding", ""),
    ("failing", "inference", "RuntimeError", "the engine failed"),
    // Nothing can be told to who makes a tensor, by the interface: the guest ends.
    ("many-bytes", "trap", "failed", "1048576 bytes"),
    ("dimensions", "trap", "failed", "9 dimensions"),
    ("tensors", "trap", "failed", "table has no free keys"),
    // Good ones in between tell that nothing stays behind.
    ("type", "inference", "RuntimeError", "elements of"),
    ("tensors", "trap", "failed", "table has no free keys"),
];

#[test]
fn a_misdeed_with_a_model_costs_its_own_request() {
    let mut hostile = Hostile::start(&["--workers", "4", "--queue", "100"]);
    let over = AtomicBool::new(false);
    let answered = thread::scope(|scope| {
        let good = scope.spawn(|| {
            let mut answered = 0;
            while !over.load(Ordering::Relaxed) {
                hostile.assert_right("hostile", answered);
                answered += 1;
            }
            answered
        });
        for (misdeed, code, word, logged) in MISDEEDS {
            let image = format!("bad {misdeed}");
            let before = hostile.server.log().len();
            let reply = hostile.server.client.predict(image.as_bytes());
            let sentence = reply.refusal(500, code);
            assert!(sentence.contains(word), "{misdeed}: {sentence}");
            wait("its line in the log", 10, || {
                hostile.server.log()[before..]
                    .contains(logged)
                    .then_some(())
            });
            hostile.assert_right("other", 3);
        }
        over.store(true, Ordering::Relaxed);
        good.join().unwrap()
    });
    assert!(answered > 0);
    assert!(hostile.server.is_alive());
}

#[test]
fn a_guest_cannot_flood_the_log_with_what_it_asks_the_host() {
    let hostile = Hostile::start(&[]);
    let before = hostile.server.log().len();
    assert_eq!(hostile.label("flood"), "flooded");
    hostile.assert_right("hostile", 1);
    let grown = hostile.server.log().len() - before;
    assert!(grown < 4000, "{grown} bytes: {}", hostile.server.log());
}

#[test]
fn two_models_can_be_asked_at_once() {
    let hostile = Hostile::start(&[]);
    assert_eq!(
        hostile.label("both hostile other 5"),
        "5 6 7, -5 -6 -7, 6 7 8, -6 -7 -8"
    );
}

#[test]
fn no_answer_of_one_model_reaches_a_client_of_another() {
    let hostile = Hostile::start(&["--queue", "100"]);
    thread::scope(|scope| {
        for client in 0..8 {
            let hostile = &hostile;
            scope.spawn(move || {
                let name = ["hostile", "other"][client % 2];
                for turn in 0..50 {
                    hostile.assert_right(name, client as u32 * 1000 + turn);
                }
            });
        }
    });
}

#[test]
fn a_deadline_that_passes_in_the_engine_is_told_afterwards() {
    let Some(model) = imagenet_nn() else { return };
    let slow = format!("slow={}", for_tract(model).display());
    let hostile = Hostile::start(&["--model", &slow, "--deadline-ms", "10"]);
    // The guest itself takes a fraction of that, and the engine several times as long.
    let reply = hostile.server.client.predict(b"slow");
    reply.refusal(504, "deadline");
    wait("a good answer", 10, || {
        let reply = hostile.server.client.predict(b"model hostile 1");
        (reply.status == 200).then_some(())
    });
}
