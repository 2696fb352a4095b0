//! The part of Python's pickle format that a state dict of PyTorch's is written in. Nothing is executed: names of functions are
//! compared, and two of them are understood, as what they would have made.

use anyhow::{Result, bail, ensure};
use std::collections::HashMap;

/// Steps of one pickle, and values on its stack: more than any state dict has.
const MOST: usize = 1 << 20;

/// What a pickle holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Python's None, or a number or text that no tensor needs.
    Nothing,
    /// A whole number.
    Number(i64),
    /// A text.
    Text(String),
    /// A tuple.
    Tuple(Vec<Value>),
    /// A list.
    List(Vec<Value>),
    /// A dictionary, in order.
    Dict(Vec<(Value, Value)>),
    /// A module's name and that of something in it.
    Name(String, String),
    /// A tensor's elements.
    Storage {
        /// What they are called in the list behind the pickle.
        key: String,
        /// Their type.
        kind: Kind,
    },
    /// A tensor.
    Tensor(Tensor),
}

/// Types of elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 32-bit floats.
    Float,
    /// 64-bit integers.
    Long,
}

/// A view of a storage.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// The storage's key.
    pub key: String,
    /// Type of the elements.
    pub kind: Kind,
    /// The first element.
    pub offset: usize,
    /// Dimensions.
    pub size: Vec<usize>,
    /// Elements from one to the next along each.
    pub stride: Vec<usize>,
}

/// Reads a pickle off the front of some bytes.
pub fn read(bytes: &mut &[u8]) -> Result<Value> {
    let mut machine = Machine::default();
    for _ in 0..MOST {
        if let Some(value) = machine.step(bytes)? {
            return Ok(value);
        }
        ensure!(machine.stack.len() < MOST, "it holds too much");
    }
    bail!("it is too long")
}

#[derive(Default)]
struct Machine {
    stack: Vec<Value>,
    /// Heights of the stack that are marked.
    marks: Vec<usize>,
    memo: HashMap<usize, Value>,
}

impl Machine {
    /// Does one step; the last one gives the whole.
    fn step(&mut self, bytes: &mut &[u8]) -> Result<Option<Value>> {
        let [code] = take(bytes)?;
        match code {
            b'.' => return self.pop().map(Some),
            0x80 => {
                let [_version] = take(bytes)?;
            }
            b'(' => self.marks.push(self.stack.len()),
            b'N' | 0x88 | 0x89 => self.stack.push(Value::Nothing),
            b'G' => {
                let [..] = take::<8>(bytes)?;
                self.stack.push(Value::Nothing);
            }
            b'K' => {
                let [byte] = take(bytes)?;
                self.stack.push(Value::Number(byte.into()));
            }
            b'M' => {
                let number = u16::from_le_bytes(take(bytes)?);
                self.stack.push(Value::Number(number.into()));
            }
            b'J' => {
                let number = i32::from_le_bytes(take(bytes)?);
                self.stack.push(Value::Number(number.into()));
            }
            0x8a => {
                let [length] = take(bytes)?;
                let digits = slice(bytes, length.into())?;
                self.stack.push(long(digits));
            }
            b'X' => {
                let length = u32::from_le_bytes(take(bytes)?);
                let text = slice(bytes, length as usize)?;
                let text = std::str::from_utf8(text)?.to_string();
                self.stack.push(Value::Text(text));
            }
            b'c' => {
                let (module, name) = (line(bytes)?, line(bytes)?);
                self.stack.push(Value::Name(module, name));
            }
            b')' => self.stack.push(Value::Tuple(Vec::new())),
            b']' => self.stack.push(Value::List(Vec::new())),
            b'}' => self.stack.push(Value::Dict(Vec::new())),
            0x85..=0x87 => {
                let at = self.stack.len().checked_sub(usize::from(code - 0x84));
                let Some(at) = at else {
                    bail!("it takes what is not there")
                };
                let parts = self.stack.split_off(at);
                self.stack.push(Value::Tuple(parts));
            }
            b't' => {
                let parts = self.since_mark()?;
                self.stack.push(Value::Tuple(parts));
            }
            b'a' => {
                let part = self.pop()?;
                self.append(vec![part])?;
            }
            b'e' => {
                let parts = self.since_mark()?;
                self.append(parts)?;
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.set(vec![key, value])?;
            }
            b'u' => {
                let parts = self.since_mark()?;
                self.set(parts)?;
            }
            // Attributes of a dictionary: nothing that a tensor needs.
            b'b' => drop(self.pop()?),
            b'q' => {
                let [place] = take(bytes)?;
                self.remember(place.into())?;
            }
            b'r' => {
                let place = u32::from_le_bytes(take(bytes)?);
                self.remember(place as usize)?;
            }
            b'h' => {
                let [place] = take(bytes)?;
                self.recall(place.into())?;
            }
            b'j' => {
                let place = u32::from_le_bytes(take(bytes)?);
                self.recall(place as usize)?;
            }
            b'Q' => {
                let value = self.pop()?;
                self.stack.push(storage(value)?);
            }
            b'R' => {
                let arguments = self.pop()?;
                let function = self.pop()?;
                self.stack.push(made(&function, arguments)?);
            }
            other => bail!("the step {other:#04x} is none that a state dict needs"),
        }
        Ok(None)
    }

