//! Which way up a picture wants to be shown, as EXIF says it, in whatever format it is packed.
//!
//! EXIF is metadata: what is broken in it is passed over, and never a reason to refuse a picture. XMP's
//! `tiff:Orientation` is not read.

use image::metadata::Orientation;

const ORIENTATION: u16 = 0x0112;

/// Of several blocks of EXIF, the first that says it.
pub fn orientation<'a>(blocks: impl IntoIterator<Item = &'a [u8]>) -> Orientation {
    blocks
        .into_iter()
        .find_map(of_block)
        .unwrap_or(Orientation::NoTransforms)
}

/// EXIF is a TIFF file, in JPEG behind a prefix. Writers of PNG and WebP leave the prefix on, though they should not.
fn of_block(block: &[u8]) -> Option<Orientation> {
    let mut tiff = block;
    while tiff.starts_with(b"Exif\0") {
        tiff = tiff.get(6..)?;
    }
    let order = match tiff.get(..4)? {
        b"II*\0" => Order::Little,
        b"MM\0*" => Order::Big,
        _ => return None,
    };
    let directory = usize::try_from(order.u32(tiff, 4)?).ok()?;
    let entries = usize::from(order.u16(tiff, directory)?);
    (0..entries)
        .map_while(|entry| tiff.get(directory.checked_add(2 + 12 * entry)?..))
        .filter(|entry| order.u16(entry, 0) == Some(ORIENTATION))
        .find_map(|entry| {
            let value = match order.u16(entry, 2)? {
                // BYTE and SBYTE, SHORT and SSHORT, LONG and SLONG: the first of them is taken, however many there are.
                1 | 6 => u32::from(*entry.get(8)?),
                3 | 8 => u32::from(order.u16(entry, 8)?),
                4 | 9 => order.u32(entry, 8)?,
                _ => return None,
            };
            Orientation::from_exif(u8::try_from(value).ok()?)
        })
}

#[derive(Clone, Copy)]
enum Order {
    Little,
    Big,
}

impl Order {
    fn u16(self, bytes: &[u8], at: usize) -> Option<u16> {
        let two = bytes.get(at..)?.first_chunk()?;
        Some(match self {
            Self::Little => u16::from_le_bytes(*two),
            Self::Big => u16::from_be_bytes(*two),
        })
    }

    fn u32(self, bytes: &[u8], at: usize) -> Option<u32> {
        let four = bytes.get(at..)?.first_chunk()?;
        Some(match self {
            Self::Little => u32::from_le_bytes(*four),
            Self::Big => u32::from_be_bytes(*four),
        })
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// EXIF with one entry of this type and value.
    pub fn exif(big: bool, kind: u16, value: u32) -> Vec<u8> {
        let two = |value: u16| {
            if big {
                value.to_be_bytes()
            } else {
                value.to_le_bytes()
            }
        };
        let four = |value: u32| {
            if big {
                value.to_be_bytes()
            } else {
                value.to_le_bytes()
            }
        };
        let mut bytes = if big {
            b"MM\0*".to_vec()
        } else {
            b"II*\0".to_vec()
        };
        bytes.extend(four(8));
        bytes.extend(two(1));
        bytes.extend(two(ORIENTATION));
        bytes.extend(two(kind));
        bytes.extend(four(1));
        match kind {
            1 | 6 => bytes.extend([value as u8, 0, 0, 0]),
            3 | 8 => {
                bytes.extend(two(value as u16));
                bytes.extend([0, 0]);
            }
            _ => bytes.extend(four(value)),
        }
        bytes.extend([0; 4]);
        bytes
    }

    #[test]
    fn every_type_order_and_prefix_is_read() {
        for value in 0..=9 {
            let expected = Orientation::from_exif(value).unwrap_or(Orientation::NoTransforms);
            for big in [false, true] {
                for kind in [1, 3, 4, 6, 8, 9] {
                    let plain = exif(big, kind, value.into());
                    assert_eq!(orientation([plain.as_slice()]), expected);
                    let prefixed = [b"Exif\0\0", plain.as_slice()].concat();
                    assert_eq!(orientation([prefixed.as_slice()]), expected);
                    let twice = [b"Exif\0\0", prefixed.as_slice()].concat();
                    assert_eq!(orientation([twice.as_slice()]), expected);
                }
            }
        }
    }

    #[test]
    fn the_first_that_says_it_counts() {
        let (six, three) = (exif(true, 3, 6), exif(false, 3, 3));
        let none = exif(false, 7, 3);
        let blocks = [b"".as_slice(), b"Exif", &none, &six, &three];
        assert_eq!(orientation(blocks), Orientation::Rotate90);
    }

    #[test]
    fn broken_exif_says_nothing() {
        let whole = exif(false, 3, 6);
        for length in 0..20 {
            assert_eq!(
                orientation([&whole[..length]]),
                Orientation::NoTransforms,
                "{length}"
            );
        }
        let mut far = whole.clone();
        far[4..8].fill(0xff);
        let mut many = whole.clone();
        many[8..10].fill(0xff);
        many[10] = 0;
        for broken in [far, many, exif(false, 3, 0x0106), exif(false, 4, 70_000)] {
            assert_eq!(orientation([broken.as_slice()]), Orientation::NoTransforms);
        }
    }
}
