//! Files of models are read within a time and a memory: a few bytes may describe a tensor of any size.
//!
//! In a sandbox the engine sees to that. What is read natively is watched from beside: a parser of somebody else's has no place
//! to stop it at, so that the process ends, with a sentence, as it does whenever it cannot start.

use crate::CANNOT_START;
use crate::cli::LoadArgs;
use crate::memory::limit_mib;
use std::fmt::{self, Display, Formatter};
use std::io::Write;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How much a model may take while it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// From the start of one stage to its end.
    pub time: Duration,
    /// In bytes.
    pub memory: u64,
}

/// What a model went over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// The time.
    Time(Duration),
    /// The memory, in bytes.
    Memory(u64),
}

impl Display for Over {
    fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(time) => write!(
                to,
                "it takes more than {} s: if that is to be, give it more with --load-time-s",
                time.as_secs()
            ),
            Self::Memory(bytes) => write!(
                to,
                "it takes more than {} MiB: if that is to be, and there is as much, give it more with --load-memory-mib",
                bytes >> 20
            ),
        }
    }
}

impl From<LoadArgs> for Bounds {
    fn from(args: LoadArgs) -> Self {
        // The kernel ends what takes all of a container's memory, and says nothing.
        let container = limit_mib().map_or(u64::MAX, |limit| limit / 10 * 9);
        Self {
            time: Duration::from_secs(args.load_time_s.into()),
            memory: u64::from(args.load_memory_mib).min(container) << 20,
        }
    }
}

/// How often what is read natively is looked at.
const LOOK: Duration = Duration::from_millis(20);

impl Bounds {
    /// Reads a model natively. Where that goes over its bounds, the process ends.
    pub fn watch<T>(self, path: &Path, read: impl FnOnce() -> T) -> T {
        let (end, ended) = channel::<()>();
        let path = path.to_path_buf();
        let begun = Instant::now();
        let before = resident();
        let look = move || {
            while ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                if let Some(over) = self.over(begun.elapsed(), resident().saturating_sub(before)) {
                    let _ = writeln!(
                        std::io::stderr(),
                        "The model {} cannot be read: {over}.",
                        path.display()
                    );
                    std::process::exit(CANNOT_START.into());
                }
            }
        };
        // Without a watcher there are no bounds, and without threads there is no service either.
        let watcher = std::thread::Builder::new()
            .name("bounds".into())
            .spawn(look);
        let result = read();
        drop(end);
        if let Ok(watcher) = watcher {
            // A panic there has been printed already.
            let _ = watcher.join();
        }
        result
    }

    fn over(self, took: Duration, memory: u64) -> Option<Over> {
        if took > self.time {
            Some(Over::Time(self.time))
        } else if memory > self.memory {
            Some(Over::Memory(self.memory))
        } else {
            None
        }
    }
}

/// Bytes of this process that are in memory; 0 where the system does not tell.
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| {
            let resident = text.split_whitespace().nth(1)?;
            resident.parse::<u64>().ok()
        });
    pages.unwrap_or_default() * rustix::param::page_size() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_over_is_told_apart() {
        let bounds = Bounds {
            time: Duration::from_secs(60),
            memory: 1 << 30,
        };
        let second = Duration::from_secs(1);
        assert_eq!(bounds.over(second, 1 << 20), None);
        assert_eq!(bounds.over(61 * second, 0), Some(Over::Time(60 * second)));
        assert_eq!(bounds.over(second, 2 << 30), Some(Over::Memory(1 << 30)));
        assert!(resident() > 1 << 20);
        assert_eq!(bounds.watch(Path::new("model.onnx"), || 5), 5);
    }
}
