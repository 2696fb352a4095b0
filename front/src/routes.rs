//! What is answered at which path.

use crate::error::{BATCH, BODY_BYTES, Error};
use bytes::Bytes;
use pinhole_report::{Answer, Answers, Item, Model, Prediction, TimingsMs, cut, milliseconds};
use pinhole_request::{Contents, Kind, Parameters, Upload, Wanted, header};
use serde::Serialize;
use std::time::Instant;

/// A request, of which only the head has been read.
pub trait Request {
    /// `GET`, for instance.
    fn method(&self) -> &str;
    /// The path, and the query after a `?`.
    fn target(&self) -> &str;
    /// Every value of a header, whose name is given in lower case.
    fn header(&self, name: &str) -> Vec<Vec<u8>>;
    /// The body: all of it, or none where it is longer than this.
    fn body(&mut self, limit: usize) -> Result<Vec<u8>, Error>;
}

/// What a classifier says of one image.
pub struct Classified {
    /// Best first.
    pub predictions: Vec<Prediction>,
    /// Whether the file was whole.
    pub complete: bool,
    /// What decoding, preprocessing and inference took.
    pub nanoseconds: [u64; 3],
}

/// What classifies: the guest, or a test's own.
pub trait Classifier {
    /// The model, if there is one.
    fn model(&self) -> Option<Model>;
    /// The best classes of an image.
    fn classify(&self, image: &[u8], top_k: u32) -> Result<Classified, Error>;
}

/// A response, without what every one of them has.
#[derive(Debug)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// JSON.
    pub body: Vec<u8>,
    /// What this path takes, where the method was wrong.
    pub allow: Option<&'static str>,
}

/// Answers a request.
pub fn answer(request: &mut impl Request, classifier: &impl Classifier) -> Response {
    let path = request.target().split('?').next().unwrap_or_default();
    // As in the host, a slash at the end means nothing.
    let path = path.strip_suffix('/').unwrap_or(path);
    match (path, request.method()) {
        ("/health", "GET" | "HEAD") => match classifier.model() {
            Some(_) => ok(&Health { status: "ok" }),
            None => refuse(&Error::NotReady),
        },
        ("/predict", "POST") => predict(request, classifier).unwrap_or_else(|error| refuse(&error)),
        ("/health", _) => not_allowed("GET,HEAD"),
        ("/predict", _) => not_allowed("POST"),
        _ => refuse(&Error::NotFound),
    }
}

/// One image is answered with its answer, several with one for each: one that is refused does not spoil the others.
fn predict(request: &mut impl Request, classifier: &impl Classifier) -> Result<Response, Error> {
    let start = Instant::now();
    let query = request.target().split_once('?').map(|(_, query)| query);
    let asked = Parameters::of_query(query)?;
    asked.wanted()?;
    let types = request.header("content-type");
    let kind = Kind::of(types.iter().map(Vec::as_slice))?;
    let codings = request.header("content-encoding");
    if let Some(coding) = header::coding(codings.iter().map(Vec::as_slice)) {
        return Err(Error::EncodedBody(coding));
    }
    let body = Bytes::from(request.body(BODY_BYTES)?);
    let model = classifier.model().ok_or(Error::NotReady)?;
    let Contents {
        uploads,
        parameters,
    } = kind.read(body, BATCH)?;
    let wanted = asked.and(parameters)?.wanted()?;
    let ask = |image: &[u8], start| classify(classifier, &model, image, &wanted, start);
    if let [one] = uploads.as_slice() {
        return Ok(ok(&ask(&one.image, start)?));
    }
    let item = |Upload { name, image }| {
        let file = name.map(|name| cut(&name).into_owned());
        match ask(&image, Instant::now()) {
            Ok(answer) => Item::Answered { file, answer },
            Err(error) => Item::Refused {
                file,
                status: error.status(),
                refusal: error.refusal(),
            },
        }
    };
    let answers = uploads.into_iter().map(item).collect();
    Ok(ok(&Answers { answers }))
}

