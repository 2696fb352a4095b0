//! JPEG, the format that most pictures arrive in.

mod frame;
mod tables;

use super::errors::{cut_short, damaged};
use super::limits::check_size;
use crate::error::ClassifyError;
use image::RgbImage;
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

/// A progressive JPEG of more scans than this is an attack: each of them walks over the whole image.
const MAX_SCANS: usize = 64;

const FORMAT: &str = "JPEG";

/// Decodes a JPEG.
pub fn decode(bytes: &[u8], max_pixels: u64) -> Result<RgbImage, ClassifyError> {
    let bytes = &*frame::usual(bytes)?;
    // Not strict: what a browser shows, we classify. What is cut short is looked for below.
    let options = DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX)
        .jpeg_set_max_scans(MAX_SCANS);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(|_| damaged(FORMAT))?;
    let (width, height) = decoder
        .dimensions()
        .and_then(|(width, height)| Some((u32::try_from(width).ok()?, u32::try_from(height).ok()?)))
        .ok_or_else(|| damaged(FORMAT))?;
    check_size(width, height, max_pixels)?;
    if !ends(bytes) {
        return Err(cut_short(FORMAT));
    }
    // The decoder turns YCbCr, CMYK and YCCK into RGB, but leaves grey as it is.
    let grey = decoder.input_colorspace() == Some(ColorSpace::Luma);
    let space = if grey {
        ColorSpace::Luma
    } else {
        ColorSpace::RGB
    };
    decoder.set_options(decoder.options().jpeg_set_out_colorspace(space));
    let mut pixels = decoder.decode().map_err(|_| damaged(FORMAT))?;
    if grey {
        pixels = pixels.iter().flat_map(|&luma| [luma; 3]).collect();
    }
    // Where there is another number of pixels than the header says, something is wrong.
    RgbImage::from_raw(width, height, pixels).ok_or_else(|| damaged(FORMAT))
}

/// Whether the image has its end marker. Within entropy-coded data a 0xFF byte is always stuffed, so the first
/// 0xFF 0xD9 after the first scan's header is a true marker; one before it may belong to an embedded thumbnail.
fn ends(bytes: &[u8]) -> bool {
    let mut at = 2;
    while let Some(&[0xff, marker]) = bytes.get(at..at + 2) {
        match marker {
            0xff => at += 1,
            0xda => return bytes[at..].windows(2).any(|pair| pair == [0xff, 0xd9]),
            // Markers without a length: TEM, restarts, start of image.
            0x01 | 0xd0..=0xd8 => at += 2,
            _ => match bytes.get(at + 2..at + 4) {
                Some(&[high, low]) => at += 2 + usize::from(u16::from_be_bytes([high, low])),
                _ => return false,
            },
        }
    }
    // Bytes between segments, which decoders skip: look at all of the file.
    bytes.windows(2).any(|pair| pair == [0xff, 0xd9])
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::codecs::jpeg::JpegEncoder;

    fn jpeg() -> Vec<u8> {
        let image = RgbImage::from_fn(64, 48, |x, y| {
            image::Rgb([x as u8 * 4, y as u8 * 5, (x * y) as u8])
        });
        let mut bytes = Vec::new();
        JpegEncoder::new_with_quality(&mut bytes, 90)
            .encode_image(&image)
            .unwrap();
        bytes
    }

    #[test]
    fn whatever_is_cut_off_is_missed() {
        let bytes = jpeg();
        assert!(decode(&bytes, 10_000).is_ok());
        for length in 0..bytes.len() - 1 {
            let error = decode(&bytes[..length], 10_000).unwrap_err();
            assert_eq!(error.code(), "invalid-image", "{length} bytes");
        }
    }

    #[test]
    fn bytes_after_the_end_do_no_harm() {
        let mut bytes = jpeg();
        bytes.extend_from_slice(b"trailing");
        assert!(decode(&bytes, 10_000).is_ok());
    }
}
