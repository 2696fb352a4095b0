//! What a JPEG's headers say, read before its decoder: what would be decoded wrongly is refused, and what is only said in an unusual
//! way is said in the usual one.

use super::tables;
use crate::decode::errors::sentence;
use crate::decode::segments::segments;
use crate::error::ClassifyError;
use std::borrow::Cow;

/// A frame's component.
struct Component {
    id: u8,
    across: u8,
    down: u8,
}

/// What the segments before the first scan say.
#[derive(Default)]
struct Headers {
    components: Vec<Component>,
    progressive: bool,
    jfif: bool,
    /// Adobe's segments, and the transform that each names, if it is one.
    adobe: Vec<(std::ops::Range<usize>, Option<u8>)>,
    has_tables: bool,
}

/// The same picture as decoders understand it alike. The error says what cannot be read.
pub fn usual(bytes: &[u8]) -> Result<Cow<'_, [u8]>, ClassifyError> {
    let headers = read(bytes)?;
    check(&headers, bytes)?;
    let three = headers.components.len() == 3;
    // JFIF's colours are YCbCr, whatever Adobe's segment says. So are those of transforms that nobody knows; and what is shorter
    // than Adobe's segment is none.
    let believed = |transform: Option<u8>| match transform {
        None => false,
        Some(0 | 1) if three => !headers.jfif,
        Some(_) => headers.components.len() == 4,
    };
    let names: Vec<u8> = headers.components.iter().map(|one| one.id).collect();
    let is_rgb = names == b"RGB" && !headers.jfif && headers.adobe.is_empty();
    let spurious: Vec<_> = headers
        .adobe
        .iter()
        .filter(|(_, transform)| !believed(*transform))
        .map(|(segment, _)| segment.clone())
        .collect();
    if spurious.is_empty() && headers.has_tables && !is_rgb {
        return Ok(Cow::Borrowed(bytes));
    }
    let Some((start, _)) = bytes.split_at_checked(2) else {
        return Ok(Cow::Borrowed(bytes));
    };
    let mut usual = start.to_vec();
    if is_rgb {
        usual.extend_from_slice(b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\0");
    }
    if !headers.has_tables {
        usual.extend(tables::segment());
    }
    let mut from = 2;
    for segment in spurious {
        usual.extend_from_slice(&bytes[from..segment.start]);
        from = segment.end;
    }
    usual.extend_from_slice(&bytes[from..]);
    Ok(Cow::Owned(usual))
}

fn read(bytes: &[u8]) -> Result<Headers, ClassifyError> {
    let mut headers = Headers::default();
    for (marker, segment) in segments(bytes) {
        let content = bytes
            .get(segment.start + 4..segment.end)
            .unwrap_or_default();
        match marker {
            0xc0..=0xc2 => {
                headers.progressive = marker == 0xc2;
                headers.components = frame(content)?;
            }
            0xc4 => headers.has_tables = true,
            0xc3 => return Err(kind("losslessly compressed")),
            0xc5..=0xc7 | 0xde => return Err(kind("hierarchical")),
            0xc9..=0xcf => return Err(kind("arithmetically coded")),
            0xe0 if content.starts_with(b"JFIF\0") => headers.jfif = true,
            0xee => headers.adobe.push((segment, transform(content))),
            _ => {}
        }
    }
    // Progressive files cannot do without tables of their own.
    headers.has_tables |= headers.progressive;
    Ok(headers)
}

/// The transform that an Adobe segment names, if it is one.
fn transform(content: &[u8]) -> Option<u8> {
    content
        .strip_prefix(b"Adobe")
        .and_then(|rest| rest.get(6).copied())
}

fn frame(content: &[u8]) -> Result<Vec<Component>, ClassifyError> {
    if let Some(&precision) = content.first().filter(|&&precision| precision != 8) {
        return Err(sentence(&format!(
            "The JPEG image has {precision} bits a sample, and only 8 are read here: save it anew as an ordinary JPEG."
        )));
    }
    let components = content.get(6..).unwrap_or_default().as_chunks::<3>().0;
    Ok(components
        .iter()
        .map(|[id, factors, _]| Component {
            id: *id,
            across: factors >> 4,
            down: factors & 15,
        })
        .collect())
}

fn kind(what: &str) -> ClassifyError {
    sentence(&format!(
        "The JPEG image is {what}, which is not read here: save it anew as an ordinary JPEG."
    ))
}

fn check(headers: &Headers, bytes: &[u8]) -> Result<(), ClassifyError> {
    let components = &headers.components;
    if components.len() == 2 {
        return Err(sentence(
            "The JPEG image has two components, and nothing says what colours they are: save it anew as an ordinary JPEG.",
        ));
    }
    let Some(first) = components.first() else {
        // A file without a frame is its decoder's to refuse.
        return Ok(());
    };
    // Where there is one component, its factors mean nothing.
    let largest = |of: fn(&Component) -> u8| components.iter().map(of).max().unwrap_or(1);
    let unusual = components.len() > 1
        && (first.across < largest(|one| one.across)
            || first.down < largest(|one| one.down)
            || components.iter().any(|one| {
                let divides = |whole: u8, part: u8| part > 0 && whole.is_multiple_of(part);
                !divides(first.across, one.across) || !divides(first.down, one.down)
            }));
    if unusual {
        return Err(sentence(
            "The JPEG image's colours have another resolution than can be read here: save it anew as an ordinary JPEG.",
        ));
    }
    // In a progressive file scans are many, and decoders expect that.
    if !headers.progressive && first_scan(bytes).is_some_and(|count| count < components.len()) {
        return Err(sentence(
            "The JPEG image has its colours in scans of their own, which is not read here: save it anew as an ordinary JPEG.",
        ));
    }
    Ok(())
}

