//! The flags of whatever reads a model file.

use clap::Args;

/// How much reading a model may take.
#[derive(Args, Clone, Copy, Debug)]
pub struct LoadArgs {
    /// How long each stage of reading a model file may take, in seconds
    #[arg(long, env = "PINHOLE_LOAD_TIME_S", value_name = "S", default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..=86_400), help_heading = "Reading models")]
    pub load_time_s: u32,

    /// Memory that reading a model file may take, in MiB; a sandbox has at most 4096
    #[arg(long, env = "PINHOLE_LOAD_MEMORY_MIB", value_name = "MIB", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(16..=1_048_576), help_heading = "Reading models")]
    pub load_memory_mib: u32,
}
