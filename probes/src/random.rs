//! Random numbers that are the same everywhere: integers only, no library's generator.

/// A linear congruential generator: its upper bits are random enough for pictures and noise.
pub struct Random(u32);

impl Random {
    /// Streams of neighbouring seeds have nothing in common.
    pub fn new(seed: u32) -> Self {
        Self(scrambled(seed))
    }

    /// 16 random bits.
    pub fn bits(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.0 >> 16
    }

    /// From 0 up to, but not including, 1.
    pub fn unit(&mut self) -> f32 {
        self.bits() as f32 / 65_536.0
    }

    /// From `low` up to `high`.
    pub fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }
}

/// Each bit of the result depends on each bit of the value.
pub fn scrambled(value: u32) -> u32 {
    let mut value = value.wrapping_add(0x9e37_79b9);
    value = (value ^ (value >> 16)).wrapping_mul(0x85eb_ca6b);
    value = (value ^ (value >> 13)).wrapping_mul(0xc2b2_ae35);
    value ^ (value >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fill_their_range() {
        let mut random = Random::new(7);
        let numbers: Vec<f32> = (0..10_000).map(|_| random.between(-2.0, 2.0)).collect();
        assert!(numbers.iter().all(|number| (-2.0..2.0).contains(number)));
        let mean = numbers.iter().sum::<f32>() / 10_000.0;
        assert!(mean.abs() < 0.05, "{mean}");
        assert_ne!(Random::new(1).bits(), Random::new(2).bits());
    }
}
