//! What files of ours begin with: what they are, how long, and a checksum of all of it. Native code is run and a network is
//! computed with as they are, so that a single bit that has changed means other answers, or worse.
//!
//! It is against damage, and no signature: whoever can write a file can seal it.

use std::fmt::{self, Display, Formatter};

/// A byte that is no text, the name, and line ends: what copying a file as text would spoil.
const MAGIC: [u8; 12] = *b"\x89PINHOLE\r\n\x1a\n";

/// The version of this form.
const VERSION: u16 = 1;

/// The bytes before the contents. All of a seal but its checksum is half of it, and is summed up, too.
pub const LEN: usize = 64;
const SUMMED: usize = 32;

/// What a sealed file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Kind {
    /// A component as native code.
    Code = 1,
    /// A model in the form of our own kernels.
    #[cfg_attr(
        not(feature = "nn-kernels"),
        allow(dead_code, reason = "a host without kernels meets none")
    )]
    Network = 2,
}

/// Whether files without a seal are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// They are not.
    Sealed,
    /// They are, because the operator says so. A seal that is wrong is not.
    Unsealed,
}

/// Why a file is not taken. The text is a clause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// There is no seal.
    Unsealed,
    /// The seal is of another form.
    Version,
    /// It is of something else.
    Kind,
    /// There is less than was sealed, by so many bytes.
    CutShort(u64),
    /// There is more.
    Longer(u64),
    /// The checksum is wrong.
    Damaged,
}

impl Display for Flaw {
    fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsealed => {
                to.write_str("it has no checksum, as this version of pinhole would have given it")
            }
            Self::Version => to.write_str("another version of pinhole has made it"),
            Self::Kind => to.write_str("it was made for another purpose"),
            Self::CutShort(bytes) => write!(to, "it is damaged ({bytes} bytes are missing)"),
            Self::Longer(bytes) => write!(to, "it is damaged ({bytes} bytes follow its end)"),
            Self::Damaged => to.write_str("it is damaged (its checksum is wrong)"),
        }
    }
}

/// A seal, and what was found behind it so far.
pub struct Seal {
    length: u64,
    expected: [u8; 32],
    found: blake3::Hasher,
}

impl Seal {
    /// Reads the seal at the head of a file of `size` bytes, of which at least `LEN` are given where there are as many.
    pub fn read(head: &[u8], size: u64, kind: Kind) -> Result<Self, Flaw> {
        if !head.starts_with(&MAGIC) {
            return Err(Flaw::Unsealed);
        }
        let summed = head.get(..SUMMED);
        let (Some(summed), Some((fields, expected))) = (summed, Self::fields(head)) else {
            return Err(Flaw::CutShort((LEN as u64).saturating_sub(size)));
        };
        let (version, of, length) = fields;
        if version != VERSION {
            return Err(Flaw::Version);
        }
        if of != kind as u16 {
            return Err(Flaw::Kind);
        }
        fits(length, size.saturating_sub(LEN as u64))?;
        let mut found = blake3::Hasher::new();
        found.update(summed);
        Ok(Self {
            length,
            expected,
            found,
        })
    }

    /// Version, kind, length and checksum, as they stand behind the magic bytes.
    fn fields(head: &[u8]) -> Option<((u16, u16, u64), [u8; 32])> {
        let mut rest = head.get(MAGIC.len()..)?;
        let version = u16::from_le_bytes(take(&mut rest)?);
        let kind = u16::from_le_bytes(take(&mut rest)?);
        let length = u64::from_le_bytes(take(&mut rest)?);
        let expected = head.get(SUMMED..)?;
        Some(((version, kind, length), *expected.first_chunk()?))
    }

    /// How many bytes follow it.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The next bytes of the contents.
    pub fn update(&mut self, bytes: &[u8]) {
        self.found.update(bytes);
    }

    /// Whether the contents, of which there were `read` bytes, are as they were sealed.
    pub fn check(self, read: u64) -> Result<(), Flaw> {
        fits(self.length, read)?;
        if self.found.finalize() == self.expected {
            Ok(())
        } else {
            Err(Flaw::Damaged)
        }
    }
}

fn take<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = from.split_first_chunk()?;
    *from = rest;
    Some(*first)
}

fn fits(sealed: u64, found: u64) -> Result<(), Flaw> {
    match (sealed.saturating_sub(found), found.saturating_sub(sealed)) {
        (0, 0) => Ok(()),
        (0, more) => Err(Flaw::Longer(more)),
        (missing, _) => Err(Flaw::CutShort(missing)),
    }
}

