//! SHA-256, which says whether a file is the one that was meant.

use sha2::Digest as _;
use std::fmt;
use std::io::Read;
use std::str::FromStr;

/// The SHA-256 of a file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest([u8; 32]);

/// Takes bytes as they come, and counts them.
#[derive(Clone, Default)]
pub struct Hasher {
    state: sha2::Sha256,
    length: u64,
}

impl Hasher {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
        self.length += bytes.len() as u64;
    }

    /// Takes everything that is left to read.
    pub fn update_from(&mut self, mut reader: impl Read) -> std::io::Result<()> {
        let mut buffer = vec![0; 1 << 16];
        loop {
            match reader.read(&mut buffer)? {
                0 => return Ok(()),
                read => self.update(&buffer[..read]),
            }
        }
    }

    /// How many bytes there were.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The SHA-256 of what there was until now.
    pub fn digest(&self) -> Digest {
        Digest(self.state.clone().finalize().into())
    }
}

impl FromStr for Digest {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const SENTENCE: &str = "a SHA-256 is 64 hexadecimal digits, as `sha256sum` prints them";
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(SENTENCE);
        }
        let mut bytes = [0; 32];
        for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| SENTENCE)?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_the_one_of_the_standard() {
        // FIPS 180-2's own example.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let mut hasher = Hasher::default();
        hasher.update(b"a");
        hasher.update_from(&b"bc"[..]).unwrap();
        assert_eq!(hasher.digest().to_string(), abc);
        assert_eq!(hasher.length(), 3);
        assert_eq!(
            abc.to_uppercase().parse::<Digest>().unwrap(),
            hasher.digest()
        );
    }

    #[test]
    fn what_is_no_digest_is_refused() {
        let plus = format!("+{}", "0".repeat(63));
        let wide = "é".repeat(32);
        for text in ["", "abc", &"0".repeat(63), &"0".repeat(65), &plus, &wide] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
    }
}
