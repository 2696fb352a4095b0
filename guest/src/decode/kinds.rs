//! What a file is, by its first bytes. A name or a declared type is never asked: both can lie.

use super::errors::sentence;
use crate::error::ClassifyError;

/// A format that is decoded here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// JPEG, by one of its end markers or another.
    Jpeg,
    /// PNG and APNG.
    Png,
    /// WebP.
    WebP,
    /// GIF.
    Gif,
    /// BMP, Windows' and OS/2's.
    Bmp,
}

const READ: &str = "JPEG, PNG, WebP, GIF and BMP images can be classified.";

/// Tells the format; otherwise what else it is, as far as can be known, and what to do.
pub fn sniff(bytes: &[u8]) -> Result<Format, ClassifyError> {
    match bytes {
        [0xff, 0xd8, 0xff, ..] => return Ok(Format::Jpeg),
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => return Ok(Format::Png),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => return Ok(Format::Gif),
        [b'B', b'M', ..] => return Ok(Format::Bmp),
        [
            b'R',
            b'I',
            b'F',
            b'F',
            _,
            _,
            _,
            _,
            b'W',
            b'E',
            b'B',
            b'P',
            ..,
        ] => {
            return Ok(Format::WebP);
        }
        _ => {}
    }
    // A PNG whose signature was damaged, as by a transfer in text mode: the format's design makes this recognisable.
    let head = &bytes[..bytes.len().min(32)];
    if head.get(1..4) == Some(b"PNG") || head.windows(4).any(|name| name == b"IHDR") {
        return Err(sentence(
            "The PNG image is damaged: its signature is wrong, as after a transfer in text mode.",
        ));
    }
    Err(ClassifyError::UnsupportedFormat(
        match (base_media(bytes), other(bytes), text(bytes)) {
            (Some((what, advice)), ..) => format!("This is {what}: {advice}."),
            (_, Some((what, "")), _) | (.., Some((what, ""))) => format!("This is {what}; {READ}"),
            (_, Some((what, advice)), _) | (.., Some((what, advice))) => {
                format!("This is {what}: {advice}; {READ}")
            }
            _ if bytes.is_empty() => format!("This is an empty file; {READ}"),
            _ => format!("This is not an image; {READ}"),
        },
    ))
}

/// The files of ISO's base media format: a box `ftyp` names what is in them.
fn base_media(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    const CONVERT: &str = "convert it to JPEG or PNG";
    const FRAME: &str = "take a frame of it, as JPEG or PNG";
    let kind = bytes.get(4..8)?;
    if matches!(kind, b"moov" | b"mdat" | b"wide") {
        return Some(("a QuickTime video", FRAME));
    }
    if kind != b"ftyp" {
        return None;
    }
    // The major brand, and behind its version those that the file is compatible with.
    let length = u32::from_be_bytes(*bytes.first_chunk()?) as usize;
    let end = length.clamp(12, 512).min(bytes.len());
    let major = bytes.get(8..12)?;
    let compatible = bytes.get(16..end).unwrap_or_default();
    let (compatible, _) = compatible.as_chunks::<4>();
    [major]
        .into_iter()
        .chain(compatible.iter().map(<[u8; 4]>::as_slice))
        .find_map(|brand| {
            Some(match brand {
                b"avif" => ("an AVIF picture", CONVERT),
                b"avis" => ("an AVIF sequence", "convert a frame of it to JPEG or PNG"),
                b"heic" | b"heix" | b"heim" | b"heis" => (
                    "a HEIC picture, as iPhones take them",
                    "set the camera to \"Most Compatible\", or convert it to JPEG",
                ),
                b"hevc" | b"hevx" | b"hevm" | b"hevs" | b"msf1" => (
                    "a HEIC sequence, as iPhones take them",
                    "set the camera to \"Most Compatible\", or convert it to JPEG",
                ),
                b"crx " => ("a Canon CR3 raw picture", CONVERT),
                b"qt  " => ("a QuickTime video", FRAME),
                b"isom" | b"iso2" | b"iso4" | b"iso5" | b"iso6" | b"mp41" | b"mp42" | b"avc1"
                | b"dash" | b"M4V " | b"3gp4" | b"3gp5" | b"3gp6" | b"3g2a" | b"mmp4" => {
                    ("an MP4 video", FRAME)
                }
                _ => return None,
            })
        })
        .or_else(|| {
            let is_heif = major == b"mif1" || compatible.contains(b"mif1");
            Some(if is_heif {
                ("a HEIF picture", CONVERT)
            } else {
                ("a video or another media file", FRAME)
            })
        })
}

