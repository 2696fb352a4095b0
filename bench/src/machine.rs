//! What a figure was measured on, and with: read from the machine, never typed in.

use anyhow::{Context, Result, bail};
use serde::Serialize;
use std::path::Path;
use std::process::{Command, Stdio};

/// Cores to run on, as `taskset -c` takes them.
#[derive(Clone, Debug, PartialEq)]
pub struct Cores {
    numbers: Vec<u32>,
    list: String,
}

impl Cores {
    /// As `taskset` takes them.
    pub fn list(&self) -> &str {
        &self.list
    }

    /// These.
    pub fn of(numbers: &[u32]) -> Self {
        let names: Vec<String> = numbers.iter().map(u32::to_string).collect();
        Self {
            numbers: numbers.to_vec(),
            list: names.join(","),
        }
    }

    /// Whether a core is one of them.
    pub fn contains(&self, core: u32) -> bool {
        self.numbers.contains(&core)
    }
}

/// Who runs where.
pub struct Placement {
    /// Every core that this process may use.
    pub all: Cores,
    /// The services' cores: two, or the only one.
    pub services: Cores,
    /// The first of them, for what is measured on one core.
    pub one: Cores,
    /// The load generator's: cores that the services do not have, or the same ones where there are no others.
    pub load: Cores,
}

impl Placement {
    /// Whether the load generator takes of the services' cores.
    pub fn shared(&self) -> bool {
        self.load == self.services
    }

    /// On the cores that this process may use.
    pub fn here() -> Result<Self> {
        let status = read("/proc/self/status")?;
        let list = field(&status, "Cpus_allowed_list").context("the kernel names no cores")?;
        let cores = cores(list).with_context(|| format!("`{list}` is no list of cores"))?;
        let (services, rest) = cores.split_at(cores.len().min(2));
        let one = services.get(..1).context("there is no core to run on")?;
        Ok(Self {
            all: Cores::of(&cores),
            services: Cores::of(services),
            one: Cores::of(one),
            load: Cores::of(if rest.is_empty() { services } else { rest }),
        })
    }
}

/// The machine, and what ran on it.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// The processor's name.
    pub cpu: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// The services' cores.
    pub service_cores: String,
    /// The load generator's cores.
    pub load_cores: String,
    /// Memory, in GiB.
    pub memory_gib: f64,
    /// The kernel's version.
    pub kernel: String,
    /// The distribution.
    pub system: String,
    /// The load average of the last minute, when the measurements began: others' work.
    pub load_before: f64,
}

impl Machine {
    /// This one.
    pub fn here(placement: &Placement) -> Result<Self> {
        let cpuinfo = read("/proc/cpuinfo")?;
        let meminfo = read("/proc/meminfo")?;
        let kib: f64 = field(&meminfo, "MemTotal")
            .and_then(|value| value.split_whitespace().next()?.parse().ok())
            .unwrap_or_default();
        let release = read("/etc/os-release").unwrap_or_default();
        let system = release
            .lines()
            .find_map(|line| line.strip_prefix("PRETTY_NAME="));
        let load = read("/proc/loadavg")?;
        Ok(Self {
            cpu: field(&cpuinfo, "model name").unwrap_or("unknown").into(),
            cores: std::thread::available_parallelism()?.get(),
            service_cores: placement.services.list().into(),
            load_cores: placement.load.list().into(),
            memory_gib: kib / f64::from(1 << 20),
            kernel: read("/proc/sys/kernel/osrelease")?.trim().into(),
            system: system.unwrap_or("unknown").trim_matches('"').into(),
            load_before: load
                .split_whitespace()
                .next()
                .and_then(|value| value.parse().ok())
                .unwrap_or_default(),
        })
    }
}

/// The commit that was measured, with a mark where something else than our own results differs from it.
pub fn commit(root: &Path) -> String {
    let git = |arguments: &[&str]| {
        output(Command::new("git").args(arguments).current_dir(root)).map(|text| text.trim().into())
    };
    let Ok::<String, _>(commit) = git(&["rev-parse", "HEAD"]) else {
        return "unknown: this is no git checkout".into();
    };
    let results = [
        ":!bench/RESULTS.md",
        ":!bench/results.json",
        ":!bench/*.svg",
    ];
    let mut status = vec!["status", "--porcelain", "--", "."];
    status.extend(results);
    match git(&status) {
        Ok(changes) if changes.is_empty() => commit,
        _ => format!("{commit}, with changes that are not committed"),
    }
}

/// Today's date, in UTC.
pub fn date() -> Result<String> {
    Ok(output(Command::new("date").args(["-u", "+%Y-%m-%d"]))?
        .trim()
        .into())
}

/// Fails with a sentence that says what to install, unless the programs are there.
pub fn require(programs: &[(&str, &str)]) -> Result<()> {
    for (program, package) in programs {
        let found = Command::new(program)
            .arg("--version")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if found.is_err() {
            bail!("there is no `{program}`: install {package}.");
        }
    }
    Ok(())
}

/// What a program printed to standard output; any exit code but 0 is an error.
pub fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("`{name}` cannot be started"))?;
    if !output.status.success() {
        bail!(
            "`{name}` failed ({}): {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("{path} cannot be read"))
}

/// A line `name : value`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then_some(value.trim())
    })
}

/// A list such as `0-2,5`.
fn cores(list: &str) -> Option<Vec<u32>> {
    let mut cores = Vec::new();
    for part in list.split(',') {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        cores.extend(from.trim().parse::<u32>().ok()?..=to.trim().parse().ok()?);
    }
    Some(cores)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cores_are_read() {
        assert_eq!(cores("0-2,5").unwrap(), [0, 1, 2, 5]);
        assert_eq!(cores("3").unwrap(), [3]);
        assert_eq!(cores("0,x"), None);
        assert_eq!(Cores::of(&[0, 5]).list(), "0,5");
    }

    #[test]
    fn fields_are_found() {
        let text = "processor\t: 0\nmodel name\t: A: B\n";
        assert_eq!(field(text, "model name"), Some("A: B"));
        assert_eq!(field(text, "model"), None);
    }
}
