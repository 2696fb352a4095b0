//! What models are tried on while they are baked, the same on every machine: noise for what can go wrong with any number, and
//! pictures with the statistics of photographs for what matters.

mod noise;
mod random;
mod scene;

pub use noise::noise;
pub use scene::{Picture, scene};
