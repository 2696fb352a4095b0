//! The rows of a PNG whose end is missing: all of them, or none.

use super::super::errors::{cut_short, damaged};
use super::{Chunk, FORMAT, Head, SIGNATURE, chunks, push};
use crate::error::ClassifyError;
use fdeflate::Decompressor;

/// The most bytes that a block of deflate holds as they are.
const BLOCK: usize = 0xffff;

/// Unpacks the rows as far as they go, and packs them again in a stream that has an end. Refuses where rows are missing.
pub fn stored(head: &Head, minimal: &[u8]) -> Result<Vec<u8>, ClassifyError> {
    let expected = head.raw_bytes().ok_or_else(|| damaged(FORMAT))?;
    let all: Vec<Chunk<'_>> = chunks(&minimal[SIGNATURE.len()..]).collect();
    let packed: Vec<&[u8]> = all
        .iter()
        .filter(|chunk| chunk.name == b"IDAT")
        .map(|chunk| chunk.content)
        .collect();
    let intact = |chunk: &&Chunk<'_>| chunk.name != b"IDAT" || chunk.is_intact();
    if all.iter().filter(intact).count() < all.len() {
        return Err(damaged(FORMAT));
    }
    let rows = unpack(&packed, expected)?;
    let mut stream = vec![0x78, 0x01];
    let blocks = rows.len().div_ceil(BLOCK);
    for (number, block) in rows.chunks(BLOCK).enumerate() {
        // A block is at most as long as 16 bits can say.
        let length = block.len() as u16;
        stream.push(u8::from(number + 1 == blocks));
        stream.extend_from_slice(&length.to_le_bytes());
        stream.extend_from_slice(&(!length).to_le_bytes());
        stream.extend_from_slice(block);
    }
    stream.extend_from_slice(&adler(&rows).to_be_bytes());
    let mut whole = SIGNATURE.to_vec();
    for chunk in all
        .iter()
        .filter(|chunk| !matches!(chunk.name, b"IDAT" | b"IEND"))
    {
        whole.extend_from_slice(chunk.all);
    }
    push(&mut whole, b"IDAT", &stream);
    push(&mut whole, b"IEND", b"");
    Ok(whole)
}

/// So many bytes of rows, of a stream in these parts.
fn unpack(parts: &[&[u8]], expected: usize) -> Result<Vec<u8>, ClassifyError> {
    let packed = parts.concat();
    // No stream holds more than this times its length.
    if packed.len().saturating_mul(1040) < expected {
        return Err(cut_short(FORMAT));
    }
    let mut decompressor = Decompressor::new();
    decompressor.ignore_adler32();
    let mut rows = vec![0; expected];
    let (mut read, mut made) = (0, 0);
    while made < expected {
        let (consumed, produced) = decompressor
            .read(&packed[read..], &mut rows, made, false)
            .map_err(|_| damaged(FORMAT))?;
        read += consumed;
        made += produced;
        if (consumed, produced) == (0, 0) || decompressor.is_done() {
            break;
        }
    }
    if made < expected {
        return Err(cut_short(FORMAT));
    }
    Ok(rows)
}

fn adler(bytes: &[u8]) -> u32 {
    let (mut low, mut high) = (1_u32, 0_u32);
    // So many sums stay within 32 bits.
    for part in bytes.chunks(5552) {
        for &byte in part {
            low += u32::from(byte);
            high += low;
        }
        low %= 65_521;
        high %= 65_521;
    }
    high << 16 | low
}

impl Head {
    /// Bytes of all rows, each with its filter. None where the colour type is none.
    fn raw_bytes(&self) -> Option<usize> {
        let channels = match self.colours {
            0 | 3 => 1,
            2 => 3,
            4 => 2,
            6 => 4,
            _ => return None,
        };
        let bits = channels * usize::from(self.depth);
        let (width, height) = (self.width as usize, self.height as usize);
        let pass = |(x, y, right, down): (usize, usize, usize, usize)| {
            let (columns, rows) = (
                width.saturating_sub(x).div_ceil(right),
                height.saturating_sub(y).div_ceil(down),
            );
            match columns {
                0 => Some(0),
                _ => rows.checked_mul(columns.checked_mul(bits)?.div_ceil(8) + 1),
            }
        };
        // Adam7: where each pass begins, and how far its pixels are apart.
        const PASSES: [(usize, usize, usize, usize); 7] = [
            (0, 0, 8, 8),
            (4, 0, 8, 8),
            (0, 4, 4, 8),
            (2, 0, 4, 4),
            (0, 2, 2, 4),
            (1, 0, 2, 2),
            (0, 1, 1, 2),
        ];
        if !self.interlaced {
            return pass((0, 0, 1, 1));
        }
        PASSES
            .into_iter()
            .try_fold(0_usize, |sum, each| sum.checked_add(pass(each)?))
    }
}
