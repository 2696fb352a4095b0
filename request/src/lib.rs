//! What a request for a classification is, however it comes: as bytes, as a form, as JSON.
//!
//! Host and front take the same requests and refuse the same in the same words, so how they are read is written down once:
//! `body` by its type, `form` and its fields, `json`, `base64`, `header` values, and the `parameters` of the query, the form
//! or the JSON. Nothing here waits or does I/O: bodies are in memory, within whatever limits the caller has.

pub mod base64;
mod body;
mod form;
pub mod header;
pub mod json;
mod parameters;

pub use body::{Contents, Kind, Picture, Upload};
pub use parameters::{Parameters, Wanted};

/// Why a request is not taken. Who answers it chooses the status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is wrong. The sentence says how.
    Malformed(String),
    /// Its body is declared to be of this type, which holds no picture. Fit for a sentence.
    Unsupported(String),
    /// It holds more pictures than one may.
    TooMany,
}

fn malformed<T>(sentence: impl Into<String>) -> Result<T, Refused> {
    Err(Refused::Malformed(sentence.into()))
}
