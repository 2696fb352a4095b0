//! Pictures that are like photographs where it matters to a network: the dead leaves model (Matheron; Lee, Mumford and Huang 2001).
//! Things of all sizes, as many small ones as a power law says, hide one another; each has a colour that is seldom a pure one,
//! light from one side and a texture of its own. Edges, flat parts and the spectrum (power falls with the square of the
//! frequency) are then those of natural images, which noise has none of.

use crate::random::{Random, scrambled};

/// Things in a picture: with these sizes, hardly anything of the ground is left to be seen.
const THINGS: usize = 220;

/// Their sizes, as parts of the picture's side.
const SMALLEST: f32 = 0.03;
const LARGEST: f32 = 0.35;

/// Grain of a sensor, in levels.
const GRAIN: f32 = 3.0;

/// A square picture.
pub struct Picture {
    /// Its side, in pixels.
    pub side: u32,
    /// Red, green and blue of each pixel, row by row from the top.
    pub pixels: Vec<[u8; 3]>,
}

/// Draws a picture; each seed gives another.
pub fn scene(seed: u32, side: u32) -> Picture {
    let mut random = Random::new(seed);
    let ground = Thing::ground(&mut random);
    let things: Vec<Thing> = (0..THINGS).map(|_| Thing::drawn(&mut random)).collect();
    let mut grain = Random::new(scrambled(seed));
    let scale = 1.0 / side.max(1) as f32;
    let mut pixels = Vec::with_capacity((side * side) as usize);
    for row in 0..side {
        for column in 0..side {
            let (x, y) = (column as f32 * scale, row as f32 * scale);
            // The first one that covers the pixel is in front.
            let seen = things.iter().find(|thing| thing.covers(x, y));
            let light = seen.unwrap_or(&ground).light(x, y);
            let grain = grain.between(-GRAIN, GRAIN);
            pixels.push(light.map(|light| (light * 255.0 + grain).clamp(0.0, 255.0) as u8));
        }
    }
    Picture { side, pixels }
}

/// A disc or a box, turned, stretched, coloured and lit.
struct Thing {
    centre: [f32; 2],
    /// The direction of its first axis, of length 1.
    axis: [f32; 2],
    /// Half of its extent along each axis.
    reach: [f32; 2],
    is_box: bool,
    colour: [f32; 3],
    /// How much lighter it is per unit, along x and y.
    slope: [f32; 2],
    texture: Texture,
}

impl Thing {
    fn drawn(random: &mut Random) -> Self {
        // Sizes whose number falls with the cube: by inversion of that distribution.
        let (small, large) = (SMALLEST.powi(-2), LARGEST.powi(-2));
        let size = (small + (large - small) * random.unit()).sqrt().recip();
        let stretch = random.between(0.5, 1.0);
        let axis = direction(random);
        Self {
            centre: [random.between(-0.1, 1.1), random.between(-0.1, 1.1)],
            axis,
            reach: [size, size * stretch],
            is_box: random.unit() < 0.4,
            colour: colour(random),
            slope: [random.between(-0.3, 0.3), random.between(-0.3, 0.3)],
            texture: Texture::drawn(random),
        }
    }

    /// What lies behind everything.
    fn ground(random: &mut Random) -> Self {
        Self {
            slope: [0.0, random.between(-0.5, 0.5)],
            centre: [0.5, 0.5],
            ..Self::drawn(random)
        }
    }

    fn covers(&self, x: f32, y: f32) -> bool {
        let [dx, dy] = [x - self.centre[0], y - self.centre[1]];
        let [ax, ay] = self.axis;
        let along = (dx * ax + dy * ay) / self.reach[0];
        let across = (dy * ax - dx * ay) / self.reach[1];
        if self.is_box {
            along.abs() <= 1.0 && across.abs() <= 1.0
        } else {
            along * along + across * across <= 1.0
        }
    }

    fn light(&self, x: f32, y: f32) -> [f32; 3] {
        let slope = self.slope[0] * (x - self.centre[0]) + self.slope[1] * (y - self.centre[1]);
        let light = 1.0 + slope + self.texture.at(x, y);
        self.colour.map(|part| part * light)
    }
}

