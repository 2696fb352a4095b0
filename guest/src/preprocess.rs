//! Pixels to the model's input tensor, with the semantics of torchvision's evaluation transforms: resize the shorter
//! side (or both), cut out the centre, scale to 0..1, take off the mean, divide by the standard deviation.

use crate::error::ClassifyError;
use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;
use serde::{Deserialize, Serialize};

/// What becomes of an image's proportions when it is resized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Aspect {
    /// They stay: the shorter side gets the size, as in torchvision's `Resize(size)`.
    Keep,
    /// They do not: both sides get it, as in `Resize((size, size))`.
    Stretch,
}

impl Aspect {
    /// The size of an image once it is resized.
    fn resized(self, width: u32, height: u32, side: u32) -> (u32, u32) {
        // Rounded down, as torchvision does.
        let longer = |longer: u32, shorter: u32| {
            let scaled = u64::from(side) * u64::from(longer) / u64::from(shorter);
            u32::try_from(scaled).unwrap_or(u32::MAX)
        };
        match self {
            Self::Stretch => (side, side),
            Self::Keep if width <= height => (side, longer(height, width)),
            Self::Keep => (longer(width, height), side),
        }
    }
}

/// Filter used for resizing. All but `Nearest` are antialiased when shrinking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Interpolation {
    /// The nearest pixel.
    Nearest,
    /// A triangle filter.
    Bilinear,
    /// A Catmull-Rom cubic.
    Bicubic,
}

impl Interpolation {
    /// How far the filter reaches, in pixels of the smaller of the two images.
    fn radius(self) -> f64 {
        match self {
            Self::Nearest => 0.5,
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
        }
    }
}

/// Order of the tensor's dimensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Layout {
    /// Batch, channels, height, width.
    Nchw,
    /// Batch, height, width, channels.
    Nhwc,
}

/// Order of a pixel's channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Colour {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red.
    Bgr,
    /// One channel: luma, by ITU-R BT.601.
    Grey,
}

impl Colour {
    /// Values a pixel has.
    pub fn channels(self) -> usize {
        match self {
            Self::Rgb | Self::Bgr => 3,
            Self::Grey => 1,
        }
    }
}

/// What is done to pixels before the model sees them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preprocessing {
    /// The shorter side after resizing, in pixels; both, if it stretches.
    pub resize: u32,
    /// What becomes of the proportions.
    pub aspect: Aspect,
    /// Side of the square that is cut out, in pixels.
    pub crop: u32,
    /// Filter used for resizing.
    pub interpolation: Interpolation,
    /// One value a channel, on pixels of 0..1.
    pub mean: Vec<f32>,
    /// One value a channel, on pixels of 0..1.
    pub std: Vec<f32>,
    /// Order of the dimensions in the model's own input.
    pub layout: Layout,
    /// Order of the channels.
    pub colour: Colour,
}

impl Preprocessing {
    /// Says in a sentence what is wrong with it, if anything is.
    pub fn check(&self) -> Result<(), String> {
        let channels = self.colour.channels();
        if self.crop == 0 || self.crop > 4096 {
            return Err(format!(
                "The crop must be 1 to 4096 pixels, not {}.",
                self.crop
            ));
        }
        if self.resize < self.crop || self.resize > 8192 {
            return Err(format!(
                "The shorter side must be resized to at least the crop ({}) and at most 8192 pixels, not {}.",
                self.crop, self.resize
            ));
        }
        for (name, values) in [("mean", &self.mean), ("std", &self.std)] {
            if values.len() != channels || values.iter().any(|value| !value.is_finite()) {
                return Err(format!("`{name}` needs {channels} numbers, one a channel."));
            }
        }
        if self.std.contains(&0.0) {
            return Err("`std` must not be 0: pixels are divided by it.".into());
        }
        Ok(())
    }

