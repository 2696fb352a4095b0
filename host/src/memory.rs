//! What the container leaves of the machine's memory, and what the service does with it.

use std::path::{Path, PathBuf};

/// What the program takes beside sandboxes and bodies, in MiB: its code, its threads, answers.
const OWN_MIB: u64 = 32;

/// The least that a sandbox is given, in MiB, before there are fewer of them.
const LEAST_SANDBOX_MIB: u64 = 64;

/// What is to share the memory: what was asked for, or is usual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// How many sandboxes there are at the same time.
    pub workers: u32,
    /// MiB of each.
    pub sandbox_mib: u32,
    /// MiB for all bodies.
    pub bodies_mib: u32,
}

impl Shares {
    /// MiB of all together, at most.
    pub fn total(&self) -> u64 {
        OWN_MIB + u64::from(self.workers) * u64::from(self.sandbox_mib) + u64::from(self.bodies_mib)
    }

    /// What fits in so many MiB: bodies get a quarter at most, and the sandboxes the rest.
    pub fn fitted(self, limit_mib: u64) -> Self {
        if self.total() <= limit_mib {
            return self;
        }
        let left = limit_mib.saturating_sub(OWN_MIB).max(1);
        let bodies = u64::from(self.bodies_mib).min((left / 4).max(1));
        let left = left - bodies.min(left);
        let workers = u64::from(self.workers).min((left / LEAST_SANDBOX_MIB).max(1));
        let sandbox = u64::from(self.sandbox_mib).min((left / workers).max(16));
        Self {
            workers: workers as u32,
            sandbox_mib: sandbox as u32,
            bodies_mib: bodies as u32,
        }
    }
}

/// How much memory the container may use, in MiB; none where nothing limits it.
pub fn limit_mib() -> Option<u64> {
    limit(Path::new("/")).map(|bytes| bytes >> 20)
}

/// The least limit of the process' control groups, in bytes, by the files below `root`: version 2's where there is one, else
/// version 1's.
fn limit(root: &Path) -> Option<u64> {
    let groups = std::fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let group = |is: fn(&str) -> bool| {
        groups.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            is(controllers).then(|| path.trim_start_matches('/').to_string())
        })
    };
    let mounted = root.join("sys/fs/cgroup");
    let second = group(str::is_empty).and_then(|path| least(&mounted, &path, "memory.max"));
    let first = || {
        let path = group(|names| names.split(',').any(|name| name == "memory"))?;
        least(&mounted.join("memory"), &path, "memory.limit_in_bytes")
    };
    second.or_else(first)
}

/// The least number in the files of this name, from a group's folder up to where groups are mounted. Within a container a group
/// may be mounted that is called otherwise outside.
fn least(mounted: &Path, group: &str, file: &str) -> Option<u64> {
    /// Above this, a number means no limit.
    const NONE: u64 = 1 << 60;
    let folder: PathBuf = mounted.join(group);
    let limits = folder
        .ancestors()
        .take_while(|folder| folder.starts_with(mounted))
        .filter_map(|folder| std::fs::read_to_string(folder.join(file)).ok())
        .filter_map(|text| text.trim().parse::<u64>().ok());
    limits.filter(|limit| *limit < NONE).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: Shares = Shares {
        workers: 2,
        sandbox_mib: 512,
        bodies_mib: 256,
    };

    #[test]
    fn shares_fit_what_there_is() {
        assert_eq!(USUAL.fitted(1536), USUAL);
        for limit in [1024, 512, 256, 128, 80] {
            let fitted = USUAL.fitted(limit);
            assert!(fitted.total() <= limit, "{limit}: {fitted:?}");
            assert!(
                fitted.workers >= 1 && fitted.sandbox_mib >= 16,
                "{limit}: {fitted:?}"
            );
        }
        // So small that nothing fits: as little as can be.
        let least = USUAL.fitted(16);
        assert_eq!(
            (least.workers, least.sandbox_mib, least.bodies_mib),
            (1, 16, 1)
        );
    }

    /// Files below a folder that stands for the machine's root.
    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::TempDir::new().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn limits_are_found_where_containers_have_them() {
        let found = |files: &[(&str, &str)]| limit(machine(files).path());
        let mib = 64 << 20;
        let text = &mib.to_string()[..];
        // Docker, version 2, in a namespace of its own.
        let own = ("proc/self/cgroup", "0::/\n");
        assert_eq!(found(&[own, ("sys/fs/cgroup/memory.max", text)]), Some(mib));
        // Kubernetes: the pod's limit is above the container's.
        let pod = ("proc/self/cgroup", "0::/kubepods/pod1/app\n");
        let files = [
            pod,
            ("sys/fs/cgroup/kubepods/pod1/memory.max", text),
            ("sys/fs/cgroup/kubepods/pod1/app/memory.max", "max\n"),
        ];
        assert_eq!(found(&files), Some(mib));
        // Version 1, also where the group's path is that outside of the container.
        let old = ("proc/self/cgroup", "4:memory:/docker/1\n0::/\n");
        let inside = ("sys/fs/cgroup/memory/memory.limit_in_bytes", text);
        assert_eq!(found(&[old, inside]), Some(mib));
        let none = (
            "sys/fs/cgroup/memory/memory.limit_in_bytes",
            "9223372036854771712\n",
        );
        assert_eq!(found(&[old, none]), None);
        assert_eq!(found(&[]), None);
    }
}
