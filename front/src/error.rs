//! Why a request is refused: in the host's words, with the host's codes and statuses.

use pinhole_report::Refusal;
use pinhole_request::Refused;

/// Bytes that a body may have: the host's own default.
pub const BODY_BYTES: usize = 20_000_000;

/// Images that one request may hold: the host's own default.
pub const BATCH: usize = 32;

/// Why the guest refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Not an image of a format that it reads.
    UnsupportedFormat,
    /// Damaged.
    InvalidImage,
    /// More pixels than it allows.
    ImageTooLarge,
    /// An argument out of range.
    InvalidArgument,
    /// The model could not be run.
    Inference,
}

/// Why a request, or one image of several, has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The request itself is wrong. The sentence says how.
    BadRequest(String),
    /// No such route.
    NotFound,
    /// The route exists, but not for this method.
    MethodNotAllowed,
    /// The body is declared to be something that is not an image.
    UnsupportedBody(String),
    /// The body is compressed.
    EncodedBody(String),
    /// The body is over `BODY_BYTES`.
    BodyTooLarge,
    /// There are more than `BATCH` images in it.
    TooMany,
    /// The body ended early. Nobody reads this.
    BrokenBody,
    /// The guest refused. The sentence is its own.
    Guest(Kind, String),
    /// There is no model in the guest.
    NotReady,
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Malformed(sentence) => Self::BadRequest(sentence),
            Refused::Unsupported(kind) => Self::UnsupportedBody(kind),
            Refused::TooMany => Self::TooMany,
        }
    }
}

impl Error {
    /// The HTTP status.
    pub fn status(&self) -> u16 {
        match self {
            Self::BadRequest(_) | Self::BrokenBody | Self::Guest(Kind::InvalidArgument, _) => 400,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::BodyTooLarge | Self::TooMany | Self::Guest(Kind::ImageTooLarge, _) => 413,
            Self::UnsupportedBody(_)
            | Self::EncodedBody(_)
            | Self::Guest(Kind::UnsupportedFormat, _) => 415,
            Self::Guest(Kind::InvalidImage, _) => 422,
            Self::Guest(Kind::Inference, _) => 500,
            Self::NotReady => 503,
        }
    }

    /// What the client reads.
    pub fn refusal(&self) -> Refusal {
        Refusal {
            error: self.sentence(),
            code: self.code().into(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::BadRequest(_) => "bad-request",
            Self::NotFound => "not-found",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::UnsupportedBody(_) | Self::Guest(Kind::UnsupportedFormat, _) => {
                "unsupported-format"
            }
            Self::EncodedBody(_) => "encoded-body",
            Self::BodyTooLarge => "body-too-large",
            Self::TooMany => "too-many-images",
            Self::BrokenBody => "broken-body",
            Self::Guest(Kind::InvalidImage, _) => "invalid-image",
            Self::Guest(Kind::ImageTooLarge, _) => "image-too-large",
            Self::Guest(Kind::InvalidArgument, _) => "invalid-argument",
            Self::Guest(Kind::Inference, _) => "inference",
            Self::NotReady => "not-ready",
        }
    }

    fn sentence(&self) -> String {
        match self {
            Self::BadRequest(sentence) | Self::Guest(_, sentence) => sentence.clone(),
            Self::NotFound => "There is nothing at this path.".into(),
            Self::MethodNotAllowed => "This path does not take this method.".into(),
            Self::UnsupportedBody(kind) => format!(
                "A body of type `{kind}` is not an image: send a multipart form with a field `image`, or image/*."
            ),
            Self::EncodedBody(encoding) => {
                format!("A body with Content-Encoding `{encoding}` is not taken: send it as it is.")
            }
            Self::BodyTooLarge => format!("The body is over the limit of {BODY_BYTES} bytes."),
            Self::TooMany => format!(
                "The request holds more than the {BATCH} images that one may hold: send several."
            ),
            Self::BrokenBody => "The body broke off.".into(),
            Self::NotReady => "The service is not ready.".into(),
        }
    }
}