/// A colour as things have them: any lightness, and seldom far from grey.
fn colour(random: &mut Random) -> [f32; 3] {
    let lightness = random.between(0.1, 0.9);
    let saturation = random.unit() * random.unit();
    let tint = [random.unit(), random.unit(), random.unit()];
    tint.map(|tint| (lightness + saturation * (tint - 0.5) * 0.9).clamp(0.02, 0.98))
}

/// A unit vector, without a sine: a point of the disc, at the distance 1.
fn direction(random: &mut Random) -> [f32; 2] {
    let (x, y) = (random.between(-1.0, 1.0), random.between(-1.0, 1.0));
    let length = (x * x + y * y).sqrt();
    if length < 0.05 {
        [1.0, 0.0]
    } else {
        [x / length, y / length]
    }
}

/// Noise of several octaves, each half as strong as the one before.
struct Texture {
    seed: u32,
    strength: f32,
    /// Waves a picture.
    frequency: f32,
}

impl Texture {
    fn drawn(random: &mut Random) -> Self {
        Self {
            seed: random.bits() << 16 | random.bits(),
            strength: 0.5 * random.unit() * random.unit(),
            frequency: random.between(3.0, 40.0),
        }
    }

    fn at(&self, x: f32, y: f32) -> f32 {
        let octave = |index: u32| {
            let scale = (1 << index) as f32;
            let frequency = self.frequency * scale;
            lattice(self.seed.wrapping_add(index), x * frequency, y * frequency) / scale
        };
        self.strength * (octave(0) + octave(1) + octave(2))
    }
}

/// Random values of -1 to 1 at whole coordinates, and smooth between them.
fn lattice(seed: u32, x: f32, y: f32) -> f32 {
    let (left, top) = (x.floor(), y.floor());
    let value = |dx: i32, dy: i32| {
        let (column, row) = (left as i32 + dx, top as i32 + dy);
        let place = (column as u32).wrapping_mul(0x9e37_79b1) ^ (row as u32).rotate_left(16);
        scrambled(seed ^ place) as f32 / 2_147_483_648.0 - 1.0
    };
    let smooth = |part: f32| part * part * (3.0 - 2.0 * part);
    let (across, down) = (smooth(x - left), smooth(y - top));
    let mix = |from: f32, to: f32, part: f32| from + (to - from) * part;
    mix(
        mix(value(0, 0), value(1, 0), across),
        mix(value(0, 1), value(1, 1), across),
        down,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The mean of the squared difference of pixels that are so far apart, in levels.
    fn variation(picture: &Picture, apart: usize) -> f32 {
        let side = picture.side as usize;
        let mut sum = 0.0;
        for row in picture.pixels.chunks_exact(side) {
            for (one, other) in row.iter().zip(&row[apart..]) {
                sum += (f32::from(one[1]) - f32::from(other[1])).powi(2);
            }
        }
        sum / (side * (side - apart)) as f32
    }

    #[test]
    fn near_pixels_are_alike_and_far_ones_are_not() {
        for seed in 0..8 {
            let picture = scene(seed, 128);
            assert_eq!(picture.pixels.len(), 128 * 128);
            let [near, middle, far] = [1, 8, 64].map(|apart| variation(&picture, apart));
            assert!(near * 1.5 < middle && middle < far, "{near} {middle} {far}");
            // A photograph's contrast: a standard deviation of some 40 to 80 levels.
            assert!((500.0..20_000.0).contains(&far), "{seed}: {far}");
        }
    }

    #[test]
    fn most_colours_are_near_grey() {
        let picture = scene(3, 128);
        let spread =
            |[red, green, blue]: &[u8; 3]| red.max(green).max(blue) - red.min(green).min(blue);
        let vivid = picture.pixels.iter().filter(|pixel| spread(pixel) > 128);
        assert!(vivid.count() * 10 < picture.pixels.len());
    }

    #[test]
    fn a_seed_is_a_picture() {
        assert!(scene(5, 32).pixels == scene(5, 32).pixels);
        assert!(scene(5, 32).pixels != scene(6, 32).pixels);
    }
}
