//! What Prometheus reads: counted rightly, in its format, and what dashboards and alerts ask for.

use crate::common::pictures::{jpeg, large, scene};
use crate::common::server::Server;
use crate::common::{files, promtool, root, run, wait};
use std::collections::BTreeSet;

/// A sample's value: the series that has all of these words.
#[track_caller]
fn value(metrics: &str, words: &[&str]) -> f64 {
    let mut found = metrics
        .lines()
        .filter(|line| !line.starts_with('#') && words.iter().all(|word| line.contains(word)));
    let line = found
        .next()
        .unwrap_or_else(|| panic!("{words:?} are in no line of\n{metrics}"));
    assert!(found.next().is_none(), "{words:?} are in several lines");
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

fn read(server: &Server) -> String {
    let reply = server.client.get("/metrics");
    assert_eq!(reply.status, 200);
    assert!(
        reply
            .header("content-type")
            .unwrap()
            .starts_with("text/plain; version=0.0.4")
    );
    reply.body
}

#[test]
fn what_happens_is_counted() {
    let server = Server::start(&["--workers", "1", "--max-body-bytes", "300000"]);
    let image = jpeg(&scene(64, 64));
    for _ in 0..3 {
        server.client.predict(&image).answer();
    }
    server
        .client
        .predict(b"nonsense")
        .refusal(415, "unsupported-format");
    server
        .client
        .predict(&vec![0; 300_001])
        .refusal(413, "body-too-large");
    server.client.get("/no/such/path");
    let metrics = read(&server);
    let predict = |status: &str| {
        value(
            &metrics,
            &["pinhole_http_requests_total{", "route=\"/predict\"", status],
        )
    };
    assert_eq!(predict("status=\"200\""), 3.0);
    assert_eq!(predict("status=\"415\""), 1.0);
    assert_eq!(predict("status=\"413\""), 1.0);
    assert_eq!(
        value(
            &metrics,
            &[
                "pinhole_http_requests_total{",
                "route=\"none\"",
                "status=\"404\""
            ]
        ),
        1.0
    );
    for stage in ["queue", "instantiate", "decode", "preprocess", "inference"] {
        let count = format!("pinhole_stage_duration_seconds_count{{stage=\"{stage}\"}}");
        assert_eq!(value(&metrics, &[&count]), 3.0);
        let sum = format!("pinhole_stage_duration_seconds_sum{{stage=\"{stage}\"}}");
        assert!(value(&metrics, &[&sum]) > 0.0);
    }
    assert_eq!(
        value(&metrics, &["pinhole_http_request_bytes_total "]),
        (3 * image.len() + "nonsense".len()) as f64
    );
    assert_eq!(
        value(&metrics, &["classifications_total{outcome=\"ok\"}"]),
        3.0
    );
    assert_eq!(
        value(&metrics, &["limit_hits_total{limit=\"body-bytes\"}"]),
        1.0
    );
    assert_eq!(
        value(&metrics, &["limit_hits_total{limit=\"memory\"}"]),
        0.0
    );
    // The self-test had one, too.
    assert_eq!(value(&metrics, &["pinhole_instances_total "]), 5.0);
    for (state, expected) in [("workers ", 1.0), ("queue_depth ", 0.0), ("ready ", 1.0)] {
        assert_eq!(value(&metrics, &["pinhole_", state]), expected);
    }
    // A worker answers first, and then says that it is free.
    wait("the worker to be free", 5, || {
        (value(&read(&server), &["pinhole_workers_busy "]) == 0.0).then_some(())
    });
    assert_eq!(
        value(
            &metrics,
            &["pinhole_model_info{", "name=\"mobilenetv2-cifar10\""]
        ),
        1.0
    );
    if std::path::Path::new("/proc/self/stat").exists() {
        assert!(value(&metrics, &["process_resident_memory_bytes "]) > 1e6);
        assert!(value(&metrics, &["process_open_fds "]) >= 3.0);
        assert!(value(&metrics, &["process_threads "]) >= 3.0);
        let start = value(&metrics, &["process_start_time_seconds "]);
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
        assert!(
            (now - 600.0..now + 5.0).contains(&start),
            "{start} and {now}"
        );
    }
}

#[test]
fn limits_are_counted_once_alone_and_among_others() {
    let server = Server::start(&["--memory-mib", "96"]);
    let (small, large) = (jpeg(&scene(64, 64)), large());
    server
        .client
        .predict(&large)
        .refusal(413, "image-too-large");
    let (content_type, body) = crate::common::server::form_of(&[
        ("image", "small.jpg", small.as_slice()),
        ("image", "large.png", &large),
    ]);
    assert_eq!(
        server.client.post("/predict", &content_type, &body).status,
        200
    );
    let metrics = read(&server);
    assert_eq!(
        value(&metrics, &["limit_hits_total{limit=\"memory\"}"]),
        2.0
    );
    assert_eq!(
        value(
            &metrics,
            &["classifications_total{outcome=\"image-too-large\"}"]
        ),
        2.0
    );
}

#[test]
fn clients_cannot_make_series() {
    let server = Server::start(&[]);
    for turn in 0..20 {
        let request =
            format!("M{turn} /path/{turn} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        assert!(
            server
                .client
                .raw(request.as_bytes())
                .starts_with("HTTP/1.1 404 ")
        );
    }
    let metrics = read(&server);
    assert_eq!(
        value(&metrics, &["http_requests_total{", "method=\"other\""]),
        20.0
    );
}

#[test]
fn promtool_has_nothing_to_say_against_the_metrics() {
    let Some(mut promtool) = promtool() else {
        return;
    };
    let server = Server::start(&[]);
    server.client.predict(&jpeg(&scene(64, 64))).answer();
    server.client.predict(b"nonsense");
    let checked = run(
        promtool.args(["check", "metrics"]),
        read(&server).as_bytes(),
    );
    assert_eq!(
        (checked.code, checked.stdout + &checked.stderr),
        (Some(0), String::new())
    );
}

#[test]
fn promtool_is_content_with_the_configuration_and_the_alerts() {
    for arguments in [
        ["check", "config", "prometheus.yml"],
        ["check", "rules", "alerts.yml"],
        ["test", "rules", "alerts.test.yml"],
    ] {
        let Some(mut promtool) = promtool() else {
            return;
        };
        run(promtool.args(arguments), b"").ok();
    }
}

/// A name that is misspelt in a dashboard or an alert shows nothing, for ever.
#[test]
fn dashboards_and_alerts_ask_for_metrics_that_exist() {
    let server = Server::start(&[]);
    server.client.predict(&jpeg(&scene(64, 64))).answer();
    let metrics = read(&server);
    let mut asked = files(&root().join("deploy/grafana/dashboards"), "json");
    asked.push(root().join("deploy/prometheus/alerts.yml"));
    let mut names = BTreeSet::new();
    for file in asked {
        let text = std::fs::read_to_string(&file).unwrap();
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        names.extend(
            words
                .filter(|word| word.starts_with("pinhole_") || word.starts_with("process_"))
                .map(String::from),
        );
    }
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        let is_there = metrics.lines().any(|line| {
            // A histogram's own name is in no sample.
            line.strip_prefix(&name)
                .is_some_and(|rest| rest.starts_with([' ', '{']) || rest.starts_with("_sum"))
        });
        assert!(is_there, "{name} is not in\n{metrics}");
    }
}
