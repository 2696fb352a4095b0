//! PNG's chunks: those that the picture is made of are kept, all others are left out.
//!
//! So no ancillary chunk can spoil a picture, whatever is wrong with it; and a file without its end is given one.

use super::errors::{cut_short, damaged, sentence};
use super::limits::check_size;
use crate::error::ClassifyError;

mod rows;

const FORMAT: &str = "PNG";

/// The signature of every PNG file.
pub const SIGNATURE: &[u8; 8] = b"\x89PNG\r\n\x1a\n";

/// A file's chunks, those that matter.
pub struct Chunks<'a> {
    /// The same picture without ancillary chunks, with an end.
    pub minimal: Vec<u8>,
    /// EXIF, where there is some.
    pub exif: Option<&'a [u8]>,
    /// Whether the file had its end.
    pub complete: bool,
}

/// What a PNG's head says.
struct Head {
    width: u32,
    height: u32,
    depth: u8,
    colours: u8,
    interlaced: bool,
}

impl Head {
    fn read(content: &[u8]) -> Option<Self> {
        let (width, rest) = content.split_first_chunk()?;
        let (height, rest) = rest.split_first_chunk()?;
        Some(Self {
            width: u32::from_be_bytes(*width),
            height: u32::from_be_bytes(*height),
            depth: *rest.first()?,
            colours: *rest.get(1)?,
            interlaced: *rest.get(4)? != 0,
        })
    }
}

struct Chunk<'a> {
    name: &'a [u8; 4],
    content: &'a [u8],
    /// Length, name, content and checksum; without a checksum where it is cut short.
    all: &'a [u8],
    whole: bool,
}

impl Chunk<'_> {
    fn is_intact(&self) -> bool {
        self.whole
            && self
                .all
                .last_chunk()
                .is_some_and(|sum| u32::from_be_bytes(*sum) == checksum(self.name, self.content))
    }
}

fn checksum(name: &[u8; 4], content: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(name);
    hasher.update(content);
    hasher.finalize()
}

fn chunks(mut rest: &[u8]) -> impl Iterator<Item = Chunk<'_>> {
    std::iter::from_fn(move || {
        let length = u32::from_be_bytes(*rest.first_chunk()?) as usize;
        let name: &[u8; 4] = rest.get(4..)?.first_chunk()?;
        let behind = rest.get(8..)?;
        let whole = length.checked_add(4).is_some_and(|all| all <= behind.len());
        let content = &behind[..length.min(behind.len())];
        let (all, next) = if whole {
            rest.split_at(length + 12)
        } else {
            (rest, &[][..])
        };
        rest = next;
        // What is no name is no chunk: something else lies behind a picture.
        name.iter().all(u8::is_ascii_alphabetic).then_some(Chunk {
            name,
            content,
            all,
            whole,
        })
    })
}

/// Takes a PNG file apart.
pub fn chunks_of(bytes: &[u8], max_pixels: u64) -> Result<Chunks<'_>, ClassifyError> {
    let mut minimal = SIGNATURE.to_vec();
    minimal.reserve(bytes.len());
    let (mut exif, mut complete, mut rows) = (None, false, false);
    // The head's colour type, and how many colours the palette has.
    let (mut colours, mut palette) = (None, None);
    let mut head = None;
    for chunk in chunks(bytes.get(8..).unwrap_or_default()) {
        match (chunk.name, colours) {
            (b"CgBI", _) => {
                return Err(sentence(
                    "This is an Xcode-optimised PNG, which only Apple's software reads: take the original.",
                ));
            }
            (b"IHDR", None) => {
                if !chunk.whole {
                    return Err(cut_short(FORMAT));
                }
                let read = Head::read(chunk.content).ok_or_else(|| damaged(FORMAT))?;
                check_size(read.width, read.height, max_pixels)?;
                colours = Some(read.colours);
                head = Some(read);
                minimal.extend_from_slice(chunk.all);
            }
            (_, None) => return Err(damaged(FORMAT)),
            (b"IEND", _) => {
                complete = true;
                break;
            }
            (b"PLTE", Some(3)) if palette.is_none() && !rows => {
                palette = Some(chunk.content.len() / 3);
                minimal.extend_from_slice(chunk.all);
            }
            // Elsewhere it is a suggestion.
            (b"PLTE", _) => {}
            (b"IDAT", _) if chunk.whole => {
                rows = true;
                minimal.extend_from_slice(chunk.all);
            }
            (b"IDAT", _) => {
                rows = true;
                push(&mut minimal, b"IDAT", chunk.content);
            }
            (b"tRNS", Some(colours)) if !rows && chunk.is_intact() => {
                if let Some(fits) = transparency(colours, palette, chunk.content) {
                    push(&mut minimal, b"tRNS", fits);
                }
            }
            (b"eXIf", _) => exif = exif.or(Some(chunk.content)),
            ([first, ..], _) if first.is_ascii_uppercase() && !rows => {
                return Err(damaged(FORMAT));
            }
            _ => {}
        }
    }
    match (rows, complete) {
        (true, _) => push(&mut minimal, b"IEND", b""),
        (false, true) => return Err(damaged(FORMAT)),
        (false, false) => return Err(cut_short(FORMAT)),
    }
    if let (Some(head), false) = (head, complete) {
        // The end of the compressed stream may be missing as well.
        minimal = rows::stored(&head, &minimal)?;
    }
    Ok(Chunks {
        minimal,
        exif,
        complete,
    })
}

/// As much of a transparency chunk as its picture has a use for. None where it is too short, or has no place.
fn transparency(colours: u8, palette: Option<usize>, content: &[u8]) -> Option<&[u8]> {
    match colours {
        0 => content.get(..2),
        2 => content.get(..6),
        3 => content.get(..content.len().min(palette?)),
        _ => None,
    }
}

fn push(to: &mut Vec<u8>, name: &[u8; 4], content: &[u8]) {
    // It was in a file whose chunks have lengths of 32 bits.
    to.extend_from_slice(&(content.len() as u32).to_be_bytes());
    to.extend_from_slice(name);
    to.extend_from_slice(content);
    to.extend_from_slice(&checksum(name, content).to_be_bytes());
}
