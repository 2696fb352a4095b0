//! Convolutions that mix channels, as matrix multiplications.

#[cfg(feature = "serde")]
use crate::check::ensure;
use crate::epilogue::{TILE, Target};
use crate::layout::Layout;
use crate::op::{Activation, Integers};
use crate::pack::{self, Tile, Windows};
use crate::shape::{Geometry, Shape};
use crate::{gemm_f32, gemm_i8, gemm_i16};

/// Bytes of packed input and of output that are worked on at a time: what stays in a level 1 cache of 32 KiB or more. As
/// many as there are weights, where that is more: each chunk reads them all from further away.
const CHUNK_BYTES: usize = 32 * 1024;
const MOST_CHUNK_BYTES: usize = 256 * 1024;

/// A convolution, ready to run.
#[derive(Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Convolution {
    windows: Windows,
    weights: Weights,
    /// Output pixels that are worked on at a time.
    chunk: usize,
}

#[derive(Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
enum Weights {
    F32(gemm_f32::Weights),
    I8 {
        weights: gemm_i8::Weights,
        /// Whether inputs may be negative.
        signed: bool,
    },
    I16(gemm_i16::Weights),
}

impl Weights {
    fn bytes(&self) -> usize {
        match self {
            Self::F32(weights) => weights.bytes(),
            Self::I8 { weights, .. } => weights.bytes(),
            Self::I16(weights) => weights.bytes(),
        }
    }
}

/// Room for the input of one chunk, kept between runs.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    columns_f32: Vec<gemm_f32::Column>,
    columns_i8: Vec<gemm_i8::Columns>,
    columns_i16: Vec<gemm_i16::Pair>,
    scales: Vec<gemm_i8::Scales>,
    gathered: Vec<f32>,
    /// Rows of a plane with zeros at both ends, for depthwise convolutions.
    padded: Vec<[f32; 4]>,
}

impl Scratch {
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.columns_f32)
            + size_of_val(&*self.columns_i8)
            + size_of_val(&*self.columns_i16)
            + size_of_val(&*self.scales)
            + size_of_val(&*self.gathered)
            + size_of_val(&*self.padded)
    }

    /// Makes room for rows with zeros at both ends.
    pub(crate) fn reserve_padded(&mut self, len: usize) {
        grow(&mut self.padded, len, [0.0; 4]);
    }

    /// That room.
    pub(crate) fn padded(&mut self) -> &mut [[f32; 4]] {
        &mut self.padded
    }
}

impl Convolution {
    /// Packs weights `[out][height][width][in]`. `rows` is how many rows the input's buffer holds; none if the input is
    /// an image, not planes.
    pub(crate) fn new(
        geometry: Geometry,
        input: Shape,
        rows: Option<usize>,
        output: Shape,
        weights: (&[f32], &[f32]),
        activation: Activation,
        integers: Option<Integers>,
    ) -> Self {
        let windows = Windows::new(geometry, input, rows, output.width);
        let (weights, bias) = weights;
        let weights = &pad(weights, input.channels, windows.depth())[..];
        let (weights, packed) = match integers {
            Some(Integers::Rounded { signed }) => {
                let weights = gemm_i8::Weights::pack(weights, bias, activation);
                (Weights::I8 { weights, signed }, windows.len())
            }
            Some(Integers::Whole) if gemm_i16::takes(weights, windows.len()) => {
                let weights = gemm_i16::Weights::pack(weights, bias, activation);
                (Weights::I16(weights), windows.len() * 2)
            }
            _ => {
                let weights = gemm_f32::Weights::pack(weights, bias, activation);
                (Weights::F32(weights), windows.len() * 4)
            }
        };
        let per_pixel = packed + output.channels * 4;
        let bytes = weights.bytes().clamp(CHUNK_BYTES, MOST_CHUNK_BYTES);
        let chunk = (bytes / per_pixel / TILE).max(2) * TILE;
        Self {
            windows,
            weights,
            chunk,
        }
    }

