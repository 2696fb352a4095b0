//! What can go wrong with one request. `http::status` turns each case into an HTTP status; nothing else does.

use crate::bindings::exports::pinhole::vision::classify::ClassifyError;
use std::time::Duration;
use thiserror::Error;

/// Why a request has no answer. The text of each case is what the client reads.
#[derive(Debug, Error)]
pub enum Error {
    /// The request itself is wrong: its body, a field, a parameter.
    #[error("{0}")]
    BadRequest(String),
    /// No such route.
    #[error("There is nothing at this path.")]
    NotFound,
    /// Another model, or another version of it, than the one that is here.
    #[error("{0}")]
    UnknownModel(String),
    /// The route exists, but not for this method.
    #[error("This path does not take this method.")]
    MethodNotAllowed,
    /// The models cannot be changed from outside.
    #[error("Models are not loaded or unloaded here: the model is part of the service.")]
    ReadOnly,
    /// The body is declared to be something that is not an image.
    #[error(
        "A body of type `{0}` is not an image: send a multipart form with a field `image`, or image/*."
    )]
    UnsupportedBody(String),
    /// The body is compressed.
    #[error("A body with Content-Encoding `{0}` is not taken: send it as it is.")]
    EncodedBody(String),
    /// More images or tensors in one request than allowed.
    #[error("The request holds more than the {limit} images that one may hold: send several.")]
    TooMany {
        /// How many are allowed.
        limit: usize,
    },
    /// One of several in a request failed, and the request with it.
    #[error("Image {number} of {count}: {error}")]
    OneOf {
        /// Which one, from 1.
        number: usize,
        /// Of how many.
        count: usize,
        /// Why.
        error: Box<Error>,
    },
    /// The body is longer than allowed.
    #[error("The body is over the limit of {limit} bytes.")]
    BodyTooLarge {
        /// In bytes.
        limit: usize,
    },
    /// The body did not arrive in time, or too slowly.
    #[error("The body did not arrive in time.")]
    SlowBody,
    /// The connection broke while the body arrived. Nobody reads this.
    #[error("The body broke off.")]
    BrokenBody,

    /// The guest refused the image, or an argument.
    #[error("{}", sentence(.0))]
    Guest(ClassifyError),
    /// The guest asked for more memory than an instance may have: the image needs it.
    #[error("The image needs more memory than the {limit} bytes that a request may use.")]
    MemoryLimit {
        /// In bytes.
        limit: usize,
    },
    /// The request was interrupted at its deadline.
    #[error("The image was not classified within {} ms.", .0.as_millis())]
    Deadline(Duration),
    /// The request was interrupted because its client had gone, or the service ends. Nobody reads this.
    #[error("The request was abandoned.")]
    Abandoned,
    /// The guest trapped. A client learns that it happened; the log says what.
    #[error("The classifier failed on this image.")]
    Trap(#[source] wasmtime::Error),
    /// The metrics could not be written.
    #[error("The metrics cannot be written.")]
    Metrics(#[source] prometheus::Error),
    /// An instance could not be made.
    #[error("No sandbox could be made for this request.")]
    Instance(#[source] wasmtime::Error),

    /// Every worker is busy and the queue is full.
    #[error("The service is busy: try again soon.")]
    Busy,
    /// Too many bodies are held in memory.
    #[error("The service is busy: try again soon.")]
    BodiesFull,
    /// The request waited in the queue for as long as it may.
    #[error("The service is busy: the request waited {} ms and was not begun.", .0.as_millis())]
    QueueTimeout(Duration),
    /// The service is ending, or has not begun.
    #[error("The service is not ready.")]
    NotReady,
}

/// Characters of a guest's sentence. Its own are shorter, and a guest that an image took over may say what it likes.
const SENTENCE: usize = 1000;

fn sentence(error: &ClassifyError) -> &str {
    let sentence = match error {
        ClassifyError::UnsupportedFormat(sentence)
        | ClassifyError::InvalidImage(sentence)
        | ClassifyError::ImageTooLarge(sentence)
        | ClassifyError::InvalidArgument(sentence)
        | ClassifyError::Inference(sentence) => sentence,
    };
    let end = sentence.char_indices().nth(SENTENCE);
    end.map_or(sentence, |(end, _)| &sentence[..end])
}

impl Error {
    /// Every limit that `limit` can name.
    pub const LIMITS: [&str; 9] = [
        "batch",
        "bodies",
        "body-bytes",
        "body-time",
        "deadline",
        "memory",
        "pixels",
        "queue-length",
        "queue-time",
    ];

    /// The limit that was hit, if it was one.
    pub fn limit(&self) -> Option<&'static str> {
        match self {
            Self::TooMany { .. } => Some("batch"),
            Self::BodiesFull => Some("bodies"),
            Self::BodyTooLarge { .. } => Some("body-bytes"),
            Self::SlowBody => Some("body-time"),
            Self::Deadline(_) => Some("deadline"),
            Self::MemoryLimit { .. } => Some("memory"),
            Self::Guest(ClassifyError::ImageTooLarge(_)) => Some("pixels"),
            Self::Busy => Some("queue-length"),
            Self::QueueTimeout(_) => Some("queue-time"),
            Self::OneOf { error, .. } => error.limit(),
            _ => None,
        }
    }

    /// Whether the service itself may be broken. An image can bring this about as well.
    pub fn is_our_own(&self) -> bool {
        match self {
            Self::Trap(_) | Self::Instance(_) | Self::Guest(ClassifyError::Inference(_)) => true,
            Self::OneOf { error, .. } => error.is_our_own(),
            _ => false,
        }
    }

    /// Whether there was only no room for the request.
    pub fn is_busy(&self) -> bool {
        matches!(self, Self::Busy | Self::BodiesFull | Self::QueueTimeout(_))
    }

    /// The case as a program reads it: lower-case words joined by hyphens.
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadRequest(_) => "bad-request",
            Self::NotFound => "not-found",
            Self::UnknownModel(_) => "unknown-model",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::ReadOnly => "read-only",
            Self::UnsupportedBody(_) => "unsupported-format",
            Self::EncodedBody(_) => "encoded-body",
            Self::TooMany { .. } => "too-many-images",
            Self::OneOf { error, .. } => error.code(),
            Self::BodyTooLarge { .. } => "body-too-large",
            Self::SlowBody => "slow-body",
            Self::BrokenBody => "broken-body",
            Self::Guest(ClassifyError::UnsupportedFormat(_)) => "unsupported-format",
            Self::Guest(ClassifyError::InvalidImage(_)) => "invalid-image",
            Self::Guest(ClassifyError::ImageTooLarge(_)) | Self::MemoryLimit { .. } => {
                "image-too-large"
            }
            Self::Guest(ClassifyError::InvalidArgument(_)) => "invalid-argument",
            Self::Guest(ClassifyError::Inference(_)) => "inference",
            Self::Deadline(_) => "deadline",
            Self::Abandoned => "abandoned",
            Self::Trap(_) => "trap",
            Self::Metrics(_) => "no-metrics",
            Self::Instance(_) => "no-instance",
            Self::Busy | Self::BodiesFull => "busy",
            Self::QueueTimeout(_) => "queue-timeout",
            Self::NotReady => "not-ready",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_says_no_more_than_a_sentence() {
        let say =
            |sentence: String| Error::Guest(ClassifyError::InvalidImage(sentence)).to_string();
        assert_eq!(say("No picture.".into()), "No picture.");
        assert_eq!(say("ö".repeat(100_000)), "ö".repeat(SENTENCE));
    }
}