/// How many components the first scan has.
fn first_scan(bytes: &[u8]) -> Option<usize> {
    let last = segments(bytes).last().map_or(2, |(_, segment)| segment.end);
    let rest = bytes.get(last..)?;
    let start = rest.windows(2).position(|pair| pair == [0xff, 0xda])?;
    rest.get(start + 4).map(|&count| usize::from(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file's head: segments by marker and content, then a scan of so many components.
    fn head(segments: &[(u8, &[u8])], scan: u8) -> Vec<u8> {
        let mut bytes = vec![0xff, 0xd8];
        for (marker, content) in segments {
            bytes.extend([0xff, *marker]);
            bytes.extend((content.len() as u16 + 2).to_be_bytes());
            bytes.extend_from_slice(content);
        }
        bytes.extend([0xff, 0xda, 0, 6 + 2 * scan, scan]);
        bytes
    }

    fn frame_of(components: &[(u8, u8)]) -> Vec<u8> {
        let mut content = vec![8, 0, 16, 0, 16, components.len() as u8];
        for (id, factors) in components {
            content.extend([*id, *factors, 0]);
        }
        content
    }

    const YCBCR: [(u8, u8); 3] = [(1, 0x22), (2, 0x11), (3, 0x11)];
    const JFIF: (u8, &[u8]) = (0xe0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0");
    const TABLES: (u8, &[u8]) = (0xc4, &[0]);

    fn adobe(transform: u8) -> Vec<u8> {
        [b"Adobe\0\x64\0\0\0\0".as_slice(), &[transform]].concat()
    }

    #[test]
    fn what_would_be_decoded_wrongly_is_refused() {
        let refused = |marker: u8, components: &[(u8, u8)], scan: u8| {
            let frame = frame_of(components);
            usual(&head(&[TABLES, (marker, &frame)], scan)).is_err()
        };
        assert!(!refused(0xc0, &YCBCR, 3));
        assert!(!refused(0xc0, &[(1, 0x33)], 1));
        // A scan a component; progressive files may.
        assert!(refused(0xc0, &YCBCR, 1));
        assert!(refused(0xc1, &YCBCR, 2));
        assert!(!refused(0xc2, &YCBCR, 1));
        assert!(refused(0xc0, &[(1, 0x11), (2, 0x11)], 2));
        // Colours finer than brightness, and parts of a pixel.
        assert!(refused(0xc0, &[(1, 0x11), (2, 0x22), (3, 0x22)], 3));
        assert!(refused(0xc0, &[(1, 0x32), (2, 0x21), (3, 0x11)], 3));
        for marker in [0xc3, 0xc5, 0xc9, 0xca, 0xcf] {
            assert!(refused(marker, &YCBCR, 3), "{marker:x}");
        }
        let mut deep = frame_of(&YCBCR);
        deep[0] = 12;
        let error = usual(&head(&[TABLES, (0xc1, &deep)], 3)).unwrap_err();
        assert!(error.to_string().contains("12 bits"), "{error}");
    }

    #[test]
    fn colours_are_those_that_libjpeg_takes_them_for() {
        let frame = frame_of(&YCBCR);
        let kept = |segments: &[(u8, &[u8])]| {
            let bytes = head(&[segments, &[TABLES, (0xc0, &frame)]].concat(), 3);
            let usual = usual(&bytes).unwrap();
            usual.windows(5).any(|part| part == b"Adobe")
        };
        assert!(kept(&[(0xee, &adobe(0))]));
        assert!(kept(&[(0xee, &adobe(1))]));
        assert!(!kept(&[JFIF, (0xee, &adobe(0))]));
        assert!(!kept(&[(0xee, &adobe(3))]));
        assert!(!kept(&[(0xee, b"Adobe\0\x64\0\0\0")]));
        // Grey has nothing to transform.
        let grey = frame_of(&[(1, 0x11)]);
        let bytes = head(&[(0xee, &adobe(0)), TABLES, (0xc0, &grey)], 1);
        assert!(
            !usual(&bytes)
                .unwrap()
                .windows(5)
                .any(|part| part == b"Adobe")
        );
        // Letters for names mean what they spell.
        let letters = frame_of(&[(b'R', 0x11), (b'G', 0x11), (b'B', 0x11)]);
        let bytes = head(&[TABLES, (0xc0, &letters)], 3);
        assert!(
            usual(&bytes)
                .unwrap()
                .windows(5)
                .any(|part| part == b"Adobe")
        );
        let bytes = head(&[JFIF, TABLES, (0xc0, &letters)], 3);
        assert!(
            !usual(&bytes)
                .unwrap()
                .windows(5)
                .any(|part| part == b"Adobe")
        );
    }

    #[test]
    fn missing_tables_are_put_in_and_nothing_else_changes() {
        let frame = frame_of(&YCBCR);
        let with = head(&[TABLES, (0xc0, &frame)], 3);
        assert!(matches!(usual(&with).unwrap(), Cow::Borrowed(_)));
        let without = head(&[(0xc0, &frame)], 3);
        let put_in = usual(&without).unwrap();
        assert_eq!(put_in.len(), without.len() + 420);
        assert!(put_in.starts_with(b"\xff\xd8\xff\xc4\x01\xa2"));
        for length in 0..with.len() {
            let _ = usual(&with[..length]);
        }
    }
}
