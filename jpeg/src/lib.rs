//! A JPEG decoder: sequential and progressive files of 8 bits a sample, of grey, colour and CMYK, in any order of scans (ITU-T T.81).
//!
//! Pixels are those of libjpeg-turbo, bit for bit, as Pillow shows them. What is damaged or cut short has none: a picture of which a
//! part is missing would be classified as something else.
//!
//! `header` reads segments, `scan` entropy-coded data through `bits` and `huffman`, `idct` and `reduced` make samples of coefficients, `strips`
//! pixels of samples through `upsample` and `colour`. Files in one scan are decoded a row of MCUs at a time; `store` holds the
//! coefficients of the others.

mod bits;
mod colour;
mod error;
mod header;
mod huffman;
mod idct;
mod reduced;
mod scan;
mod standard;
mod store;
mod strips;
mod upsample;

pub use error::{Error, Result, Unsupported};
pub use reduced::Scale;

use colour::Colours;
use header::{Frame, Next, Segments};
use scan::Scan;
use store::Store;
use strips::Strips;

/// Scans of one file.
const MOST_SCANS: usize = 64;

/// A decoded picture.
pub struct Picture {
    /// In pixels.
    pub width: usize,
    /// In pixels.
    pub height: usize,
    /// Red, green and blue of each pixel, row by row from the top.
    pub pixels: Vec<u8>,
    /// False where the file's end marker is missing. Every row is there all the same.
    pub is_complete: bool,
}

/// A file whose headers were read.
pub struct Decoder<'a> {
    bytes: &'a [u8],
    segments: Segments<'a>,
    frame: Frame,
    /// The first scan's header, and the place of its data.
    scan: (&'a [u8], usize),
    scale: Scale,
}

impl<'a> Decoder<'a> {
    /// Reads everything before the first scan. Takes no memory for pixels.
    pub fn new(bytes: &'a [u8]) -> Result<Self> {
        let mut segments = Segments::new(bytes)?;
        let scan = match segments.next()? {
            Next::Scan(header, at) => (header, at),
            Next::End | Next::Nothing => return Err(Error::CutShort),
        };
        let frame = segments.frame.clone().ok_or(Error::Damaged)?;
        Ok(Self {
            bytes,
            segments,
            frame,
            scan,
            scale: Scale::Whole,
        })
    }

    /// Of the whole picture in pixels, and never 0.
    pub fn width(&self) -> usize {
        self.frame.width
    }

    /// Of the whole picture in pixels, and never 0.
    pub fn height(&self) -> usize {
        self.frame.height
    }

    /// Decodes to a part of the size: faster, and the mean of what is left out. Pixels are those that libjpeg-turbo makes then.
    pub fn scaled(self, scale: Scale) -> Self {
        Self { scale, ..self }
    }

    /// Decodes all of it.
    pub fn decode(mut self) -> Result<Picture> {
        let colours = Colours::of(&self.frame, self.segments.marks);
        if !self.frame.is_progressive {
            self.segments.tables.add_standard()?;
        }
        let first = Scan::read(self.scan.0, &self.frame)?;
        let is_all = first.parts.len() == self.frame.components.len();
        let (pixels, is_complete) = if is_all && !self.frame.is_progressive {
            self.in_one(&first, colours)?
        } else {
            self.in_several(first, colours)?
        };
        Ok(Picture {
            width: self.scale.of(self.frame.width),
            height: self.scale.of(self.frame.height),
            pixels,
            is_complete,
        })
    }

    /// The quantisation table of each component of a scan, as they are when it begins.
    fn latch(&self, scan: &Scan, steps: &mut [Option<[u16; 64]>]) -> Result<()> {
        for part in &scan.parts {
            let number = self.frame.components[part.component].quantisation;
            let table = self.segments.tables.quantisation[number].ok_or(Error::Damaged)?;
            steps[part.component].get_or_insert(table);
        }
        Ok(())
    }

    fn in_one(&mut self, scan: &Scan, colours: Colours) -> Result<(Vec<u8>, bool)> {
        let frame = &self.frame;
        let mut steps = vec![None; frame.components.len()];
        self.latch(scan, &mut steps)?;
        let steps = steps
            .into_iter()
            .collect::<Option<Vec<_>>>()
            .ok_or(Error::Damaged)?;
        let mut decoder = scan::Decoder::new(self.bytes, self.scan.1, scan, &self.segments.tables)?;
        let mut strips = Strips::new(frame, colours, steps, self.scale);
        let rows = frame.mcus_down();
        for row in 0..rows {
            for column in 0..frame.mcus_across() {
                decoder.begin()?;
                for (index, part) in scan.parts.iter().enumerate() {
                    let component = &frame.components[part.component];
                    for down in 0..component.down {
                        for across in 0..component.across {
                            let mut block = [0; 64];
                            let last = decoder.sequential(index, &mut block)?;
                            let place = (
                                column * component.across + across,
                                row * component.down + down,
                            );
                            strips.take(part.component, place, &block, last);
                        }
                    }
                }
            }
            decoder.check()?;
            strips.make(row + 1, row + 1 == rows);
        }
        let has_end = self.has_end(decoder.position());
        Ok((strips.into_pixels(), has_end))
    }

    fn in_several(&mut self, first: Scan, colours: Colours) -> Result<(Vec<u8>, bool)> {
        let mut steps = vec![None; self.frame.components.len()];
        let mut store = Store::new(&self.frame);
        let (mut scan, mut at) = (first, self.scan.1);
        let mut scans = 1;
        let has_end = loop {
            self.latch(&scan, &mut steps)?;
            let mut decoder = scan::Decoder::new(self.bytes, at, &scan, &self.segments.tables)?;
            store.add(&self.frame, &scan, &mut decoder)?;
            let position = decoder.position();
            self.segments.go_on(position);
            match self.segments.next()? {
                Next::End => break true,
                Next::Nothing => break false,
                Next::Scan(header, data) => {
                    scan = Scan::read(header, &self.frame)?;
                    at = data;
                }
            }
            scans += 1;
            if scans > MOST_SCANS {
                return Err(Error::Unsupported(Unsupported::Scans));
            }
        };
        store.settle(has_end)?;
        let steps = steps
            .into_iter()
            .collect::<Option<Vec<_>>>()
            .ok_or(Error::CutShort)?;
        let mut strips = Strips::new(&self.frame, colours, steps, self.scale);
        let rows = self.frame.mcus_down();
        for row in 0..rows {
            store.give(&self.frame, row, &mut strips);
            strips.make(row + 1, row + 1 == rows);
        }
        Ok((strips.into_pixels(), has_end))
    }

    /// Whether the end marker comes behind the data.
    fn has_end(&self, at: usize) -> bool {
        let rest = self.bytes.get(at..).unwrap_or_default();
        rest.windows(2).any(|pair| pair == [0xff, 0xd9])
    }
}
