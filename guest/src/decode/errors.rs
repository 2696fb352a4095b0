//! What decoders say of a picture, in our words.
//!
//! A library's own words are for who calls it, and change with its version: clients get a sentence chosen by the kind of
//! error, and never the error's text.

use crate::error::ClassifyError;
use image::ImageError;
use std::io::ErrorKind;

/// A picture that cannot be decoded, for a reason of its own.
pub fn sentence(text: &str) -> ClassifyError {
    ClassifyError::InvalidImage(text.into())
}

/// A picture whose data breaks its format's rules.
pub fn damaged(format: &str) -> ClassifyError {
    ClassifyError::InvalidImage(format!(
        "The {format} image cannot be decoded: it is damaged."
    ))
}

/// A picture whose rows are not all there.
pub fn cut_short(format: &str) -> ClassifyError {
    ClassifyError::InvalidImage(format!(
        "The {format} image cannot be decoded: it is cut short."
    ))
}

/// A picture of a kind that no decoder of ours reads.
pub fn not_read(format: &str) -> ClassifyError {
    ClassifyError::InvalidImage(format!(
        "The {format} image cannot be decoded: it is of a kind that few programs write, and that is not read here. Save it \
         anew, or as JPEG or PNG."
    ))
}

/// What one of the libraries that `image` puts together had to say.
pub fn refuse(format: &str, error: &ImageError) -> ClassifyError {
    match error {
        ImageError::Limits(_) => ClassifyError::ImageTooLarge(format!(
            "The {format} image is too large: decoding it needs more memory than it may have."
        )),
        ImageError::Unsupported(_) => not_read(format),
        error if is_cut_short(error) => cut_short(format),
        _ => damaged(format),
    }
}

/// Whether a decoder came to the end of the file where it wanted more.
fn is_cut_short(error: &ImageError) -> bool {
    if let ImageError::IoError(io) = error {
        // It names its cause's cause as its own.
        return io.kind() == ErrorKind::UnexpectedEof;
    }
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        let io = error.downcast_ref::<std::io::Error>();
        if io.is_some_and(|io| io.kind() == ErrorKind::UnexpectedEof) {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::ImageFormat;
    use image::error::{
        DecodingError, ImageFormatHint, LimitError, LimitErrorKind, ParameterError,
        ParameterErrorKind, UnsupportedError, UnsupportedErrorKind,
    };

    #[test]
    fn no_words_of_a_library_come_through() {
        let hint = ImageFormatHint::Exact(ImageFormat::Png);
        let words = "ChunkType { would panic";
        let all = [
            ImageError::Decoding(DecodingError::new(hint.clone(), words)),
            ImageError::IoError(std::io::Error::other(words)),
            ImageError::IoError(std::io::Error::new(ErrorKind::UnexpectedEof, words)),
            ImageError::Unsupported(UnsupportedError::from_format_and_kind(
                hint,
                UnsupportedErrorKind::GenericFeature(words.into()),
            )),
            ImageError::Parameter(ParameterError::from_kind(ParameterErrorKind::Generic(
                words.into(),
            ))),
            ImageError::Limits(LimitError::from_kind(LimitErrorKind::InsufficientMemory)),
        ];
        for error in &all {
            let told = refuse("PNG", error).to_string();
            assert!(
                told.starts_with("The PNG image ") && told.ends_with('.'),
                "{told}"
            );
            assert!(!told.contains("panic") && !told.contains('{'), "{told}");
        }
        assert_eq!(refuse("GIF", &all[2]), cut_short("GIF"));
        assert_eq!(refuse("GIF", &all[5]).code(), "image-too-large");
    }
}
