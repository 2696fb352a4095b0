//! A BMP's pixels, by how they are written.
//!
//! Each function fills the image, and returns whether the file has all of its bytes: only the padding of the last row may
//! be missing. Where pixels are missing, it is cut short.

use super::super::errors::{cut_short, damaged};
use super::super::over_white;
use super::FORMAT;
use super::header::Header;
use crate::error::ClassifyError;
use image::RgbImage;

/// Runs `each` for every row's bytes, and the row that they are in the picture.
fn rows<'a>(
    header: &Header,
    data: &'a [u8],
    mut each: impl FnMut(&'a [u8], u32),
) -> Result<bool, ClassifyError> {
    let used = (header.width as usize * usize::from(header.bits)).div_ceil(8);
    let stride = header.stride();
    for number in 0..header.height {
        let start = stride.saturating_mul(number as usize);
        let row = data
            .get(start..start.saturating_add(used))
            .ok_or_else(|| cut_short(FORMAT))?;
        each(row, header.row(number));
    }
    Ok(data.len() >= stride.saturating_mul(header.height as usize))
}

fn row_of(image: &mut RgbImage, row: u32) -> std::slice::ChunksExactMut<'_, u8> {
    let length = 3 * image.width() as usize;
    let start = length * row as usize;
    let samples: &mut [u8] = image;
    samples[start..start + length].chunks_exact_mut(3)
}

/// A palette's colour; what it does not have is black.
fn colour(header: &Header, index: u8) -> [u8; 3] {
    header
        .palette
        .get(usize::from(index))
        .copied()
        .unwrap_or_default()
}

/// Pixels of 1, 2, 4 or 8 bits, which are numbers of colours.
pub fn indexed(header: &Header, data: &[u8], image: &mut RgbImage) -> Result<bool, ClassifyError> {
    let bits = usize::from(header.bits);
    let colours: [[u8; 3]; 256] = std::array::from_fn(|index| colour(header, index as u8));
    rows(header, data, |row, to| {
        for (x, pixel) in row_of(image, to).enumerate() {
            let at = x * bits;
            let index = (row[at / 8] >> (8 - bits - at % 8)) & (0xff >> (8 - bits));
            pixel.copy_from_slice(&colours[usize::from(index)]);
        }
    })
}

/// Blue, green and red, a byte each.
pub fn plain(header: &Header, data: &[u8], image: &mut RgbImage) -> Result<bool, ClassifyError> {
    rows(header, data, |row, to| {
        for (from, pixel) in row.chunks_exact(3).zip(row_of(image, to)) {
            pixel.copy_from_slice(&[from[2], from[1], from[0]]);
        }
    })
}

/// One channel within a pixel.
#[derive(Clone, Copy)]
struct Channel {
    mask: u32,
    shift: u32,
    most: u32,
}

impl Channel {
    fn new(mask: u32) -> Self {
        let shift = mask.trailing_zeros() % 32;
        let most = mask >> shift;
        Self { mask, shift, most }
    }

    /// From 0 to 255, rounded down as Pillow does.
    fn of(self, pixel: u32) -> u8 {
        let value = u64::from((pixel & self.mask) >> self.shift);
        match self.most {
            0 => 0,
            0xff => value as u8,
            most => (value * 255 / u64::from(most)) as u8,
        }
    }
}

/// Pixels of 16 or 32 bits, some of which are each channel's. Where there is alpha, it lies over white; where that is 0
/// throughout, it was left unset, and the picture is opaque.
pub fn masked(
    header: &Header,
    masks: [u32; 4],
    data: &[u8],
    image: &mut RgbImage,
) -> Result<bool, ClassifyError> {
    let channels = masks.map(Channel::new);
    let size = usize::from(header.bits / 8);
    let value = |bytes: &[u8]| match *bytes {
        [a, b] => u32::from(u16::from_le_bytes([a, b])),
        [a, b, c, d] => u32::from_le_bytes([a, b, c, d]),
        _ => 0,
    };
    let mut has_alpha = false;
    if masks[3] != 0 {
        rows(header, data, |row, _| {
            has_alpha |= row
                .chunks_exact(size)
                .any(|bytes| value(bytes) & masks[3] != 0);
        })?;
    }
    rows(header, data, |row, to| {
        for (bytes, pixel) in row.chunks_exact(size).zip(row_of(image, to)) {
            let from = value(bytes);
            let alpha = if has_alpha { channels[3].of(from) } else { 255 };
            for (to, channel) in pixel.iter_mut().zip(channels) {
                *to = over_white(channel.of(from), alpha);
            }
        }
    })
}

/// Runs of 4, 8 or 24 bits: a count and a pixel, or a zero and a command. Pixels that are jumped over are those of colour 0.
pub fn runs(header: &Header, data: &[u8], image: &mut RgbImage) -> Result<bool, ClassifyError> {
    if header.bits <= 8 {
        let ground = colour(header, 0);
        image
            .chunks_exact_mut(3)
            .for_each(|pixel| pixel.copy_from_slice(&ground));
    }
    let size = usize::from(header.bits).max(8) / 8;
    let (mut x, mut y) = (0_u32, 0_u32);
    let mut rest = data;
    let mut put = |x: &mut u32, y: u32, pixel: [u8; 3]| {
        if *x < header.width && y < header.height {
            image.put_pixel(*x, header.row(y), image::Rgb(pixel));
        }
        *x = x.saturating_add(1);
    };
    // The pixels of one unit of data: two of 4 bits, else one.
    let unpack = |unit: &[u8], second: bool| match (header.bits, unit) {
        (4, &[both]) => colour(header, if second { both & 15 } else { both >> 4 }),
        (24, &[blue, green, red]) => [red, green, blue],
        (_, &[index, ..]) => colour(header, index),
        _ => [0; 3],
    };
    loop {
        let Some((&count, behind)) = rest.split_first() else {
            // Without a mark of its end: good where the last pixel was reached.
            let last = y >= header.height || (y + 1 == header.height && x >= header.width);
            return if last {
                Ok(false)
            } else {
                Err(cut_short(FORMAT))
            };
        };
        if count > 0 {
            let Some((unit, next)) = behind.split_at_checked(size) else {
                rest = &[];
                continue;
            };
            for number in 0..count {
                put(&mut x, y, unpack(unit, number % 2 == 1));
            }
            rest = next;
            continue;
        }
        let Some((&command, behind)) = behind.split_first() else {
            rest = &[];
            continue;
        };
        match (command, behind) {
            (0, _) => {
                (x, y) = (0, y.saturating_add(1));
                rest = behind;
            }
            (1, _) => return Ok(true),
            (2, &[right, down, ..]) => {
                x = x.saturating_add(right.into());
                y = y.saturating_add(down.into());
                rest = &behind[2..];
            }
            (2, _) => rest = &[],
            (count, _) => {
                let count = usize::from(count);
                let bytes = if header.bits == 4 {
                    count.div_ceil(2)
                } else {
                    count * size
                };
                let Some(units) = behind.get(..bytes) else {
                    return Err(if behind.is_empty() {
                        cut_short(FORMAT)
                    } else {
                        damaged(FORMAT)
                    });
                };
                for number in 0..count {
                    let at = if header.bits == 4 {
                        number / 2
                    } else {
                        number * size
                    };
                    put(&mut x, y, unpack(&units[at..at + size], number % 2 == 1));
                }
                // Padded to two.
                rest = behind.get(bytes.next_multiple_of(2)..).unwrap_or_default();
            }
        }
    }
}
