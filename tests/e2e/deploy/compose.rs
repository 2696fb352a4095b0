//! The compose file: its Pinhole, and what the others ask it.

use super::{deploy, help, text};
use crate::common::root;

#[test]
fn compose_starts_a_pinhole_that_there_is() {
    let Some(deploy) = deploy() else { return };
    let service = &deploy["compose"]["services"]["pinhole"];
    let help = help();
    for variable in service["environment"].as_object().unwrap().keys() {
        assert!(help.contains(&format!("[env: {variable}=")), "{variable}");
    }
    let grace = default(&help, "PINHOLE_GRACE_S");
    let period = text(&service["stop_grace_period"])
        .strip_suffix('s')
        .unwrap();
    assert!(period.parse::<u64>().unwrap() > grace);
    let port = text(&service["ports"][0]).rsplit(':').next().unwrap();
    assert!(help.contains(&format!("0.0.0.0 with PORT, or {port}]")));
    // Where Prometheus asks.
    let scraped = std::fs::read_to_string(root().join("deploy/prometheus/prometheus.yml")).unwrap();
    assert!(scraped.contains(&format!("[\"pinhole:{port}\"]")));
    for services in ["prometheus", "grafana"] {
        for volume in deploy["compose"]["services"][services]["volumes"]
            .as_array()
            .unwrap()
        {
            let from = text(volume).split(':').next().unwrap();
            let is_there = root().join("deploy").join(from).exists();
            assert!(
                is_there || !from.starts_with('.'),
                "there is no deploy/{from}"
            );
        }
    }
}

/// The default of the flag that has this variable.
fn default(help: &str, variable: &str) -> u64 {
    let (_, after) = help.split_once(&format!("[env: {variable}=")).unwrap();
    let (_, value) = after.split_once("[default: ").unwrap();
    value.split(']').next().unwrap().parse().unwrap()
}
