//! How a run measured, and on what.

use crate::measure::WARM_UP;
use crate::quiet::DISTURBED;
use crate::report::row;
use crate::results::Results;
use crate::services::Kind;
use crate::stats::median;
use std::fmt::Write as _;

/// Writes it.
pub fn method(results: &Results, text: &mut String) -> std::fmt::Result {
    let (plan, machine) = (&results.plan, &results.machine);
    let load_cores = if machine.load_cores == machine.service_cores {
        "wrk and this benchmark share the services' cores, as there are no others, so two workers have a little less than two cores"
            .to_string()
    } else {
        format!("wrk runs on other cores ({})", machine.load_cores)
    };
    writeln!(
        text,
        "## How\n\n\
         - {} rounds; in each, every service takes its turn at each number of clients, one after the other. Absolute figures are \
         medians of the rounds, with the smallest and the largest.\n\
         - A turn is {} s of load by wrk: each client waits for its answer before it asks again. A run with one failed request \
         counts as an error. {load_cores}.\n\
         - Only one service runs at a time: the others are stopped (SIGSTOP), so that their timers and spinning threads take \
         nothing. Each answers {} requests before its turn counts.\n\
         - {}: one uvicorn process with uvloop and httptools, no access log; each request on a thread of its pool. ONNX Runtime \
         chooses its threads itself, or has one an inference where the table says so. Source: `bench/fastapi/`.\n\
         - Pinhole: `pinhole serve` as it is in the image, defaults but for the log level (warn), a fresh sandbox for each \
         request. Components baked from the same ONNX file.\n\
         - Pinhole wasi-nn: the sandbox decodes and prepares, and the host runs the model: `--engine kernels`, our own ones natively, \
         as in the image `nn` (`--engine tract` runs this model on them, too), or `--engine onnxruntime`, with FastAPI's own library and one thread an \
         inference.\n\
         - Start: from the start of the process to its first answer, tried every millisecond; {} starts of each, in turns, files \
         in the page cache.\n\
         - Memory: the process and its children; idle after the first answer, loaded the largest of samples under load from 8 \
         clients.\n\
         - Inference alone: ONNX Runtime runs in a loop in a warm process; Pinhole's is the inference of requests, each in a \
         fresh sandbox, which touches its memory for the first time. Both on one core.\n\
         - 12 megapixels: the same picture, enlarged to 4000x3000 at quality 90 ({} bytes); no service decodes at a reduced scale \
         unless its own code asks for that.\n\
         - What was tried to make it faster, what helped and what did not, with figures: [kernels/NOTES.md](../kernels/NOTES.md).\n",
        plan.rounds,
        plan.seconds,
        WARM_UP,
        Kind::Fastapi.name(),
        plan.starts,
        plan.large_bytes,
    )?;
    let others = results.others();
    writeln!(
        text,
        "Other processes had {} of the services' cores in the median turn under load, at most {}. What lost more than \
         {DISTURBED} % to them was measured again, {} times in all.\n",
        percent(median(&others)),
        percent(others.iter().copied().reduce(f64::max)),
        results.repeated,
    )?;
    row(text, &["machine", ""])?;
    row(text, &["---"; 2])?;
    let rows = [
        ("processor", machine.cpu.clone()),
        ("cores", machine.cores.to_string()),
        ("memory", format!("{:.1} GiB", machine.memory_gib)),
        ("kernel", machine.kernel.clone()),
        ("system", machine.system.clone()),
        ("load average before", format!("{:.2}", machine.load_before)),
        (
            "taken by other processes in the whole run",
            percent(Some(results.others_percent)),
        ),
        (
            "stolen by other virtual machines",
            percent(Some(results.stolen_percent)),
        ),
        ("duration", format!("{:.1} minutes", results.minutes)),
        ("versions", results.versions.join(", ")),
    ];
    for (what, value) in rows {
        row(text, &[what, &value])?;
    }
    Ok(())
}

fn percent(value: Option<f64>) -> String {
    value.map_or("-".into(), |value| format!("{value:.1} %"))
}
