//! Convolutions that mix channels, as matrix multiplications.

use crate::builder::{Activation, Geometry};
use crate::network::Shape;
use crate::pack::{self, Windows};
use crate::{gemm_f32, gemm_i8};

/// Bytes of packed input and of output that are worked on at a time: what stays in a level 1 cache of 32 KiB or more.
const CHUNK_BYTES: usize = 32 * 1024;

/// A convolution, ready to run.
#[derive(Debug)]
pub(crate) struct Convolution {
    windows: Windows,
    weights: Weights,
    /// Output pixels that are worked on at a time.
    chunk: usize,
    channels: usize,
}

/// That a convolution is to multiply integers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Integers {
    /// Whether inputs may be negative.
    pub(crate) signed: bool,
}

#[derive(Debug)]
enum Weights {
    F32(gemm_f32::Weights),
    I8 {
        weights: gemm_i8::Weights,
        /// Whether inputs may be negative.
        signed: bool,
    },
}

/// Room for the input of one chunk, kept between runs.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    columns_f32: Vec<gemm_f32::Column>,
    columns_i8: Vec<gemm_i8::Columns>,
    scales: Vec<gemm_i8::Scales>,
    gathered: Vec<f32>,
}

impl Scratch {
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.columns_f32)
            + size_of_val(&*self.columns_i8)
            + size_of_val(&*self.scales)
            + size_of_val(&*self.gathered)
    }
}

impl Convolution {
    /// Packs weights `[out][height][width][in]`. `rows` is how many rows the input's buffer holds.
    pub(crate) fn new(
        geometry: Geometry,
        input: Shape,
        rows: usize,
        output: Shape,
        weights: (&[f32], &[f32]),
        activation: Activation,
        integers: Option<Integers>,
    ) -> Self {
        let windows = Windows::new(geometry, input, rows, output.width);
        let (weights, bias) = weights;
        let (weights, packed) = if let Some(Integers { signed }) = integers {
            let weights = gemm_i8::Weights::pack(weights, bias, activation);
            (Weights::I8 { weights, signed }, windows.len())
        } else {
            let weights = gemm_f32::Weights::pack(weights, bias, activation);
            (Weights::F32(weights), windows.len() * 4)
        };
        let per_pixel = packed + output.channels * 4;
        let chunk = (CHUNK_BYTES / per_pixel / gemm_f32::TILE).max(2) * gemm_f32::TILE;
        Self {
            windows,
            weights,
            chunk,
            channels: output.channels,
        }
    }

    pub(crate) fn weights_bytes(&self) -> usize {
        match &self.weights {
            Weights::F32(weights) => weights.bytes(),
            Weights::I8 { weights, .. } => weights.bytes(),
        }
    }

    /// Output pixels to pack and multiply at a time.
    pub(crate) fn chunk(&self) -> usize {
        self.chunk
    }

    /// Makes room for a chunk of this convolution.
    pub(crate) fn reserve(&self, scratch: &mut Scratch) {
        let len = self.windows.len();
        let tiles = self.chunk / gemm_f32::TILE;
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
        }
        if !self.windows.is_pointwise() {
            grow(&mut scratch.gathered, gemm_f32::TILE * len, 0.0);
        }
    }

    /// Packs what `pixels` output pixels from `first` on need of the input.
    pub(crate) fn pack(&self, input: &[f32], first: usize, pixels: usize, scratch: &mut Scratch) {
        let windows = &self.windows;
        let len = windows.len();
        let pointwise = windows.is_pointwise();
        match &self.weights {
            Weights::F32(_) => {
                let columns = &mut scratch.columns_f32[..];
                windows.for_each_tile(first, pixels, |tile, [a, b, c, d]| {
                    let columns = &mut columns[tile * len..(tile + 1) * len];
                    if pointwise {
                        let pixel = |at| windows.pixel(input, at);
                        pack::pack_f32([pixel(a), pixel(b), pixel(c), pixel(d)], columns);
                        return;
                    }
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
            Weights::I8 { signed: true, .. } => self.pack_i8::<true>(input, first, pixels, scratch),
            Weights::I8 { signed: false, .. } => {
                self.pack_i8::<false>(input, first, pixels, scratch);
            }
        }
    }

    fn pack_i8<const SIGNED: bool>(
        &self,
        input: &[f32],
        first: usize,
        pixels: usize,
        scratch: &mut Scratch,
    ) {
        let windows = &self.windows;
        let len = windows.len();
        let pointwise = windows.is_pointwise();
        let blocks = len.div_ceil(gemm_i8::BLOCK);
        let columns = &mut scratch.columns_i8[..];
        let scales = &mut scratch.scales[..];
        windows.for_each_tile(first, pixels, |tile, positions| {
            let columns = &mut columns[tile * blocks..(tile + 1) * blocks];
            scales[tile] = if pointwise {
                let [a, b, c, d] = positions;
                let pixel = |at| windows.pixel(input, at);
                let pixels = [pixel(a), pixel(b), pixel(c), pixel(d)];
                pack::pack_i8::<SIGNED>(pixels, false, columns)
            } else {
                let gathered = &mut scratch.gathered[..4 * len];
                windows.gather(input, positions, gathered);
                let (ab, cd) = gathered.split_at(2 * len);
                let ((a, b), (c, d)) = (ab.split_at(len), cd.split_at(len));
                pack::pack_i8::<SIGNED>([a, b, c, d], true, columns)
            };
        });
    }

    /// Computes the pixels that were packed. `residual`, if any, is added before the activation.
    pub(crate) fn multiply(
        &self,
        scratch: &Scratch,
        pixels: usize,
        residual: Option<&[f32]>,
        out: &mut [f32],
    ) {
        let tiles = pixels.div_ceil(gemm_f32::TILE);
        let target = &mut gemm_f32::Target::new(pixels, self.channels, residual, out);
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
        }
    }
}

fn grow<T: Clone>(values: &mut Vec<T>, len: usize, value: T) {
    if values.len() < len {
        values.resize(len, value);
    }
}
