//! Where things are, and how other programs are started.

use anyhow::{Context, Result, bail};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// The repository, and where cargo builds it.
pub struct Workspace {
    /// The repository's root.
    pub root: PathBuf,
    /// Cargo's target folder.
    pub target: PathBuf,
}

impl Workspace {
    /// Asks cargo, so that `CARGO_TARGET_DIR` and everybody's own configuration count.
    pub fn find() -> Result<Self> {
        let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = manifest
            .parent()
            .context("xtask has no parent folder")?
            .to_path_buf();
        let mut metadata = Command::new(cargo());
        metadata
            .args([
                "metadata",
                "--locked",
                "--no-deps",
                "--format-version",
                "1",
                "--manifest-path",
            ])
            .arg(root.join("Cargo.toml"));
        let metadata = output(&mut metadata)?;
        let target = string_field(&metadata, "target_directory")
            .context("`cargo metadata` names no target folder")?;
        Ok(Self {
            root,
            target: target.into(),
        })
    }

    /// A file of `dist/`, where finished artifacts lie.
    pub fn dist(&self, name: &str) -> PathBuf {
        self.root.join("dist").join(name)
    }

    /// A cargo command, run in the repository's root.
    pub fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(cargo());
        command
            .args(arguments)
            .current_dir(&self.root)
            .env("CARGO_TARGET_DIR", &self.target)
            // These would replace the flags in .cargo/config.toml, and with them SIMD in the guest and the static host.
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS");
        command
    }

    /// The triple of the machine we build on.
    pub fn host_triple(&self) -> Result<String> {
        let version = output(Command::new("rustc").arg("-vV").current_dir(&self.root))?;
        let triple = version.lines().find_map(|line| line.strip_prefix("host: "));
        Ok(triple.context("`rustc -vV` names no host")?.to_string())
    }
}

fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Says on standard error what happens next.
pub fn say(what: &str) {
    eprintln!("xtask: {what}");
}

/// Runs a program to its end; any exit code but 0 is an error.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("{} cannot be started", name(command)))?;
    if !status.success() {
        bail!("{} failed ({status})", name(command));
    }
    Ok(())
}

/// Runs a program to its end, and returns what it wrote to standard output.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("{} cannot be started", name(command)))?;
    if !output.status.success() {
        bail!("{} failed ({})", name(command), output.status);
    }
    String::from_utf8(output.stdout)
        .with_context(|| format!("{} printed something else than text", name(command)))
}

/// What a program wrote to standard output, or nothing where it is not there or fails.
pub fn try_output(command: &mut Command) -> Option<String> {
    let output = command
        .stderr(Stdio::null())
        .stdin(Stdio::null())
        .output()
        .ok()?;
    if !output.status.success() {
        return None;
    }
    String::from_utf8(output.stdout).ok()
}

/// Every program of this name on the `PATH`, in its order.
pub fn on_path(program: &str) -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let file = format!("{program}{}", std::env::consts::EXE_SUFFIX);
    std::env::split_paths(&path)
        .map(|folder| folder.join(&file))
        .filter(|file| file.is_file())
        .collect()
}

/// Goes on as another program, whose exit code becomes ours. Signals reach it, too, as there is no process in between.
#[cfg(unix)]
pub fn become_program(program: &Path, first: &str, arguments: &[OsString]) -> Result<ExitCode> {
    use std::os::unix::process::CommandExt;
    let error = Command::new(program).arg(first).args(arguments).exec();
    Err(error).with_context(|| format!("{} cannot be started", program.display()))
}

/// Goes on as another program, whose exit code becomes ours.
#[cfg(not(unix))]
pub fn become_program(program: &Path, first: &str, arguments: &[OsString]) -> Result<ExitCode> {
    let status = Command::new(program)
        .arg(first)
        .args(arguments)
        .status()
        .with_context(|| format!("{} cannot be started", program.display()))?;
    Ok(status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .map_or(ExitCode::FAILURE, ExitCode::from))
}

/// A command as a person would write it.
fn name(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut name = program
        .file_name()
        .unwrap_or(OsStr::new("?"))
        .display()
        .to_string();
    for argument in command.get_args() {
        name.push(' ');
        name.push_str(&argument.to_string_lossy());
    }
    format!("`{name}`")
}

/// The first field of this name in a JSON text. A whole JSON parser would double what a new user waits for.
fn string_field(json: &str, name: &str) -> Option<String> {
    let start = json.find(&format!("\"{name}\":\""))? + name.len() + 4;
    let mut value = String::new();
    let mut rest = json[start..].chars();
    loop {
        match rest.next()? {
            '"' => return Some(value),
            '\\' => value.push(rest.next()?),
            other => value.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_and_unescaped() {
        let json = r#"{"a":"x","target_directory":"C:\\a \"b\"\\target","z":1}"#;
        assert_eq!(
            string_field(json, "target_directory").unwrap(),
            r#"C:\a "b"\target"#
        );
        assert_eq!(string_field(json, "b"), None);
        assert_eq!(string_field("{\"a\":\"cut off", "a"), None);
    }

    #[test]
    fn commands_are_named_as_they_are_typed() {
        assert_eq!(
            name(Command::new("/usr/bin/docker").args(["build", "."])),
            "`docker build .`"
        );
    }
}
