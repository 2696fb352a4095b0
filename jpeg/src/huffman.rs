//! Huffman tables (ITU-T T.81, annex C and F.2.2.3).

use crate::bits::Bits;
use crate::error::{Error, Result};

/// Codes of up to so many bits are looked up at once.
const LOOKUP: u32 = 9;

/// A code's longest length, in bits.
const LONGEST: usize = 16;

/// A table as decoders need it.
#[derive(Clone)]
pub struct Table {
    /// For each `LOOKUP` bits: the symbol, and the length of its code above it; 0 where the code is longer.
    short: Box<[u16; 1 << LOOKUP]>,
    /// For AC coefficients whose code and value fit: the value, the run, and the length of both; 0 where they do not.
    values: Box<[i32; 1 << LOOKUP]>,
    /// For each length, one more than the largest code of it, as the topmost of 16 bits; the last ends every search.
    ends: [u32; LONGEST + 2],
    /// For each length, what is added to a code to give its symbol's place.
    offsets: [i32; LONGEST + 1],
    symbols: Vec<u8>,
}

/// An AC coefficient, or the end of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value {
    /// Zeros before it.
    pub run: u32,
    /// The coefficient; 0 for what ends a block or is sixteen zeros.
    pub value: i32,
}

impl Table {
    /// A table from how many codes there are of each length, and their symbols in order.
    pub fn new(counts: &[u8; LONGEST], symbols: &[u8]) -> Result<Self> {
        let total: usize = counts.iter().map(|&count| usize::from(count)).sum();
        if total > 256 || total > symbols.len() {
            return Err(Error::Damaged);
        }
        let mut table = Self {
            short: Box::new([0; 1 << LOOKUP]),
            values: Box::new([0; 1 << LOOKUP]),
            ends: [0; LONGEST + 2],
            offsets: [0; LONGEST + 1],
            symbols: symbols[..total].to_vec(),
        };
        let (mut code, mut place) = (0u32, 0usize);
        for length in 1..=LONGEST {
            table.offsets[length] = place as i32 - code as i32;
            for _ in 0..counts[length - 1] {
                // A code of ones alone is reserved, and one that does not fit its length is no code.
                if code >> length != 0 {
                    return Err(Error::Damaged);
                }
                if length as u32 <= LOOKUP {
                    let shift = LOOKUP - length as u32;
                    let first = (code << shift) as usize;
                    let entry = (length as u16) << 8 | u16::from(symbols[place]);
                    table.short[first..first + (1 << shift)].fill(entry);
                }
                code += 1;
                place += 1;
            }
            table.ends[length] = if counts[length - 1] > 0 {
                code << (LONGEST - length)
            } else {
                0
            };
            code <<= 1;
        }
        table.ends[LONGEST + 1] = u32::MAX;
        table.look_values_up();
        Ok(table)
    }

    /// Most coefficients are small: their code and their bits are found together.
    fn look_values_up(&mut self) {
        for bits in 0..1usize << LOOKUP {
            let entry = self.short[bits];
            let (length, symbol) = (u32::from(entry >> 8), u32::from(entry & 0xff));
            let (run, size) = (symbol >> 4, symbol & 15);
            if length == 0 || size == 0 || length + size > LOOKUP {
                continue;
            }
            let raw = (bits as u32 >> (LOOKUP - length - size)) & ((1 << size) - 1);
            let value = extend(raw, size);
            self.values[bits] = value << 16 | (run << 8 | (length + size)) as i32;
        }
    }

    /// The next symbol.
    #[inline]
    pub fn symbol(&self, bits: &mut Bits<'_>) -> Result<u8> {
        bits.refill();
        let entry = self.short[bits.peek(LOOKUP) as usize];
        if entry != 0 {
            bits.skip(u32::from(entry >> 8));
            return Ok(entry as u8);
        }
        self.long(bits)
    }

    #[cold]
    fn long(&self, bits: &mut Bits<'_>) -> Result<u8> {
        let window = bits.peek(LONGEST as u32);
        let length = (LOOKUP as usize + 1..=LONGEST)
            .find(|&length| window < self.ends[length])
            .ok_or(Error::Damaged)?;
        let code = window >> (LONGEST - length);
        let place = self.offsets[length] + code as i32;
        bits.skip(length as u32);
        let symbol = usize::try_from(place)
            .ok()
            .and_then(|place| self.symbols.get(place));
        symbol.copied().ok_or(Error::Damaged)
    }

    /// The next difference of a DC coefficient.
    #[inline]
    pub fn difference(&self, bits: &mut Bits<'_>) -> Result<i32> {
        let size = u32::from(self.symbol(bits)?);
        if size > 15 {
            return Err(Error::Damaged);
        }
        Ok(extend(bits.take(size), size))
    }

    /// The next AC coefficient of a sequential scan.
    #[inline]
    pub fn value(&self, bits: &mut Bits<'_>) -> Result<Value> {
        bits.refill();
        let known = self.values[bits.peek(LOOKUP) as usize];
        if known != 0 {
            bits.skip((known & 0xff) as u32);
            return Ok(Value {
                run: (known >> 8 & 15) as u32,
                value: known >> 16,
            });
        }
        let symbol = u32::from(self.symbol(bits)?);
        let size = symbol & 15;
        Ok(Value {
            run: symbol >> 4,
            value: extend(bits.take(size), size),
        })
    }
}

/// The value that so many bits stand for (T.81, F.2.2.1): those that begin with 0 are negative.
#[inline]
pub fn extend(raw: u32, size: u32) -> i32 {
    let is_negative = size > 0 && raw >> (size - 1) == 0;
    raw as i32 - if is_negative { (1 << size) - 1 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_extended_as_the_standard_has_it() {
        assert_eq!(extend(0, 0), 0);
        assert_eq!((extend(0, 1), extend(1, 1)), (-1, 1));
        assert_eq!([0, 1, 2, 3].map(|raw| extend(raw, 2)), [-3, -2, 2, 3]);
        assert_eq!(extend(0, 11), -2047);
    }

    #[test]
    fn codes_are_found_at_every_length() {
        // One code of each length: 0, 10, 110, and so on, up to 16 bits.
        let counts = [1; 16];
        let symbols: Vec<u8> = (0..16).map(|length| length * 3).collect();
        let table = Table::new(&counts, &symbols).unwrap();
        for length in 1..=16usize {
            let code: u64 = ((1 << length) - 2) << (64 - length);
            let bytes: Vec<u8> = code
                .to_be_bytes()
                .iter()
                .flat_map(|&byte| {
                    if byte == 0xff {
                        vec![0xff, 0]
                    } else {
                        vec![byte]
                    }
                })
                .collect();
            let mut bits = Bits::new(&bytes, 0);
            assert_eq!(table.symbol(&mut bits), Ok(symbols[length - 1]), "{length}");
        }
        // Ones alone are no code.
        let ones = [0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0];
        assert_eq!(table.symbol(&mut Bits::new(&ones, 0)), Err(Error::Damaged));
    }

    #[test]
    fn tables_that_are_none_are_refused() {
        assert!(Table::new(&[3; 16], &[0; 256]).is_err());
        let mut counts = [0; 16];
        counts[0] = 2;
        assert!(Table::new(&counts, &[1]).is_err());
        assert!(Table::new(&counts, &[1, 2]).is_ok());
    }
}
