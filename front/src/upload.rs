//! The ways in which a body holds images: as it is, or as files of a form.

use crate::error::{BATCH, Error};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::stream;
use multer::Multipart;
use std::convert::Infallible;

/// The form's field that holds an image.
const FIELD: &str = "image";

/// One image of a request.
#[derive(Debug, PartialEq, Eq)]
pub struct Upload {
    /// The file's name, where the client says.
    pub name: Option<String>,
    /// The file's bytes.
    pub image: Bytes,
}

/// How the body holds images.
#[derive(Debug, PartialEq, Eq)]
pub enum Form {
    /// The body is the image.
    Raw,
    /// Files named `image`.
    Multipart {
        /// What stands between them.
        boundary: String,
    },
}

impl Form {
    /// As the Content-Type says.
    pub fn of(content_type: Option<&[u8]>) -> Result<Self, Error> {
        let Some(value) = content_type else {
            return Ok(Self::Raw);
        };
        let text = str::from_utf8(value)
            .map_err(|_| Error::BadRequest("The Content-Type is not text.".into()))?;
        let kind = text.split(';').next().unwrap_or_default();
        match kind.trim().to_ascii_lowercase() {
            kind if kind == "multipart/form-data" => multer::parse_boundary(text)
                .map(|boundary| Self::Multipart { boundary })
                .map_err(|_| {
                    Error::BadRequest(
                        "The form has no boundary: let the client set the Content-Type.".into(),
                    )
                }),
            kind if kind == "application/octet-stream" || kind.starts_with("image/") => {
                Ok(Self::Raw)
            }
            kind => Err(Error::UnsupportedBody(kind)),
        }
    }

    /// The images of a body: at least one.
    pub fn read(self, body: Bytes) -> Result<Vec<Upload>, Error> {
        match self {
            Self::Raw => Ok(vec![Upload {
                name: None,
                image: body,
            }]),
            // All of the body is there: nothing is ever waited for.
            Self::Multipart { boundary } => files(body, boundary)
                .now_or_never()
                .unwrap_or(Err(Error::BrokenBody)),
        }
    }
}

async fn files(body: Bytes, boundary: String) -> Result<Vec<Upload>, Error> {
    let malformed =
        |error: multer::Error| Error::BadRequest(format!("The form is malformed: {error}."));
    let body = stream::iter([Ok::<_, Infallible>(body)]);
    let mut form = Multipart::new(body, boundary);
    let mut uploads = Vec::new();
    let mut others = Vec::new();
    while let Some(field) = form.next_field().await.map_err(malformed)? {
        if field.name() != Some(FIELD) {
            others.push(format!("`{}`", field.name().unwrap_or_default()));
            continue;
        }
        if uploads.len() == BATCH {
            return Err(Error::TooMany);
        }
        uploads.push(Upload {
            name: field.file_name().map(String::from),
            image: field.bytes().await.map_err(malformed)?,
        });
    }
    if !uploads.is_empty() {
        return Ok(uploads);
    }
    Err(Error::BadRequest(match others.as_slice() {
        [] => format!("The form is empty: it needs a field `{FIELD}`."),
        names => format!(
            "The form has no field `{FIELD}`, only {}.",
            names.join(", ")
        ),
    }))
}
