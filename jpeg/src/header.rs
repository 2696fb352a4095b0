//! Segments: what the file says of itself, before its first scan and between scans.

use crate::error::{Error, Result, Unsupported};
use crate::huffman::Table;
use crate::standard;

/// Zigzag order: the place in a block, row by row, of each coefficient in the order of the file.
pub const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20,
    13, 6, 7, 14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59,
    52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// A component of the frame: a plane of samples.
#[derive(Clone, Debug)]
pub struct Component {
    /// Its name.
    pub id: u8,
    /// Blocks of it in an MCU, side by side.
    pub across: usize,
    /// And one above the other.
    pub down: usize,
    /// Number of its quantisation table.
    pub quantisation: usize,
}

/// The frame.
#[derive(Clone, Debug)]
pub struct Frame {
    /// In pixels.
    pub width: usize,
    /// In pixels.
    pub height: usize,
    /// Whether scans refine coefficients step by step.
    pub is_progressive: bool,
    /// One (grey), three or four.
    pub components: Vec<Component>,
    /// The largest of their factors.
    pub most_across: usize,
    /// The same, for rows.
    pub most_down: usize,
}

impl Frame {
    /// MCUs in a row.
    pub fn mcus_across(&self) -> usize {
        self.width.div_ceil(8 * self.most_across)
    }

    /// Rows of MCUs.
    pub fn mcus_down(&self) -> usize {
        self.height.div_ceil(8 * self.most_down)
    }

    fn read(content: &[u8], is_progressive: bool) -> Result<Self> {
        let Some((&[precision, h1, h0, w1, w0, count], rest)) = content.split_first_chunk::<6>()
        else {
            return Err(Error::Damaged);
        };
        if precision != 8 {
            return Err(Error::Unsupported(Unsupported::Precision(precision)));
        }
        let (height, width) = (u16::from_be_bytes([h1, h0]), u16::from_be_bytes([w1, w0]));
        if height == 0 {
            return Err(Error::Unsupported(Unsupported::Height));
        }
        if width == 0 || count == 0 || rest.len() != usize::from(count) * 3 {
            return Err(Error::Damaged);
        }
        if !matches!(count, 1 | 3 | 4) {
            return Err(Error::Unsupported(Unsupported::Components(count)));
        }
        let mut components = Vec::with_capacity(usize::from(count));
        for &[id, factors, quantisation] in rest.as_chunks::<3>().0 {
            let (across, down) = (usize::from(factors >> 4), usize::from(factors & 15));
            if !(1..=4).contains(&across) || !(1..=4).contains(&down) || quantisation > 3 {
                return Err(Error::Damaged);
            }
            components.push(Component {
                id,
                across,
                down,
                quantisation: quantisation.into(),
            });
        }
        if let [only] = components.as_mut_slice() {
            // Factors are relations: there is nothing that one alone could be related to.
            (only.across, only.down) = (1, 1);
        }
        let most = |of: fn(&Component) -> usize| components.iter().map(of).max().unwrap_or(1);
        let (most_across, most_down) = (most(|one| one.across), most(|one| one.down));
        // Planes are enlarged by whole factors.
        let fits = |one: &Component| most_across % one.across == 0 && most_down % one.down == 0;
        if !components.iter().all(fits) {
            return Err(Error::Unsupported(Unsupported::Sampling));
        }
        Ok(Self {
            width: width.into(),
            height: height.into(),
            is_progressive,
            components,
            most_across,
            most_down,
        })
    }
}

/// What scans need beside the frame. Segments between scans replace parts of it.
#[derive(Default)]
pub struct Tables {
    /// Steps of coefficients, row by row.
    pub quantisation: [Option<[u16; 64]>; 4],
    /// For DC coefficients.
    pub dc: [Option<Table>; 4],
    /// For AC coefficients.
    pub ac: [Option<Table>; 4],
    /// MCUs from one restart marker to the next; 0: there are none.
    pub restart_interval: usize,
}

impl Tables {
    fn read_quantisation(&mut self, mut content: &[u8]) -> Result<()> {
        while let Some((&first, rest)) = content.split_first() {
            let (is_wide, number) = (first >> 4 != 0, usize::from(first & 15));
            let size = if is_wide { 128 } else { 64 };
            let (steps, rest) = rest.split_at_checked(size).ok_or(Error::Damaged)?;
            let mut table = [0; 64];
            for (place, &to) in ZIGZAG.iter().enumerate() {
                table[usize::from(to)] = if is_wide {
                    u16::from_be_bytes([steps[2 * place], steps[2 * place + 1]])
                } else {
                    steps[place].into()
                };
            }
            *self.quantisation.get_mut(number).ok_or(Error::Damaged)? = Some(table);
            content = rest;
        }
        Ok(())
    }

