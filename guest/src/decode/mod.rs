//! Encoded bytes to upright 8-bit RGB pixels.
//!
//! Every size is checked from the header, before anything of that size is allocated. Metadata never spoils a picture: each
//! format's container is read here, and decoders see only what pixels are made of. Orientation is EXIF's; colour profiles
//! are not applied, as they are not in training.

mod bmp;
mod errors;
mod exif;
mod gif;
mod jpeg;
mod kinds;
mod limits;
mod png;
mod segments;
mod webp;

use crate::error::ClassifyError;
use errors::refuse;
use image::codecs::{gif::GifDecoder, png::PngDecoder, webp::WebPDecoder};
use image::{DynamicImage, ImageDecoder, ImageError, RgbImage};
use kinds::{Format, sniff};
use limits::{allocation, check_size};
use std::io::Cursor;

/// What came out of a file.
#[derive(Debug)]
pub struct Decoded {
    /// Upright, and over white where the picture is transparent.
    pub pixels: RgbImage,
    /// False where the file's end is missing, but every row was there.
    pub complete: bool,
}

/// Decodes an image of at most `max_pixels`: the first frame of an animation, turned upright, over white where it is
/// transparent. A large one may come out smaller, in a size that is `enough`, where its format can do that.
pub fn decode(
    bytes: &[u8],
    max_pixels: u64,
    enough: &dyn Fn(u32, u32) -> bool,
) -> Result<Decoded, ClassifyError> {
    let (pixels, complete, exif) = match sniff(bytes)? {
        Format::Jpeg => {
            let (image, complete) = jpeg::decode(bytes, max_pixels, enough)?;
            (image, complete, segments::exif(bytes).collect())
        }
        Format::Png => {
            let file = png::chunks_of(bytes, max_pixels)?;
            let source = Cursor::new(&file.minimal);
            let decoder = PngDecoder::with_limits(source, allocation(max_pixels));
            let image = read("PNG", decoder, max_pixels)?;
            (image, file.complete, Vec::from_iter(file.exif))
        }
        Format::WebP => {
            let file = webp::container(bytes)?;
            let decoder = WebPDecoder::new(Cursor::new(&file.minimal));
            let image = read("WebP", decoder, max_pixels)?;
            (image, file.complete, Vec::from_iter(file.exif))
        }
        Format::Gif => {
            let file = gif::blocks(bytes)?;
            let decoder = GifDecoder::new(Cursor::new(&file.minimal));
            (read("GIF", decoder, max_pixels)?, file.complete, Vec::new())
        }
        Format::Bmp => {
            let (image, complete) = bmp::decode(bytes, max_pixels)?;
            (image, complete, Vec::new())
        }
    };
    let mut upright = DynamicImage::ImageRgb8(pixels);
    upright.apply_orientation(exif::orientation(exif));
    Ok(Decoded {
        pixels: upright.into_rgb8(),
        complete,
    })
}

fn read<D: ImageDecoder>(
    format: &str,
    decoder: Result<D, ImageError>,
    max_pixels: u64,
) -> Result<RgbImage, ClassifyError> {
    let refuse = |error| refuse(format, &error);
    let mut decoder = decoder.map_err(refuse)?;
    let (width, height) = decoder.dimensions();
    check_size(width, height, max_pixels)?;
    decoder.set_limits(allocation(max_pixels)).map_err(refuse)?;
    let image = DynamicImage::from_decoder(decoder).map_err(refuse)?;
    Ok(flat(image))
}

/// An image without transparency, over white.
fn flat(image: DynamicImage) -> RgbImage {
    if !image.color().has_alpha() {
        return image.into_rgb8();
    }
    let rgba = image.into_rgba8();
    let mut rgb = RgbImage::new(rgba.width(), rgba.height());
    for (from, to) in rgba.pixels().zip(rgb.pixels_mut()) {
        for channel in 0..3 {
            to[channel] = over_white(from[channel], from[3]);
        }
    }
    rgb
}

/// A sample over white. Rounded division by 255: exact for every pair of bytes.
fn over_white(sample: u8, alpha: u8) -> u8 {
    let alpha = u32::from(alpha);
    let sum = u32::from(sample) * alpha + 255 * (255 - alpha);
    ((sum + 127) / 255) as u8
}

#[cfg(test)]
mod tests {
    use super::{decode as whole, *};
    use image::{GrayImage, ImageBuffer, ImageFormat, Luma, LumaA, Rgb, Rgba, RgbaImage};

    const PLENTY: u64 = 1_000_000;

