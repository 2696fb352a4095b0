//! JPEG's segments before the first scan: where its metadata is.

/// The markers and the contents of the segments with a length, up to the first scan, as far as they are whole.
pub fn segments(bytes: &[u8]) -> impl Iterator<Item = (u8, std::ops::Range<usize>)> {
    let mut at = 2;
    std::iter::from_fn(move || {
        loop {
            let &[first, marker] = bytes.get(at..at + 2)? else {
                return None;
            };
            match (first, marker) {
                // Scans, the end: no metadata behind them.
                (0xff, 0xda | 0xd9) => return None,
                (0xff, 0x01 | 0xd0..=0xd8) => at += 2,
                // Fill bytes, and bytes between segments, which decoders skip.
                (0xff, 0xff | 0x00) | (0x00..=0xfe, _) => at += 1,
                _ => {
                    let length = bytes.get(at + 2..)?.first_chunk()?;
                    let length = usize::from(u16::from_be_bytes(*length));
                    let whole = at..at + 2 + length.max(2);
                    at = whole.end;
                    bytes.get(whole.clone())?;
                    return Some((marker, whole));
                }
            }
        }
    })
}

/// Every block of EXIF.
pub fn exif(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    segments(bytes)
        .filter(|&(marker, _)| marker == 0xe1)
        .filter_map(|(_, segment)| bytes.get(segment.start + 4..segment.end))
        .filter(|content| content.starts_with(b"Exif\0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_found() {
        let jpeg = b"\xff\xd8\xff\xe0\0\x04JF\xff\xe1\0\x09Exif\0\0a\xff\xff\xe1\0\x08Exif\0b\xff\xfe\0\x03c\xff\xda\0\x02\xff\xe1\0\x02";
        assert_eq!(
            exif(jpeg).collect::<Vec<_>>(),
            [b"Exif\0\0a".as_slice(), b"Exif\0b"]
        );
        for length in 0..jpeg.len() {
            exif(&jpeg[..length]).count();
        }
    }
}
