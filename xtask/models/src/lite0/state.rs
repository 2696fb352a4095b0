//! PyTorch's files of before version 1.6: pickles, and behind them the elements of all tensors.

use super::pickle::{Kind, Tensor, Value, read, slice, take};
use anyhow::{Context, Result, bail, ensure};
use std::collections::HashMap;

/// What such a file begins with: a pickle of one long number.
const MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";

/// Elements of one tensor: of ours the largest has 1.3 million.
const MOST: usize = 1 << 26;

/// Tensors by name.
pub struct StateDict(HashMap<String, Floats>);

/// A tensor of floats.
#[derive(Debug, PartialEq)]
pub struct Floats {
    /// Dimensions.
    pub size: Vec<usize>,
    /// Elements, the last dimension's side by side.
    pub values: Vec<f32>,
}

impl StateDict {
    /// Reads a file. Tensors of integers, which count training's steps, are left out.
    pub fn read(file: &[u8]) -> Result<Self> {
        let rest = file.strip_prefix(MAGIC);
        let bytes = &mut rest.context("it is no file of PyTorch's older form")?;
        // The protocol's version, and the machine that it was written on.
        ensure!(
            read(bytes)? == Value::Number(1001),
            "it is of another version"
        );
        read(bytes)?;
        let Value::Dict(entries) = read(bytes)? else {
            bail!("it holds no state dict");
        };
        let Value::List(keys) = read(bytes)? else {
            bail!("it has no list of storages");
        };
        let kinds: HashMap<&str, Kind> = entries
            .iter()
            .filter_map(|(_, value)| match value {
                Value::Tensor(tensor) => Some((tensor.key.as_str(), tensor.kind)),
                _ => None,
            })
            .collect();
        let mut storages: HashMap<&str, &[u8]> = HashMap::new();
        for key in &keys {
            let Value::Text(key) = key else {
                bail!("a storage's key is no text");
            };
            let kind = kinds.get(key.as_str());
            let kind = kind.with_context(|| format!("no tensor is of the storage {key}"))?;
            let width = match kind {
                Kind::Float => 4,
                Kind::Long => 8,
            };
            let length = usize::try_from(u64::from_le_bytes(take(bytes)?))?;
            let length = length.checked_mul(width).context("a storage is too long")?;
            storages.insert(key, slice(bytes, length)?);
        }
        let mut tensors = HashMap::new();
        for (name, value) in &entries {
            let (Value::Text(name), Value::Tensor(tensor)) = (name, value) else {
                bail!("it holds something else than tensors by name");
            };
            if tensor.kind == Kind::Float {
                let storage = storages.get(tensor.key.as_str());
                let storage = storage.with_context(|| format!("{name} has no elements"))?;
                let floats = floats(tensor, storage).with_context(|| name.clone())?;
                tensors.insert(name.clone(), floats);
            }
        }
        Ok(Self(tensors))
    }

    /// A tensor of this size.
    pub fn get(&self, name: &str, size: &[usize]) -> Result<&[f32]> {
        let tensor = self
            .0
            .get(name)
            .with_context(|| format!("There is no {name}"))?;
        ensure!(
            tensor.size == size,
            "{name} has the size {:?}, not {size:?}",
            tensor.size
        );
        Ok(&tensor.values)
    }
}

fn floats(tensor: &Tensor, storage: &[u8]) -> Result<Floats> {
    let count = tensor
        .size
        .iter()
        .try_fold(1usize, |product, size| product.checked_mul(*size))
        .filter(|count| *count <= MOST)
        .context("it is too large")?;
    let elements = storage.as_chunks::<4>().0;
    let mut values = Vec::with_capacity(count);
    let mut index = vec![0; tensor.size.len()];
    for _ in 0..count {
        let steps = index.iter().zip(&tensor.stride);
        let place = steps
            .map(|(index, stride): (&usize, &usize)| index.checked_mul(*stride))
            .try_fold(tensor.offset, |sum, step| sum.checked_add(step?))
            .and_then(|place| elements.get(place));
        values.push(f32::from_le_bytes(
            *place.context("it ends before its elements do")?,
        ));
        for (index, size) in index.iter_mut().zip(&tensor.size).rev() {
            *index += 1;
            if *index < *size {
                break;
            }
            *index = 0;
        }
    }
    Ok(Floats {
        size: tensor.size.clone(),
        values,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(offset: usize, size: &[usize], stride: &[usize]) -> Tensor {
        Tensor {
            key: "0".into(),
            kind: Kind::Float,
            offset,
            size: size.into(),
            stride: stride.into(),
        }
    }

    #[test]
    fn views_pick_their_elements_and_no_others() {
        let storage: Vec<u8> = (0..8u8)
            .flat_map(|value| f32::from(value).to_le_bytes())
            .collect();
        let values = |tensor: &Tensor| floats(tensor, &storage).map(|floats| floats.values);
        assert_eq!(
            values(&tensor(1, &[2, 3], &[3, 1])).unwrap(),
            [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
        );
        // Turned.
        assert_eq!(
            values(&tensor(0, &[2, 2], &[1, 4])).unwrap(),
            [0.0, 4.0, 1.0, 5.0]
        );
        assert_eq!(values(&tensor(7, &[], &[])).unwrap(), [7.0]);
        assert!(values(&tensor(3, &[2, 3], &[3, 1])).is_err());
        assert!(values(&tensor(usize::MAX, &[2], &[usize::MAX])).is_err());
        assert!(values(&tensor(0, &[usize::MAX, 2], &[0, 0])).is_err());
    }

    #[test]
    fn what_is_no_state_dict_is_refused() {
        let read = |rest: &[u8]| StateDict::read(&[MAGIC, rest].concat());
        assert!(StateDict::read(b"").is_err() && StateDict::read(&MAGIC[1..]).is_err());
        for rest in [
            &b""[..],
            b"\x8a\x02\xe9\x03.",
            b"M\xe9\x03.N.N.N.",
            b"M\xe9\x03.N.}.](X\x01\0\0\x000e.",
            b"M\xe9\x03.N.}(X\x01\0\0\0aK\x01u.].",
        ] {
            assert!(read(rest).is_err(), "{}", rest.escape_ascii());
        }
        assert!(read(b"M\xe9\x03.N.}.].").is_ok());
    }
}
