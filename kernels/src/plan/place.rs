//! Where each tensor is in memory.

use std::ops::Range;

use crate::builder::Layer;
use crate::layout::Layout;
use crate::network::Buffer;
use crate::op::TensorId;
use crate::shape::Shape;

/// Puts each tensor where nothing alive at the same time is; returns the floats needed, too.
pub(super) fn place(
    layers: &[Option<Layer>],
    made: &[usize],
    segments: &[Range<usize>],
    shapes: &[Shape],
    rows: &[usize],
    (output, import): (TensorId, bool),
) -> (Vec<Buffer>, usize) {
    // A tensor lives from the segment that makes it to the last one that reads it.
    let mut lives: Vec<Option<(usize, usize)>> = vec![None; shapes.len()];
    lives[0] = import.then_some((0, 0));
    for (time, steps) in segments.iter().enumerate() {
        for &tensor in &made[steps.clone()] {
            lives[tensor] = Some((time, time));
            for input in layers[tensor - 1].iter().flat_map(Layer::inputs) {
                if let Some((_, end)) = &mut lives[input.0] {
                    *end = time;
                }
            }
        }
    }
    if let Some((_, end)) = &mut lives[output.0] {
        *end = segments.len();
    }
    let mut order: Vec<usize> = (0..shapes.len()).collect();
    let len = |tensor: usize| {
        let layout = Layout::new(shapes[tensor], rows[tensor]);
        layout.len().next_multiple_of(16)
    };
    order.sort_by_key(|&tensor| std::cmp::Reverse(len(tensor)));
    let mut placed: Vec<(Range<usize>, (usize, usize))> = Vec::new();
    let mut buffers = vec![Buffer::Input; shapes.len()];
    for tensor in order {
        let Some(life) = lives[tensor] else { continue };
        let mut offset = 0;
        // `placed` is sorted by start, so the first gap that is wide enough is found in one pass.
        for (range, other) in &placed {
            let together = life.0 <= other.1 && other.0 <= life.1;
            if together && range.start < offset + len(tensor) {
                offset = offset.max(range.end);
            }
        }
        let range = offset..offset + len(tensor);
        let index = placed.partition_point(|(other, _)| other.start < range.start);
        placed.insert(index, (range, life));
        buffers[tensor] = Buffer::Arena {
            offset,
            rows: rows[tensor],
        };
    }
    let floats = placed.iter().map(|(range, _)| range.end).max().unwrap_or(0);
    (buffers, floats)
}
