//! Coefficients of a whole picture, for files whose scans each have a part of them.

use crate::error::{Error, Result};
use crate::header::{Frame, ZIGZAG};
use crate::scan::{Block, Decoder, Scan};
use crate::strips::Strips;

/// A coefficient that no scan had.
const UNKNOWN: u8 = u8::MAX;

/// The blocks of a component.
struct Plane {
    blocks: Vec<Block>,
    /// Blocks of a row, those included that only fill the last MCU.
    stride: usize,
    /// Blocks that belong to the picture: a scan of this component alone has no others.
    width: usize,
    height: usize,
    /// How many bits each coefficient lacks.
    lacks: [u8; 64],
}

/// The blocks of all.
pub struct Store {
    planes: Vec<Plane>,
}

impl Store {
    /// With zeros.
    pub fn new(frame: &Frame) -> Self {
        let planes = frame.components.iter().map(|component| {
            let stride = frame.mcus_across() * component.across;
            let samples = |pixels: usize, own: usize, most: usize| (pixels * own).div_ceil(most);
            Plane {
                blocks: vec![[0; 64]; stride * frame.mcus_down() * component.down],
                stride,
                width: samples(frame.width, component.across, frame.most_across).div_ceil(8),
                height: samples(frame.height, component.down, frame.most_down).div_ceil(8),
                lacks: [UNKNOWN; 64],
            }
        });
        Self {
            planes: planes.collect(),
        }
    }

    /// Adds what a scan has.
    pub fn add(&mut self, frame: &Frame, scan: &Scan, decoder: &mut Decoder<'_>) -> Result<()> {
        if scan.is_interleaved() {
            for row in 0..frame.mcus_down() {
                for column in 0..frame.mcus_across() {
                    decoder.begin()?;
                    for (index, part) in scan.parts.iter().enumerate() {
                        let component = &frame.components[part.component];
                        let plane = &mut self.planes[part.component];
                        for down in 0..component.down {
                            for across in 0..component.across {
                                let place = (row * component.down + down) * plane.stride
                                    + column * component.across
                                    + across;
                                decode(frame, decoder, index, &mut plane.blocks[place])?;
                            }
                        }
                    }
                }
                decoder.check()?;
            }
        } else {
            for (index, part) in scan.parts.iter().enumerate() {
                let plane = &mut self.planes[part.component];
                for row in 0..plane.height {
                    for column in 0..plane.width {
                        decoder.begin()?;
                        decode(
                            frame,
                            decoder,
                            index,
                            &mut plane.blocks[row * plane.stride + column],
                        )?;
                    }
                    decoder.check()?;
                }
            }
        }
        let (coefficients, lacks) = scan.precision();
        for part in &scan.parts {
            self.planes[part.component].lacks[coefficients.clone()].fill(lacks);
        }
        Ok(())
    }

    /// Whether every coefficient is there, to its last bit.
    pub fn is_exact(&self) -> bool {
        self.planes.iter().all(|plane| plane.lacks == [0; 64])
    }

    /// Whether there is something of every component.
    pub fn has_all(&self) -> bool {
        self.planes.iter().all(|plane| plane.lacks[0] != UNKNOWN)
    }

    /// Gives all blocks of a row of MCUs away.
    pub fn give(&self, frame: &Frame, row: usize, strips: &mut Strips) {
        for (index, (component, plane)) in frame.components.iter().zip(&self.planes).enumerate() {
            for down in row * component.down..(row + 1) * component.down {
                for across in 0..plane.stride {
                    let block = &plane.blocks[down * plane.stride + across];
                    let last = ZIGZAG
                        .iter()
                        .rposition(|&place| block[usize::from(place)] != 0);
                    strips.take(index, (across, down), block, last.unwrap_or(0));
                }
            }
        }
    }
}

fn decode(frame: &Frame, decoder: &mut Decoder<'_>, part: usize, block: &mut Block) -> Result<()> {
    if frame.is_progressive {
        return decoder.progressive(part, block);
    }
    // A second scan of the same takes the first one's place.
    *block = [0; 64];
    decoder.sequential(part, block).map(drop)
}

impl Store {
    /// Fails unless there is enough of the picture for pixels, the file having its end or not.
    pub fn settle(&self, has_end: bool) -> Result<()> {
        let is_enough = if has_end {
            self.has_all()
        } else {
            self.is_exact()
        };
        if is_enough {
            Ok(())
        } else {
            Err(Error::CutShort)
        }
    }
}