    fn read_huffman(&mut self, mut content: &[u8]) -> Result<()> {
        while let Some((&first, rest)) = content.split_first() {
            let (counts, rest) = rest.split_first_chunk::<16>().ok_or(Error::Damaged)?;
            let total = counts.iter().map(|&count| usize::from(count)).sum();
            let (symbols, rest) = rest.split_at_checked(total).ok_or(Error::Damaged)?;
            let tables = match first >> 4 {
                0 => &mut self.dc,
                1 => &mut self.ac,
                _ => return Err(Error::Damaged),
            };
            let table = tables
                .get_mut(usize::from(first & 15))
                .ok_or(Error::Damaged)?;
            *table = Some(Table::new(counts, symbols)?);
            content = rest;
        }
        Ok(())
    }

    /// Motion JPEG leaves tables out: those that the standard recommends are meant.
    pub fn add_standard(&mut self) -> Result<()> {
        for (tables, known) in [(&mut self.dc, standard::DC), (&mut self.ac, standard::AC)] {
            for (table, (counts, symbols)) in tables.iter_mut().zip(known) {
                if table.is_none() {
                    *table = Some(Table::new(&counts, symbols)?);
                }
            }
        }
        Ok(())
    }
}

/// What colours are, as far as segments tell.
#[derive(Clone, Copy, Debug, Default)]
pub struct Marks {
    /// There is a JFIF segment.
    pub jfif: bool,
    /// There is one of Adobe's, which names this transform.
    pub adobe: Option<u8>,
}

/// Reads segments.
pub struct Segments<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The frame, once it was met.
    pub frame: Option<Frame>,
    /// Tables, as they are now.
    pub tables: Tables,
    /// What colours are.
    pub marks: Marks,
}

/// What comes next.
pub enum Next<'a> {
    /// A scan with this header; its data begins there.
    Scan(&'a [u8], usize),
    /// The marker that ends the picture.
    End,
    /// Nothing more.
    Nothing,
}

impl<'a> Segments<'a> {
    /// Of a whole file.
    pub fn new(bytes: &'a [u8]) -> Result<Self> {
        if !bytes.starts_with(&[0xff, 0xd8]) {
            return Err(Error::Damaged);
        }
        Ok(Self {
            bytes,
            at: 2,
            frame: None,
            tables: Tables::default(),
            marks: Marks::default(),
        })
    }

    /// Goes on behind a scan's data.
    pub fn go_on(&mut self, at: usize) {
        self.at = at;
    }

    /// Reads on up to the next scan, or the end.
    pub fn next(&mut self) -> Result<Next<'a>> {
        while let Some(marker) = self.marker() {
            match marker {
                0xd9 => return Ok(Next::End),
                // Without a length: TEM, restarts, and starts of images.
                0x01 | 0xd0..=0xd8 => continue,
                _ => {}
            }
            let Some(content) = self.content() else {
                return Ok(Next::Nothing);
            };
            match marker {
                0xc0..=0xc2 if self.frame.is_some() => return Err(Error::Damaged),
                0xc0..=0xc2 => self.frame = Some(Frame::read(content, marker == 0xc2)?),
                0xc3 => return Err(Error::Unsupported(Unsupported::Lossless)),
                0xc4 => self.tables.read_huffman(content)?,
                0xc5..=0xc7 | 0xde => return Err(Error::Unsupported(Unsupported::Hierarchical)),
                0xc9..=0xcf => return Err(Error::Unsupported(Unsupported::Arithmetic)),
                0xda => return Ok(Next::Scan(content, self.at)),
                0xdb => self.tables.read_quantisation(content)?,
                0xdd => {
                    let interval = content.first_chunk().ok_or(Error::Damaged)?;
                    self.tables.restart_interval = u16::from_be_bytes(*interval).into();
                }
                0xe0 if content.len() >= 14 && content.starts_with(b"JFIF\0") => {
                    self.marks.jfif = true
                }
                0xee if content.len() >= 12 && content.starts_with(b"Adobe") => {
                    self.marks.adobe = Some(content[11]);
                }
                _ => {}
            }
        }
        Ok(Next::Nothing)
    }

    /// The next marker; bytes before it are passed over, as every decoder does.
    fn marker(&mut self) -> Option<u8> {
        loop {
            let rest = self.bytes.get(self.at..)?;
            self.at += rest.iter().position(|&byte| byte == 0xff)? + 1;
            match self.bytes.get(self.at)? {
                // More of the same are fill bytes.
                0xff => {}
                0 => self.at += 1,
                &marker => {
                    self.at += 1;
                    return Some(marker);
                }
            }
        }
    }

    /// The content of the segment whose length comes next; none where the file ends within it.
    fn content(&mut self) -> Option<&'a [u8]> {
        let length = self.bytes.get(self.at..)?.first_chunk()?;
        // A length counts itself; metadata of which it does not is no reason to refuse a picture.
        let length = usize::from(u16::from_be_bytes(*length)).max(2);
        let content = self.bytes.get(self.at + 2..self.at + length);
        self.at += length;
        content
    }
}
