//! WebP's container, written again with what the picture needs and nothing else.
//!
//! Broken metadata, and flags that promise chunks which are not there, are no matter then.

use super::errors::{cut_short, damaged};
use crate::error::ClassifyError;

const FORMAT: &str = "WebP";

const ALPHA: u8 = 0x10;
const ANIMATION: u8 = 0x02;

/// A file's chunks, those that matter.
pub struct Container<'a> {
    /// The same picture with as little around it as can be.
    pub minimal: Vec<u8>,
    /// EXIF, where there is some.
    pub exif: Option<&'a [u8]>,
    /// Whether the file is as long as it says.
    pub complete: bool,
}

/// A chunk: its name, and its content as far as it is there.
struct Chunk<'a> {
    name: &'a [u8],
    content: &'a [u8],
    whole: bool,
}

fn chunks(mut rest: &[u8]) -> impl Iterator<Item = Chunk<'_>> {
    std::iter::from_fn(move || {
        let (head, behind) = rest.split_first_chunk::<8>()?;
        let (name, length) = head.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length.first_chunk()?);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let there = length.min(behind.len());
        let (content, next) = behind.split_at(there);
        // Contents of an odd length are followed by a byte that nobody needs.
        rest = next.get(there % 2..).unwrap_or_default();
        Some(Chunk {
            name,
            content,
            whole: there == length,
        })
    })
}

/// Takes a WebP file apart.
pub fn container(bytes: &[u8]) -> Result<Container<'_>, ClassifyError> {
    let declared = bytes
        .get(4..)
        .and_then(|rest| rest.first_chunk())
        .map_or(0, |size| u64::from(u32::from_le_bytes(*size)) + 8);
    let all: Vec<Chunk<'_>> = chunks(bytes.get(12..).unwrap_or_default()).collect();
    let find = |names: &[&[u8]]| all.iter().find(|chunk| names.contains(&chunk.name));
    let exif = find(&[b"EXIF"]).map(|chunk| chunk.content);
    let extended = find(&[b"VP8X"]).filter(|chunk| chunk.content.len() >= 10);
    let flags = extended.map_or(0, |chunk| chunk.content[0]);
    let still = find(&[b"VP8 ", b"VP8L"]);
    let moving = find(&[b"ANMF"]);
    let (frame, animated) = match (still, moving) {
        (Some(still), None) => (still, false),
        (None, Some(moving)) => (moving, true),
        (Some(_), Some(moving)) if extended.is_some() && flags & ANIMATION != 0 => (moving, true),
        (Some(still), Some(_)) => (still, false),
        (None, None) if (bytes.len() as u64) < declared => return Err(cut_short(FORMAT)),
        (None, None) => return Err(damaged(FORMAT)),
    };
    if !frame.whole {
        return Err(cut_short(FORMAT));
    }
    let alpha = find(&[b"ALPH"]).filter(|_| frame.name == b"VP8 ");
    if alpha.is_some_and(|chunk| !chunk.whole) {
        return Err(cut_short(FORMAT));
    }
    let mut minimal = b"RIFF\0\0\0\0WEBP".to_vec();
    match extended {
        Some(extended) => {
            let mut head = [0; 10];
            head.copy_from_slice(&extended.content[..10]);
            head[0] = match frame.name {
                b"VP8 " if alpha.is_some() => ALPHA,
                b"VP8 " => 0,
                _ => flags & ALPHA,
            };
            if animated {
                head[0] |= ANIMATION;
            }
            push(&mut minimal, b"VP8X", &head);
            if animated {
                // Background and loops, which the first frame does not depend on.
                push(&mut minimal, b"ANIM", &[0; 6]);
            }
            if let Some(alpha) = alpha {
                push(&mut minimal, b"ALPH", alpha.content);
            }
        }
        None if animated => return Err(damaged(FORMAT)),
        None => {}
    }
    push(&mut minimal, frame.name, frame.content);
    let size = u32::try_from(minimal.len() - 8).map_err(|_| damaged(FORMAT))?;
    minimal[4..8].copy_from_slice(&size.to_le_bytes());
    Ok(Container {
        minimal,
        exif,
        // The last chunk's byte of padding is left out by some writers.
        complete: bytes.len() as u64 + 1 >= declared,
    })
}

fn push(to: &mut Vec<u8>, name: &[u8], content: &[u8]) {
    to.extend_from_slice(name);
    // It was in a file whose chunks have lengths of 32 bits.
    to.extend_from_slice(&(content.len() as u32).to_le_bytes());
    to.extend_from_slice(content);
    if content.len() % 2 == 1 {
        to.push(0);
    }
}
