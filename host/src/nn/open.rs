//! Inputs as files describe them: sizes may be left open there.

use super::slot::Slot;
use wasmtime_wasi_nn::wit::TensorType;

/// Inputs with all their sizes: the first one has the given shape, where one is given. The error is the end of a sentence.
pub fn settle(mut inputs: Vec<Open>, shape: Option<&[usize]>) -> Result<Vec<Slot>, String> {
    if let (Some(shape), Some(first)) = (shape, inputs.first_mut()) {
        first.set_shape(shape)?;
    }
    inputs.into_iter().map(Open::closed).collect()
}

/// An input whose sizes the file may leave open.
pub struct Open {
    /// Its name in the model.
    pub name: String,
    /// Sizes, where they are known.
    pub shape: Vec<Option<usize>>,
    /// Type of the elements.
    pub element_type: TensorType,
}

impl Open {
    /// Gives it this shape. The error is the end of a sentence.
    fn set_shape(&mut self, shape: &[usize]) -> Result<(), String> {
        let fits = self.shape.len() == shape.len()
            && self
                .shape
                .iter()
                .zip(shape)
                .all(|(known, size)| known.is_none_or(|known| known == *size));
        if !fits {
            return Err(format!(
                "its input `{}` cannot have the shape {shape:?}",
                self.name
            ));
        }
        self.shape = shape.iter().copied().map(Some).collect();
        Ok(())
    }

    /// The first size, where it is open, is the batch: 1. The error is the end of a sentence.
    fn closed(self) -> Result<Slot, String> {
        let mut shape = Vec::with_capacity(self.shape.len());
        for (index, size) in self.shape.into_iter().enumerate() {
            let size = size
                .or((index == 0).then_some(1))
                .ok_or_else(|| format!("its input `{}` has no fixed size", self.name))?;
            shape.push(size);
        }
        Ok(Slot {
            name: self.name,
            shape,
            element_type: self.element_type,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(shape: &[Option<usize>]) -> Vec<Open> {
        vec![Open {
            name: "image".into(),
            shape: shape.to_vec(),
            element_type: TensorType::Fp32,
        }]
    }

    #[test]
    fn open_sizes_are_settled_or_refused() {
        let settled = |sizes: &[Option<usize>], shape: Option<&[usize]>| {
            settle(open(sizes), shape).map(|mut slots| slots.swap_remove(0).shape)
        };
        assert_eq!(settled(&[None, Some(3)], None), Ok(vec![1, 3]));
        assert_eq!(settled(&[None, None], Some(&[1, 3])), Ok(vec![1, 3]));
        assert!(settled(&[Some(1), None], None).is_err());
        assert!(settled(&[Some(1), Some(4)], Some(&[1, 3])).is_err());
        assert!(settled(&[Some(1)], Some(&[1, 3])).is_err());
    }
}