    /// Whether it fits its layer.
    #[cfg(feature = "serde")]
    pub(crate) fn check(&self, rows: Option<usize>, input: Shape, output: Shape) -> Option<()> {
        self.windows.check(rows, input, output)?;
        let whole = self.chunk > 0 && self.chunk < 1 << 20;
        ensure(whole && self.chunk.is_multiple_of(TILE))?;
        match &self.weights {
            Weights::F32(weights) => weights.check(self.windows.len(), output.channels),
            Weights::I8 { weights, .. } => weights.check(self.windows.len(), output.channels),
            Weights::I16(weights) => weights.check(self.windows.len(), output.channels),
        }
    }

    pub(crate) fn weights_bytes(&self) -> usize {
        self.weights.bytes()
    }

    /// Output pixels to pack and multiply at a time.
    pub(crate) fn chunk(&self) -> usize {
        self.chunk
    }

    /// Makes room for a chunk of this convolution.
    pub(crate) fn reserve(&self, scratch: &mut Scratch) {
        let len = self.windows.len();
        let tiles = self.chunk / TILE;
        match &self.weights {
            Weights::F32(_) => grow(&mut scratch.columns_f32, tiles * len, [0.0; 4]),
            Weights::I8 { .. } => {
                let blocks = len.div_ceil(gemm_i8::BLOCK);
                grow(&mut scratch.columns_i8, tiles * blocks, [[0; 16]; 2]);
                let scales = gemm_i8::Scales {
                    scale: [0.0; 4],
                    offset: [0.0; 4],
                };
                grow(&mut scratch.scales, tiles, scales);
            }
            Weights::I16(_) => {
                let pairs = gemm_i16::pairs(len);
                grow(&mut scratch.columns_i16, tiles * pairs, [0; 8]);
            }
        }
        if !self.windows.is_pointwise() {
            grow(&mut scratch.gathered, TILE * len, 0.0);
        }
    }

    /// Packs what `pixels` output pixels from `first` on need of the input.
    pub(crate) fn pack(&self, input: &[f32], first: usize, pixels: usize, scratch: &mut Scratch) {
        let Some(layout) = self.windows.layout() else {
            self.pack_image(input, first, pixels, scratch);
            return;
        };
        match &self.weights {
            Weights::F32(_) => {
                let len = self.windows.len();
                let Scratch {
                    columns_f32,
                    gathered,
                    ..
                } = scratch;
                self.tiles(input, layout, first, pixels, gathered, |index, tile| {
                    let columns = &mut columns_f32[index * len..(index + 1) * len];
                    pack::pack_planes_f32(tile, columns);
                });
            }
            Weights::I8 { signed: true, .. } => {
                self.pack_i8::<true>(input, layout, first, pixels, scratch);
            }
            Weights::I8 { signed: false, .. } => {
                self.pack_i8::<false>(input, layout, first, pixels, scratch);
            }
            Weights::I16(_) => {
                let pairs = gemm_i16::pairs(self.windows.len());
                let Scratch {
                    columns_i16,
                    gathered,
                    ..
                } = scratch;
                self.tiles(input, layout, first, pixels, gathered, |index, tile| {
                    pack::pack_i16(tile, &mut columns_i16[index * pairs..(index + 1) * pairs]);
                });
            }
        }
    }

    fn pack_i8<const SIGNED: bool>(
        &self,
        input: &[f32],
        layout: Layout,
        first: usize,
        pixels: usize,
        scratch: &mut Scratch,
    ) {
        let blocks = self.windows.len().div_ceil(gemm_i8::BLOCK);
        let exact_zero = !self.windows.is_pointwise();
        let Scratch {
            columns_i8,
            scales,
            gathered,
            ..
        } = scratch;
        self.tiles(input, layout, first, pixels, gathered, |index, tile| {
            let columns = &mut columns_i8[index * blocks..(index + 1) * blocks];
            scales[index] = pack::pack_i8::<SIGNED>(tile, exact_zero, columns);
        });
    }

