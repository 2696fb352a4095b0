//! Scans: entropy-coded data to coefficients (T.81, annex F and G).

use crate::bits::Bits;
use crate::error::{Error, Result};
use crate::header::{Frame, Tables, ZIGZAG};
use crate::huffman::{Table, extend};

/// Coefficients of a block, row by row.
pub type Block = [i16; 64];

/// A component of a scan.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// Which of the frame's it is.
    pub component: usize,
    dc: usize,
    ac: usize,
}

/// A scan's header.
#[derive(Debug)]
pub struct Scan {
    /// Its components, in order.
    pub parts: Vec<Part>,
    /// The first coefficient that it has, and the last one.
    first: usize,
    last: usize,
    /// Bits that earlier scans had left out, and that this one leaves out.
    high: u32,
    low: u32,
}

impl Scan {
    /// Reads a header.
    pub fn read(content: &[u8], frame: &Frame) -> Result<Self> {
        let (&count, rest) = content.split_first().ok_or(Error::Damaged)?;
        let count = usize::from(count);
        let (named, rest) = rest.split_at_checked(2 * count).ok_or(Error::Damaged)?;
        let &[first, last, bits] = rest.first_chunk::<3>().ok_or(Error::Damaged)?;
        if !(1..=4).contains(&count) {
            return Err(Error::Damaged);
        }
        let mut parts: Vec<Part> = Vec::with_capacity(count);
        for &[id, tables] in named.as_chunks::<2>().0 {
            let found = frame.components.iter().position(|one| one.id == id);
            let component = found.ok_or(Error::Damaged)?;
            if parts.iter().any(|part| part.component == component) {
                return Err(Error::Damaged);
            }
            let (dc, ac) = (usize::from(tables >> 4), usize::from(tables & 15));
            if dc > 3 || ac > 3 {
                return Err(Error::Damaged);
            }
            parts.push(Part { component, dc, ac });
        }
        let scan = if frame.is_progressive {
            Self {
                parts,
                first: first.into(),
                last: last.into(),
                high: u32::from(bits >> 4),
                low: u32::from(bits & 15),
            }
        } else {
            // What a sequential scan says of these means nothing.
            Self {
                parts,
                first: 0,
                last: 63,
                high: 0,
                low: 0,
            }
        };
        let is_right = scan.last <= 63
            && scan.first <= scan.last
            && scan.low <= 13
            && (scan.high == 0 || scan.high == scan.low + 1)
            && (!frame.is_progressive
                || if scan.first == 0 {
                    scan.last == 0
                } else {
                    scan.parts.len() == 1
                });
        if is_right {
            Ok(scan)
        } else {
            Err(Error::Damaged)
        }
    }

    /// Whether each MCU has blocks of every component of the scan, and not one block of the only one.
    pub fn is_interleaved(&self) -> bool {
        self.parts.len() > 1
    }

    /// What each coefficient of its components lacks after this scan: bits of all from the first to the last.
    pub fn precision(&self) -> (std::ops::RangeInclusive<usize>, u8) {
        (self.first..=self.last, self.low as u8)
    }
}

/// Decodes a scan, MCU by MCU.
pub struct Decoder<'a> {
    bits: Bits<'a>,
    bytes: &'a [u8],
    tables: Vec<(Option<&'a Table>, Option<&'a Table>)>,
    scan: &'a Scan,
    /// The DC coefficients that differences are from.
    before: [i32; 4],
    /// Blocks that are known to have nothing more.
    ended: u32,
    restart_interval: usize,
    /// MCUs up to the next restart.
    left: usize,
    restarts: u8,
}

impl<'a> Decoder<'a> {
    /// Of a scan whose data begins there.
    pub fn new(bytes: &'a [u8], at: usize, scan: &'a Scan, tables: &'a Tables) -> Result<Self> {
        let found = scan
            .parts
            .iter()
            .map(|part| (tables.dc[part.dc].as_ref(), tables.ac[part.ac].as_ref()))
            .collect::<Vec<_>>();
        let needs_dc = scan.first == 0 && scan.high == 0;
        let needs_ac = scan.last > 0;
        let is_complete = |(dc, ac): &(Option<&Table>, Option<&Table>)| {
            (!needs_dc || dc.is_some()) && (!needs_ac || ac.is_some())
        };
        if !found.iter().all(is_complete) {
            return Err(Error::Damaged);
        }
        Ok(Self {
            bits: Bits::new(bytes, at),
            bytes,
            tables: found,
            scan,
            before: [0; 4],
            ended: 0,
            restart_interval: tables.restart_interval,
            left: tables.restart_interval,
            restarts: 0,
        })
    }

    /// Where segments go on.
    pub fn position(&self) -> usize {
        self.bits.position()
    }

    /// To be called before each MCU: passes over a restart marker where one must be.
    #[inline]
    pub fn begin(&mut self) -> Result<()> {
        if self.restart_interval == 0 {
            return Ok(());
        }
        if self.left == 0 {
            self.restart()?;
        }
        self.left -= 1;
        Ok(())
    }

    fn restart(&mut self) -> Result<()> {
        self.check()?;
        let mut at = self.bits.position();
        // Bytes before it are passed over.
        let marker = loop {
            match self.bytes.get(at..) {
                None | Some([] | [_]) => return Err(Error::CutShort),
                Some([0xff, marker, ..]) if !matches!(marker, 0 | 0xff) => break *marker,
                Some(_) => at += 1,
            }
        };
        if marker == 0xd9 {
            return Err(Error::CutShort);
        }
        if marker != 0xd0 + self.restarts {
            return Err(Error::Damaged);
        }
        self.restarts = (self.restarts + 1) % 8;
        self.bits = Bits::new(self.bytes, at + 2);
        self.before = [0; 4];
        self.ended = 0;
        self.left = self.restart_interval;
        Ok(())
    }