    fn decode(bytes: &[u8], max_pixels: u64) -> Result<RgbImage, ClassifyError> {
        whole(bytes, max_pixels, &|_, _| false).map(|decoded| decoded.pixels)
    }

    fn encode(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Vec::new();
        image
            .into()
            .write_to(&mut Cursor::new(&mut bytes), format)
            .unwrap();
        bytes
    }

    #[test]
    fn every_format_gives_its_pixels() {
        let image = RgbImage::from_fn(5, 3, |x, y| Rgb([x as u8 * 50, y as u8 * 80, 7]));
        for format in [ImageFormat::Png, ImageFormat::Bmp, ImageFormat::WebP] {
            assert_eq!(
                decode(&encode(image.clone(), format), PLENTY).unwrap(),
                image
            );
        }
        let flat = RgbImage::from_pixel(16, 16, Rgb([200, 100, 50]));
        for format in [ImageFormat::Jpeg, ImageFormat::Gif] {
            let pixel = *decode(&encode(flat.clone(), format), PLENTY)
                .unwrap()
                .get_pixel(8, 8);
            for channel in 0..3 {
                assert!(pixel[channel].abs_diff(flat.get_pixel(0, 0)[channel]) <= 3);
            }
        }
    }

    #[test]
    fn transparency_lies_over_white() {
        let image = RgbaImage::from_fn(3, 1, |x, _| Rgba([0, 100, 255, [0, 128, 255][x as usize]]));
        let rgb = decode(&encode(image, ImageFormat::Png), PLENTY).unwrap();
        assert_eq!(rgb.as_raw(), &[255, 255, 255, 127, 177, 255, 0, 100, 255]);
    }

    #[test]
    fn grey_and_16_bit_become_rgb() {
        let grey = GrayImage::from_pixel(2, 2, Luma([77]));
        let rgb = decode(&encode(grey.clone(), ImageFormat::Png), PLENTY).unwrap();
        assert_eq!(rgb.get_pixel(1, 1), &Rgb([77, 77, 77]));
        let deep: ImageBuffer<Luma<u16>, Vec<u16>> = ImageBuffer::from_pixel(2, 2, Luma([0x8080]));
        let rgb = decode(&encode(deep, ImageFormat::Png), PLENTY).unwrap();
        assert_eq!(rgb.get_pixel(0, 0), &Rgb([128, 128, 128]));
        let alpha: ImageBuffer<LumaA<u8>, Vec<u8>> = ImageBuffer::from_pixel(1, 1, LumaA([9, 0]));
        let rgb = decode(&encode(alpha, ImageFormat::Png), PLENTY).unwrap();
        assert_eq!(rgb.get_pixel(0, 0), &Rgb([255, 255, 255]));
        let flat = GrayImage::from_pixel(8, 8, Luma([77]));
        let rgb = decode(&encode(flat, ImageFormat::Jpeg), PLENTY).unwrap();
        assert_eq!(rgb.get_pixel(3, 3), &Rgb([77, 77, 77]));
    }

    #[test]
    fn size_is_refused_from_the_header() {
        let bytes = encode(RgbImage::new(40, 30), ImageFormat::Png);
        assert!(decode(&bytes, 1200).is_ok());
        assert!(matches!(
            decode(&bytes, 1199),
            Err(ClassifyError::ImageTooLarge(_))
        ));
        let mut bytes = encode(RgbImage::new(8, 8), ImageFormat::Jpeg);
        let frame = bytes
            .windows(2)
            .position(|pair| pair == [0xff, 0xc0])
            .unwrap();
        bytes[frame + 5..frame + 9].fill(0xff);
        assert!(matches!(
            decode(&bytes, PLENTY),
            Err(ClassifyError::ImageTooLarge(_))
        ));
    }

    #[test]
    fn what_is_no_image_is_refused_by_kind() {
        let codes = |bytes: &[u8]| decode(bytes, PLENTY).unwrap_err().code();
        assert_eq!(codes(b""), "unsupported-format");
        assert_eq!(codes(b"Hello, world"), "unsupported-format");
        assert_eq!(codes(b"II*\0aaaaaaaaaaaa"), "unsupported-format");
        assert_eq!(codes(b"\x89PNG\n\x1a\n"), "invalid-image");
        assert_eq!(codes(b"\x89PNG\r\n\x1a\n"), "invalid-image");
        assert_eq!(codes(b"GIF89a"), "invalid-image");
        assert_eq!(codes(b"\xff\xd8\xff"), "invalid-image");
        assert_eq!(codes(b"BM1234567890"), "invalid-image");
    }
}