    /// Whether an image of this size may stand for a larger one: it is at least twice as large as what it is resized to, so that the
    /// filter, and not the size, decides what is left of it. Filters that pick pixels have nothing to mix.
    pub fn is_enough(&self, width: u32, height: u32) -> bool {
        self.interpolation != Interpolation::Nearest
            && width.min(height) >= self.resize.saturating_mul(2)
    }

    /// The tensor of an image, as `f32` in the layout that its reader wants.
    pub fn apply(&self, image: &RgbImage, layout: Layout) -> Result<Vec<f32>, ClassifyError> {
        let pixels = self.resize_and_crop(image)?;
        Ok(self.normalise(&pixels, layout))
    }

    /// Only what is cut out is ever resized: the filter is given the part of the image that the crop comes from.
    fn resize_and_crop(&self, image: &RgbImage) -> Result<Vec<u8>, ClassifyError> {
        let (width, height) = image.dimensions();
        let (resized_width, resized_height) = self.aspect.resized(width, height, self.resize);
        let (left, top) = (
            offset(resized_width, self.crop),
            offset(resized_height, self.crop),
        );
        if (resized_width, resized_height) == (width, height)
            && self.crop == width
            && width == height
        {
            return Ok(image.as_raw().clone());
        }
        let scale_x = f64::from(width) / f64::from(resized_width);
        let scale_y = f64::from(height) / f64::from(resized_height);
        let algorithm = match self.interpolation {
            Interpolation::Nearest => ResizeAlg::Nearest,
            Interpolation::Bilinear => ResizeAlg::Convolution(FilterType::Bilinear),
            Interpolation::Bicubic => ResizeAlg::Convolution(FilterType::CatmullRom),
        };
        let resize = |source: &ImageRef,
                      target: &mut Image,
                      left: f64,
                      top: f64,
                      width: f64,
                      height: f64| {
            // Rounding must not carry the box a hair past the image's edge.
            let width = width.min(f64::from(source.width()) - left);
            let height = height.min(f64::from(source.height()) - top);
            let options = ResizeOptions::new()
                .resize_alg(algorithm)
                .crop(left, top, width, height);
            Resizer::new()
                .resize(source, target, &options)
                .map_err(unresizable)
        };
        let source =
            ImageRef::new(width, height, image.as_raw(), PixelType::U8x3).map_err(unresizable)?;
        let crop = f64::from(self.crop);
        let (left, top) = (f64::from(left) * scale_x, f64::from(top) * scale_y);
        // Columns first, then rows, as Pillow does: each pass rounds to bytes, so that the order shows in the result. Only
        // rows that the second pass reads go through the first.
        let reach = self.interpolation.radius() * scale_y.max(1.0) + 1.0;
        let first = (top - reach).max(0.0).floor();
        let last = (top + crop * scale_y + reach).min(f64::from(height)).ceil();
        let rows = (last - first) as u32;
        let mut narrow = Image::new(self.crop, rows, PixelType::U8x3);
        resize(
            &source,
            &mut narrow,
            left,
            first,
            crop * scale_x,
            last - first,
        )?;
        let narrow = ImageRef::new(self.crop, rows, narrow.buffer(), PixelType::U8x3)
            .map_err(unresizable)?;
        let mut target = Image::new(self.crop, self.crop, PixelType::U8x3);
        resize(&narrow, &mut target, 0.0, top - first, crop, crop * scale_y)?;
        Ok(target.into_vec())
    }

    /// Bytes to normalised values, through a table: a byte has only 256 of them.
    fn normalise(&self, pixels: &[u8], layout: Layout) -> Vec<f32> {
        let channels = self.colour.channels();
        let tables: Vec<[f32; 256]> = (0..channels)
            .map(|channel| {
                std::array::from_fn(|byte| {
                    (byte as f32 / 255.0 - self.mean[channel]) / self.std[channel]
                })
            })
            .collect();
        let count = pixels.len() / 3;
        let mut tensor = vec![0.0; count * channels];
        for channel in 0..channels {
            let table = &tables[channel];
            let byte_of = |pixel: &[u8]| match self.colour {
                Colour::Rgb => pixel[channel],
                Colour::Bgr => pixel[2 - channel],
                Colour::Grey => luma(pixel),
            };
            let (start, step) = match layout {
                Layout::Nchw => (channel * count, 1),
                Layout::Nhwc => (channel, channels),
            };
            for (value, pixel) in tensor[start..]
                .iter_mut()
                .step_by(step)
                .zip(pixels.chunks_exact(3))
            {
                *value = table[usize::from(byte_of(pixel))];
            }
        }
        tensor
    }
}

