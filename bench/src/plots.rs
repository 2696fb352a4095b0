//! The charts of a run.

use crate::chart::{Chart, Series};
use crate::measure::CLIENTS;
use crate::report::clients_name;
use crate::results::{Figure, Results};
use crate::services::Kind;
use crate::stats::Spread;

/// Every chart: its file's name, and the file.
pub fn plots(results: &Results) -> Vec<(&'static str, String)> {
    let by_clients = |title, note, figure| Chart {
        title,
        note,
        groups: CLIENTS.map(clients_name).to_vec(),
        series: series(&Kind::ALL, |kind| {
            let of = |clients| Spread::of(&results.load(kind, clients, figure));
            CLIENTS.into_iter().filter_map(of).collect()
        }),
    };
    let throughput = by_clients(
        "Images a second, two cores",
        "Higher is better.",
        Figure::Images,
    );
    let p50 = by_clients("Median latency, ms", "Lower is better.", Figure::P50);
    let p99 = by_clients(
        "Latency of the slowest hundredth, ms",
        "Lower is better.",
        Figure::P99,
    );
    let start = Chart {
        title: "Start, ms",
        note: "From the start of the process to its first answer. Lower is better.",
        groups: vec!["cold start".into()],
        series: series(&Kind::MAIN, |kind| {
            let starts = results.cold_start_ms.get(&kind);
            starts
                .and_then(|starts| Spread::of(starts))
                .into_iter()
                .collect()
        }),
    };
    let memory = Chart {
        title: "Memory, MiB",
        note: "Resident; PSS counts pages that processes share once. Lower is better.",
        groups: ["RSS idle", "RSS loaded", "PSS idle", "PSS loaded"]
            .map(Into::into)
            .to_vec(),
        series: series(&Kind::MAIN, |kind| {
            let Some(memory) = results.memory_mib.get(&kind) else {
                return Vec::new();
            };
            let (idle, loaded) = (memory.idle, memory.loaded);
            [idle.rss, loaded.rss, idle.pss, loaded.pss]
                .map(Spread::single)
                .to_vec()
        }),
    };
    let stages = Chart {
        title: "Where the time of one answer goes, ms",
        note: "Pinhole, one client, medians.",
        groups: ["decode", "preprocess", "inference", "sandbox", "rest"]
            .map(Into::into)
            .to_vec(),
        series: series(&Kind::PINHOLE, |kind| {
            let Some(inside) = results.inside_ms.get(&kind) else {
                return Vec::new();
            };
            let of = inside.stages;
            [of.decode, of.preprocess, of.inference, of.instance, of.rest]
                .map(Spread::single)
                .to_vec()
        }),
    };
    vec![
        ("throughput.svg", throughput.svg()),
        ("p50.svg", p50.svg()),
        ("p99.svg", p99.svg()),
        ("start.svg", start.svg()),
        ("memory.svg", memory.svg()),
        ("stages.svg", stages.svg()),
    ]
}

fn series(kinds: &[Kind], values: impl Fn(Kind) -> Vec<Spread>) -> Vec<Series<'static>> {
    let one = |kind: &Kind| Series {
        name: kind.name(),
        values: values(*kind),
    };
    kinds.iter().map(one).collect()
}