    /// Calls `sink` with the values under the windows of each tile.
    #[inline(always)]
    fn tiles(
        &self,
        input: &[f32],
        layout: Layout,
        first: usize,
        pixels: usize,
        gathered: &mut [f32],
        mut sink: impl FnMut(usize, Tile<'_>),
    ) {
        let windows = &self.windows;
        if windows.is_pointwise() && windows.is_dense() {
            // Pixels of input and output correspond: nothing to divide.
            let ring = layout.rows * layout.width;
            let mut next = first % ring;
            for index in 0..pixels.div_ceil(TILE) {
                let left = pixels - index * TILE;
                let at = |step: usize| {
                    let pixel = next + step.min(left - 1);
                    (if pixel < ring { pixel } else { pixel - ring }) * 4
                };
                let bases = [at(0), at(1), at(2), at(3)];
                sink(index, Tile::new(input, layout.stride, bases));
                next += TILE;
                if next >= ring {
                    next -= ring;
                }
            }
        } else if windows.is_pointwise() {
            windows.for_each_tile(first, pixels, |index, [a, b, c, d]| {
                let pixel = |at| windows.pixel(layout, at);
                let bases = [pixel(a), pixel(b), pixel(c), pixel(d)];
                sink(index, Tile::new(input, layout.stride, bases));
            });
        } else {
            let gathered = &mut gathered[..TILE * windows.len()];
            windows.for_each_tile(first, pixels, |index, positions| {
                windows.gather(input, layout, positions, gathered);
                sink(index, Tile::new(gathered, 16, [0, 4, 8, 12]));
            });
        }
    }

    /// The same for an image, whose pixels have all their channels together.
    fn pack_image(&self, input: &[f32], first: usize, pixels: usize, scratch: &mut Scratch) {
        let windows = &self.windows;
        let len = windows.len();
        let columns = &mut scratch.columns_f32[..];
        windows.for_each_tile(first, pixels, |tile, [a, b, c, d]| {
            let columns = &mut columns[tile * len..(tile + 1) * len];
            let row_len = len / windows.height();
            let mut buffers = scratch.gathered.chunks_exact_mut(row_len);
            for (ky, columns) in columns.chunks_exact_mut(row_len).enumerate() {
                let mut row = |at| {
                    let buffer = buffers.next().unwrap_or_default();
                    windows.window_row(input, at, ky, buffer)
                };
                pack::pack_f32([row(a), row(b), row(c), row(d)], columns);
            }
        });
    }

    /// Computes the pixels that were packed.
    pub(crate) fn multiply(&self, scratch: &Scratch, target: &mut Target<'_>) {
        let tiles = target.pixels().div_ceil(TILE);
        match &self.weights {
            Weights::F32(weights) => {
                let columns = &scratch.columns_f32[..tiles * self.windows.len()];
                weights.multiply(columns, target);
            }
            Weights::I8 { weights, signed } => {
                let blocks = self.windows.len().div_ceil(gemm_i8::BLOCK);
                let columns = &scratch.columns_i8[..tiles * blocks];
                let scales = &scratch.scales[..tiles];
                if *signed {
                    weights.multiply::<true>(columns, scales, target);
                } else {
                    weights.multiply::<false>(columns, scales, target);
                }
            }
            Weights::I16(weights) => {
                let pairs = gemm_i16::pairs(self.windows.len());
                weights.multiply(&scratch.columns_i16[..tiles * pairs], target);
            }
        }
    }
}

/// Puts zeros after each `from` values, so that they become `to`.
fn pad(values: &[f32], from: usize, to: usize) -> Vec<f32> {
    let mut padded = vec![0.0; values.len() / from * to];
    for (padded, values) in padded.chunks_exact_mut(to).zip(values.chunks_exact(from)) {
        padded[..from].copy_from_slice(values);
    }
    padded
}

fn grow<T: Clone>(values: &mut Vec<T>, len: usize, value: T) {
    if values.len() < len {
        values.resize(len, value);
    }
}
