//! Tensors as bytes behind the JSON: Triton's extension `binary_tensor_data`. Everything is little-endian.

use crate::bindings::exports::pinhole::vision::classify::ElementType;
use bytes::Bytes;

/// Splits a section of `BYTES` into its elements, each after its length in 4 bytes. The error is a sentence.
pub fn pictures(mut section: Bytes, limit: usize) -> Result<Vec<Bytes>, String> {
    let mut pictures = Vec::new();
    while !section.is_empty() {
        if pictures.len() == limit {
            return Err(format!(
                "The binary data holds more than the {limit} elements that its shape says."
            ));
        }
        let element = section
            .first_chunk::<4>()
            .and_then(|length| 4usize.checked_add(u32::from_le_bytes(*length) as usize))
            .filter(|end| *end <= section.len());
        let Some(end) = element else {
            return Err(
                "The binary data is cut off: each element is its length in 4 bytes, little-endian, and then its bytes."
                    .into(),
            );
        };
        pictures.push(section.split_to(end).slice(4..));
    }
    Ok(pictures)
}

/// Reads a section of numbers.
pub fn numbers(section: &[u8], element_type: ElementType) -> Vec<f32> {
    match element_type {
        ElementType::Float32 => {
            let (values, _) = section.as_chunks::<4>();
            values
                .iter()
                .map(|bytes| f32::from_le_bytes(*bytes))
                .collect()
        }
        ElementType::Float16 => {
            let (values, _) = section.as_chunks::<2>();
            values
                .iter()
                .map(|bytes| from_half(u16::from_le_bytes(*bytes)))
                .collect()
        }
        ElementType::Uint8 => section.iter().copied().map(f32::from).collect(),
    }
}

/// Length of an element, in bytes.
pub fn width(element_type: ElementType) -> usize {
    match element_type {
        ElementType::Float32 => 4,
        ElementType::Float16 => 2,
        ElementType::Uint8 => 1,
    }
}

/// IEEE's 16 bits as 32: one of sign, five of exponent, ten of fraction.
fn from_half(half: u16) -> f32 {
    let sign = if half >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (half >> 10 & 0x1f, f32::from(half & 0x3ff));
    let magnitude = match exponent {
        0 => fraction * 2f32.powi(-24),
        0x1f if fraction == 0.0 => f32::INFINITY,
        0x1f => f32::NAN,
        _ => (1.0 + fraction / 1024.0) * 2f32.powi(i32::from(exponent) - 15),
    };
    sign * magnitude
}

/// Scores as a section.
pub fn from_numbers(numbers: &[f32]) -> Vec<u8> {
    numbers
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

/// Texts as a section of `BYTES`.
pub fn from_texts(texts: &[String]) -> Vec<u8> {
    let mut section = Vec::new();
    for text in texts {
        // A label was read from a file of some kilobytes.
        section.extend_from_slice(&(text.len() as u32).to_le_bytes());
        section.extend_from_slice(text.as_bytes());
    }
    section
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_split_at_their_lengths() {
        let two = Bytes::from_static(b"\x02\0\0\0ab\0\0\0\0");
        assert_eq!(
            pictures(two.clone(), 2).unwrap(),
            [Bytes::from_static(b"ab"), Bytes::new()]
        );
        assert!(pictures(two.clone(), 1).is_err());
        assert!(pictures(two.slice(..5), 2).is_err());
        assert!(pictures(two.slice(..3), 2).is_err());
        assert!(pictures(Bytes::from_static(b"\xff\xff\xff\xffx"), 2).is_err());
        assert_eq!(from_texts(&["ab".into(), String::new()]), two);
    }

    #[test]
    fn halves_are_read() {
        for (half, value) in [
            (0x0000, 0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0001, 5.960_464_5e-8),
            (0x3555, 0.333_251_95),
            (0xfc00, f32::NEG_INFINITY),
        ] {
            assert_eq!(from_half(half), value);
        }
        assert!(from_half(0x7e00).is_nan());
    }

    #[test]
    fn numbers_are_little_endian() {
        let section = from_numbers(&[1.0, -0.5]);
        assert_eq!(numbers(&section, ElementType::Float32), [1.0, -0.5]);
        assert_eq!(
            numbers(&[0, 0x3c, 0, 0xc0], ElementType::Float16),
            [1.0, -2.0]
        );
        assert_eq!(numbers(&[0, 255], ElementType::Uint8), [0.0, 255.0]);
    }
}
