//! What a BMP's headers say: sizes, colours, and where pixels begin.

use super::super::errors::{cut_short, damaged, not_read};
use super::FORMAT;
use crate::error::ClassifyError;

/// Where the second header begins: behind the first one's signature, size and offset.
const INFO: usize = 14;

/// How pixels are written.
pub enum Coding {
    /// One after the other.
    Plain,
    /// Each channel, alpha last, is the bits of this mask.
    Masks([u32; 4]),
    /// In runs of the same pixel.
    Runs,
}

/// Both headers and the palette.
pub struct Header {
    pub width: u32,
    pub height: u32,
    /// Whether the first row is the top one.
    pub top_down: bool,
    /// Bits a pixel.
    pub bits: u16,
    pub coding: Coding,
    /// Red, green, blue.
    pub palette: Vec<[u8; 3]>,
    /// Where pixels begin.
    pub pixels: usize,
}

impl Header {
    pub fn read(bytes: &[u8]) -> Result<Self, ClassifyError> {
        let size = u32_at(bytes, INFO).ok_or_else(|| cut_short(FORMAT))? as usize;
        let info = bytes.get(INFO..).unwrap_or_default();
        let info = match size {
            12 | 16..=1024 => info.get(..size).ok_or_else(|| cut_short(FORMAT))?,
            _ => return Err(damaged(FORMAT)),
        };
        let is_core = size == 12;
        // OS/2's second header may end after any of its fields; what it leaves out is 0.
        let field = |at: usize| u32_at(info, at).unwrap_or(0);
        let half = |at: usize| u16_at(info, at).unwrap_or(0);
        let (width, height, bits) = if is_core {
            (u32::from(half(4)), i32::from(half(6)), half(10))
        } else {
            (field(4), field(8).cast_signed(), half(14))
        };
        if width > i32::MAX as u32 {
            return Err(damaged(FORMAT));
        }
        let is_os2 = size <= 64 && !matches!(size, 40 | 52 | 56);
        let compression = if is_core { 0 } else { field(16) };
        let (mut masks_behind, mut masks) = (0, None);
        if matches!(compression, 3 | 6) && !is_os2 {
            let count = if compression == 6 || size >= 56 { 4 } else { 3 };
            masks_behind = if size == 40 { 4 * count } else { 0 };
            let mut read = [0; 4];
            for (index, mask) in read.iter_mut().enumerate().take(count) {
                *mask = u32_at(bytes, INFO + 40 + 4 * index).ok_or_else(|| cut_short(FORMAT))?;
            }
            masks = Some(read);
        }
        let coding = match (compression, bits, masks) {
            (0, 16, _) => Coding::Masks([0x7c00, 0x3e0, 0x1f, 0]),
            // The fourth byte has no meaning.
            (0, 32, _) => Coding::Masks([0x00ff_0000, 0xff00, 0xff, 0]),
            (0, ..) => Coding::Plain,
            (1, 8, _) | (2, 4, _) => Coding::Runs,
            (4, 24, _) if is_os2 => Coding::Runs,
            (_, 24, Some([0x00ff_0000, 0xff00, 0xff, _])) => Coding::Plain,
            (_, 32, Some([0, 0, 0, 0])) => Coding::Masks([0x00ff_0000, 0xff00, 0xff, 0xff00_0000]),
            (_, 16 | 32, Some(masks)) => Coding::Masks(masks),
            _ => return Err(not_read(FORMAT)),
        };

        let entry = if is_core { 3 } else { 4 };
        let start = INFO + size + masks_behind;
        let colours = palette_length(bits, if is_core { 0 } else { field(32) });
        let end = start.saturating_add(colours.saturating_mul(entry));
        let said = u32_at(bytes, 10).unwrap_or(0) as usize;
        let height_of = height.unsigned_abs();
        let pixels = if said >= end {
            said
        } else if said > start && bits <= 8 && (said - start).is_multiple_of(entry) {
            // Within the palette: either that is shorter than it says, or the offset is wrong. Rows tell, if there are
            // enough of them behind the palette.
            let rows = row_bytes(width, bits).saturating_mul(u64::from(height_of));
            let is_short = matches!(coding, Coding::Plain)
                && (bytes.len() as u64) < (end as u64).saturating_add(rows);
            if is_short { said } else { end }
        } else {
            end
        };
        let palette = if bits > 8 {
            Vec::new()
        } else {
            let stored = bytes.get(start..pixels.min(end).min(bytes.len()));
            stored
                .unwrap_or_default()
                .chunks_exact(entry)
                .take(1 << bits)
                .map(|colour| [colour[2], colour[1], colour[0]])
                .collect()
        };
        Ok(Self {
            width,
            height: height_of,
            top_down: height < 0,
            bits,
            coding,
            palette,
            pixels,
        })
    }

    /// Bytes of a row of plain pixels, the padding to four included.
    pub fn stride(&self) -> usize {
        row_bytes(self.width, self.bits) as usize
    }

    /// Bytes of all plain pixels, without what pads the last row.
    pub fn least(&self) -> usize {
        let last = (self.width as usize * usize::from(self.bits)).div_ceil(8);
        self.stride()
            .saturating_mul(self.height.saturating_sub(1) as usize)
            .saturating_add(last)
    }

    /// The row of the picture that the file's row of this number is.
    pub fn row(&self, number: u32) -> u32 {
        if self.top_down {
            number
        } else {
            self.height - 1 - number
        }
    }
}

fn row_bytes(width: u32, bits: u16) -> u64 {
    (u64::from(width) * u64::from(bits)).div_ceil(32) * 4
}

/// Colours in the file, which may be more than its pixels can name.
fn palette_length(bits: u16, said: u32) -> usize {
    match (bits, said) {
        (1..=8, 0) => 1 << bits,
        // More than this is no number of colours.
        (1..=8, said @ 1..=65_536) => said as usize,
        (1..=8, _) => 1 << bits,
        // Behind deeper pixels' headers it is a suggestion, which the offset jumps over.
        _ => 0,
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
