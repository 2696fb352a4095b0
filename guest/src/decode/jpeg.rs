//! JPEG, the format that most pictures arrive in.

use super::errors::{cut_short, damaged, sentence};
use super::limits::check_size;
use crate::error::ClassifyError;
use image::RgbImage;
use pinhole_jpeg::{Decoder, Error, Scale, Unsupported};

const FORMAT: &str = "JPEG";

/// Of pictures up to this size every pixel is made, whatever it is for: the time that less would save is small. In pixels.
const SMALL: u64 = 1 << 22;

/// Decodes a JPEG; tells as well whether it has its end. Large ones are made as small as is `enough`.
pub fn decode(
    bytes: &[u8],
    max_pixels: u64,
    enough: &dyn Fn(u32, u32) -> bool,
) -> Result<(RgbImage, bool), ClassifyError> {
    let decoder = Decoder::new(bytes).map_err(refuse)?;
    // Neither side has more than 16 bits.
    let (width, height) = (decoder.width() as u32, decoder.height() as u32);
    check_size(width, height, max_pixels)?;
    let is_small = u64::from(width) * u64::from(height) <= SMALL;
    let is_enough = |scale: &Scale| {
        let side = |pixels: u32| scale.of(pixels as usize) as u32;
        !is_small && enough(side(width), side(height))
    };
    let scales = [Scale::Eighth, Scale::Quarter, Scale::Half];
    let scale = scales.into_iter().find(is_enough).unwrap_or(Scale::Whole);
    let picture = decoder.scaled(scale).decode().map_err(refuse)?;
    let (width, height) = (picture.width as u32, picture.height as u32);
    let image = RgbImage::from_raw(width, height, picture.pixels).ok_or_else(|| damaged(FORMAT))?;
    Ok((image, picture.is_complete))
}

fn refuse(error: Error) -> ClassifyError {
    let unsupported = match error {
        Error::CutShort => return cut_short(FORMAT),
        Error::Damaged => return damaged(FORMAT),
        Error::Unsupported(unsupported) => unsupported,
    };
    let what = match unsupported {
        Unsupported::Lossless => "is losslessly compressed, which is not read here",
        Unsupported::Hierarchical => "is hierarchical, which is not read here",
        Unsupported::Arithmetic => "is arithmetically coded, which is not read here",
        Unsupported::Precision(bits) => {
            return sentence(&format!(
                "The JPEG image has {bits} bits a sample, and only 8 are read here: save it anew as an ordinary JPEG."
            ));
        }
        Unsupported::Components(2) => "has two components, and nothing says what colours they are",
        Unsupported::Components(_) => "has components of which nothing says what colours they are",
        Unsupported::Sampling => {
            "has colours in another resolution than can be brought to that of the picture"
        }
        Unsupported::Height => "does not say how high it is before its first scan",
        Unsupported::Scans => "is in more scans than a picture needs",
    };
    sentence(&format!(
        "The JPEG image {what}: save it anew as an ordinary JPEG."
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::codecs::jpeg::JpegEncoder;

    fn decode(bytes: &[u8], max_pixels: u64) -> Result<(RgbImage, bool), ClassifyError> {
        super::decode(bytes, max_pixels, &|_, _| false)
    }

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
        let (whole, is_complete) = decode(&bytes, 10_000).unwrap();
        assert!(is_complete);
        for length in 0..bytes.len() - 2 {
            let error = decode(&bytes[..length], 10_000).unwrap_err();
            assert_eq!(error.code(), "invalid-image", "{length} bytes");
        }
        // Only the end marker is: every row is there.
        for length in bytes.len() - 2..bytes.len() {
            let (pixels, is_complete) = decode(&bytes[..length], 10_000).unwrap();
            assert!(pixels == whole && !is_complete);
        }
    }

    #[test]
    fn bytes_after_the_end_do_no_harm() {
        let mut bytes = jpeg();
        bytes.extend_from_slice(b"trailing");
        assert!(decode(&bytes, 10_000).is_ok_and(|(_, is_complete)| is_complete));
    }

    #[test]
    fn what_is_not_read_is_said() {
        let say = |from: usize, byte: u8| {
            let mut bytes = jpeg();
            let frame = bytes
                .windows(2)
                .position(|pair| pair == [0xff, 0xc0])
                .unwrap();
            bytes[frame + from] = byte;
            decode(&bytes, 10_000).unwrap_err().to_string()
        };
        assert!(say(1, 0xc3).contains("losslessly"));
        assert!(say(1, 0xc9).contains("arithmetically"));
        assert!(say(1, 0xc5).contains("hierarchical"));
        assert!(say(4, 12).contains("12 bits"));
        let mut flat = jpeg();
        let frame = flat
            .windows(2)
            .position(|pair| pair == [0xff, 0xc0])
            .unwrap();
        flat[frame + 5..frame + 7].fill(0);
        let error = decode(&flat, 10_000).unwrap_err().to_string();
        assert!(error.contains("how high"), "{error}");
    }

    #[test]
    fn large_pictures_are_made_as_small_as_is_enough() {
        let sizes = |width: u32, height: u32, enough: u32| {
            let image = RgbImage::from_pixel(width, height, image::Rgb([90, 120, 30]));
            let mut bytes = Vec::new();
            JpegEncoder::new(&mut bytes).encode_image(&image).unwrap();
            let enough = |width: u32, height: u32| width.min(height) >= enough;
            super::decode(&bytes, 100_000_000, &enough)
                .unwrap()
                .0
                .dimensions()
        };
        assert_eq!(sizes(3000, 2000, 512), (1500, 1000));
        assert_eq!(sizes(3000, 2000, 500), (750, 500));
        assert_eq!(sizes(3000, 2000, 10), (375, 250));
        assert_eq!(sizes(3000, 2000, 1001), (3000, 2000));
        assert_eq!(sizes(2000, 2000, 10), (2000, 2000));
    }
}
