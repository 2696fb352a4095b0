//! The ways in which a body holds images: as it is, as files of a form, or in base64 in JSON.

use super::super::{base64, off_thread};
use crate::error::Error;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use bytes::Bytes;
use http_body_util::{BodyDataStream, Full};
use multer::Multipart;
use serde::Deserialize;
use std::borrow::Cow;

/// The form's field, or the JSON's, that holds an image.
const FIELD: &str = "image";

/// One image of a request.
#[derive(Debug)]
pub struct Upload {
    /// The file's name, where the client says.
    pub name: Option<String>,
    /// The file's bytes.
    pub image: Bytes,
}

/// How the body holds images.
pub enum Form {
    /// The body is the image.
    Raw,
    /// Files named `image`.
    Multipart {
        /// What stands between them.
        boundary: String,
    },
    /// `{"image": "<base64>"}`.
    Json,
}

impl Form {
    /// As the headers say.
    pub fn of(headers: &HeaderMap) -> Result<Self, Error> {
        let Some(value) = headers.get(CONTENT_TYPE) else {
            return Ok(Self::Raw);
        };
        let text = value
            .to_str()
            .map_err(|_| Error::BadRequest("The Content-Type is not text.".into()))?;
        let kind = text
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        match kind.as_str() {
            "multipart/form-data" => multer::parse_boundary(text)
                .map(|boundary| Self::Multipart { boundary })
                .map_err(|_| {
                    Error::BadRequest(
                        "The form has no boundary: let the client set the Content-Type.".into(),
                    )
                }),
            "application/json" => Ok(Self::Json),
            "application/octet-stream" => Ok(Self::Raw),
            kind if kind.starts_with("image/") => Ok(Self::Raw),
            _ => Err(Error::UnsupportedBody(kind)),
        }
    }

    /// The images of a body that is in memory already: at least one, and at most `limit`.
    pub async fn read(self, body: Bytes, limit: usize) -> Result<Vec<Upload>, Error> {
        match self {
            Self::Raw => Ok(vec![Upload {
                name: None,
                image: body,
            }]),
            Self::Multipart { boundary } => files(body, boundary, limit).await,
            Self::Json => off_thread(body.len(), move || in_json(&body)).await,
        }
    }
}

async fn files(body: Bytes, boundary: String, limit: usize) -> Result<Vec<Upload>, Error> {
    let malformed =
        |error: multer::Error| Error::BadRequest(format!("The form is malformed: {error}."));
    let mut form = Multipart::new(BodyDataStream::new(Full::new(body)), boundary);
    let mut uploads = Vec::new();
    let mut others = Vec::new();
    while let Some(field) = form.next_field().await.map_err(malformed)? {
        if field.name() != Some(FIELD) {
            others.push(format!("`{}`", field.name().unwrap_or_default()));
            continue;
        }
        if uploads.len() == limit {
            return Err(Error::TooMany { limit });
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

/// One image in JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "docs", derive(utoipa::ToSchema))]
pub struct Picture<'a> {
    /// In base64, which may stand in a `data:` URL.
    #[serde(borrow)]
    #[cfg_attr(feature = "docs", schema(value_type = String))]
    image: Cow<'a, str>,
}

fn in_json(body: &[u8]) -> Result<Vec<Upload>, Error> {
    let picture: Picture<'_> = serde_json::from_slice(body).map_err(|error| {
        Error::BadRequest(format!(
            "The JSON is not {{\"{FIELD}\": \"<base64>\"}}: {error}."
        ))
    })?;
    let image = base64::decode(&picture.image).map_err(|reason| {
        Error::BadRequest(format!("The field `{FIELD}` cannot be read: {reason}."))
    })?;
    Ok(vec![Upload { name: None, image }])
}
