//! `RESULTS.md`, `results.json` and the charts. Every figure comes from the run; nothing is typed in.

use crate::chart::short;
use crate::measure::{CLIENTS, SOME_CLIENTS};
use crate::method::method;
use crate::plots::plots;
use crate::quiet::DISTURBED;
use crate::results::{Figure, Results};
use crate::services::Kind;
use crate::stats::Spread;
use anyhow::{Context, Result};
use std::fmt::Write as _;
use std::path::Path;

/// Writes all files into a folder.
pub fn write(results: &Results, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("{} cannot be made", folder.display()))?;
    let json = results
        .json()
        .context("results cannot be written as JSON")?;
    let mut files = vec![("RESULTS.md", markdown(results)), ("results.json", json)];
    files.extend(plots(results));
    for (name, text) in files {
        let file = folder.join(name);
        std::fs::write(&file, text)
            .with_context(|| format!("{} cannot be written", file.display()))?;
    }
    Ok(())
}

fn markdown(results: &Results) -> String {
    let mut text = String::new();
    let parts: [fn(&Results, &mut String) -> std::fmt::Result; 6] =
        [head, ratios, loads, costs, inside, method];
    for part in parts {
        part(results, &mut text).expect("writing to a string cannot fail");
    }
    text
}

fn head(results: &Results, text: &mut String) -> std::fmt::Result {
    let plan = &results.plan;
    writeln!(
        text,
        "# Pinhole beside FastAPI + ONNX Runtime\n\n\
         Written by `cargo xtask bench` on {}, at commit {}: do not edit it, run it.\n\n\
         The work: one JPEG (`{}`, {}, {} bytes) as a form's field to `POST /predict`; {} in torchvision's preprocessing; the \
         top five classes as JSON. All services run on the same cores ({}) of one machine ({}), and all see a {} in the \
         picture, which is right by {}.\n",
        results.date,
        results.commit,
        plan.picture,
        plan.picture_size,
        plan.picture_bytes,
        plan.model,
        results.machine.service_cores,
        results.machine.cpu,
        plan.label,
        plan.known_from,
    )
}

fn ratios(results: &Results, text: &mut String) -> std::fmt::Result {
    writeln!(
        text,
        "## Ratios\n\n\
         Above 1, Pinhole is better, but for inference, where it is how many times ONNX Runtime's time is taken. Each is the \
         median of the rounds' ratios, with the smallest and the largest.\n"
    )?;
    for (what, count) in &results.disturbed {
        writeln!(
            text,
            "- **Not to be trusted: {what}.** Other processes took more than {DISTURBED} % of the cores, {count} times."
        )?;
    }
    if !results.disturbed.is_empty() {
        writeln!(text)?;
    }
    table(text, "", &Kind::PINHOLE)?;
    for peer in [Kind::Fastapi, Kind::FastapiOneThread] {
        for (figure, what) in [
            (Figure::Images, "images a second"),
            (Figure::P50, "median latency"),
            (Figure::P99, "p99 latency"),
        ] {
            if peer == Kind::FastapiOneThread && figure != Figure::Images {
                continue;
            }
            for clients in CLIENTS {
                let thread = match peer {
                    Kind::FastapiOneThread => ", ONNX Runtime held to one thread an inference",
                    _ => "",
                };
                let what = format!("{what}, {}{thread}", clients_name(clients));
                let of = |kind| spread(results.load_ratio(kind, peer, clients, figure));
                line(text, &what, &Kind::PINHOLE, &of)?;
            }
        }
    }
    let memory = |kind, loaded: bool| {
        results
            .memory_ratio(kind)
            .map_or("-".into(), |(idle, under)| {
                short(if loaded { under } else { idle })
            })
    };
    type Cell<'a> = &'a dyn Fn(Kind) -> String;
    let rows: [(&str, Cell); 6] = [
        ("start to first answer", &|kind| {
            spread(results.start_ratio(kind))
        }),
        ("resident memory, idle", &|kind| memory(kind, false)),
        ("resident memory, loaded", &|kind| memory(kind, true)),
        ("a picture of 12 megapixels", &|kind| {
            spread(results.large_ratio(kind))
        }),
        (
            "inference alone, one core: time over ONNX Runtime's in fp32",
            &|kind| spread(results.inference_ratio(kind)),
        ),
        ("two workers over one, images a second", &|kind| {
            spread(results.scaling_ratio(kind))
        }),
    ];
    for (what, of) in rows {
        line(text, what, &Kind::PINHOLE, of)?;
    }
    writeln!(text)
}

