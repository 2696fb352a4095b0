//! What a model's inputs look like, and whether a tensor is one.

use wasmtime_wasi_nn::Tensor;
use wasmtime_wasi_nn::wit::TensorType;

/// What an input or output looks like.
#[derive(Clone, Debug, PartialEq)]
pub struct Slot {
    /// Its name in the model.
    pub name: String,
    /// Sizes, outermost first, the batch of 1 included.
    pub shape: Vec<usize>,
    /// Type of the elements.
    pub element_type: TensorType,
}

impl Slot {
    /// How many bytes a tensor for it has.
    pub fn bytes(&self) -> usize {
        let elements: usize = self.shape.iter().product();
        elements * element_bytes(self.element_type)
    }
}

/// Bytes of one element.
fn element_bytes(element_type: TensorType) -> usize {
    match element_type {
        TensorType::U8 => 1,
        TensorType::Fp16 | TensorType::Bf16 => 2,
        TensorType::Fp32 | TensorType::I32 => 4,
        TensorType::Fp64 | TensorType::I64 => 8,
    }
}

/// As messages have it.
fn type_name(element_type: TensorType) -> &'static str {
    match element_type {
        TensorType::U8 => "U8",
        TensorType::Fp16 => "FP16",
        TensorType::Bf16 => "BF16",
        TensorType::Fp32 => "FP32",
        TensorType::Fp64 => "FP64",
        TensorType::I32 => "I32",
        TensorType::I64 => "I64",
    }
}

/// Whether a tensor is what an input takes. The error says what is wrong, for the log.
pub fn fits(slot: &Slot, tensor: &Tensor) -> Result<(), String> {
    let Slot {
        name,
        shape,
        element_type,
    } = slot;
    if tensor.ty != *element_type {
        return Err(format!(
            "elements of {} for the input `{name}`, which has {}",
            type_name(tensor.ty),
            type_name(*element_type)
        ));
    }
    let same = tensor.dimensions.len() == shape.len()
        && shape
            .iter()
            .zip(&tensor.dimensions)
            .all(|(takes, given)| *takes == *given as usize);
    if !same {
        return Err(format!(
            "the shape {:?} for the input `{name}`, which has {shape:?}",
            // A guest may give any number of dimensions.
            &tensor.dimensions[..tensor.dimensions.len().min(8)]
        ));
    }
    if tensor.data.len() != slot.bytes() {
        return Err(format!(
            "{} bytes for the input `{name}`, which has {}",
            tensor.data.len(),
            slot.bytes()
        ));
    }
    if !is_finite(tensor) {
        return Err(format!(
            "values that are not numbers, or infinite, for the input `{name}`"
        ));
    }
    Ok(())
}

/// Whether a tensor has neither NaN nor infinities in it: no picture becomes one, and operators that sort, compare or
/// exponentiate may not expect them.
fn is_finite(tensor: &Tensor) -> bool {
    match tensor.ty {
        TensorType::Fp32 => {
            let (values, _) = tensor.data.as_chunks();
            // Part by part, and to the end of each: such loops become vectors.
            values.chunks(4096).all(|part| {
                part.iter().fold(true, |finite, value| {
                    finite & f32::from_le_bytes(*value).is_finite()
                })
            })
        }
        TensorType::Fp64 => {
            let (values, _) = tensor.data.as_chunks();
            values
                .iter()
                .all(|value| f64::from_le_bytes(*value).is_finite())
        }
        TensorType::Fp16 => is_finite_by_bits(&tensor.data, 0x7c00),
        TensorType::Bf16 => is_finite_by_bits(&tensor.data, 0x7f80),
        TensorType::U8 | TensorType::I32 | TensorType::I64 => true,
    }
}

/// Of 16-bit floats with this exponent's bits: never all of them set.
fn is_finite_by_bits(data: &[u8], exponent: u16) -> bool {
    let (values, _) = data.as_chunks();
    values
        .iter()
        .all(|value| u16::from_le_bytes(*value) & exponent != exponent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(dimensions: &[u32], ty: TensorType, data: &[u8]) -> Tensor {
        Tensor::new(dimensions.to_vec(), ty, data.to_vec())
    }

    #[test]
    fn what_is_not_finite_is_known_in_each_type() {
        let one = |ty, data: &[u8]| is_finite(&tensor(&[1], ty, data));
        for (ty, wrong) in [
            (TensorType::Fp16, [0x7e00_u16, 0xfc00]),
            (TensorType::Bf16, [0xffc0, 0x7f80]),
        ] {
            for bits in wrong {
                assert!(!one(ty, &bits.to_le_bytes()), "{bits:x}");
            }
        }
        assert!(one(TensorType::Fp16, &0xfbff_u16.to_le_bytes()));
        assert!(one(TensorType::Bf16, &0x7f7f_u16.to_le_bytes()));
        for wrong in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(!one(TensorType::Fp64, &wrong.to_le_bytes()));
            assert!(!one(TensorType::Fp32, &(wrong as f32).to_le_bytes()));
        }
        assert!(one(TensorType::Fp64, &f64::MAX.to_le_bytes()));
        assert!(one(TensorType::Fp32, &f32::MAX.to_le_bytes()));
        assert!(one(TensorType::I32, &u32::MAX.to_le_bytes()));
    }
}
