//! Rows of MCUs to rows of pixels, in full size or a part of it: of each plane only two rows of MCUs are held, however high the
//! picture is.

use crate::colour::Colours;
use crate::header::Frame;
use crate::idct::{mean, transform};
use crate::reduced::{Scale, to_four, to_two};
use crate::scan::Block;
use crate::upsample::Enlarge;

/// A component's samples, as far as they are held.
struct Plane {
    ring: Vec<u8>,
    /// Samples from one row to the next.
    stride: usize,
    /// Rows that are held.
    rows: usize,
    /// Rows of blocks in a row of MCUs.
    down: usize,
    /// Samples a side that are made of a block.
    side: usize,
    /// Samples of a row, and rows, that belong to the picture.
    width: usize,
    height: usize,
    enlarge: Enlarge,
    steps: [u16; 64],
}

impl Plane {
    fn row(&self, row: usize) -> &[u8] {
        let start = row.min(self.height - 1) % self.rows * self.stride;
        &self.ring[start..start + self.width]
    }
}

/// What makes pixels of blocks.
pub struct Strips {
    planes: Vec<Plane>,
    colours: Colours,
    width: usize,
    height: usize,
    /// Rows of pixels that are made.
    made: usize,
    pixels: Vec<u8>,
    enlarged: Vec<Vec<u8>>,
    sums: Vec<u16>,
}

impl Strips {
    /// For a frame, with the quantisation table of each component.
    pub fn new(frame: &Frame, colours: Colours, steps: Vec<[u16; 64]>, scale: Scale) -> Self {
        let (width, height) = (scale.of(frame.width), scale.of(frame.height));
        let planes: Vec<Plane> = frame
            .components
            .iter()
            .zip(steps)
            .map(|(component, steps)| {
                let (most_across, most_down) = (
                    frame.most_across * scale.samples(),
                    frame.most_down * scale.samples(),
                );
                // Where fewer samples are wanted, those of a smaller plane are made of more frequencies, and need not be enlarged.
                let mut side = scale.samples();
                while side < 8
                    && most_across.is_multiple_of(component.across * side * 2)
                    && most_down.is_multiple_of(component.down * side * 2)
                {
                    side *= 2;
                }
                let (across, down) = (component.across * side, component.down * side);
                let width = (frame.width * across).div_ceil(frame.most_across * 8);
                let height = (frame.height * down).div_ceil(frame.most_down * 8);
                let stride = frame.mcus_across() * across;
                let rows = 2 * down;
                let filters = scale != Scale::Eighth;
                Plane {
                    ring: vec![0; stride * rows],
                    stride,
                    rows,
                    down: component.down,
                    side,
                    width,
                    height,
                    enlarge: Enlarge::new(
                        most_across / across,
                        most_down / down,
                        width > 2,
                        filters,
                    ),
                    steps,
                }
            })
            .collect();
        Self {
            enlarged: vec![Vec::with_capacity(width + 8); planes.len()],
            planes,
            colours,
            width,
            height,
            made: 0,
            pixels: vec![0; width * height * 3],
            sums: Vec::new(),
        }
    }

    /// Takes a block of a component: its place across, and down from the first row of blocks. Its last coefficient that is not 0 is
    /// there in zigzag order.
    #[inline]
    pub fn take(
        &mut self,
        component: usize,
        (across, down): (usize, usize),
        block: &Block,
        last: usize,
    ) {
        let plane = &mut self.planes[component];
        let start = down * plane.side % plane.rows * plane.stride + across * plane.side;
        let (to, stride) = (&mut plane.ring[start..], plane.stride);
        match plane.side {
            8 => transform(block, &plane.steps, last, to, stride),
            side if last == 0 => {
                for row in 0..side {
                    to[row * stride..row * stride + side].fill(mean(block, &plane.steps));
                }
            }
            4 => to_four(block, &plane.steps, to, stride),
            2 => to_two(block, &plane.steps, to, stride),
            _ => to[0] = mean(block, &plane.steps),
        }
    }

    /// Makes the pixels that can be made when so many rows of MCUs were taken.
    pub fn make(&mut self, mcu_rows: usize, is_last: bool) {
        let ready = |plane: &Plane| {
            // The last row's neighbour is missing.
            let whole =
                mcu_rows * plane.down * plane.side - usize::from(plane.enlarge.mixes_rows());
            whole * plane.enlarge.down()
        };
        let to = if is_last {
            self.height
        } else {
            self.planes
                .iter()
                .map(ready)
                .min()
                .unwrap_or(0)
                .min(self.height)
        };
        for y in self.made..to {
            for (plane, enlarged) in self.planes.iter().zip(&mut self.enlarged) {
                if plane.enlarge == Enlarge::Same {
                    continue;
                }
                let down = plane.enlarge.down();
                let is_below = y % down == 1;
                let row = y / down;
                let far = if is_below {
                    row + 1
                } else {
                    row.saturating_sub(1)
                };
                plane.enlarge.row(
                    plane.row(row),
                    plane.row(far),
                    is_below,
                    &mut self.sums,
                    enlarged,
                );
            }
            let mut rows = [&[][..]; 4];
            for (row, (plane, enlarged)) in
                rows.iter_mut().zip(self.planes.iter().zip(&self.enlarged))
            {
                *row = match plane.enlarge {
                    Enlarge::Same => plane.row(y),
                    _ => enlarged,
                };
            }
            let start = y * self.width * 3;
            let pixels = &mut self.pixels[start..start + self.width * 3];
            self.colours.convert(&rows[..self.planes.len()], pixels);
        }
        self.made = to;
    }

    /// All pixels, once they are made.
    pub fn into_pixels(self) -> Vec<u8> {
        self.pixels
    }
}