fn loads(results: &Results, text: &mut String) -> std::fmt::Result {
    writeln!(text, "## Under load\n")?;
    for (figure, title, file) in [
        (Figure::Images, "Images a second", "throughput.svg"),
        (Figure::P50, "Median latency, ms", "p50.svg"),
        (
            Figure::P99,
            "Latency of the slowest hundredth, ms",
            "p99.svg",
        ),
    ] {
        writeln!(text, "![{title}]({file})\n")?;
        let clients = CLIENTS.map(clients_name);
        let mut cells = vec![title];
        cells.extend(clients.iter().map(String::as_str));
        row(text, &cells)?;
        row(text, &["---"; 5])?;
        for kind in Kind::ALL {
            let values =
                CLIENTS.map(|clients| spread(Spread::of(&results.load(kind, clients, figure))));
            let mut cells = vec![kind.name()];
            cells.extend(values.iter().map(String::as_str));
            row(text, &cells)?;
        }
        writeln!(text)?;
    }
    Ok(())
}

fn costs(results: &Results, text: &mut String) -> std::fmt::Result {
    let line = |text: &mut String, what: &str, of: &dyn Fn(Kind) -> String| {
        line(text, what, &Kind::MAIN, of)
    };
    writeln!(
        text,
        "## Start, memory, large pictures\n\n![Start](start.svg)\n![Memory](memory.svg)\n"
    )?;
    table(text, "", &Kind::MAIN)?;
    let times = |values: Option<&Vec<f64>>| spread(values.and_then(|values| Spread::of(values)));
    line(text, "start to first answer, ms", &|kind| {
        times(results.cold_start_ms.get(&kind))
    })?;
    line(
        text,
        "12 megapixels, whole answer, one client, ms",
        &|kind| times(results.large_ms.get(&kind)),
    )?;
    for (when, loaded) in [("idle", false), ("loaded", true)] {
        let memory = |kind| {
            let memory = results.memory_mib.get(&kind)?;
            Some(if loaded { memory.loaded } else { memory.idle })
        };
        line(text, &format!("memory {when}, MiB: resident"), &|kind| {
            memory(kind).map_or("-".into(), |memory| short(memory.rss))
        })?;
        line(
            text,
            &format!("{when}: anonymous + files + shared"),
            &|kind| {
                memory(kind).map_or("-".into(), |memory| {
                    [memory.anon, memory.file, memory.shmem]
                        .map(short)
                        .join(" + ")
                })
            },
        )?;
        line(text, &format!("{when}: PSS"), &|kind| {
            memory(kind).map_or("-".into(), |memory| short(memory.pss))
        })?;
    }
    writeln!(text, "\n| size | bytes | MB |\n| --- | --- | --- |")?;
    for size in &results.sizes {
        writeln!(
            text,
            "| {} | {} | {} |",
            size.what,
            size.bytes,
            short(size.bytes as f64 / 1e6)
        )?;
    }
    writeln!(text)
}

