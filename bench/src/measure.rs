//! The measurements. Whatever is compared takes turns: A B C, A B C, so that a machine that slows down slows down all.
//!
//! Services wait for their turn stopped (SIGSTOP): an idle one's timers and spinning threads take nothing from the one
//! that is measured.

use crate::load::{Generator, Load};
use crate::machine::Placement;
use crate::memory::Memory;
use crate::quiet::Quiet;
use crate::say;
use crate::services::{Answer, Form, Kind, Programs, Service};
use crate::stats::median;
use anyhow::{Context, Result, bail};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Clients that ask at the same time.
pub const CLIENTS: [u32; 4] = [1, 2, 4, 8];

/// Clients where there is one number of them only.
pub const SOME_CLIENTS: u32 = 4;

/// Requests before each measured turn: caches, and a service that was held, are warm again.
pub const WARM_UP: u32 = 5;

/// Everything that measurements share.
pub struct Bench<'a> {
    /// How services are started.
    pub programs: &'a Programs,
    /// On which cores.
    pub placement: &'a Placement,
    /// How load is made.
    pub load: Generator,
    /// The picture.
    pub form: Form,
    /// The same scene with 12 megapixels.
    pub large: Form,
    /// How often everything takes its turn.
    pub rounds: u32,
    /// How long load is made in one turn.
    pub seconds: u32,
    /// Starts of each service.
    pub starts: u32,
    /// The class that every service must see in the picture; that of the first where none is known.
    pub class: Option<u32>,
    /// What sees to it that nobody else works meanwhile.
    pub quiet: Quiet,
}

/// One service under load from so many clients, a value a round.
#[derive(Clone, Debug, Serialize)]
pub struct Cell {
    /// Which service.
    pub service: Kind,
    /// How many clients.
    pub clients: u32,
    /// What each round saw.
    pub rounds: Vec<Load>,
}

/// Answers a second with one worker and with two, a value a round.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Scaling {
    /// With `--workers 1`.
    pub one: Vec<f64>,
    /// With `--workers 2`.
    pub two: Vec<f64>,
}

/// A service's memory.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Use {
    /// After the first answer.
    pub idle: Memory,
    /// The most that was seen under load.
    pub loaded: Memory,
}