    fn pop(&mut self) -> Result<Value> {
        let floor = self.marks.last().copied().unwrap_or_default();
        ensure!(self.stack.len() > floor, "it takes what is not there");
        self.stack
            .pop()
            .ok_or_else(|| anyhow::anyhow!("it takes what is not there"))
    }

    fn since_mark(&mut self) -> Result<Vec<Value>> {
        match self.marks.pop() {
            Some(at) if at <= self.stack.len() => Ok(self.stack.split_off(at)),
            _ => bail!("it takes what is not there"),
        }
    }

    fn append(&mut self, parts: Vec<Value>) -> Result<()> {
        match self.stack.last_mut() {
            Some(Value::List(list)) => list.extend(parts),
            _ => bail!("it adds to what is no list"),
        }
        Ok(())
    }

    fn set(&mut self, parts: Vec<Value>) -> Result<()> {
        let Some(Value::Dict(entries)) = self.stack.last_mut() else {
            bail!("it adds to what is no dictionary");
        };
        let mut parts = parts.into_iter();
        while let Some(key) = parts.next() {
            let Some(value) = parts.next() else {
                bail!("a key has no value");
            };
            entries.push((key, value));
        }
        Ok(())
    }

    /// Only what is small is remembered: of values within values a few steps could make any number.
    fn remember(&mut self, place: usize) -> Result<()> {
        let flat = |part: &Value| matches!(part, Value::Number(_) | Value::Nothing);
        let value = match self.stack.last() {
            Some(Value::Tuple(parts)) if !(parts.len() <= 8 && parts.iter().all(flat)) => {
                return Ok(());
            }
            Some(Value::List(_) | Value::Dict(_) | Value::Tensor(_)) => return Ok(()),
            Some(value) => value.clone(),
            None => bail!("it remembers what is not there"),
        };
        ensure!(self.memo.len() < MOST, "it remembers too much");
        self.memo.insert(place, value);
        Ok(())
    }

    fn recall(&mut self, place: usize) -> Result<()> {
        let Some(value) = self.memo.get(&place) else {
            bail!("it recalls what was not remembered");
        };
        self.stack.push(value.clone());
        Ok(())
    }
}

/// What a function would have made, where it is one of the two that state dicts are made by.
fn made(function: &Value, arguments: Value) -> Result<Value> {
    let (Value::Name(module, name), Value::Tuple(arguments)) = (function, arguments) else {
        bail!("it calls what is no function");
    };
    match (module.as_str(), name.as_str(), arguments.as_slice()) {
        ("collections", "OrderedDict", []) => Ok(Value::Dict(Vec::new())),
        (
            "torch._utils",
            "_rebuild_tensor_v2",
            [
                Value::Storage { key, kind },
                Value::Number(offset),
                Value::Tuple(size),
                Value::Tuple(stride),
                ..,
            ],
        ) => {
            let tensor = Tensor {
                key: key.clone(),
                kind: *kind,
                offset: usize::try_from(*offset)?,
                size: lengths(size)?,
                stride: lengths(stride)?,
            };
            ensure!(
                tensor.size.len() == tensor.stride.len(),
                "a tensor has another number of strides than of dimensions"
            );
            Ok(Value::Tensor(tensor))
        }
        _ => bail!("it calls {module}.{name}, which makes no tensor"),
    }
}

fn lengths(values: &[Value]) -> Result<Vec<usize>> {
    ensure!(values.len() <= 8, "a tensor has too many dimensions");
    let length = |value: &Value| match value {
        Value::Number(number) => Ok(usize::try_from(*number)?),
        _ => bail!("a dimension is no number"),
    };
    values.iter().map(length).collect()
}

