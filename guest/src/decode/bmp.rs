//! BMP, as Windows and OS/2 have written it since 1988: every header, depth and compression that pictures come in.
//!
//! Programs disagree about headers more than about pixels, so headers are read with tolerance: planes, sizes and offsets
//! that cannot be are passed over. Samples are scaled as Pillow does.

mod header;
mod pixels;

use super::errors::{cut_short, not_read};
use super::limits::check_size;
use crate::error::ClassifyError;
use header::{Coding, Header};
use image::RgbImage;

const FORMAT: &str = "BMP";

/// Decodes a BMP, and tells whether all of it was there.
pub fn decode(bytes: &[u8], max_pixels: u64) -> Result<(RgbImage, bool), ClassifyError> {
    let header = Header::read(bytes)?;
    check_size(header.width, header.height, max_pixels)?;
    let data = bytes.get(header.pixels..).unwrap_or_default();
    if !matches!(header.coding, Coding::Runs) && data.len() < header.least() {
        return Err(cut_short(FORMAT));
    }
    let mut image = RgbImage::new(header.width, header.height);
    let complete = match (&header.coding, header.bits) {
        (Coding::Plain, 1 | 2 | 4 | 8) => pixels::indexed(&header, data, &mut image)?,
        (Coding::Plain, 24) => pixels::plain(&header, data, &mut image)?,
        (Coding::Masks(masks), 16 | 32) => pixels::masked(&header, *masks, data, &mut image)?,
        (Coding::Runs, 4 | 8 | 24) => pixels::runs(&header, data, &mut image)?,
        _ => return Err(not_read(FORMAT)),
    };
    Ok((image, complete))
}
