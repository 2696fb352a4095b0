//! How large an image may be. Every size is looked at before anything of that size is allocated.

use crate::error::ClassifyError;
use image::Limits;

/// The longest side of an image: no camera makes a longer one, and it keeps every size within 32 bits.
const MAX_SIDE: u32 = 65_000;

/// Refuses a size that a header announces, before anything is allocated for it.
pub fn check_size(width: u32, height: u32, max_pixels: u64) -> Result<(), ClassifyError> {
    let pixels = u64::from(width) * u64::from(height);
    if pixels == 0 {
        return Err(ClassifyError::InvalidImage(format!(
            "The image is {width} x {height} pixels: it is empty."
        )));
    }
    if pixels > max_pixels || width > MAX_SIDE || height > MAX_SIDE {
        return Err(ClassifyError::ImageTooLarge(format!(
            "The image is {width} x {height} pixels; at most {max_pixels} pixels, and {MAX_SIDE} a side, are classified."
        )));
    }
    Ok(())
}

/// What a decoder may allocate: the widest pixel (four channels of 16 bits) for every pixel, once more for its own work.
pub fn allocation(max_pixels: u64) -> Limits {
    let mut limits = Limits::default();
    limits.max_alloc = Some(max_pixels.saturating_mul(16));
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits
}