fn inside(results: &Results, text: &mut String) -> std::fmt::Result {
    writeln!(
        text,
        "## Inside Pinhole\n\n\
         Medians in milliseconds as its answers and its log tell them, one client; every answer has a fresh sandbox. \"Rest\" is \
         reading the body, copying the picture in, ranking, and removing the sandbox.\n\n![Stages](stages.svg)\n"
    )?;
    row(
        text,
        &[
            "",
            "decode",
            "preprocess",
            "inference",
            "sandbox",
            "rest",
            "total",
        ],
    )?;
    row(text, &["---"; 7])?;
    for (kind, inside) in &results.inside_ms {
        let of = inside.stages;
        let values = [
            of.decode,
            of.preprocess,
            of.inference,
            of.instance,
            of.rest,
            of.total,
        ]
        .map(short);
        let mut cells = vec![kind.name()];
        cells.extend(values.iter().map(String::as_str));
        row(text, &cells)?;
    }
    writeln!(text)?;
    let loaded = clients_name(SOME_CLIENTS);
    row(
        text,
        &[
            "making a sandbox, ms",
            "one client: p50",
            "p99",
            &format!("{loaded}: p50"),
            "p99",
            "sandboxes",
        ],
    )?;
    row(text, &["---"; 6])?;
    for (kind, inside) in &results.inside_ms {
        let (one, many) = (inside.instance, inside.instance_loaded);
        let values = [one.p50, one.p99, many.p50, many.p99].map(|value| format!("{value:.3}"));
        let counts = format!("{} and {}", one.count, many.count);
        row(
            text,
            &[
                kind.name(),
                &values[0],
                &values[1],
                &values[2],
                &values[3],
                &counts,
            ],
        )?;
    }
    writeln!(text)?;
    row(text, &["inference alone, one core, ms", "median"])?;
    row(text, &["---"; 2])?;
    let peer = Spread::of(&results.inference_ms.onnx_runtime);
    row(
        text,
        &["ONNX Runtime fp32, one thread, warm", &spread(peer)],
    )?;
    for (kind, values) in &results.inference_ms.pinhole {
        row(
            text,
            &[
                &format!("{}, fresh sandbox", kind.name()),
                &spread(Spread::of(values)),
            ],
        )?;
    }
    writeln!(text)?;
    row(
        text,
        &[
            &format!("images a second, {loaded}"),
            "one worker",
            "two workers",
        ],
    )?;
    row(text, &["---"; 3])?;
    for (kind, scaling) in &results.scaling {
        let (one, two) = (Spread::of(&scaling.one), Spread::of(&scaling.two));
        row(text, &[kind.name(), &spread(one), &spread(two)])?;
    }
    writeln!(text)
}

/// The head of a table with a column for each of these.
fn table(text: &mut String, title: &str, kinds: &[Kind]) -> std::fmt::Result {
    let mut cells = vec![title];
    cells.extend(kinds.iter().map(|kind| kind.name()));
    row(text, &cells)?;
    row(text, &vec!["---"; cells.len()])
}

/// A line of such a table.
fn line(
    text: &mut String,
    what: &str,
    kinds: &[Kind],
    of: &dyn Fn(Kind) -> String,
) -> std::fmt::Result {
    let values: Vec<String> = kinds.iter().map(|kind| of(*kind)).collect();
    let cells: Vec<&str> = std::iter::once(what)
        .chain(values.iter().map(String::as_str))
        .collect();
    row(text, &cells)
}

/// A line of a table.
pub fn row(text: &mut String, cells: &[&str]) -> std::fmt::Result {
    writeln!(text, "| {} |", cells.join(" | "))
}

/// The median, and the ends where they differ from it.
fn spread(spread: Option<Spread>) -> String {
    let Some(Spread { median, min, max }) = spread else {
        return "-".into();
    };
    if min == max {
        return short(median);
    }
    format!("**{}** ({} to {})", short(median), short(min), short(max))
}

/// As tables and charts say it.
pub fn clients_name(clients: u32) -> String {
    match clients {
        1 => "1 client".into(),
        _ => format!("{clients} clients"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_shows_its_ends() {
        let of = |values: &[f64]| spread(Spread::of(values));
        assert_eq!(of(&[1.0, 2.0, 4.0]), "**2** (1 to 4)");
        assert_eq!(of(&[2.5]), "2.50");
        assert_eq!(of(&[]), "-");
    }

    #[test]
    fn rows_are_tables() {
        let mut text = String::new();
        row(&mut text, &["a", "b"]).unwrap();
        assert_eq!(text, "| a | b |\n");
    }
}
