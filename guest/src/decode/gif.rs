//! GIF's blocks: the first frame, and what it needs.
//!
//! Extensions that are broken or unknown are left out, and a file without its end is given one.

use super::errors::{cut_short, damaged};
use crate::error::ClassifyError;

const FORMAT: &str = "GIF";

/// A file's blocks, those that matter.
pub struct Blocks {
    /// The first frame alone, with an end.
    pub minimal: Vec<u8>,
    /// Whether the file had its end.
    pub complete: bool,
}

/// Takes a GIF file apart.
pub fn blocks(bytes: &[u8]) -> Result<Blocks, ClassifyError> {
    let flags = *bytes.get(10).ok_or_else(|| cut_short(FORMAT))?;
    let mut at = 13 + palette(flags);
    let mut minimal = bytes.get(..at).ok_or_else(|| cut_short(FORMAT))?.to_vec();
    let mut control: Option<&[u8]> = None;
    let mut has_frame = false;
    let mut complete = false;
    loop {
        match bytes.get(at) {
            Some(0x21) => {
                let (end, whole) = sub_blocks(bytes, at + 2);
                let extension = bytes.get(at..end).unwrap_or_default();
                // A graphic control says what is transparent: only one of the right length is one.
                if whole && extension.get(1..3) == Some(&[0xf9, 4]) && extension.len() == 8 {
                    control = Some(extension);
                }
                at = end;
            }
            Some(0x2c) => {
                let flags = *bytes.get(at + 9).ok_or_else(|| cut_short(FORMAT))?;
                let data = at + 10 + palette(flags) + 1;
                let (end, whole) = sub_blocks(bytes, data);
                if !has_frame {
                    has_frame = true;
                    minimal.extend_from_slice(control.unwrap_or_default());
                    if whole {
                        minimal.extend_from_slice(&bytes[at..end]);
                    } else {
                        minimal.extend_from_slice(
                            bytes.get(at..data).ok_or_else(|| cut_short(FORMAT))?,
                        );
                        shorten(&mut minimal, &bytes[data..]);
                    }
                }
                at = end;
            }
            Some(0x3b) => {
                complete = true;
                break;
            }
            // Some writers put a byte too many between blocks.
            Some(0x00) => at += 1,
            // What is no block is the end: the frames before it are good.
            _ => break,
        }
    }
    match (has_frame, complete) {
        (true, _) => minimal.push(0x3b),
        (false, true) => return Err(damaged(FORMAT)),
        (false, false) => return Err(cut_short(FORMAT)),
    }
    Ok(Blocks { minimal, complete })
}

/// Bytes of the palette that flags announce.
fn palette(flags: u8) -> usize {
    if flags & 0x80 == 0 {
        0
    } else {
        3 << ((flags & 7) + 1)
    }
}

/// Where the sub-blocks from here on end, their terminator included, and whether they are all there.
fn sub_blocks(bytes: &[u8], mut at: usize) -> (usize, bool) {
    loop {
        match bytes.get(at) {
            None => return (at.max(bytes.len()), false),
            Some(0) => return (at + 1, true),
            Some(&length) => at += 1 + usize::from(length),
        }
    }
}

/// Writes the sub-blocks that are there, the last of them as long as it is, and a terminator.
fn shorten(to: &mut Vec<u8>, mut rest: &[u8]) {
    while let Some((&length, content)) = rest.split_first() {
        let (content, next) = content.split_at(usize::from(length).min(content.len()));
        if !content.is_empty() {
            // It is at most as long as the byte before it said.
            to.push(content.len() as u8);
            to.extend_from_slice(content);
        }
        rest = next;
    }
    to.push(0);
}
