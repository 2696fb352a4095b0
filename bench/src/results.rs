//! Everything that a run found, as `bench/results.json` holds it, and the ratios that follow from it.

use crate::inference::Inference;
use crate::inside::Inside;
use crate::machine::Machine;
use crate::measure::{Cell, Scaling, Use};
use crate::services::Kind;
use crate::stats::{Spread, ratios};
use serde::Serialize;
use std::collections::BTreeMap;

/// A whole run.
#[derive(Clone, Debug, Serialize)]
pub struct Results {
    /// The day, in UTC.
    pub date: String,
    /// What was measured.
    pub commit: String,
    /// How long all of it took, in minutes.
    pub minutes: f64,
    /// Time of all cores that other processes had meanwhile, in percent.
    pub others_percent: f64,
    /// Time of all cores that other virtual machines had meanwhile, in percent.
    pub stolen_percent: f64,
    /// Measurements that were repeated because others worked meanwhile.
    pub repeated: u32,
    /// Those that others disturbed and that were kept all the same, by what was measured.
    pub disturbed: BTreeMap<String, u32>,
    /// The machine.
    pub machine: Machine,
    /// Programs and packages, as `name version`.
    pub versions: Vec<String>,
    /// What was done.
    pub plan: Plan,
    /// Load.
    pub load: Vec<Cell>,
    /// From the start of a process to its first answer, in milliseconds.
    pub cold_start_ms: BTreeMap<Kind, Vec<f64>>,
    /// Memory in MiB.
    pub memory_mib: BTreeMap<Kind, Use>,
    /// Where Pinhole's time goes, in milliseconds.
    pub inside_ms: BTreeMap<Kind, Inside>,
    /// Inference on one core, in milliseconds.
    pub inference_ms: Inference,
    /// Answers a second with one worker and two.
    pub scaling: BTreeMap<Kind, Scaling>,
    /// A picture of 12 megapixels, in milliseconds.
    pub large_ms: BTreeMap<Kind, Vec<f64>>,
    /// Files, in bytes.
    pub sizes: Vec<Size>,
}

/// What was done.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// Turns of everything.
    pub rounds: u32,
    /// Seconds of load a turn.
    pub seconds: u32,
    /// Cold starts of each service.
    pub starts: u32,
    /// The model's file.
    pub model: String,
    /// The picture's file.
    pub picture: String,
    /// Its width and height, as `500x375`.
    pub picture_size: String,
    /// Its bytes.
    pub picture_bytes: u64,
    /// Bytes of the picture of 12 megapixels.
    pub large_bytes: u64,
    /// What all services see in it.
    pub label: String,
    /// How that is known to be right.
    pub known_from: String,
}

/// The size of something.
#[derive(Clone, Debug, Serialize)]
pub struct Size {
    /// Of what.
    pub what: String,
    /// Bytes.
    pub bytes: u64,
}

/// Which of a load's figures is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// Answers a second.
    Images,
    /// The median latency.
    P50,
    /// The latency of the slowest hundredth.
    P99,
}

impl Results {
    /// A figure under load, a value a round.
    pub fn load(&self, service: Kind, clients: u32, figure: Figure) -> Vec<f64> {
        self.load
            .iter()
            .filter(|cell| cell.service == service && cell.clients == clients)
            .flat_map(|cell| &cell.rounds)
            .map(|load| match figure {
                Figure::Images => load.images_per_s,
                Figure::P50 => load.p50_ms,
                Figure::P99 => load.p99_ms,
            })
            .collect()
    }

    /// How much better than `peer` a service is under load, above 1 being better: the median of the rounds' ratios.
    pub fn load_ratio(
        &self,
        service: Kind,
        peer: Kind,
        clients: u32,
        figure: Figure,
    ) -> Option<Spread> {
        let ours = self.load(service, clients, figure);
        let theirs = self.load(peer, clients, figure);
        match figure {
            Figure::Images => Spread::of(&ratios(&ours, &theirs)),
            Figure::P50 | Figure::P99 => Spread::of(&ratios(&theirs, &ours)),
        }
    }

    /// What others took of the services' cores while load was made, in percent, a value a turn.
    pub fn others(&self) -> Vec<f64> {
        let rounds = self.load.iter().flat_map(|cell| &cell.rounds);
        rounds.map(|load| load.others_percent).collect()
    }

    /// FastAPI's cold start over a service's.
    pub fn start_ratio(&self, service: Kind) -> Option<Spread> {
        paired(&self.cold_start_ms, Kind::Fastapi, service)
    }

    /// FastAPI's time for 12 megapixels over a service's.
    pub fn large_ratio(&self, service: Kind) -> Option<Spread> {
        paired(&self.large_ms, Kind::Fastapi, service)
    }

    /// FastAPI's resident memory over a service's: idle, and under load.
    pub fn memory_ratio(&self, service: Kind) -> Option<(f64, f64)> {
        let theirs = self.memory_mib.get(&Kind::Fastapi)?;
        let ours = self.memory_mib.get(&service)?;
        Some((
            theirs.idle.rss / ours.idle.rss,
            theirs.loaded.rss / ours.loaded.rss,
        ))
    }

    /// A service's inference over ONNX Runtime's on one core: above 1 is slower.
    pub fn inference_ratio(&self, service: Kind) -> Option<Spread> {
        let ours = self.inference_ms.pinhole.get(&service)?;
        Spread::of(&ratios(ours, &self.inference_ms.onnx_runtime))
    }

    /// Answers a second with two workers over those with one.
    pub fn scaling_ratio(&self, service: Kind) -> Option<Spread> {
        let scaling = self.scaling.get(&service)?;
        Spread::of(&ratios(&scaling.two, &scaling.one))
    }

    /// The ratios that a program may want to watch, by name.
    pub fn ratios(&self) -> BTreeMap<String, f64> {
        let mut all = BTreeMap::new();
        let mut put = |name: String, ratio: Option<f64>| {
            if let Some(ratio) = ratio {
                all.insert(name, (ratio * 1e3).round() / 1e3);
            }
        };
        let of = |spread: Option<Spread>| spread.map(|spread| spread.median);
        for kind in Kind::PINHOLE {
            let name = kind.short_name();
            for clients in crate::measure::CLIENTS {
                let images = self.load_ratio(kind, Kind::Fastapi, clients, Figure::Images);
                put(format!("{name}-images-{clients}-clients"), of(images));
            }
            put(format!("{name}-cold-start"), of(self.start_ratio(kind)));
            put(format!("{name}-large-picture"), of(self.large_ratio(kind)));
            let memory = self.memory_ratio(kind);
            put(format!("{name}-memory-idle"), memory.map(|(idle, _)| idle));
            put(
                format!("{name}-memory-loaded"),
                memory.map(|(_, loaded)| loaded),
            );
            put(
                format!("{name}-inference-time"),
                of(self.inference_ratio(kind)),
            );
            put(format!("{name}-two-workers"), of(self.scaling_ratio(kind)));
        }
        all
    }

    /// The whole file.
    pub fn json(&self) -> serde_json::Result<String> {
        #[derive(Serialize)]
        struct File<'a> {
            ratios: BTreeMap<String, f64>,
            #[serde(flatten)]
            results: &'a Results,
        }
        let file = File {
            ratios: self.ratios(),
            results: self,
        };
        Ok(serde_json::to_string_pretty(&file)? + "\n")
    }
}

/// One service's values over another's.
fn paired(values: &BTreeMap<Kind, Vec<f64>>, over: Kind, under: Kind) -> Option<Spread> {
    Spread::of(&ratios(values.get(&over)?, values.get(&under)?))
}
