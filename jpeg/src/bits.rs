//! The bits of a scan's entropy-coded data: stuffed zeros left out, up to the next marker.

/// A reader of bits. Behind the last one there are zeros without end, and whoever takes one of these has gone too far.
pub struct Bits<'a> {
    bytes: &'a [u8],
    /// The next byte to be read.
    at: usize,
    /// Bits that were read, the next one topmost.
    buffer: u64,
    /// How many these are.
    count: u32,
    /// How many of them, the last ones, are not in the file.
    missing: u32,
}

impl<'a> Bits<'a> {
    /// Of the data that begins there.
    pub fn new(bytes: &'a [u8], at: usize) -> Self {
        Self {
            bytes,
            at,
            buffer: 0,
            count: 0,
            missing: 0,
        }
    }

    /// Afterwards there are at least 48 bits.
    #[inline]
    pub fn refill(&mut self) {
        if self.count > 48 {
            return;
        }
        if let Some(chunk) = self
            .bytes
            .get(self.at..)
            .and_then(|rest| rest.first_chunk::<8>())
        {
            let word = u64::from_be_bytes(*chunk);
            // Whether a byte of it is 0xFF: one of the inverted word's is then 0.
            let inverted = !word;
            let has_marker =
                inverted.wrapping_sub(0x0101_0101_0101_0101) & word & 0x8080_8080_8080_8080;
            if has_marker == 0 {
                let fits = (64 - self.count) / 8;
                self.buffer |= word >> self.count;
                self.at += fits as usize;
                self.count += fits * 8;
                // Bits of a byte that did not fit as a whole are read again.
                if self.count < 64 {
                    self.buffer &= !(u64::MAX >> self.count);
                }
                return;
            }
        }
        self.refill_slowly();
    }

    #[cold]
    fn refill_slowly(&mut self) {
        while self.count <= 56 {
            let byte = match self.bytes.get(self.at) {
                None => None,
                Some(0xff) => match self.bytes.get(self.at + 1) {
                    Some(0) => {
                        self.at += 2;
                        Some(0xff)
                    }
                    _ => None,
                },
                Some(&byte) => {
                    self.at += 1;
                    Some(byte)
                }
            };
            match byte {
                Some(byte) => self.buffer |= u64::from(byte) << (56 - self.count),
                None => self.missing += 8,
            }
            self.count += 8;
        }
    }

    /// The next 1 to 16 bits, which stay.
    #[inline]
    pub fn peek(&self, size: u32) -> u32 {
        (self.buffer >> (64 - size)) as u32
    }

    /// Passes over bits that were there to be seen.
    #[inline]
    pub fn skip(&mut self, size: u32) {
        self.buffer <<= size;
        self.count -= size;
    }

    /// Takes 0 to 16 bits out of those that there are.
    #[inline]
    pub fn take(&mut self, size: u32) -> u32 {
        // In two steps: a shift by 64 is none.
        let taken = (self.buffer >> 1 >> (63 - size)) as u32;
        self.skip(size);
        taken
    }

    /// Takes a bit.
    #[inline]
    pub fn bit(&mut self) -> bool {
        self.refill();
        self.take(1) == 1
    }

    /// Whether bits were taken that are not in the file.
    pub fn is_overrun(&self) -> bool {
        self.count < self.missing
    }

    /// The place of the next marker, or of whatever comes before it.
    pub fn position(&self) -> usize {
        self.at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_come_in_order_without_stuffing() {
        // Long enough for both ways of reading, with stuffed bytes in both.
        let plain: Vec<u8> = (0..200)
            .map(|index| (index * 37) as u8 | (u8::from(index % 11 == 0) * 0xff))
            .collect();
        let mut stuffed = Vec::new();
        for &byte in &plain {
            stuffed.push(byte);
            if byte == 0xff {
                stuffed.push(0);
            }
        }
        stuffed.extend([0xff, 0xd9]);
        let mut bits = Bits::new(&stuffed, 0);
        let mut read = Vec::new();
        for turn in 0..plain.len() * 8 / 5 {
            bits.refill();
            // Sizes that meet every alignment.
            let value = if turn % 2 == 0 {
                bits.take(5)
            } else {
                bits.peek(5)
            };
            if turn % 2 == 1 {
                bits.skip(5);
            }
            read.extend((0..5).rev().map(|place| value >> place & 1 == 1));
        }
        let expected = plain
            .iter()
            .flat_map(|byte| (0..8).rev().map(move |place| byte >> place & 1 == 1));
        assert!(read.iter().copied().eq(expected.take(read.len())));
        assert!(!bits.is_overrun());
        assert_eq!(bits.take(0), 0);
        for _ in 0..3 {
            bits.refill();
            bits.skip(16);
        }
        assert!(bits.is_overrun());
        assert_eq!(bits.position(), stuffed.len() - 2);
    }
}
