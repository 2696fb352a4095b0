//! What the tests share: where artifacts are, how programs are run, and how a test says that it is skipped.

pub mod imagenet;
pub mod onnx;
pub mod pictures;
pub mod server;

use pinhole_report::{Answer, Prediction};
use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The repository's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// A finished artifact.
pub fn dist(name: &str) -> PathBuf {
    let path = root().join("dist").join(name);
    assert!(
        path.is_file(),
        "{} is missing: run `cargo xtask test`, which builds it",
        path.display()
    );
    path
}

/// A folder of the data beside the repository, or none, said aloud, where it is not there.
pub fn shared(folder: &str) -> Option<PathBuf> {
    let path = root().join("../shared").join(folder);
    if path.is_dir() {
        return Some(path);
    }
    skipped(&format!("there is no ../shared/{folder}"));
    None
}

/// The files of a folder with this extension, in order.
pub fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension() == Some(OsStr::new(extension)))
        .collect();
    files.sort();
    files
}

/// The Python that has other people's clients, or none, said aloud, where there is no Python. In CI there must be.
pub fn python() -> Option<PathBuf> {
    python_with("clients")
}

/// The Python that has the packages of a folder of the tests, or none, said aloud, where there is no Python. In CI there
/// must be.
pub fn python_with(folder: &str) -> Option<PathBuf> {
    let variable = format!("PINHOLE_PYTHON_{}", folder.to_uppercase());
    if let Some(python) = std::env::var_os(&variable) {
        return Some(python.into());
    }
    assert!(
        !in_ci(),
        "no Python has what tests/{folder}/requirements.txt names, and in CI one must: run `cargo xtask test`"
    );
    skipped(&format!(
        "no Python has the {folder}: run `cargo xtask test`, or name one in {variable}"
    ));
    None
}

/// Prometheus' own tool, or none, said aloud, where it is not installed. In CI it must be. It stands in the folder of
/// Prometheus' configuration.
pub fn promtool() -> Option<Command> {
    if Command::new("promtool").arg("--version").output().is_ok() {
        let mut tool = Command::new("promtool");
        tool.current_dir(root().join("deploy/prometheus"));
        return Some(tool);
    }
    assert!(
        !in_ci(),
        "there is no promtool, and in CI there must be: install Debian's prometheus"
    );
    skipped("there is no promtool");
    None
}

/// Says that the running test does nothing.
pub fn skipped(why: &str) {
    say(&format!("skipped: {why}"));
}

/// Says something about the running test. Written past libtest, which shows a passing test's output to nobody.
pub fn say(what: &str) {
    let thread = std::thread::current();
    let mut stderr = std::io::stderr();
    writeln!(stderr, "{}: {what}", thread.name().unwrap_or("test")).unwrap();
}

/// Whether the tests run in CI, where nothing may be skipped for want of a tool.
pub fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false")
}

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

impl Ended {
    /// What it printed, if it ended well.
    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self.stdout
    }
}

/// Runs a command to its end, with this on its standard input.
pub fn run(command: &mut Command, input: &[u8]) -> Ended {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // A program may well end without reading what it is given.
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    let _ = writer.join().unwrap();
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The host's command line, free of the tester's own configuration.
pub fn pinhole() -> Command {
    let mut command = Command::new(dist("pinhole"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("PINHOLE_")
            || ["PORT", "MODEL_PATH", "LOG_LEVEL", "LOG_FORMAT"].contains(&name.as_str())
        {
            command.env_remove(name);
        }
    }
    command
}

/// The stock Wasmtime, of the version that the host embeds: the component must not need a host of ours.
pub fn wasmtime() -> Command {
    let installed = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .unwrap()
        .join("tools/bin/wasmtime");
    let program = match std::env::var_os("PINHOLE_WASMTIME") {
        Some(path) => PathBuf::from(path),
        None => installed,
    };
    assert!(
        program.is_file(),
        "{} is missing: `cargo xtask test` installs it, PINHOLE_WASMTIME names another",
        program.display()
    );
    Command::new(program)
}

/// Stock Wasmtime about to run the component with these files in reach. Its code is compiled once for all tests, as stock
/// Wasmtime does it: with its own settings, by itself.
pub fn wasmtime_run(folder: &Path) -> Command {
    static COMPILED: OnceLock<PathBuf> = OnceLock::new();
    let code = COMPILED.get_or_init(|| {
        let code = Path::new(env!("CARGO_TARGET_TMPDIR")).join("stock-wasmtime.cwasm");
        run(
            wasmtime()
                .arg("compile")
                .arg(dist("guest.wasm"))
                .arg("-o")
                .arg(&code),
            b"",
        )
        .ok();
        code
    });
    let mut command = wasmtime();
    command
        .current_dir(folder)
        .args(["run", "--dir", ".", "--allow-precompiled"])
        .arg(code);
    command
}

/// The answer in a line of `--json`.
pub fn answer(json: &str) -> Answer {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"))
}

/// Fails unless both name the same classes in the same order, with probabilities that are equal but for rounding.
#[track_caller]
pub fn assert_same(one: &[Prediction], other: &[Prediction]) {
    assert!(!one.is_empty());
    let close = |(a, b): (&Prediction, &Prediction)| {
        a.class_id == b.class_id
            && a.label == b.label
            && (a.probability - b.probability).abs() < 1e-5
    };
    assert!(
        one.len() == other.len() && one.iter().zip(other).all(close),
        "{one:#?}\nis not\n{other:#?}"
    );
}

/// Asks again and again until there is an answer; panics when the time is over.
pub fn wait<T>(what: &str, seconds: u64, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what}: not within {seconds} s");
        std::thread::sleep(Duration::from_millis(5));
    }
}
