//! What an answer looks like, as JSON and as text.
//!
//! The guest's command line, the host's command line and the HTTP interface all print the same thing, so its shape is
//! written down once. What clients sent stands in it as `echo` lets it.

mod echo;

pub use echo::{ECHO, cut, echo, echo_bytes};

use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// Which model answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Model {
    /// The name that was baked in.
    pub name: String,
    /// The version that was baked in.
    pub version: String,
}

/// One class and how sure the model is of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Prediction {
    /// Index of the class, from 0.
    pub class_id: u32,
    /// The class's name.
    pub label: String,
    /// From 0 to 1.
    #[cfg_attr(feature = "openapi", schema(minimum = 0.0, maximum = 1.0))]
    pub probability: f32,
}

/// Where the time of one answer went, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TimingsMs {
    /// From encoded bytes to pixels.
    pub decode: f64,
    /// From pixels to the model's input.
    pub preprocess: f64,
    /// From the model's input to scores.
    pub inference: f64,
    /// Waiting for a free worker. 0 where there is no queue.
    pub queue: f64,
    /// All of it, the sandbox's creation included.
    pub total: f64,
}

/// The answer to one image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Answer {
    /// Which model answered.
    pub model: Model,
    /// Best first.
    pub predictions: Vec<Prediction>,
    /// False where the file's end is missing, but every row of the picture was there.
    #[serde(default = "whole")]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub complete: bool,
    /// Where the time went.
    pub timings_ms: TimingsMs,
}

/// What an answer of an earlier version means, which says nothing of it.
fn whole() -> bool {
    true
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Refusal {
    /// One plain sentence.
    pub error: String,
    /// The same for programs: lower-case words joined by hyphens.
    pub code: String,
}

/// What became of one of several images in a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(untagged)]
pub enum Item {
    /// It was classified.
    Answered {
        /// The name that the client gave it.
        file: Option<String>,
        /// As if it had come alone.
        #[serde(flatten)]
        answer: Answer,
    },
    /// It was refused.
    Refused {
        /// The name that the client gave it.
        file: Option<String>,
        /// The HTTP status that it would have had alone.
        status: u16,
        /// Why.
        #[serde(flatten)]
        refusal: Refusal,
    },
}

/// The answer to several images in one request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Answers {
    /// One for each image, in their order.
    pub answers: Vec<Item>,
}

/// What happened to one file on a command line.
pub type Outcome = Result<Answer, Refusal>;

/// Nanoseconds as milliseconds, to the microsecond: more digits would be noise.
pub fn milliseconds(nanoseconds: u64) -> f64 {
    (nanoseconds as f64 / 1e3).round() / 1e3
}

/// One line of JSON for one file: the answer or the refusal, with the file's name first.
pub fn json_line(file: &str, outcome: &Outcome) -> String {
    #[derive(Serialize)]
    struct Line<'a, T> {
        file: &'a str,
        #[serde(flatten)]
        outcome: &'a T,
    }
    let line = match outcome {
        Ok(answer) => serde_json::to_string(&Line {
            file,
            outcome: answer,
        }),
        Err(refusal) => serde_json::to_string(&Line {
            file,
            outcome: refusal,
        }),
    };
    line.expect("strings and numbers always have a JSON form")
}

/// An answer for a person: the file's name, then a line for each class.
pub fn text(file: &str, answer: &Answer) -> String {
    let end = if answer.complete {
        ""
    } else {
        " (its end is missing)"
    };
    let mut text = format!("{file}{end}\n");
    for prediction in &answer.predictions {
        writeln!(
            text,
            "  {:6.2} %  {}",
            prediction.probability * 100.0,
            prediction.label
        )
        .expect("writing to a string cannot fail");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> Answer {
        Answer {
            model: Model {
                name: "m".into(),
                version: "1".into(),
            },
            predictions: vec![Prediction {
                class_id: 7,
                label: "cock \"rooster\"".into(),
                probability: 0.5,
            }],
            complete: true,
            timings_ms: TimingsMs {
                decode: milliseconds(1_234_567),
                ..TimingsMs::default()
            },
        }
    }

    #[test]
    fn a_line_of_json_parses_back() {
        let line = json_line("a\n.jpg", &Ok(answer()));
        assert_eq!(line.lines().count(), 1);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["file"], "a\n.jpg");
        assert_eq!(value["timings_ms"]["decode"], 1.235);
        assert_eq!(
            serde_json::from_value::<Answer>(value).unwrap(),
            Answer { ..answer() }
        );
    }

    #[test]
    fn a_refusal_has_its_file_and_code() {
        let refusal = Refusal {
            error: "No.".into(),
            code: "invalid-image".into(),
        };
        assert_eq!(
            json_line("x", &Err(refusal)),
            r#"{"file":"x","error":"No.","code":"invalid-image"}"#
        );
    }

    #[test]
    fn text_shows_percent_and_label() {
        assert_eq!(
            text("cat.jpg", &answer()),
            "cat.jpg\n   50.00 %  cock \"rooster\"\n"
        );
        let mut cut = answer();
        cut.complete = false;
        assert!(text("cat.jpg", &cut).starts_with("cat.jpg (its end is missing)\n"));
    }
}
