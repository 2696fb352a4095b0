//! Finding a Docker client that reaches its daemon and can build the image.

use crate::workspace::{on_path, try_output};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The Docker client to use: the one in `DOCKER`, else the first on the `PATH` that can build with BuildKit.
///
/// The error is a sentence that says what is missing.
pub fn find() -> Result<PathBuf, String> {
    let clients = match std::env::var_os("DOCKER") {
        Some(client) => vec![PathBuf::from(client)],
        None => on_path("docker"),
    };
    if clients.is_empty() {
        return Err(
            "There is no `docker` on the PATH: install Docker, or name its client in DOCKER."
                .into(),
        );
    }
    let mut reached = None;
    for client in &clients {
        if !reaches_daemon(client) {
            continue;
        }
        if has_buildkit(client) {
            return Ok(client.clone());
        }
        reached = Some(client);
    }
    Err(match reached {
        Some(client) => format!(
            "{} cannot build with BuildKit: install the Docker buildx plugin, or name another client in DOCKER.",
            client.display()
        ),
        None => "No Docker daemon answers: start it (see `docker info` for what is wrong).".into(),
    })
}

fn reaches_daemon(client: &Path) -> bool {
    try_output(Command::new(client).args(["version", "--format", "{{.Server.Version}}"])).is_some()
}

/// Newer clients build with the buildx plugin, which may be missing. Those before 23.0 had BuildKit built in.
fn has_buildkit(client: &Path) -> bool {
    if try_output(Command::new(client).args(["buildx", "version"])).is_some() {
        return true;
    }
    try_output(Command::new(client).args(["version", "--format", "{{.Client.Version}}"]))
        .is_some_and(|version| is_before_23(&version))
}

fn is_before_23(version: &str) -> bool {
    let major = version.trim().split('.').next().unwrap_or_default();
    major
        .parse::<u32>()
        .is_ok_and(|major| (18..23).contains(&major))
}

#[cfg(test)]
mod tests {
    use super::is_before_23;

    #[test]
    fn old_clients_are_told_from_new_ones() {
        assert!(is_before_23("20.10.24+dfsg1\n"));
        assert!(!is_before_23("28.2.2"));
        assert!(!is_before_23("<no value>"));
    }
}