impl Bench<'_> {
    /// Answers a second, and how long they take.
    pub fn throughput(&self) -> Result<Vec<Cell>> {
        let services = self.start_all(&Kind::ALL)?;
        let mut cells: Vec<Cell> = Vec::new();
        for clients in CLIENTS {
            cells.extend(services.keys().map(|service| Cell {
                service: *service,
                clients,
                rounds: Vec::new(),
            }));
        }
        for round in 1..=self.rounds {
            say(&format!("load, round {round} of {}", self.rounds));
            for cell in &mut cells {
                let service = &services[&cell.service];
                cell.rounds
                    .push(self.loaded_turn("load", service, cell.clients)?);
            }
        }
        // Services still tell the same after all of it.
        for (kind, service) in &services {
            self.turn(service, |service| self.check(*kind, service))?;
        }
        Ok(cells)
    }

    /// What a second worker adds.
    pub fn scaling(&self) -> Result<BTreeMap<Kind, Scaling>> {
        let mut all = BTreeMap::new();
        for kind in Kind::PINHOLE {
            let what = &format!("one worker and two, {}", kind.name());
            say(what);
            let start = |workers| {
                let options = ["--workers", workers];
                self.start_held(kind, &options)
            };
            let (one, two) = (start("1")?, start("2")?);
            let mut scaling = Scaling::default();
            for _ in 0..self.rounds {
                for (service, values) in [(&one, &mut scaling.one), (&two, &mut scaling.two)] {
                    values.push(self.loaded_turn(what, service, SOME_CLIENTS)?.images_per_s);
                }
            }
            all.insert(kind, scaling);
        }
        Ok(all)
    }

    /// From the start of a process to its first answer, in milliseconds.
    pub fn cold_starts(&self) -> Result<BTreeMap<Kind, Vec<f64>>> {
        say("cold starts");
        let mut all: BTreeMap<Kind, Vec<f64>> = BTreeMap::new();
        for _ in 0..self.starts {
            // A start is too short to tell what others did meanwhile; a round of them is not.
            let (round, _) = self.quiet.measure("cold starts", &[], || {
                let start = |kind| {
                    let cores = &self.placement.services;
                    let time = self.programs.cold_start(kind, cores, &self.form)?;
                    Ok((kind, milliseconds(time)))
                };
                Kind::MAIN
                    .into_iter()
                    .map(start)
                    .collect::<Result<Vec<_>>>()
            })?;
            for (kind, time) in round {
                all.entry(kind).or_default().push(time);
            }
        }
        Ok(all)
    }

    /// Memory after the first answer, and the most of it under load.
    pub fn memory(&self) -> Result<BTreeMap<Kind, Use>> {
        let mut all = BTreeMap::new();
        for kind in Kind::MAIN {
            say(&format!("memory, {}", kind.name()));
            let cores = &self.placement.services;
            let service = self.programs.start(kind, cores, &[])?;
            self.check(kind, &service)?;
            let idle = service.memory()?;
            let ended = AtomicBool::new(false);
            let loaded = std::thread::scope(|scope| {
                let samples = scope.spawn(|| most(&service, &ended));
                let load = self.load.run(&service.address, 8, self.seconds);
                ended.store(true, Ordering::Relaxed);
                load?;
                samples
                    .join()
                    .map_err(|_| anyhow::anyhow!("sampling memory failed."))?
            })?;
            all.insert(kind, Use { idle, loaded });
        }
        Ok(all)
    }

    /// A picture of 12 megapixels, whole: milliseconds for one client, a median a round.
    pub fn large(&self) -> Result<BTreeMap<Kind, Vec<f64>>> {
        say("a picture of 12 megapixels");
        let services = self.start_all(&Kind::MAIN)?;
        let mut all: BTreeMap<Kind, Vec<f64>> = BTreeMap::new();
        for _ in 0..self.rounds {
            for (kind, service) in &services {
                let measure = || {
                    self.turn(service, |service| {
                        service.predict(&self.large)?;
                        let timed = || {
                            let begin = Instant::now();
                            service.predict(&self.large)?;
                            Ok(milliseconds(begin.elapsed()))
                        };
                        (0..3).map(|_| timed()).collect::<Result<Vec<f64>>>()
                    })
                };
                let (times, _) = self.quiet.measure("12 megapixels", &[service], measure)?;
                let time = median(&times).context("nothing was timed")?;
                all.entry(*kind).or_default().push(time);
            }
        }
        Ok(all)
    }

    /// Starts services and leaves them held. All of them see the same in the picture, or it is an error.
    fn start_all(&self, kinds: &[Kind]) -> Result<BTreeMap<Kind, Service>> {
        kinds
            .iter()
            .map(|kind| Ok((*kind, self.start_held(*kind, &[])?)))
            .collect()
    }

    fn start_held(&self, kind: Kind, options: &[&str]) -> Result<Service> {
        let cores = &self.placement.services;
        let service = self.programs.start(kind, cores, options)?;
        self.check(kind, &service)?;
        service.pause()?;
        Ok(service)
    }

    /// A turn under load.
    fn loaded_turn(&self, what: &str, service: &Service, clients: u32) -> Result<Load> {
        let (mut load, others) = self.quiet.measure(what, &[service], || {
            self.turn(service, |service| {
                self.load.run(&service.address, clients, self.seconds)
            })
        })?;
        load.others_percent = others;
        Ok(load)
    }

    /// Lets a service run for as long as it is measured.
    pub fn turn<T>(
        &self,
        service: &Service,
        measure: impl FnOnce(&Service) -> Result<T>,
    ) -> Result<T> {
        service.resume()?;
        service.predict_times(&self.form, WARM_UP)?;
        let measured = measure(service)?;
        service.pause()?;
        Ok(measured)
    }

    /// Fails unless a service sees the right class. Returns the class.
    pub fn check(&self, kind: Kind, service: &Service) -> Result<Answer> {
        let answer = service.predict(&self.form)?;
        let best = answer
            .predictions
            .first()
            .with_context(|| format!("{} answered no class", kind.name()))?;
        if self.class.is_some_and(|class| class != best.class_id) {
            bail!(
                "{} sees class {} ({}) in the picture, and not the right one: its speed is worth nothing.",
                kind.name(),
                best.class_id,
                best.label
            );
        }
        Ok(answer)
    }
}

/// The sample with the most resident memory.
fn most(service: &Service, ended: &AtomicBool) -> Result<Memory> {
    let mut most = service.memory()?;
    while !ended.load(Ordering::Relaxed) {
        let sample = service.memory()?;
        if sample.rss > most.rss {
            most = sample;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(most)
}

/// A duration as a number.
pub fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
