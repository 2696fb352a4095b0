//! `cargo xtask bench`: Pinhole beside FastAPI and ONNX Runtime, on the same work in one run.
//!
//! `prepare` makes what is needed, `services` starts what is compared, `load` asks many at once, `measure`, `inside` and
//! `inference` take turns while `cpu`, `quiet` and `memory` watch, `results` keeps what they saw, and `report`, `method`, `plots`
//! and `chart` write it down.

mod chart;
mod cpu;
mod inference;
mod inside;
mod load;
mod machine;
mod measure;
mod memory;
mod method;
mod options;
mod plots;
mod prepare;
mod quiet;
mod report;
mod results;
mod services;
mod stats;

use anyhow::{Context, Result, ensure};
use cpu::Meter;
use load::Generator;
use machine::{Machine, Placement, output};
use measure::{Bench, milliseconds};
use options::Options;
use prepare::Flavour;
use quiet::Quiet;
use results::{Plan, Results, Size};
use services::{Form, Kind, Programs};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Says on standard error what happens next.
fn say(what: &str) {
    eprintln!("bench: {what}");
}

fn run() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("bench/ has no parent folder")?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from);
    let Some(options) = Options::read(root, &target)? else {
        return Ok(());
    };
    ensure!(
        cfg!(target_os = "linux"),
        "the benchmark reads Linux's /proc: run it on Linux."
    );
    machine::require(&[
        ("wrk", "wrk (Debian: apt-get install wrk)"),
        ("python3", "Python 3.11 or later with its venv module"),
        ("taskset", "util-linux"),
        ("setpriv", "util-linux"),
        ("kill", "procps"),
    ])?;
    let results = measure(root, &target.join("bench"), &options)?;
    report::write(&results, &options.out)?;
    for (name, ratio) in results.ratios() {
        println!("{name:<28}{ratio:>8.2}");
    }
    for (what, count) in &results.disturbed {
        say(&format!(
            "{what}: disturbed by other processes, {count} times. Run it again on a machine with nothing else to do."
        ));
    }
    say(&format!(
        "wrote {}",
        options.out.join("RESULTS.md").display()
    ));
    Ok(())
}