    /// To be called now and then, and at the end: fails where more was read than there is.
    pub fn check(&self) -> Result<()> {
        if !self.bits.is_overrun() {
            return Ok(());
        }
        match self.bytes.get(self.bits.position()..) {
            Some([0xff, marker, ..]) if *marker != 0xd9 => Err(Error::Damaged),
            _ => Err(Error::CutShort),
        }
    }

    /// Decodes a block of a sequential scan into one of zeros. Returns where its last coefficient is that is not 0, in zigzag order.
    #[inline]
    pub fn sequential(&mut self, part: usize, block: &mut Block) -> Result<usize> {
        let (Some(dc), Some(ac)) = self.tables[part] else {
            return Err(Error::Damaged);
        };
        let difference = dc.difference(&mut self.bits)?;
        self.before[part] = self.before[part].wrapping_add(difference);
        block[0] = self.before[part] as i16;
        let (mut place, mut last) = (1, 0);
        while place < 64 {
            let found = ac.value(&mut self.bits)?;
            if found.value == 0 {
                // Sixteen zeros, or the block's end.
                if found.run != 15 {
                    break;
                }
                place += 16;
                continue;
            }
            place += found.run as usize;
            let &to = ZIGZAG.get(place).ok_or(Error::Damaged)?;
            block[usize::from(to)] = found.value as i16;
            last = place;
            place += 1;
        }
        Ok(last)
    }

    /// Adds to a block what a progressive scan has of it.
    pub fn progressive(&mut self, part: usize, block: &mut Block) -> Result<()> {
        match (self.scan.first, self.scan.high) {
            (0, 0) => {
                let (Some(dc), _) = self.tables[part] else {
                    return Err(Error::Damaged);
                };
                let difference = dc.difference(&mut self.bits)?;
                self.before[part] = self.before[part].wrapping_add(difference);
                block[0] = (self.before[part] << self.scan.low) as i16;
                Ok(())
            }
            (0, _) => {
                if self.bits.bit() {
                    block[0] |= 1 << self.scan.low;
                }
                Ok(())
            }
            (_, 0) => self.first_bits(part, block),
            _ => self.more_bits(part, block),
        }
    }

    fn ac(&self, part: usize) -> Result<&'a Table> {
        self.tables[part].1.ok_or(Error::Damaged)
    }

    /// How many blocks end here, the present one included (T.81, G.1.2.2).
    fn run_of_ends(&mut self, size: u32) -> u32 {
        self.bits.refill();
        (1 << size) + self.bits.take(size)
    }

    fn first_bits(&mut self, part: usize, block: &mut Block) -> Result<()> {
        if self.ended > 0 {
            self.ended -= 1;
            return Ok(());
        }
        let ac = self.ac(part)?;
        let mut place = self.scan.first;
        while place <= self.scan.last {
            let symbol = u32::from(ac.symbol(&mut self.bits)?);
            let (run, size) = (symbol >> 4, symbol & 15);
            if size == 0 {
                if run != 15 {
                    self.ended = self.run_of_ends(run) - 1;
                    break;
                }
                place += 16;
                continue;
            }
            place += run as usize;
            let &to = ZIGZAG.get(place).ok_or(Error::Damaged)?;
            block[usize::from(to)] = (extend(self.bits.take(size), size) << self.scan.low) as i16;
            place += 1;
        }
        Ok(())
    }

    fn more_bits(&mut self, part: usize, block: &mut Block) -> Result<()> {
        let ac = self.ac(part)?;
        let bit = 1i16 << self.scan.low;
        let mut place = self.scan.first;
        if self.ended == 0 {
            while place <= self.scan.last {
                let symbol = u32::from(ac.symbol(&mut self.bits)?);
                let (mut run, size) = (symbol >> 4, symbol & 15);
                let new = match size {
                    0 if run != 15 => {
                        self.ended = self.run_of_ends(run);
                        break;
                    }
                    0 => 0,
                    1 if self.bits.bit() => bit,
                    1 => -bit,
                    _ => return Err(Error::Damaged),
                };
                // Passes over so many zeros; what is not 0 on the way gets its next bit.
                while place <= self.scan.last {
                    let coefficient = &mut block[usize::from(ZIGZAG[place])];
                    if *coefficient != 0 {
                        refine(&mut self.bits, coefficient, bit);
                    } else if run == 0 {
                        *coefficient = new;
                        place += 1;
                        break;
                    } else {
                        run -= 1;
                    }
                    place += 1;
                }
            }
        }
        if self.ended > 0 {
            while place <= self.scan.last {
                let coefficient = &mut block[usize::from(ZIGZAG[place])];
                if *coefficient != 0 {
                    refine(&mut self.bits, coefficient, bit);
                }
                place += 1;
            }
            self.ended -= 1;
        }
        Ok(())
    }
}

/// A coefficient's next bit, unless it has it.
fn refine(bits: &mut Bits<'_>, coefficient: &mut i16, bit: i16) {
    if bits.bit() && *coefficient & bit == 0 {
        *coefficient += if *coefficient > 0 { bit } else { -bit };
    }
}
