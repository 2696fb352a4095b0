//! Sees to it that nobody else worked while something was measured, or says so.

use crate::cpu::Meter;
use crate::machine::{Cores, Placement};
use crate::services::Service;
use anyhow::Result;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What is measured is disturbed when others take more of the services' cores than this, in percent.
pub const DISTURBED: f64 = 10.0;

/// Repeats what was disturbed, for as long as its patience lasts.
pub struct Quiet {
    cores: Cores,
    shared: bool,
    patience: Cell<Duration>,
    repeated: Cell<u32>,
    disturbed: RefCell<BTreeMap<String, u32>>,
}

impl Quiet {
    /// With so much time for repetitions.
    pub fn new(placement: &Placement, patience: Duration) -> Self {
        Self {
            cores: placement.services.clone(),
            shared: placement.shared(),
            patience: patience.into(),
            repeated: Cell::default(),
            disturbed: RefCell::default(),
        }
    }

    /// Measures, and once more where others worked meanwhile, whatever was seen. Returns what was seen, and the share that
    /// others took in percent.
    pub fn measure<T>(
        &self,
        what: &str,
        services: &[&Service],
        measure: impl Fn() -> Result<T>,
    ) -> Result<(T, f64)> {
        loop {
            let begin = Instant::now();
            let meter = Meter::start(&self.cores, &self.ours(services))?;
            let seen = measure()?;
            let others = meter.shares()?.others;
            if others <= DISTURBED {
                return Ok((seen, others));
            }
            let left = self.patience.get().checked_sub(begin.elapsed());
            let Some(left) = left else {
                *self.disturbed.borrow_mut().entry(what.into()).or_default() += 1;
                return Ok((seen, others));
            };
            self.patience.set(left);
            self.repeated.set(self.repeated.get() + 1);
        }
    }

    /// How often something was repeated.
    pub fn repeated(&self) -> u32 {
        self.repeated.get()
    }

    /// What was disturbed and could not be repeated, and how often.
    pub fn disturbed(&self) -> BTreeMap<String, u32> {
        self.disturbed.borrow().clone()
    }

    /// Services are children of this process. Where the load generator has cores of its own, only they count.
    fn ours(&self, services: &[&Service]) -> Vec<u32> {
        if self.shared || services.is_empty() {
            return vec![std::process::id()];
        }
        services.iter().map(|service| service.pid()).collect()
    }
}
