//! What stored parts of a network are checked with as they are read.

use core::fmt::Formatter;
use core::marker::PhantomData;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// The most values a tensor, or all tensors together, may have: a gigabyte.
pub(crate) const LARGEST: usize = 1 << 28;

/// Something if it holds, for `?`.
pub(crate) fn ensure(holds: bool) -> Option<()> {
    holds.then_some(())
}

/// Reads a list into memory of its very size. By itself serde doubles a growing list again and again, and every block that
/// is left behind is a hole in a snapshot of this memory.
pub(crate) fn exact<'de, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    deserializer.deserialize_seq(Exact(PhantomData))
}

struct Exact<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Exact<T> {
    type Value = Vec<T>;

    fn expecting(&self, to: &mut Formatter<'_>) -> core::fmt::Result {
        to.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
        let len = list.size_hint().unwrap_or(0);
        if len > LARGEST / size_of::<T>() * 4 {
            return Err(A::Error::custom("a list is longer than any layer's"));
        }
        let mut values = Vec::new();
        values
            .try_reserve_exact(len)
            .map_err(|_| A::Error::custom("there is no memory for a list of this length"))?;
        while let Some(value) = list.next_element()? {
            values.push(value);
        }
        Ok(values)
    }
}