/// Other formats that begin with bytes of their own: those, what they are, and what to do.
fn other(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    const CONVERT: &str = "convert it";
    const UNPACK: &str = "send what is packed in it";
    const TABLE: &[(&[u8], &str, &str)] = &[
        (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL picture", CONVERT),
        (b"\xff\x0a", "a JPEG XL picture", CONVERT),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 picture", CONVERT),
        (b"\xff\x4f\xff\x51", "a JPEG 2000 picture", CONVERT),
        (b"II*\0", "TIFF data", CONVERT),
        (b"MM\0*", "TIFF data", CONVERT),
        (b"II+\0", "BigTIFF data", CONVERT),
        (b"MM\0+", "BigTIFF data", CONVERT),
        (b"IIU\0", "a Panasonic raw picture", CONVERT),
        (b"IIRO", "an Olympus raw picture", CONVERT),
        (b"FUJIFILM", "a Fujifilm raw picture", CONVERT),
        (b"II\xbc", "a JPEG XR picture", CONVERT),
        (b"8BPS", "a Photoshop document", "export it"),
        (b"gimp xcf", "a GIMP document", "export it"),
        (b"%PDF", "a PDF document", "export its page as a picture"),
        (
            b"%!PS",
            "a PostScript document",
            "export its page as a picture",
        ),
        (
            b"\xc5\xd0\xd3\xc6",
            "a PostScript document",
            "export its page as a picture",
        ),
        (b"\0\0\x01\0", "a Windows icon", CONVERT),
        (b"\0\0\x02\0", "a Windows cursor", CONVERT),
        (b"icns", "a macOS icon", CONVERT),
        (b"DDS ", "a DDS texture", CONVERT),
        (b"qoif", "a QOI picture", CONVERT),
        (b"farbfeld", "a farbfeld picture", CONVERT),
        (b"\x76\x2f\x31\x01", "an OpenEXR picture", CONVERT),
        (b"#?RADIANCE", "a Radiance HDR picture", CONVERT),
        (b"SIMPLE  =", "a FITS file", CONVERT),
        (b"BPG\xfb", "a BPG picture", CONVERT),
        (b"FLIF", "a FLIF picture", CONVERT),
        (b"\x8aMNG", "an MNG animation", CONVERT),
        (b"\x8bJNG", "a JNG picture", CONVERT),
        (b"\xd7\xcd\xc6\x9a", "a Windows metafile", CONVERT),
        (b"BA", "an OS/2 bitmap array", CONVERT),
        (b"\x1f\x8b", "a gzip file", UNPACK),
        (b"PK\x03\x04", "a ZIP archive or an Office document", UNPACK),
        (b"PK\x05\x06", "an empty ZIP archive", ""),
        (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", UNPACK),
        (b"Rar!", "a RAR archive", UNPACK),
        (b"BZh", "a bzip2 file", UNPACK),
        (b"\xfd7zXZ\0", "an xz file", UNPACK),
        (b"\x28\xb5\x2f\xfd", "a Zstandard file", UNPACK),
        (
            b"\x1a\x45\xdf\xa3",
            "a Matroska or WebM video",
            "take a frame of it",
        ),
        (b"FLV\x01", "a Flash video", "take a frame of it"),
        (b"OggS", "an Ogg file", ""),
        (b"ID3", "an MP3 file", ""),
        (b"\x7fELF", "a program", ""),
        (b"\0asm", "a WebAssembly program", ""),
    ];
    if bytes.starts_with(b"RIFF") {
        return match bytes.get(8..12)? {
            b"AVI " => Some(("an AVI video", "take a frame of it")),
            b"WAVE" => Some(("a sound", "")),
            _ => None,
        };
    }
    if let [b'P', digit @ b'1'..=b'7', space, ..] = bytes
        && space.is_ascii_whitespace()
    {
        return Some((
            match digit {
                b'1' | b'4' => "a PBM picture",
                b'2' | b'5' => "a PGM picture",
                b'3' | b'6' => "a PPM picture",
                _ => "a PAM picture",
            },
            CONVERT,
        ));
    }
    TABLE
        .iter()
        .find(|(magic, ..)| bytes.starts_with(magic))
        .map(|&(_, what, advice)| (what, advice))
}

/// Files that a person could read.
fn text(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    let head = &bytes[..bytes.len().min(1024)];
    let head = head
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(head)
        .trim_ascii_start();
    let lower = head.to_ascii_lowercase();
    let holds = |word: &[u8]| lower.windows(word.len()).any(|part| part == word);
    if lower.starts_with(b"version https://git-lfs.github.com/spec/") {
        return Some((
            "a Git LFS pointer and not the file that it stands for",
            "fetch that with `git lfs pull`",
        ));
    }
    if lower.starts_with(b"<!doctype html") || lower.starts_with(b"<html") {
        return Some((
            "an HTML page",
            "send the picture itself, not a page that shows it",
        ));
    }
    if lower.starts_with(b"<") && holds(b"<svg") {
        return Some(("an SVG drawing", "export it as PNG"));
    }
    if lower.starts_with(b"<?xml") {
        return Some(("an XML document", ""));
    }
    let rest = head.get(1..).unwrap_or_default().trim_ascii_start();
    let opens = match head.first() {
        Some(b'{') => matches!(rest.first(), Some(b'"' | b'}')),
        Some(b'[') => matches!(
            rest.first(),
            Some(b'{' | b'[' | b'"' | b']' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n')
        ),
        _ => false,
    };
    if opens {
        return Some((
            "JSON",
            "send it with a Content-Type of application/json, or send the picture itself",
        ));
    }
    if lower.starts_with(b"data:image/")
        || lower.starts_with(b"ivborw0kggo")
        || lower.starts_with(b"/9j/")
    {
        return Some((
            "base64 text",
            "send the bytes that it stands for, or send it in JSON",
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_called_by_its_name() {
        let media = |brands: &[u8]| {
            let mut bytes = (brands.len() as u32 + 12).to_be_bytes().to_vec();
            bytes.extend_from_slice(b"ftyp");
            bytes.extend_from_slice(&brands[..4]);
            bytes.extend_from_slice(b"\0\0\0\0");
            bytes.extend_from_slice(&brands[4..]);
            bytes
        };
        let cases: &[(Vec<u8>, &str)] = &[
            (media(b"heicmif1heic"), "a HEIC picture, as iPhones"),
            (media(b"mif1heic"), "a HEIC picture, as iPhones"),
            (media(b"mif1avifmiaf"), "an AVIF picture"),
            (media(b"avifmif1"), "an AVIF picture"),
            (media(b"avisavifmsf1"), "an AVIF sequence"),
            (media(b"mif1miaf"), "a HEIF picture"),
            (media(b"isomiso2avc1"), "an MP4 video"),
            (media(b"qt  "), "a QuickTime video"),
            (media(b"crx isom"), "a Canon CR3"),
            (b"\0\0\0\x14moov".to_vec(), "a QuickTime video"),
            (b"\0\0\0\x0cJXL \r\n\x87\n".to_vec(), "a JPEG XL picture"),
            (b"\xff\x0a\0".to_vec(), "a JPEG XL picture"),
            (b"\0\0\0\x0cjP  \r\n\x87\n".to_vec(), "a JPEG 2000"),
            (b"\xff\x4f\xff\x51\0".to_vec(), "a JPEG 2000"),
            (b"<svg xmlns=\"\">".to_vec(), "an SVG drawing"),
            (
                b"<?xml version=\"1.0\"?>\n<!-- x --><SVG>".to_vec(),
                "an SVG drawing",
            ),
            (b"%PDF-1.7".to_vec(), "a PDF document"),
            (b"8BPS\0\x01".to_vec(), "a Photoshop document"),
            (b"II*\0aaaa".to_vec(), "TIFF data"),
            (b"MM\0*aaaa".to_vec(), "TIFF data"),
            (b"\0\0\x01\0\x01\0".to_vec(), "a Windows icon"),
            (b"P6\n1 1\n255\n".to_vec(), "a PPM picture"),
            (b"P5 1 1 255 ".to_vec(), "a PGM picture"),
            (b"P4\n1 1\n".to_vec(), "a PBM picture"),
            (b"\n <!DOCTYPE HTML><html>".to_vec(), "an HTML page"),
            (b"\xef\xbb\xbf<html>".to_vec(), "an HTML page"),
            (b"{\"image\": \"x\"}".to_vec(), "JSON"),
            (b"[1, 2]".to_vec(), "JSON"),
            (
                b"version https://git-lfs.github.com/spec/v1\noid sha256:0".to_vec(),
                "a Git LFS pointer",
            ),
            (b"\x1f\x8b\x08\0".to_vec(), "a gzip file"),
            (b"PK\x03\x04".to_vec(), "a ZIP archive"),
            (b"RIFF\0\0\0\0AVI LIST".to_vec(), "an AVI video"),
            (b"/9j/4AAQSkZJRg".to_vec(), "base64 text"),
            (b"".to_vec(), "an empty file"),
            (b"Hello, world".to_vec(), "not an image"),
            (b"Price: 5".to_vec(), "not an image"),
            (b"P6".to_vec(), "not an image"),
            (b"\0\0\0\0".to_vec(), "not an image"),
        ];
        for (bytes, what) in cases {
            let error = sniff(bytes).unwrap_err();
            assert_eq!(error.code(), "unsupported-format");
            let told = error.to_string();
            assert!(told.starts_with(&format!("This is {what}")), "{told}");
            assert!(told.ends_with('.'), "{told}");
        }
    }
}
