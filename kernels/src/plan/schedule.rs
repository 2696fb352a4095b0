//! Which steps run strip by strip, and how many rows a strip has.

use std::ops::Range;

use crate::builder::Layer;
use crate::layout::Layout;
use crate::op::TensorId;
use crate::shape::Shape;

/// Tensors of at least this many values are kept as strips where possible.
const LARGE: usize = 16 * 1024;

/// Values that the rings of a segment may have together: half a level 2 cache of 1 MiB.
const RINGS: usize = 128 * 1024;

/// Groups steps: one joins the steps before it if it is the only reader of what they make, and that is large.
pub(super) fn segment(
    layers: &[Option<Layer>],
    made: &[usize],
    shapes: &[Shape],
    uses: &[usize],
) -> Vec<Range<usize>> {
    let streams = |tensor: usize| layers[tensor - 1].as_ref().is_some_and(Layer::streams);
    let mut segments: Vec<Range<usize>> = Vec::new();
    for (step, &tensor) in made.iter().enumerate() {
        let joins = step > 0 && {
            let previous = made[step - 1];
            let inputs = layers[tensor - 1].as_ref().map(Layer::inputs);
            inputs.is_some_and(|inputs| inputs.first() == Some(&TensorId(previous)))
                && streams(previous)
                && streams(tensor)
                && uses[previous] == 1
                && shapes[previous].len() >= LARGE
        };
        match segments.last_mut() {
            Some(last) if joins => last.end = step + 1,
            _ => segments.push(step..step + 1),
        }
    }
    segments
}

/// The most rows a strip can have for the rings to stay within [`RINGS`]. Sets `rows` for the tensors within the
/// segment.
pub(super) fn choose_strip(
    layers: &[Option<Layer>],
    tensors: &[usize],
    shapes: &[Shape],
    rows: &mut [usize],
) -> usize {
    let Some((&last, _)) = tensors.split_last() else {
        return 1;
    };
    let mut strip = shapes[last].height;
    if tensors.len() == 1 {
        return strip;
    }
    loop {
        let mut values = 0;
        let mut needed = strip;
        for pair in tensors.windows(2).rev() {
            let (inner, reader) = (pair[0], pair[1]);
            if let Some(layer) = &layers[reader - 1] {
                let reach = layer.reach();
                needed = (needed - 1) * reach.stride + reach.kernel;
            }
            needed = needed.min(shapes[inner].height);
            rows[inner] = needed;
            values += Layout::new(shapes[inner], needed).len();
        }
        if values <= RINGS || strip == 1 {
            return strip;
        }
        strip = strip.div_ceil(2);
    }
}
