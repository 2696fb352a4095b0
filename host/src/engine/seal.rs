//! A checksum at the end of precompiled files, against damage: Wasmtime checks what a file was made for, but runs its code
//! as it is. It is no signature: whoever can write the file can seal it.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// What a sealed file ends with, before the CRC-32 of everything up to here, little-endian. Wasmtime reads an ELF file by
/// its headers and does not mind.
const MAGIC: &[u8; 12] = b"pinhole crc\n";
const LEN: usize = MAGIC.len() + 4;

/// Adds the checksum.
#[cfg(feature = "bake")]
pub fn seal(mut code: Vec<u8>) -> Vec<u8> {
    code.extend_from_slice(MAGIC);
    let sum = crc32fast::hash(&code);
    code.extend_from_slice(&sum.to_le_bytes());
    code
}

/// What a file's checksum says.
#[derive(Debug, PartialEq, Eq)]
pub enum Seal {
    /// The file is as it was written.
    Whole,
    /// It is not.
    Damaged,
    /// There is none: the file was not written by `pinhole bake`, or was cut short.
    Missing,
}

/// Checks a file's checksum.
pub fn check(path: &Path) -> std::io::Result<Seal> {
    let mut file = std::fs::File::open(path)?;
    let length = file.metadata()?.len();
    let Some(body) = length.checked_sub(LEN as u64) else {
        return Ok(Seal::Missing);
    };
    file.seek(SeekFrom::Start(body))?;
    let mut end = [0; LEN];
    file.read_exact(&mut end)?;
    let Some(expected) = end.strip_prefix(MAGIC) else {
        return Ok(Seal::Missing);
    };
    file.rewind()?;
    let mut rest = file.take(length - 4);
    let mut hasher = crc32fast::Hasher::new();
    // Small enough to stay in the cache while it is summed up.
    let mut buffer = vec![0; 256 << 10];
    loop {
        match rest.read(&mut buffer)? {
            0 => break,
            read => hasher.update(&buffer[..read]),
        }
    }
    Ok(if hasher.finalize().to_le_bytes() == expected {
        Seal::Whole
    } else {
        Seal::Damaged
    })
}

#[cfg(all(test, feature = "bake"))]
mod tests {
    use super::*;

    #[test]
    fn damage_is_found_wherever_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.cwasm");
        let sealed = seal((0..600_000_u32).map(|n| n as u8).collect());
        let said = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            check(&path).unwrap()
        };
        assert_eq!(said(&sealed), Seal::Whole);
        for position in [0, 5, 300_000, 599_999, sealed.len() - 1] {
            let mut damaged = sealed.clone();
            damaged[position] ^= 4;
            assert_eq!(said(&damaged), Seal::Damaged, "{position}");
        }
        assert_eq!(said(&sealed[..sealed.len() - 1]), Seal::Missing);
        assert_eq!(said(b""), Seal::Missing);
    }
}
