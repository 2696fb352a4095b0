//! Test pictures of our own making.

use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use std::io::Cursor;

/// Something like a photograph: light from above, a round thing on the ground, and grain, so that no two spots are alike.
pub fn scene(width: u32, height: u32) -> RgbImage {
    let (w, h) = (width as f32, height as f32);
    RgbImage::from_fn(width, height, |x, y| {
        let (u, v) = (x as f32 / w, y as f32 / h);
        let grain = (x.wrapping_mul(73).wrapping_add(y.wrapping_mul(151)) % 23) as f32 - 11.0;
        let inside = (u - 0.4).powi(2) * (w / h).powi(2) + (v - 0.55).powi(2) < 0.07;
        let colour = match (inside, v < 0.6) {
            (true, _) => [190.0 - 120.0 * u, 90.0 + 60.0 * v, 40.0 + 50.0 * u],
            (false, true) => [120.0 + 90.0 * v, 160.0 + 60.0 * v, 235.0 - 20.0 * u],
            (false, false) => [70.0 + 40.0 * u, 110.0 - 30.0 * u, 50.0 + 20.0 * v],
        };
        Rgb(colour.map(|value: f32| (value + grain).clamp(0.0, 255.0) as u8))
    })
}

/// A picture as a file of this format.
pub fn encode(image: &RgbImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Vec::new();
    DynamicImage::ImageRgb8(image.clone())
        .write_to(&mut Cursor::new(&mut bytes), format)
        .unwrap();
    bytes
}

/// A picture as a JPEG, as a camera would write it.
pub fn jpeg(image: &RgbImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, 92)
        .encode_image(image)
        .unwrap();
    bytes
}

/// A picture of nearly as many pixels as are allowed: a good deal of work, though few bytes.
pub fn large() -> Vec<u8> {
    let image = RgbImage::from_fn(6000, 6000, |x, y| {
        Rgb([(x / 64) as u8, (y / 64) as u8, 128])
    });
    encode(&image, ImageFormat::Png)
}

/// A JPEG whose header announces other sides than it has.
pub fn jpeg_announcing(width: u16, height: u16) -> Vec<u8> {
    let mut bytes = jpeg(&scene(64, 64));
    let frame = bytes
        .windows(2)
        .position(|pair| pair == [0xff, 0xc0])
        .unwrap();
    // The frame header: marker, length, precision, then height and width.
    bytes[frame + 5..frame + 7].copy_from_slice(&height.to_be_bytes());
    bytes[frame + 7..frame + 9].copy_from_slice(&width.to_be_bytes());
    bytes
}

/// A file in base64. Written out, so that a test does not ask the decoder's own library what is right.
pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let group = three.iter().enumerate().fold(0u32, |group, (index, byte)| {
            group | u32::from(*byte) << (16 - 8 * index)
        });
        for digit in 0..4 {
            text.push(if digit <= three.len() {
                DIGITS[(group >> (18 - 6 * digit) & 63) as usize] as char
            } else {
                '='
            });
        }
    }
    text
}
