//! Attention: for each head and each query, an average of values, weighted by a softmax of how well their keys match.
//!
//! Both products are those of convolutions: keys and values are packed as their weights are, once a head, and queries go through
//! in chunks whose scores stay in a level 1 cache.

#[cfg(feature = "serde")]
use crate::check::ensure;
use crate::epilogue::{Epilogue, PANEL, TILE, Target};
use crate::gemm_f32::{Column, Panels};
use crate::layers::unary::exp;
use crate::layout::Layout;
use crate::op::Activation;
use crate::pack::{Tile, pack_planes_f32};
use crate::simd::F32x4;

/// Bytes of the scores that are worked on at a time.
const CHUNK_BYTES: usize = 24 * 1024;

/// Attention, ready to run.
#[derive(Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Attention {
    heads: usize,
    /// Channels of a head: whole planes.
    dim: usize,
    keys: usize,
    queries: usize,
    /// What scores are multiplied by.
    scale: f32,
    /// Queries that are worked on at a time.
    chunk: usize,
    /// Nothing is done to either product.
    to_scores: Epilogue,
    to_values: Epilogue,
}

/// Memory to work in.
#[derive(Debug, Default)]
pub(crate) struct Room {
    keys: Vec<[[f32; 4]; 2]>,
    values: Vec<[[f32; 4]; 2]>,
    columns: Vec<Column>,
    scores: Vec<f32>,
    totals: Vec<f32>,
}

/// Planes that are read from a first one on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Planes<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) stride: usize,
}

impl<'a> Planes<'a> {
    /// `count` of them from `first` on.
    fn part(self, first: usize, count: usize) -> &'a [f32] {
        &self.values[first * self.stride..(first + count) * self.stride]
    }
}

impl Room {
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.keys)
            + size_of_val(&*self.values)
            + size_of_val(&*self.columns)
            + size_of_val(&*self.scores)
            + size_of_val(&*self.totals)
    }
}

impl Attention {
    pub(crate) fn new(
        (heads, dim): (usize, usize),
        (queries, keys): (usize, usize),
        scale: f32,
    ) -> Self {
        let chunk = (CHUNK_BYTES / (keys.next_multiple_of(4) * 4) / TILE).max(1) * TILE;
        Self {
            heads,
            dim,
            keys,
            queries,
            scale,
            chunk: chunk.min(queries.next_multiple_of(TILE)),
            to_scores: Epilogue::new(&vec![0.0; keys], Activation::None),
            to_values: Epilogue::new(&vec![0.0; dim], Activation::None),
        }
    }

    /// Whether it fits its layer, whose inputs have so many channels from where they are read on.
    #[cfg(feature = "serde")]
    pub(crate) fn check(
        &self,
        channels: [usize; 3],
        (queries, keys): (usize, usize),
        outputs: usize,
    ) -> Option<()> {
        let Self { heads, dim, .. } = *self;
        let width = heads.checked_mul(dim)?;
        ensure(heads > 0 && dim > 0 && dim.is_multiple_of(4) && width == outputs)?;
        ensure(channels.iter().all(|&channels| channels >= width))?;
        ensure((self.queries, self.keys) == (queries, keys) && keys > 0)?;
        ensure(self.chunk > 0 && self.chunk.is_multiple_of(TILE))?;
        ensure(self.chunk <= queries.next_multiple_of(TILE))?;
        ensure(self.to_scores.bias.len() == keys.div_ceil(PANEL))?;
        ensure(self.to_values.bias.len() == dim.div_ceil(PANEL))
    }

    /// Makes room for a run.
    pub(crate) fn reserve(&self, room: &mut Room) {
        fn grow<T: Clone>(list: &mut Vec<T>, len: usize, value: T) {
            list.resize(list.len().max(len), value);
        }
        let padded = self.padded();
        let panel = [[0.0; 4]; 2];
        grow(&mut room.keys, self.keys.div_ceil(PANEL) * self.dim, panel);
        grow(&mut room.values, self.dim.div_ceil(PANEL) * padded, panel);
        let columns = self.chunk / TILE * padded.max(self.dim);
        grow(&mut room.columns, columns, [0.0; TILE]);
        grow(&mut room.scores, self.chunk * padded, 0.0);
        grow(&mut room.totals, self.chunk, 0.0);
    }

    pub(crate) fn macs(&self) -> u64 {
        2 * (self.heads * self.dim * self.keys * self.queries) as u64
    }

    /// Keys, and what pads the last plane of scores.
    fn padded(&self) -> usize {
        self.keys.next_multiple_of(4)
    }