/// The library's own words are for programmers: what can be wrong with a size is looked at before.
fn unresizable(_: impl std::error::Error) -> ClassifyError {
    ClassifyError::InvalidImage("The image cannot be resized to what the model takes.".into())
}

/// ITU-R BT.601 luma in 16-bit fixed point, as Pillow's "L" mode has it.
fn luma(pixel: &[u8]) -> u8 {
    let [red, green, blue] = [0, 1, 2].map(|channel| u32::from(pixel[channel]));
    ((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16) as u8
}

/// torchvision's `CenterCrop`: half of what is over, a half rounded to even.
fn offset(size: u32, crop: u32) -> u32 {
    let over = size - crop;
    let half = over / 2;
    if over % 2 == 1 && half % 2 == 1 {
        half + 1
    } else {
        half
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    fn imagenet() -> Preprocessing {
        Preprocessing {
            resize: 256,
            aspect: Aspect::Keep,
            crop: 224,
            interpolation: Interpolation::Bilinear,
            mean: vec![0.485, 0.456, 0.406],
            std: vec![0.229, 0.224, 0.225],
            layout: Layout::Nchw,
            colour: Colour::Rgb,
        }
    }

    #[test]
    fn sizes_are_those_of_torchvision() {
        assert_eq!(Aspect::Keep.resized(500, 375, 256), (341, 256));
        assert_eq!(Aspect::Keep.resized(375, 500, 256), (256, 341));
        assert_eq!(Aspect::Keep.resized(1, 65_000, 256), (256, 16_640_000));
        assert_eq!(Aspect::Stretch.resized(500, 375, 256), (256, 256));
        assert_eq!(offset(341, 224), 58);
        assert_eq!(offset(343, 224), 60);
        assert_eq!(offset(256, 224), 16);
        assert_eq!(offset(227, 224), 2);
    }

    #[test]
    fn a_flat_image_stays_flat() {
        for (width, height) in [(500, 375), (1, 1), (3, 900), (900, 3), (256, 256)] {
            let image = RgbImage::from_pixel(width, height, Rgb([255, 0, 51]));
            let tensor = imagenet().apply(&image, Layout::Nchw).unwrap();
            assert_eq!(tensor.len(), 3 * 224 * 224);
            let expected = [(1.0 - 0.485) / 0.229, -0.456 / 0.224, (0.2 - 0.406) / 0.225];
            for (plane, expected) in tensor.chunks(224 * 224).zip(expected) {
                assert!(plane.iter().all(|value| (value - expected).abs() < 1e-5));
            }
        }
    }

    /// The plain definition, in 64 bits: a triangle filter as wide as the scale, over all of the image, then the crop.
    fn plain(image: &RgbImage, config: &Preprocessing) -> Vec<f64> {
        let (width, height) = image.dimensions();
        let crop = config.crop;
        let (new_width, new_height) = config.aspect.resized(width, height, config.resize);
        let weights = |from: u32, to: u32, at: u32| -> Vec<f64> {
            let scale = f64::from(from) / f64::from(to);
            let centre = (f64::from(at) + 0.5) * scale;
            let raw: Vec<f64> = (0..from)
                .map(|x| (1.0 - ((f64::from(x) + 0.5 - centre) / scale.max(1.0)).abs()).max(0.0))
                .collect();
            let sum: f64 = raw.iter().sum();
            raw.iter().map(|weight| weight / sum).collect()
        };
        let mut result = Vec::new();
        for y in 0..crop {
            let rows = weights(height, new_height, y + offset(new_height, crop));
            for x in 0..crop {
                let columns = weights(width, new_width, x + offset(new_width, crop));
                for channel in 0..3 {
                    let mut sum = 0.0;
                    for (row, row_weight) in rows.iter().enumerate().filter(|(_, w)| **w > 0.0) {
                        for (column, weight) in
                            columns.iter().enumerate().filter(|(_, w)| **w > 0.0)
                        {
                            let pixel = image.get_pixel(column as u32, row as u32);
                            sum += row_weight * weight * f64::from(pixel[channel]);
                        }
                    }
                    result.push(sum);
                }
            }
        }
        result
    }

    #[test]
    fn resizing_agrees_with_its_definition() {
        for (width, height, resize, aspect, crop) in [
            (50, 37, 26, Aspect::Keep, 22),
            (37, 50, 26, Aspect::Keep, 26),
            (9, 7, 20, Aspect::Keep, 15),
            (64, 64, 20, Aspect::Keep, 17),
            (50, 37, 26, Aspect::Stretch, 26),
            (37, 50, 26, Aspect::Stretch, 20),
            (9, 30, 20, Aspect::Stretch, 20),
        ] {
            let image = RgbImage::from_fn(width, height, |x, y| {
                Rgb([
                    (x * 37 + y * 11) as u8,
                    (x * y) as u8,
                    if (x / 3 + y / 2) % 2 == 0 { 250 } else { 5 },
                ])
            });
            let config = Preprocessing {
                resize,
                aspect,
                crop,
                ..imagenet()
            };
            let got = config.resize_and_crop(&image).unwrap();
            let want = plain(&image, &config);
            for (got, want) in got.iter().zip(&want) {
                // Half a step for each of the two passes, which round to bytes.
                assert!((f64::from(*got) - want).abs() <= 1.02, "{got} for {want}");
            }
        }
    }

    #[test]
    fn layouts_and_colours_put_values_in_their_places() {
        let image = RgbImage::from_fn(2, 2, |x, y| Rgb([x as u8, 10 + y as u8, 200]));
        let base = Preprocessing {
            resize: 2,
            crop: 2,
            mean: vec![0.0; 3],
            std: vec![1.0 / 255.0; 3],
            ..imagenet()
        };
        let bytes = |config: &Preprocessing| -> Vec<u8> {
            config
                .apply(&image, config.layout)
                .unwrap()
                .iter()
                .map(|value| value.round() as u8)
                .collect()
        };
        assert_eq!(
            bytes(&base),
            [0, 1, 0, 1, 10, 10, 11, 11, 200, 200, 200, 200]
        );
        let nhwc = Preprocessing {
            layout: Layout::Nhwc,
            ..base.clone()
        };
        assert_eq!(
            bytes(&nhwc),
            [0, 10, 200, 1, 10, 200, 0, 11, 200, 1, 11, 200]
        );
        let bgr = Preprocessing {
            colour: Colour::Bgr,
            ..nhwc.clone()
        };
        assert_eq!(bytes(&bgr)[..3], [200, 10, 0]);
        let grey = Preprocessing {
            colour: Colour::Grey,
            mean: vec![0.0],
            std: vec![1.0 / 255.0],
            ..nhwc
        };
        // 0.299 R + 0.587 G + 0.114 B
        assert_eq!(bytes(&grey), [29, 29, 29, 30]);
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(imagenet().check().is_ok());
        for broken in [
            Preprocessing {
                crop: 0,
                ..imagenet()
            },
            Preprocessing {
                crop: 300,
                ..imagenet()
            },
            Preprocessing {
                mean: vec![0.5],
                ..imagenet()
            },
            Preprocessing {
                std: vec![1.0, 0.0, 1.0],
                ..imagenet()
            },
            Preprocessing {
                std: vec![1.0, f32::NAN, 1.0],
                ..imagenet()
            },
            Preprocessing {
                colour: Colour::Grey,
                ..imagenet()
            },
        ] {
            assert!(broken.check().is_err());
        }
    }
}