/// The contents of a sealed file that is in memory, if they are as they were sealed.
#[cfg(any(feature = "bake", feature = "nn-kernels"))]
pub fn open(file: &[u8], kind: Kind) -> Result<&[u8], Flaw> {
    let mut seal = Seal::read(file, file.len() as u64, kind)?;
    let contents = file.get(LEN..).unwrap_or_default();
    seal.update(contents);
    seal.check(contents.len() as u64)?;
    Ok(contents)
}

/// Seals contents.
#[cfg(feature = "bake")]
pub fn seal(contents: &[u8], kind: Kind) -> Vec<u8> {
    let mut file = Vec::with_capacity(LEN + contents.len());
    file.extend_from_slice(&MAGIC);
    file.extend_from_slice(&VERSION.to_le_bytes());
    file.extend_from_slice(&(kind as u16).to_le_bytes());
    file.extend_from_slice(&(contents.len() as u64).to_le_bytes());
    // For what a later version may want to say.
    file.resize(SUMMED, 0);
    let mut sum = blake3::Hasher::new();
    sum.update(&file).update(contents);
    file.extend_from_slice(sum.finalize().as_bytes());
    file.extend_from_slice(contents);
    file
}

#[cfg(test)]
#[cfg(feature = "bake")]
pub mod tests {
    use super::*;

    /// Files that are a sealed one no longer: 1,000 with a bit the other way round, in its head, at its end and spread over
    /// the rest, and as many that are cut short or have more at their end.
    pub fn spoiled(sealed: &[u8]) -> impl Iterator<Item = (String, Vec<u8>)> {
        let bits = sealed.len() * 8;
        let head = 0..LEN * 8;
        let tail = bits - 64..bits;
        let spread = 1000 - head.len() - tail.len();
        let rest = (0..spread).map(move |n| LEN * 8 + n * (bits - LEN * 8 - 64) / spread);
        let flipped = head.chain(rest).chain(tail).map(|bit| {
            let mut file = sealed.to_vec();
            file[bit / 8] ^= 1 << (bit % 8);
            (format!("bit {bit}"), file)
        });
        let lengths = (0..500).map(|n| n * sealed.len() / 500);
        let cut = lengths.map(|length| {
            let file = sealed[..length].to_vec();
            (format!("the first {length} bytes"), file)
        });
        let longer = (1..=500).map(move |more| {
            let file = [sealed, &vec![more as u8; more]].concat();
            (format!("{more} bytes more"), file)
        });
        flipped.chain(cut).chain(longer)
    }

    #[test]
    fn damage_is_found_wherever_it_is() {
        let contents: Vec<u8> = (0..100_000_u32)
            .map(|n| (n.wrapping_mul(n) >> 7) as u8)
            .collect();
        for kind in [Kind::Code, Kind::Network] {
            let sealed = seal(&contents, kind);
            assert_eq!(open(&sealed, kind), Ok(&contents[..]));
            let mut tried = 0;
            for (what, file) in spoiled(&sealed) {
                assert!(open(&file, kind).is_err(), "{what}");
                tried += 1;
            }
            assert_eq!(tried, 2000);
        }
    }

    #[test]
    fn what_is_wrong_is_told() {
        let sealed = seal(b"contents", Kind::Code);
        let said = |file: &[u8]| open(file, Kind::Code).unwrap_err();
        let with = |position: usize, byte: u8| {
            let mut file = sealed.clone();
            file[position] = byte;
            file
        };
        assert_eq!(said(b""), Flaw::Unsealed);
        assert_eq!(said(b"\x7fELF\x02\x01\x01"), Flaw::Unsealed);
        assert_eq!(said(&with(0, b'\x09')), Flaw::Unsealed);
        assert_eq!(said(&with(12, 2)), Flaw::Version);
        assert_eq!(said(&seal(b"contents", Kind::Network)), Flaw::Kind);
        assert_eq!(said(&with(16, 9)), Flaw::CutShort(1));
        assert_eq!(said(&with(16, 7)), Flaw::Longer(1));
        assert_eq!(said(&with(23, 0xff)), Flaw::CutShort(0xff << 56));
        assert_eq!(said(&with(31, 1)), Flaw::Damaged);
        assert_eq!(said(&with(LEN - 1, 0)), Flaw::Damaged);
        assert_eq!(said(&with(LEN, b'C')), Flaw::Damaged);
        for length in MAGIC.len()..sealed.len() {
            let said = said(&sealed[..length]);
            assert!(matches!(said, Flaw::CutShort(_)), "{length}: {said:?}");
        }
    }
}