    /// Reads the planes of all heads from where each input begins.
    pub(crate) fn run(
        &self,
        [queries, keys, values]: [Planes<'_>; 3],
        room: &mut Room,
        (out, layout): (&mut [f32], Layout),
    ) {
        let planes = self.dim / 4;
        let layout = Layout { planes, ..layout };
        let heads = out.chunks_exact_mut(planes * layout.stride);
        for (head, out) in heads.enumerate().take(self.heads) {
            let first = head * planes;
            self.pack_keys(keys.part(first, planes), keys.stride, &mut room.keys);
            self.pack_values(values.part(first, planes), values.stride, &mut room.values);
            let queries = (queries.part(first, planes), queries.stride);
            for start in (0..self.queries).step_by(self.chunk) {
                let pixels = self.chunk.min(self.queries - start);
                self.chunk(queries, start, pixels, room, (out, layout));
            }
        }
    }

    fn chunk(
        &self,
        (queries, stride): (&[f32], usize),
        start: usize,
        pixels: usize,
        room: &mut Room,
        (out, layout): (&mut [f32], Layout),
    ) {
        let padded = self.padded();
        let Room {
            keys,
            values,
            columns,
            scores,
            totals,
        } = room;
        let tiles = pixels.div_ceil(TILE);
        let base = |pixel: usize| (pixel.min(pixels - 1)) * 4;
        for (index, columns) in columns.chunks_exact_mut(self.dim).take(tiles).enumerate() {
            let bases = std::array::from_fn(|at| start * 4 + base(index * TILE + at));
            pack_planes_f32(Tile::new(queries, stride, bases), columns);
        }
        let scores_layout = Layout {
            width: self.chunk,
            rows: 1,
            planes: padded / 4,
            stride: self.chunk * 4,
        };
        let scores = &mut scores[..scores_layout.len()];
        let mut target = Target::new(scores, scores_layout, 0, pixels, None);
        let panels = Panels {
            panels: &keys[..self.keys.div_ceil(PANEL) * self.dim],
            k: self.dim,
            epilogue: &self.to_scores,
        };
        panels.multiply(&columns[..tiles * self.dim], &mut target);
        self.softmax(scores, pixels, totals);
        for (index, columns) in columns.chunks_exact_mut(padded).take(tiles).enumerate() {
            let bases = std::array::from_fn(|at| base(index * TILE + at));
            pack_planes_f32(Tile::new(scores, scores_layout.stride, bases), columns);
        }
        let mut target = Target::new(out, layout, start, pixels, None);
        let panels = Panels {
            panels: &values[..self.dim.div_ceil(PANEL) * padded],
            k: padded,
            epilogue: &self.to_values,
        };
        panels.multiply(&columns[..tiles * padded], &mut target);
        for plane in out.chunks_exact_mut(layout.stride) {
            let (plane, _) = plane[start * 4..(start + pixels) * 4].as_chunks_mut::<4>();
            for (value, total) in plane.iter_mut().zip(totals.iter()) {
                F32x4::load(value).mul(F32x4::splat(*total)).store(value);
            }
        }
    }

    /// Exponentials of scores, and for each query one over their sum.
    fn softmax(&self, scores: &mut [f32], pixels: usize, totals: &mut [f32]) {
        let stride = self.chunk * 4;
        let (whole, rest) = (self.keys / 4, self.keys % 4);
        // What pads the last plane weighs nothing.
        if rest > 0 {
            let (last, _) = scores[whole * stride..].as_chunks_mut::<4>();
            last.iter_mut()
                .for_each(|value| value[rest..].fill(f32::MIN));
        }
        let scale = F32x4::splat(self.scale);
        let mut start = 0;
        while start < pixels {
            let mut most = [F32x4::splat(f32::MIN); TILE];
            for plane in scores.chunks_exact(stride) {
                let (plane, _) = plane[start * 4..(start + TILE) * 4].as_chunks::<4>();
                for (most, value) in most.iter_mut().zip(plane) {
                    *most = F32x4::load(value).at_least(*most);
                }
            }
            let most = most.map(|most| {
                let [a, b, c, d] = most.to_array();
                F32x4::splat(a.max(b).max(c.max(d)))
            });
            let mut sums = [F32x4::splat(0.0); TILE];
            for plane in scores.chunks_exact_mut(stride) {
                let (plane, _) = plane[start * 4..(start + TILE) * 4].as_chunks_mut::<4>();
                for (pixel, value) in plane.iter_mut().enumerate() {
                    let power = exp(F32x4::load(value).sub(most[pixel]).mul(scale));
                    power.store(value);
                    sums[pixel] = sums[pixel].add(power);
                }
            }
            for (total, sum) in totals[start..].iter_mut().zip(sums) {
                let [a, b, c, d] = sum.to_array();
                *total = 1.0 / ((a + b) + (c + d));
            }
            start += TILE;
        }
    }

    /// For each panel of eight keys, for each channel, eight values.
    fn pack_keys(&self, planes: &[f32], stride: usize, packed: &mut [[[f32; 4]; 2]]) {
        for (panel, packed) in packed
            .chunks_exact_mut(self.dim)
            .take(self.keys.div_ceil(PANEL))
            .enumerate()
        {
            let quads = packed.as_chunks_mut::<4>().0;
            for (plane, quad) in planes.chunks_exact(stride).zip(quads) {
                for half in 0..2 {
                    let rows = std::array::from_fn(|row| {
                        let key = panel * PANEL + half * 4 + row;
                        if key < self.keys {
                            F32x4::from_slice(&plane[key * 4..])
                        } else {
                            F32x4::splat(0.0)
                        }
                    });
                    for (step, column) in quad.iter_mut().zip(F32x4::transpose(rows)) {
                        column.store(&mut step[half]);
                    }
                }
            }
        }
    }

    /// For each panel of eight channels, for each key, eight values.
    fn pack_values(&self, planes: &[f32], stride: usize, packed: &mut [[[f32; 4]; 2]]) {
        let padded = self.padded();
        let pairs = planes.chunks(2 * stride);
        for (planes, packed) in pairs.zip(packed.chunks_exact_mut(padded)) {
            let (left, right) = planes.split_at(stride);
            let (left, _) = left.as_chunks::<4>();
            let (right, _) = right.as_chunks::<4>();
            for (key, packed) in packed.iter_mut().enumerate() {
                let value = |plane: &[[f32; 4]]| match plane.get(key) {
                    Some(value) if key < self.keys => *value,
                    _ => [0.0; 4],
                };
                *packed = [value(left), value(right)];
            }
        }
    }
}
