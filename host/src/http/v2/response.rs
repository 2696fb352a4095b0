//! An inference request's answer: JSON, and perhaps one binary tensor behind it.

use super::super::scores::{Content, ranked};
use super::super::status;
use super::request::Wanted;
use super::{OUTPUT, binary};
use crate::bindings::exports::pinhole::vision::classify::ModelInfo;
use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, HeaderValue, Response};
use serde::Serialize;

/// The length of the JSON, where something is behind it.
pub const JSON_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");

/// What is answered.
#[derive(Serialize)]
#[cfg_attr(feature = "docs", derive(utoipa::ToSchema), schema(as = InferenceAnswer))]
pub struct Answer<'a> {
    model_name: &'a str,
    model_version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    outputs: [Output<'a>; 1],
}

/// The model's one output.
#[derive(Serialize)]
#[cfg_attr(feature = "docs", derive(utoipa::ToSchema), schema(as = OutputTensor))]
struct Output<'a> {
    name: &'static str,
    datatype: &'static str,
    shape: [usize; 2],
    parameters: Parameters,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Data>,
}

/// What the protocol has no field for.
#[derive(Serialize)]
#[cfg_attr(feature = "docs", derive(utoipa::ToSchema), schema(as = AnswerParameters))]
struct Parameters {
    content: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    binary_data_size: Option<usize>,
}

#[derive(Serialize)]
#[serde(untagged)]
#[cfg_attr(feature = "docs", derive(utoipa::ToSchema), schema(as = OutputData))]
enum Data {
    Numbers(Vec<f32>),
    Texts(Vec<String>),
}

/// Writes the answer. Each row is one image's or tensor's scores, in order of class.
pub fn write(
    model: &ModelInfo,
    id: Option<&str>,
    content: Content,
    rows: &[Vec<f32>],
    wanted: Wanted,
    as_binary: bool,
) -> Response<Body> {
    let (columns, data) = match wanted {
        Wanted::Scores => (model.labels.len(), Data::Numbers(rows.concat())),
        Wanted::Labels(k) => {
            let k = (k as usize).min(model.labels.len());
            let texts = rows.iter().flat_map(|row| best(row, k, &model.labels));
            (k, Data::Texts(texts.collect()))
        }
    };
    let section = as_binary.then(|| match &data {
        Data::Numbers(numbers) => binary::from_numbers(numbers),
        Data::Texts(texts) => binary::from_texts(texts),
    });
    let answer = Answer {
        model_name: &model.name,
        model_version: &model.version,
        id,
        outputs: [Output {
            name: OUTPUT,
            datatype: match data {
                Data::Numbers(_) => "FP32",
                Data::Texts(_) => "BYTES",
            },
            shape: [rows.len(), columns],
            parameters: Parameters {
                content: match content {
                    Content::Probabilities => "probabilities",
                    Content::ModelOutput => "model-output",
                },
                binary_data_size: section.as_ref().map(Vec::len),
            },
            data: section.is_none().then_some(&data),
        }],
    };
    let Some(section) = section else {
        return status::ok(&answer);
    };
    let mut body =
        serde_json::to_vec(&answer).expect("strings and numbers always have a JSON form");
    let length = body.len();
    body.extend_from_slice(&section);
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    headers.insert(JSON_LENGTH, HeaderValue::from(length));
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    response
}

/// The best `k` classes as the protocol's extension words them: `score:class:label`. Best first, ties in order of class.
fn best(scores: &[f32], k: usize, labels: &[String]) -> Vec<String> {
    let word = |&class: &usize| {
        let label = labels.get(class).map_or("", String::as_str);
        format!("{:.6}:{class}:{label}", scores[class])
    };
    ranked(scores).iter().take(k).map(word).collect()
}

#[cfg(test)]
mod tests {
    use super::best;

    #[test]
    fn the_best_come_first_with_their_labels() {
        let labels = ["a", "b:c", "d"].map(String::from);
        assert_eq!(
            best(&[0.25, 0.5, 0.25], 9, &labels),
            ["0.500000:1:b:c", "0.250000:0:a", "0.250000:2:d"]
        );
        assert_eq!(best(&[f32::NAN, 1.0], 1, &labels).len(), 1);
    }
}
