//! Why a file has no pixels.

use thiserror::Error;

/// What is wrong with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// It ends before all rows are there.
    #[error("the file is cut short")]
    CutShort,
    /// It breaks the format's rules.
    #[error("the file is damaged")]
    Damaged,
    /// It follows rules of the format that hardly anybody uses.
    #[error("the file is {0}")]
    Unsupported(Unsupported),
}

/// What of the format is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unsupported {
    /// ITU-T T.81, annex H.
    #[error("losslessly compressed")]
    Lossless,
    /// ITU-T T.81, annex J.
    #[error("hierarchical")]
    Hierarchical,
    /// ITU-T T.81, annex D.
    #[error("arithmetically coded")]
    Arithmetic,
    /// Samples of another size than 8 bits.
    #[error("of {0} bits a sample")]
    Precision(u8),
    /// Other than 1 (grey), 3 (colour) or 4 (CMYK).
    #[error("of {0} components")]
    Components(u8),
    /// Components of which one's size is no multiple of another's.
    #[error("of fractional sampling factors")]
    Sampling,
    /// The number of rows follows the first scan.
    #[error("without a height in its header")]
    Height,
    /// More scans than any encoder writes: each of them walks over the whole picture.
    #[error("in too many scans")]
    Scans,
}

/// What comes of reading.
pub type Result<T> = std::result::Result<T, Error>;
