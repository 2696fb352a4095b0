//! What is wanted of each picture: in the query, or in the form or JSON that holds the picture.

use crate::{Refused, malformed};
use pinhole_report::echo;

/// How many classes are answered when nobody says.
const TOP_K: u32 = 5;

/// What a request says of it, in one place or another.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
pub struct Parameters {
    /// How many classes are answered, where the model has as many [default: 5]
    #[cfg_attr(feature = "openapi", param(minimum = 1, nullable = false))]
    pub top_k: Option<u32>,
    /// Less probable classes are left out [default: 0]
    #[cfg_attr(
        feature = "openapi",
        param(minimum = 0.0, maximum = 1.0, nullable = false)
    )]
    pub min_probability: Option<f32>,
}

/// What is wanted of each picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wanted {
    /// How many classes are answered, at least one.
    pub top_k: u32,
    /// Less probable classes are left out. From 0 to 1.
    pub min_probability: f32,
}

impl Parameters {
    /// Reads a URL's query, which has no other parameters.
    pub fn of_query(query: Option<&str>) -> Result<Self, Refused> {
        let mut parameters = Self::default();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            if !parameters.take(&name, &value)? {
                return malformed(format!(
                    "The query has a parameter `{}`, which is unknown: it takes `top_k` and `min_probability`.",
                    echo(&name)
                ));
            }
        }
        Ok(parameters)
    }

    /// Takes a parameter with this name, if there is one. It may be said twice, as long as it is the same.
    pub(crate) fn take(&mut self, name: &str, value: &str) -> Result<bool, Refused> {
        let mut one = Self::default();
        match name {
            "top_k" => match value.parse() {
                Ok(top_k) if !value.starts_with('+') => one.top_k = Some(top_k),
                _ => {
                    return malformed(format!(
                        "top_k is `{}`: it is a whole number from 1.",
                        echo(value)
                    ));
                }
            },
            "min_probability" => match value.parse() {
                Ok(least) => one.min_probability = Some(least),
                Err(_) => {
                    return malformed(format!(
                        "min_probability is `{}`: it is a number from 0 to 1.",
                        echo(value)
                    ));
                }
            },
            _ => return Ok(false),
        }
        *self = self.and(one)?;
        Ok(true)
    }

    /// What both say together. They may not contradict each other.
    pub fn and(self, other: Self) -> Result<Self, Refused> {
        other.wanted()?;
        Ok(Self {
            top_k: both("top_k", self.top_k, other.top_k)?,
            min_probability: both(
                "min_probability",
                self.min_probability,
                other.min_probability,
            )?,
        })
    }

    /// What is wanted, with defaults for what is not said.
    pub fn wanted(self) -> Result<Wanted, Refused> {
        let top_k = self.top_k.unwrap_or(TOP_K);
        if top_k == 0 {
            return malformed("top_k is 0: ask for at least one class.");
        }
        let min_probability = self.min_probability.unwrap_or(0.0);
        if !(0.0..=1.0).contains(&min_probability) {
            return malformed("min_probability is not from 0 to 1.");
        }
        Ok(Wanted {
            top_k,
            min_probability,
        })
    }
}

fn both<T: PartialEq + Copy + std::fmt::Display>(
    name: &str,
    one: Option<T>,
    other: Option<T>,
) -> Result<Option<T>, Refused> {
    match (one, other) {
        (Some(one), Some(other)) if one != other => {
            malformed(format!("{name} is said twice, as {one} and as {other}."))
        }
        _ => Ok(one.or(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(query: &str) -> Result<(u32, f32), String> {
        let parameters = Parameters::of_query(Some(query)).and_then(Parameters::wanted);
        match parameters {
            Ok(wanted) => Ok((wanted.top_k, wanted.min_probability)),
            Err(Refused::Malformed(sentence)) => Err(sentence),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_query_is_read() {
        for (query, expected) in [
            ("", (5, 0.0)),
            ("&", (5, 0.0)),
            ("top_k=3", (3, 0.0)),
            ("top%5fk=3&min_probability=0.25", (3, 0.25)),
            ("min_probability=1e-1&top_k=7&top_k=7", (7, 0.1)),
            ("top_k=4294967295", (u32::MAX, 0.0)),
        ] {
            assert_eq!(wanted(query), Ok(expected), "{query}");
        }
    }

    #[test]
    fn what_is_wrong_in_a_query_is_said() {
        for (query, says) in [
            ("top_k=0", "at least one"),
            ("top_k=", "whole number"),
            ("top_k", "whole number"),
            ("top_k=-1", "`-1`"),
            ("top_k=%2b1", "`+1`"),
            ("top_k=1.0", "`1.0`"),
            ("top_k=4294967296", "whole number"),
            ("top_k=1&top_k=2", "as 1 and as 2"),
            ("TOP_K=1", "`TOP_K`"),
            ("min_probability=nan", "not from 0 to 1"),
            ("min_probability=inf", "not from 0 to 1"),
            ("min_probability=x", "`x`"),
            ("k=%00%0a", "a parameter `k`"),
            ("%0a=1", "a parameter `\\n`"),
        ] {
            let sentence = wanted(query).unwrap_err();
            assert!(sentence.contains(says), "{query}: {sentence}");
        }
        for long in [
            format!("{}=1", "k".repeat(10_000)),
            format!("top_k={}", "1".repeat(10_000)),
        ] {
            assert!(wanted(&long).unwrap_err().len() < 250);
        }
    }
}