fn storage(value: Value) -> Result<Value> {
    let Value::Tuple(parts) = value else {
        bail!("it refers to what is no storage");
    };
    match parts.as_slice() {
        [
            Value::Text(storage),
            Value::Name(module, name),
            Value::Text(key),
            ..,
        ] if storage == "storage" && module == "torch" => {
            let kind = match name.as_str() {
                "FloatStorage" => Kind::Float,
                "LongStorage" => Kind::Long,
                _ => bail!("its tensors are of type {name}"),
            };
            Ok(Value::Storage {
                key: key.clone(),
                kind,
            })
        }
        _ => bail!("it refers to what is no storage"),
    }
}

/// A number of any length; those that tensors need are short.
fn long(digits: &[u8]) -> Value {
    if digits.len() > 8 {
        return Value::Nothing;
    }
    let sign = digits.last().is_some_and(|last| last & 0x80 != 0);
    let mut whole = [if sign { 0xff } else { 0 }; 8];
    whole[..digits.len()].copy_from_slice(digits);
    Value::Number(i64::from_le_bytes(whole))
}

/// The next bytes.
pub fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N]> {
    let Some((first, rest)) = bytes.split_first_chunk() else {
        bail!("it is cut short");
    };
    *bytes = rest;
    Ok(*first)
}

/// So many of the next bytes.
pub fn slice<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8]> {
    let Some((first, rest)) = bytes.split_at_checked(length) else {
        bail!("it is cut short");
    };
    *bytes = rest;
    Ok(first)
}

fn line(bytes: &mut &[u8]) -> Result<String> {
    let Some(length) = bytes.iter().position(|&byte| byte == b'\n') else {
        bail!("it is cut short");
    };
    let text = std::str::from_utf8(slice(bytes, length)?)?.to_string();
    slice(bytes, 1)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(bytes: &[u8]) -> Result<Value> {
        read(&mut &bytes[..])
    }

    #[test]
    fn tensors_are_understood() {
        let tensor = b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x005X\x03\0\0\0cpuK\x06NtQK\x01K\x02K\x03\x86K\x03K\x01\x86\x89ccollections\nOrderedDict\n)RtR.";
        let expected = Tensor {
            key: "5".into(),
            kind: Kind::Float,
            offset: 1,
            size: vec![2, 3],
            stride: vec![3, 1],
        };
        assert_eq!(parsed(tensor).unwrap(), Value::Tensor(expected));
        for length in 0..tensor.len() - 1 {
            assert!(parsed(&tensor[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn dictionaries_and_numbers_are_understood() {
        assert_eq!(
            parsed(b"\x80\x02}(X\x01\0\0\0aK\x07X\x01\0\0\0bJ\xff\xff\xff\xffu.").unwrap(),
            Value::Dict(vec![
                (Value::Text("a".into()), Value::Number(7)),
                (Value::Text("b".into()), Value::Number(-1)),
            ])
        );
        assert_eq!(parsed(b"\x8a\x02\xe9\x03.").unwrap(), Value::Number(1001));
        assert_eq!(parsed(b"\x8a\x01\xff.").unwrap(), Value::Number(-1));
        assert_eq!(
            parsed(b"](K\x01K\x02e.").unwrap(),
            Value::List(vec![Value::Number(1), Value::Number(2)])
        );
    }

    #[test]
    fn nothing_is_executed() {
        let refused = |bytes: &[u8]| parsed(bytes).unwrap_err().to_string();
        let shell = b"cos\nsystem\n(X\x04\0\0\0exittR.";
        assert!(refused(shell).contains("os.system"), "{}", refused(shell));
        assert!(refused(b"cbuiltins\neval\n(tR.").contains("builtins.eval"));
        // Steps that make objects of classes, or take values as code.
        for step in [b'i', b'o', 0x81, 0x92, 0x93, b'S', b'V', b'I'] {
            assert!(
                refused(&[step, b'\n', b'.']).contains("state dict"),
                "{step}"
            );
        }
    }

    #[test]
    fn what_is_hostile_ends() {
        for bytes in [
            &b"."[..],
            b"t.",
            b"R.",
            b"s.",
            b"e.",
            b"h\x07.",
            b"q\0.",
            b"(.",
            b"K\x01(0.",
            b"X\xff\xff\xff\xffa",
            b"\x87.",
            b"]X\x01\0\0\0au.",
        ] {
            assert!(parsed(bytes).is_err(), "{}", bytes.escape_ascii());
        }
        // A tuple of itself, over and over: large in no time, were it not refused.
        let mut doubling = b"K\x01".to_vec();
        for place in 0..200u8 {
            doubling.extend([b'q', place, b'h', place, 0x86]);
        }
        doubling.push(b'.');
        assert!(parsed(&doubling).is_err());
    }
}
