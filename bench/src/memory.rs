//! What processes hold in memory, as Linux counts it below `/proc`.

use anyhow::{Context, Result};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Memory of a process and its descendants, in MiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Memory {
    /// Resident: what is in memory now (`VmRSS`).
    pub rss: f64,
    /// Of it, what no file holds: heaps, stacks, copied pages (`RssAnon`).
    pub anon: f64,
    /// Of it, pages of files, which the kernel can drop and read again (`RssFile`).
    pub file: f64,
    /// Of it, shared memory, which anonymous files are counted as (`RssShmem`).
    pub shmem: f64,
    /// Resident, but pages that n processes share count as an n-th (`Pss`).
    pub pss: f64,
}

impl Memory {
    /// Of a process and all its descendants.
    pub fn of_tree(pid: u32) -> Result<Self> {
        let parents = parents()?;
        tree(pid, &parents)
            .into_iter()
            .try_fold(Self::default(), |sum, pid| Ok(sum.plus(Self::of(pid)?)))
    }

    fn of(pid: u32) -> Result<Self> {
        let folder = Path::new("/proc").join(pid.to_string());
        let read = |name: &str| {
            std::fs::read_to_string(folder.join(name))
                .with_context(|| format!("{}/{name} cannot be read", folder.display()))
        };
        let (status, smaps) = (read("status")?, read("smaps_rollup")?);
        Ok(Self {
            rss: mib(&status, "VmRSS")?,
            anon: mib(&status, "RssAnon")?,
            file: mib(&status, "RssFile")?,
            shmem: mib(&status, "RssShmem")?,
            pss: mib(&smaps, "Pss")?,
        })
    }

    fn plus(self, other: Self) -> Self {
        Self {
            rss: self.rss + other.rss,
            anon: self.anon + other.anon,
            file: self.file + other.file,
            shmem: self.shmem + other.shmem,
            pss: self.pss + other.pss,
        }
    }
}

/// A process and its descendants.
pub fn descendants(pid: u32) -> Result<Vec<u32>> {
    Ok(tree(pid, &parents()?))
}

/// Every process and its parent.
fn parents() -> Result<BTreeMap<u32, u32>> {
    let processes = std::fs::read_dir("/proc").context("/proc cannot be read")?;
    Ok(processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid: u32| {
            // One that has ended since is nobody's child.
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            Some((pid, parent(&stat)?))
        })
        .collect())
}

/// The parent in a line of `/proc/PID/stat`. The program's name comes before it, and may hold blanks and brackets.
fn parent(stat: &str) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

fn tree(root: u32, parents: &BTreeMap<u32, u32>) -> Vec<u32> {
    let mut found = vec![root];
    let mut next = 0;
    while next < found.len() {
        let children = parents
            .iter()
            .filter(|(_, parent)| **parent == found[next])
            .map(|(child, _)| *child);
        found.extend(children.collect::<Vec<_>>());
        next += 1;
    }
    found
}

/// A field of the kernel's, which it gives in units of 1024 bytes.
fn mib(text: &str, field: &str) -> Result<f64> {
    let kib: f64 = text
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
        .and_then(|value| value.split_whitespace().next()?.parse().ok())
        .with_context(|| format!("the kernel does not tell {field}"))?;
    Ok(kib / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_by_their_whole_name() {
        let text = "Pss_Anon:  1024 kB\nPss:  2048 kB\nVmRSS:\t 512 kB\n";
        assert_eq!(mib(text, "Pss").unwrap(), 2.0);
        assert_eq!(mib(text, "VmRSS").unwrap(), 0.5);
        assert!(mib(text, "RssAnon").is_err());
    }

    #[test]
    fn a_parent_is_found_behind_any_name() {
        assert_eq!(parent("7 (a) b) (c) S 42 7 7 0"), Some(42));
        assert_eq!(parent("nonsense"), None);
    }

    #[test]
    fn a_tree_holds_grandchildren_and_nobody_else() {
        let parents = BTreeMap::from([(2, 1), (3, 2), (4, 3), (5, 1)]);
        assert_eq!(tree(2, &parents), [2, 3, 4]);
    }

    #[test]
    fn this_process_is_in_memory() {
        if !Path::new("/proc/self/smaps_rollup").exists() {
            eprintln!("skipped: there is no /proc here");
            return;
        }
        let memory = Memory::of_tree(std::process::id()).unwrap();
        assert!(memory.rss > 0.0 && memory.pss > 0.0, "{memory:?}");
    }
}
