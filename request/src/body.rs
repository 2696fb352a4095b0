//! The ways in which a body holds pictures: as it is, as files of a form, or in base64 in JSON.

use crate::header::Value;
use crate::{Parameters, Refused, base64, form, json, malformed};
use bytes::Bytes;
use pinhole_report::echo;
use serde::Deserialize;
use std::borrow::Cow;

/// A boundary is to have at most 70 characters; a generous limit for those who have not read so.
const BOUNDARY: usize = 256;

/// One picture of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// The file's name, where the client says.
    pub name: Option<String>,
    /// The file's bytes.
    pub image: Bytes,
}

/// What a body holds.
#[derive(Debug, PartialEq)]
pub struct Contents {
    /// At least one.
    pub uploads: Vec<Upload>,
    /// What is wanted of each, where the body says it.
    pub parameters: Parameters,
}

/// How a body holds pictures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The body is the picture.
    Raw,
    /// A form with files.
    Form {
        /// What stands between its fields.
        boundary: Vec<u8>,
    },
    /// A `Picture`.
    Json,
}

impl Kind {
    /// As all the values of the Content-Type say.
    pub fn of<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, Refused> {
        let mut values = values.into_iter();
        let Some(value) = values.next() else {
            return Ok(Self::Raw);
        };
        if values.any(|other| other != value) {
            return malformed("The Content-Type is there twice, and not the same.");
        }
        let Some(value) = Value::parse(value) else {
            return malformed(
                "The Content-Type is not understood: a quote has no end, or a parameter is there twice.",
            );
        };
        match value.head.as_str() {
            "multipart/form-data" => match value.bytes("boundary") {
                Some(boundary) if (1..=BOUNDARY).contains(&boundary.len()) => Ok(Self::Form {
                    boundary: boundary.into(),
                }),
                Some(boundary) if !boundary.is_empty() => malformed(format!(
                    "The form's boundary is longer than {BOUNDARY} characters."
                )),
                _ => malformed("The form has no boundary: let the client set the Content-Type."),
            },
            "application/json" => Ok(Self::Json),
            // The second is what stores of objects say of everything, the third what some clients do.
            "application/octet-stream" | "binary/octet-stream" | "" => Ok(Self::Raw),
            kind if kind.starts_with("image/") => Ok(Self::Raw),
            kind => Err(Refused::Unsupported(echo(kind))),
        }
    }

    /// The pictures of a body: at least one, and at most `limit`.
    pub fn read(&self, body: Bytes, limit: usize) -> Result<Contents, Refused> {
        match self {
            Self::Raw => Ok(one(body, Parameters::default())),
            Self::Form { boundary } => form::read(&body, boundary, limit),
            Self::Json => of_json(&body),
        }
    }
}

fn one(image: Bytes, parameters: Parameters) -> Contents {
    Contents {
        uploads: vec![Upload { name: None, image }],
        parameters,
    }
}

/// One picture in JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Picture<'a> {
    /// In base64, which may stand in a `data:` URL.
    #[serde(borrow)]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    image: Cow<'a, str>,
    /// As in the query.
    #[cfg_attr(feature = "openapi", schema(minimum = 1))]
    top_k: Option<u32>,
    /// As in the query.
    #[cfg_attr(feature = "openapi", schema(minimum = 0.0, maximum = 1.0))]
    min_probability: Option<f32>,
}

fn of_json(body: &[u8]) -> Result<Contents, Refused> {
    let picture: Picture<'_> = json::read(body).or_else(|reason| {
        malformed(format!(
            "The JSON is not {{\"image\": \"<base64>\"}}: {reason}."
        ))
    })?;
    let image = base64::decode(&picture.image)
        .or_else(|reason| malformed(format!("The field `image` cannot be read: {reason}.")))?;
    let parameters = Parameters {
        top_k: picture.top_k,
        min_probability: picture.min_probability,
    };
    Ok(one(image, parameters))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(values: &[&'static str]) -> Result<Kind, Refused> {
        Kind::of(values.iter().map(|value| value.as_bytes()))
    }

    #[test]
    fn types_are_read_by_the_grammar() {
        for raw in [
            &[][..],
            &[""],
            &["image/jpeg"],
            &["IMAGE/PNG; q=1"],
            &["application/octet-stream", "application/octet-stream"],
            &["Binary/Octet-Stream"],
            &["\tapplication/octet-stream\t;x"],
        ] {
            assert_eq!(kind(raw), Ok(Kind::Raw), "{raw:?}");
        }
        for json in ["application/json", "Application/JSON;charset=\"utf-8\""] {
            assert_eq!(kind(&[json]), Ok(Kind::Json), "{json}");
        }
        for form in [
            "multipart/form-data; boundary=a b",
            "Multipart/Form-Data;\tBOUNDARY=\"a b\"; charset=utf-8",
            "multipart/form-data;charset=x;boundary=\"a b\"",
            "multipart/form-data; x=\"; boundary=c\"; boundary=a b ;",
        ] {
            let boundary = b"a b".to_vec();
            assert_eq!(kind(&[form]), Ok(Kind::Form { boundary }), "{form}");
        }
        for wrong in [
            &["multipart/form-data"][..],
            &["multipart/form-data; boundary="],
            &["multipart/form-data; boundary=\"\""],
            &["multipart/form-data; boundary=\"x"],
            &["multipart/form-data; boundary=x; boundary=y"],
            &["image/png", "image/jpeg"],
        ] {
            assert!(
                matches!(kind(wrong), Err(Refused::Malformed(_))),
                "{wrong:?}"
            );
        }
        let long: &'static str = ("text/".to_string() + &"x".repeat(10_000)).leak();
        for (text, says) in [
            ("TEXT/html; x", "text/html".to_string()),
            (long, echo(long)),
        ] {
            assert_eq!(kind(&[text]), Err(Refused::Unsupported(says)));
        }
    }

    #[test]
    fn json_holds_one_picture() {
        let read = |json: &'static str| Kind::Json.read(Bytes::from_static(json.as_bytes()), 1);
        let contents =
            read("\u{feff}{\"image\": \"YW\\nI=\", \"top_k\": 3, \"min_probability\": null}")
                .unwrap();
        assert_eq!(&contents.uploads[0].image[..], b"ab");
        assert_eq!(contents.parameters.top_k, Some(3));
        assert_eq!(contents.parameters.min_probability, None);
        for (json, says) in [
            ("{}", "`image` is missing"),
            ("{\"image\": 7}", "`7` stands where a text belongs"),
            ("{\"image\": \"%\"}", "`image` cannot be read: `%` is no"),
            ("{\"image\": \"YQ==\", \"more\": 1}", "`more` is unknown"),
            ("{\"image\": \"YQ==\", \"top_k\": -3}", "`-3`"),
        ] {
            let Err(Refused::Malformed(sentence)) = read(json) else {
                panic!("{json}")
            };
            assert!(sentence.contains(says), "{json}: {sentence}");
        }
    }
}