fn measure(root: &Path, folder: &Path, options: &Options) -> Result<Results> {
    let (dist, app) = (root.join("dist"), root.join("bench/fastapi"));
    let (baked, logs) = (folder.join("baked"), folder.join("logs"));
    // The logs of the last run.
    let _ = std::fs::remove_dir_all(&logs);
    for folder in [&baked, &logs] {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("{} cannot be made", folder.display()))?;
    }
    let (model, labels) = (&options.model, &options.labels);
    // Before anything else: somebody may go on working while this runs.
    let commit = machine::commit(root);
    let python = prepare::python(folder, &app.join("requirements.txt"))?;
    let fp32 = prepare::component(&baked, &dist, model, labels, Flavour::Fp32)?;
    let int8 = prepare::component(&baked, &dist, model, labels, Flavour::Int8)?;
    let nn = prepare::component(&baked, &dist, model, labels, Flavour::Nn)?;
    let library = prepare::onnx_runtime(&python)?;
    let (large, picture_size) = prepare::large_picture(folder, &python, &app, &options.picture)?;

    let placement = Placement::here()?;
    let machine = Machine::here(&placement)?;
    let programs = Programs {
        python,
        app,
        model: model.clone(),
        labels: labels.clone(),
        pinhole: dist.join("image/pinhole"),
        fp32: fp32.cwasm.clone(),
        int8: int8.cwasm.clone(),
        nn: nn.cwasm.clone(),
        network: nn.network.clone(),
        kernels: dist.join("image-nn/pinhole"),
        onnx_runtime: dist.join("tests/pinhole-onnxruntime"),
        library,
        logs,
    };
    // At most a quarter more than all turns under load.
    let patience = Duration::from_secs((options.rounds * 5 * options.seconds).into());
    let mut bench = Bench {
        programs: &programs,
        placement: &placement,
        load: Generator::new(root, &options.picture, placement.load.clone()),
        form: Form::read(&options.picture)?,
        large: Form::read(&large)?,
        rounds: options.rounds,
        seconds: options.seconds,
        starts: options.starts,
        class: options.class()?,
        quiet: Quiet::new(&placement, patience),
    };
    let known_from = match bench.class {
        Some(_) => "reference.json beside the pictures",
        None => "FastAPI + ONNX Runtime's answer",
    };
    let label = first_answer(&mut bench)?;

    let begin = Instant::now();
    let meter = Meter::start(&placement.all, &[std::process::id()])?;
    let load = bench.throughput()?;
    let cold_start_ms = bench.cold_starts()?;
    let memory_mib = bench.memory()?;
    let inside_ms = bench.inside()?;
    let inference_ms = bench.inference(&options.picture)?;
    let scaling = bench.scaling()?;
    let large_ms = bench.large()?;
    let shares = meter.shares()?;

    let mut sizes = Vec::new();
    if let Some((bytes, revision)) = prepare::image("pinhole") {
        let short = revision.get(..12).unwrap_or(&revision);
        sizes.push(Size {
            what: format!("Docker image `pinhole` with the default model, of commit {short}"),
            bytes,
        });
    }
    let venv = folder.join("venv");
    for (what, file) in [
        ("Pinhole's host, as in the image", &programs.pinhole),
        ("this model in fp32, precompiled", &fp32.cwasm),
        ("this model in int8, precompiled", &int8.cwasm),
        ("this model in fp32, for any machine", &fp32.wasm),
        ("this model in int8, for any machine", &int8.wasm),
        (
            "Pinhole's host that runs the model, as in that image",
            &programs.kernels,
        ),
        ("this model for that host", &programs.network),
        ("the component for the host's model, precompiled", &nn.cwasm),
        ("this model as ONNX", model),
        ("FastAPI's Python packages, without Python itself", &venv),
    ] {
        sizes.push(Size {
            what: what.into(),
            bytes: prepare::size(file)?,
        });
    }
    Ok(Results {
        date: machine::date()?,
        commit,
        minutes: milliseconds(begin.elapsed()) / 60e3,
        others_percent: shares.others,
        stolen_percent: shares.stolen,
        repeated: bench.quiet.repeated(),
        disturbed: bench.quiet.disturbed(),
        machine,
        versions: versions(root, &programs)?,
        plan: Plan {
            rounds: options.rounds,
            seconds: options.seconds,
            starts: options.starts,
            model: file_name(model),
            picture: file_name(&options.picture),
            picture_size,
            picture_bytes: prepare::size(&options.picture)?,
            large_bytes: prepare::size(&large)?,
            label,
            known_from: known_from.into(),
        },
        load,
        cold_start_ms,
        memory_mib,
        inside_ms,
        inference_ms,
        scaling,
        large_ms,
        sizes,
    })
}

/// What FastAPI sees in the picture. Where nothing else says what is right, everybody must see that.
fn first_answer(bench: &mut Bench) -> Result<String> {
    let service = bench
        .programs
        .start(Kind::Fastapi, &bench.placement.services, &[])?;
    let answer = bench.check(Kind::Fastapi, &service)?;
    let best = answer.predictions.first().context("no class")?;
    bench.class.get_or_insert(best.class_id);
    Ok(best.label.clone())
}

fn versions(root: &Path, programs: &Programs) -> Result<Vec<String>> {
    let first_line = |text: String| text.lines().next().unwrap_or_default().to_string();
    let lock = std::fs::read_to_string(root.join("Cargo.lock")).unwrap_or_default();
    let wasmtime = lock
        .split("[[package]]")
        .find(|package| package.contains("\nname = \"wasmtime\"\n"))
        .and_then(|package| package.split('"').nth(3))
        .unwrap_or("unknown");
    let mut versions = vec![
        first_line(output(Command::new(&programs.pinhole).arg("--version"))?),
        format!("wasmtime {wasmtime}"),
        first_line(output(Command::new("rustc").arg("--version"))?),
        wrk_version()?,
    ];
    versions.extend(prepare::packages(&programs.python)?);
    Ok(versions)
}

/// wrk prints its version with its usage, and then fails.
fn wrk_version() -> Result<String> {
    let printed = Command::new("wrk").arg("--version").output()?;
    let text = String::from_utf8_lossy(&printed.stdout).into_owned()
        + &String::from_utf8_lossy(&printed.stderr);
    let words: Vec<&str> = text.split_whitespace().take(2).collect();
    Ok(words.join(" "))
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}
