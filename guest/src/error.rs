//! Why an image was not classified.

use thiserror::Error;

/// The contract's `classify-error`: each case carries one plain sentence for a person.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ClassifyError {
    /// The bytes are not of an image format that we read.
    #[error("{0}")]
    UnsupportedFormat(String),
    /// The format is known, but the image is damaged or breaks its format's rules.
    #[error("{0}")]
    InvalidImage(String),
    /// The image has more pixels, or needs more memory, than is allowed.
    #[error("{0}")]
    ImageTooLarge(String),
    /// Another argument is out of range.
    #[error("{0}")]
    InvalidArgument(String),
    /// The model could not be run: not the image's fault.
    #[error("{0}")]
    Inference(String),
}

impl ClassifyError {
    /// The case's name in the contract.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnsupportedFormat(_) => "unsupported-format",
            Self::InvalidImage(_) => "invalid-image",
            Self::ImageTooLarge(_) => "image-too-large",
            Self::InvalidArgument(_) => "invalid-argument",
            Self::Inference(_) => "inference",
        }
    }
}

/// A cause as the end of a sentence of ours: on one line, and without a full stop of its own.
pub fn cause(error: impl std::fmt::Display) -> String {
    let text = error.to_string();
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.trim_end_matches(['.', ' ']).to_string()
}

#[cfg(test)]
mod tests {
    use super::cause;

    #[test]
    fn causes_become_one_line() {
        assert_eq!(cause("Not enough\nbytes.\n"), "Not enough bytes");
    }
}