fn classify(
    classifier: &impl Classifier,
    model: &Model,
    image: &[u8],
    wanted: &Wanted,
    start: Instant,
) -> Result<Answer, Error> {
    if image.is_empty() {
        return Err(Error::BadRequest(
            "The image is empty: there are no bytes in it.".into(),
        ));
    }
    let Classified {
        mut predictions,
        complete,
        nanoseconds: [decode, preprocess, inference],
    } = classifier.classify(image, wanted.top_k)?;
    predictions.retain(|prediction| prediction.probability >= wanted.min_probability);
    let total = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
    Ok(Answer {
        model: model.clone(),
        predictions,
        complete,
        timings_ms: TimingsMs {
            decode: milliseconds(decode),
            preprocess: milliseconds(preprocess),
            inference: milliseconds(inference),
            // Whatever queue there is, is the engine's.
            queue: 0.0,
            total: milliseconds(total),
        },
    })
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
}

fn ok(body: &impl Serialize) -> Response {
    respond(200, body)
}

fn refuse(error: &Error) -> Response {
    respond(error.status(), &error.refusal())
}

fn not_allowed(methods: &'static str) -> Response {
    Response {
        allow: Some(methods),
        ..refuse(&Error::MethodNotAllowed)
    }
}

fn respond(status: u16, body: &impl Serialize) -> Response {
    Response {
        status,
        body: serde_json::to_vec(body).expect("strings and numbers always have a JSON form"),
        allow: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use serde_json::Value;

    /// A request in memory.
    struct Asked<'a> {
        method: &'a str,
        target: &'a str,
        headers: &'a [(&'a str, &'a str)],
        body: &'a [u8],
    }

    impl Request for Asked<'_> {
        fn method(&self) -> &str {
            self.method
        }

        fn target(&self) -> &str {
            self.target
        }

        fn header(&self, name: &str) -> Vec<Vec<u8>> {
            let found = self.headers.iter().filter(|(header, _)| *header == name);
            found.map(|(_, value)| value.as_bytes().to_vec()).collect()
        }

        fn body(&mut self, limit: usize) -> Result<Vec<u8>, Error> {
            if self.body.len() > limit {
                return Err(Error::BodyTooLarge);
            }
            Ok(self.body.to_vec())
        }
    }

    /// Takes images that are the word `cat`, and has a model or not.
    struct Words {
        has_model: bool,
    }

    impl Classifier for Words {
        fn model(&self) -> Option<Model> {
            self.has_model.then(|| Model {
                name: "words".into(),
                version: "1".into(),
            })
        }

        fn classify(&self, image: &[u8], top_k: u32) -> Result<Classified, Error> {
            if image != b"cat" && image != b"cut" {
                return Err(Error::Guest(Kind::InvalidImage, "No cat.".into()));
            }
            let prediction = |class_id, probability| Prediction {
                class_id,
                label: format!("class {class_id}"),
                probability,
            };
            let mut all = vec![prediction(1, 0.75), prediction(0, 0.25)];
            all.truncate(top_k as usize);
            Ok(Classified {
                predictions: all,
                complete: image != b"cut",
                nanoseconds: [1_000_000, 2_000_000, 3_000_000],
            })
        }
    }

    fn post(target: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, Value) {
        let mut asked = Asked {
            method: "POST",
            target,
            headers,
            body,
        };
        let response = answer(&mut asked, &Words { has_model: true });
        let body = serde_json::from_slice(&response.body).unwrap();
        (response.status, body)
    }

    #[test]
    fn an_image_is_answered_with_its_classes_and_times() {
        let (status, answer) = post("/predict", &[], b"cat");
        assert_eq!(status, 200);
        assert_eq!(answer["model"]["name"], "words");
        assert_eq!(answer["predictions"][0]["label"], "class 1");
        assert_eq!(answer["timings_ms"]["preprocess"], 2.0);
        assert_eq!(answer["complete"], true);
        assert_eq!(post("/predict", &[], b"cut").1["complete"], false);
        let (_, answer) = post("/predict?top_k=1", &[("content-type", "image/png")], b"cat");
        assert_eq!(answer["predictions"].as_array().unwrap().len(), 1);
        let (_, answer) = post("/predict?min_probability=0.5", &[], b"cat");
        assert_eq!(answer["predictions"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn several_images_are_answered_one_by_one() {
        let part = |name: &str, file: &str| {
            format!(
                "--b\r\nContent-Disposition: form-data; name=\"image\"; filename=\"{name}\"\r\n\r\n{file}\r\n"
            )
        };
        let body = part("1", "cat") + &part("2", "dog") + "--b--\r\n";
        let headers = [("content-type", "multipart/form-data; boundary=b")];
        let (status, answers) = post("/predict", &headers, body.as_bytes());
        assert_eq!(status, 200, "{answers}");
        let answers = answers["answers"].as_array().unwrap();
        assert_eq!(answers[0]["file"], "1");
        assert_eq!(answers[0]["predictions"][0]["class_id"], 1);
        assert_eq!(
            (&answers[1]["status"], &answers[1]["error"]),
            (&422.into(), &"No cat.".into())
        );
    }

    #[test]
    fn forms_and_json_are_the_hosts() {
        let form = [("content-type", "Multipart/Form-Data;\tboundary=b")];
        let body =
            b"--b\r\ncontent-disposition: form-data; NAME=file; filename=\"name=x\"\r\n\r\ncat\r\n\
            --b\r\nContent-Disposition: form-data; name=top_k\r\n\r\n1\r\n--b--";
        for target in ["/predict", "/predict?top_k=1"] {
            let (status, answer) = post(target, &form, body);
            assert_eq!(status, 200, "{answer}");
            assert_eq!(answer["predictions"].as_array().unwrap().len(), 1);
        }
        let (status, refusal) = post("/predict?top_k=2", &form, body);
        assert_eq!(status, 400, "{refusal}");
        let json = [
            ("content-type", "application/json"),
            ("content-encoding", "Identity"),
        ];
        let (status, answer) = post("/predict", &json, b"\xef\xbb\xbf{\"image\": \"Y2F0\\n\"}");
        assert_eq!(status, 200, "{answer}");
        let long = format!("{{\"{}\": 1}}", "k".repeat(1_000_000));
        let (status, refusal) = post("/predict", &json, long.as_bytes());
        assert_eq!(status, 400);
        assert!(refusal.to_string().len() < 500, "{refusal}");
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (target, headers, body, status, code) in [
            ("/predict", &[][..], b"dog".as_slice(), 422, "invalid-image"),
            ("/predict", &[], b"", 400, "bad-request"),
            ("/predict?top_k=0", &[], b"cat", 400, "bad-request"),
            ("/predict?k=1", &[], b"cat", 400, "bad-request"),
            (
                "/predict",
                &[("content-type", "text/plain")],
                b"cat",
                415,
                "unsupported-format",
            ),
            (
                "/predict",
                &[("content-type", "multipart/form-data")],
                b"cat",
                400,
                "bad-request",
            ),
            (
                "/predict",
                &[("content-encoding", "gzip")],
                b"cat",
                415,
                "encoded-body",
            ),
            (
                "/predict",
                &[],
                &vec![0; BODY_BYTES + 1],
                413,
                "body-too-large",
            ),
            ("/predict//", &[], b"cat", 404, "not-found"),
            ("/health", &[], b"", 405, "method-not-allowed"),
        ] {
            let (found, refusal) = post(target, headers, body);
            assert_eq!(
                (found, &refusal["code"]),
                (status, &code.into()),
                "{refusal}"
            );
        }
    }

    #[test]
    fn without_a_model_nothing_is_ready() {
        for (method, target, ready) in [
            ("GET", "/health", 200),
            ("GET", "/health/", 200),
            ("POST", "/predict", 200),
            ("POST", "/predict/?top_k=1", 200),
        ] {
            for (has_model, status) in [(true, ready), (false, 503)] {
                let mut asked = Asked {
                    method,
                    target,
                    headers: &[],
                    body: b"cat",
                };
                assert_eq!(answer(&mut asked, &Words { has_model }).status, status);
            }
        }
    }
}
