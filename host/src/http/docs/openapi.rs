//! The OpenAPI document. Shapes come from the types that are answered, and statuses from the errors that a route can meet:
//! what is written here is which of them each route meets.

use super::super::status::{Sentence, describe};
use super::super::{health, predict, v1, v2};
use crate::bindings::exports::pinhole::vision::classify::ClassifyError;
use crate::error::Error;
use pinhole_report::{Answer, Answers, Refusal};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::{ContentBuilder, HeaderBuilder, ObjectBuilder, Ref, RefOr, Required, Type};
use utoipa::{Modify, OpenApi, ToSchema};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Pinhole",
        description = "Image classification in a WebAssembly sandbox. Every answer carries `x-request-id`, the client's own or \
            a new one. A request that is refused is answered with one sentence.",
        license(name = "Apache-2.0 OR MIT", identifier = "Apache-2.0 OR MIT")
    ),
    // Beside this document, wherever a proxy may have put it.
    servers((url = ".")),
    tags(
        (name = "classify", description = "Images in, the best classes of each out"),
        (name = "v2", description = "The Open Inference Protocol, as the clients of Triton and KServe speak it"),
        (name = "v1", description = "TensorFlow Serving's REST, and KServe's version 1"),
        (name = "service", description = "For orchestrators and Prometheus")
    ),
    paths(
        predict::predict,
        health::ready,
        super::super::metrics,
        v2::metadata::server,
        v1::metadata::models,
        v1::metadata::status,
        v1::metadata::metadata,
        v1::infer::predict,
        v1::infer::classify,
        v2::metadata::live,
        v2::metadata::ready,
        v2::metadata::model,
        v2::metadata::model_ready,
        v2::metadata::models,
        v2::infer::infer,
        v2::triton::config,
        v2::triton::statistics,
        v2::triton::all_statistics,
        v2::triton::index,
        v2::triton::load,
        v2::triton::unload,
    ),
    components(schemas(Refusal, Sentence)),
    modifiers(&Versions, &Refusals, &Headers)
)]
struct Document;

/// The document.
pub fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

/// A file of a form, or a body that is one.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
pub struct File(#[allow(dead_code, reason = "a shape, never made")] Vec<u8>);

/// A form with files.
#[derive(ToSchema)]
#[allow(dead_code, reason = "a shape, never made")]
pub struct Files {
    /// JPEG, PNG, WebP, GIF or BMP files. One is answered with its answer, several with a list. `images` is the same, and a
    /// form's only file may be named `file`.
    #[schema(value_type = Vec<String>, format = Binary, min_items = 1)]
    image: Vec<Vec<u8>>,
    /// As in the query, which may not say otherwise.
    #[schema(value_type = Option<u32>, minimum = 1, nullable = false)]
    top_k: u32,
    /// As in the query, which may not say otherwise.
    #[schema(value_type = Option<f32>, minimum = 0.0, maximum = 1.0, nullable = false)]
    min_probability: f32,
}

/// What `/predict` answers.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "a shape, never made")]
pub enum OneOrSeveral {
    /// To one image.
    One(Answer),
    /// To several.
    Several(Answers),
}

/// Gives each model route its twin with a version, as the router does.
struct Versions;

impl Modify for Versions {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let paths = &mut document.paths.paths;
        let twins: Vec<_> = paths
            .iter()
            .filter_map(|(path, item)| {
                let (rest, version) = [(v1::MODEL, v1::VERSION), (v2::MODEL, v2::VERSION)]
                    .iter()
                    .find_map(|(model, version)| Some((path.strip_prefix(model)?, version)))?;
                let mut item = item.clone();
                for operation in [&mut item.get, &mut item.post].into_iter().flatten() {
                    operation.operation_id =
                        operation.operation_id.take().map(|id| id + "_of_version");
                    let parameters = operation.parameters.get_or_insert_default();
                    parameters.insert(1.min(parameters.len()), RefOr::T(version_parameter()));
                }
                Some((format!("{version}{rest}"), item))
            })
            .collect();
        paths.extend(twins);
    }
}

fn version_parameter() -> Parameter {
    ParameterBuilder::new()
        .name("version")
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some("The model's version"))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
        .build()
}

/// Adds what a route refuses, with the statuses that refusals really have.
struct Refusals;

impl Modify for Refusals {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        for (path, item) in &mut document.paths.paths {
            let schema = if v1::owns(path) || v2::owns(path) {
                "Sentence"
            } else {
                "Refusal"
            };
            for operation in [&mut item.get, &mut item.post].into_iter().flatten() {
                let errors = errors(path, operation);
                let mut codes: BTreeMap<u16, BTreeSet<String>> = BTreeMap::new();
                for error in errors {
                    let (status, refusal) = describe(&error);
                    codes
                        .entry(status)
                        .or_default()
                        .insert(format!("`{}`", refusal.code));
                }
                for (status, codes) in codes {
                    let codes = Vec::from_iter(codes).join(", ");
                    let response = ResponseBuilder::new().description(codes).content(
                        "application/json",
                        ContentBuilder::new()
                            .schema(Some(Ref::from_schema_name(schema)))
                            .build(),
                    );
                    operation
                        .responses
                        .responses
                        .insert(status.to_string(), response.build().into());
                }
            }
        }
    }
}

/// An error of each kind that a route can meet.
fn errors(path: &str, operation: &Operation) -> Vec<Error> {
    let mut errors = Vec::new();
    if path.contains("{model}") {
        errors.extend([
            Error::BadRequest(String::new()),
            Error::UnknownModel(String::new()),
        ]);
    }
    if path.ends_with("/load") || path.ends_with("/unload") {
        errors.push(Error::ReadOnly);
    }
    if path.ends_with("/ready")
        || path == "/health"
        || operation
            .operation_id
            .as_deref()
            .is_some_and(|id| id.starts_with("v1_status"))
    {
        errors.push(Error::NotReady);
    }
    if path == "/metrics" {
        errors.push(Error::Metrics(prometheus::Error::AlreadyReg));
    }
    if operation.request_body.is_some() {
        errors.extend(of_bodies());
        if path.ends_with("/index") {
            errors.push(Error::Busy);
        } else {
            errors.extend(of_sandboxes());
        }
    }
    if path == "/predict" {
        errors.push(Error::UnsupportedBody(String::new()));
    }
    errors
}

/// What is refused while a body is read and understood. Who broke off reads no answer.
fn of_bodies() -> [Error; 6] {
    [
        Error::BadRequest(String::new()),
        Error::EncodedBody(String::new()),
        Error::TooMany { limit: 0 },
        Error::BodyTooLarge { limit: 0 },
        Error::BodiesFull,
        Error::SlowBody,
    ]
}

/// What is refused on the way into a sandbox, or comes out of one.
fn of_sandboxes() -> [Error; 12] {
    let guest = |error: fn(String) -> ClassifyError| Error::Guest(error(String::new()));
    let trap = || wasmtime::format_err!("");
    [
        Error::Busy,
        Error::QueueTimeout(Duration::ZERO),
        Error::NotReady,
        Error::Instance(trap()),
        Error::Trap(trap()),
        Error::Deadline(Duration::ZERO),
        Error::MemoryLimit { limit: 0 },
        guest(ClassifyError::UnsupportedFormat),
        guest(ClassifyError::InvalidImage),
        guest(ClassifyError::ImageTooLarge),
        guest(ClassifyError::InvalidArgument),
        guest(ClassifyError::Inference),
    ]
}

/// Adds the headers that every answer has, and those that say more about a refusal.
struct Headers;

impl Modify for Headers {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        for item in document.paths.paths.values_mut() {
            for operation in [&mut item.get, &mut item.post].into_iter().flatten() {
                for (status, response) in &mut operation.responses.responses {
                    let RefOr::T(response) = response else {
                        continue;
                    };
                    add(
                        response,
                        "x-request-id",
                        Type::String,
                        "The request's own id, or a new one",
                    );
                    if status == "503" {
                        add(
                            response,
                            "Retry-After",
                            Type::Integer,
                            "When to try again, in seconds",
                        );
                    }
                }
            }
        }
    }
}

fn add(response: &mut Response, name: &str, kind: Type, description: &str) {
    let schema = ObjectBuilder::new().schema_type(kind);
    let header = HeaderBuilder::new()
        .schema(Some(schema))
        .description(Some(description));
    response.headers.insert(name.into(), header.build().into());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::routes;

    /// For people, or about the document itself.
    const UNSAID: [&str; 5] = [
        "/",
        "/openapi.json",
        "/docs",
        "/docs/swagger-ui.css",
        "/docs/swagger-ui-bundle.js",
    ];

    #[test]
    fn the_document_and_the_router_have_the_same_paths() {
        let document = document();
        let said: BTreeSet<String> = document.paths.paths.keys().cloned().collect();
        let served: BTreeSet<String> = routes().into_iter().map(|(path, _)| path).collect();
        let unsaid: BTreeSet<String> = served.difference(&said).cloned().collect();
        assert_eq!(unsaid, UNSAID.map(String::from).into());
        assert_eq!(said.difference(&served).next(), None);
    }

    #[test]
    fn every_operation_has_a_name_of_its_own_a_success_and_its_refusals() {
        let document = document();
        let mut ids = BTreeSet::new();
        for (path, item) in &document.paths.paths {
            for operation in [&item.get, &item.post].into_iter().flatten() {
                assert!(
                    ids.insert(operation.operation_id.clone().unwrap()),
                    "{path}"
                );
                assert!(
                    operation.summary.is_some() && operation.tags.is_some(),
                    "{path}"
                );
                let refuses = path.starts_with("/v2/repository/models/");
                let success = if refuses { "501" } else { "200" };
                assert!(
                    operation.responses.responses.contains_key(success),
                    "{path}"
                );
                let unknown = operation.responses.responses.contains_key("404");
                assert_eq!(unknown, path.contains("{model}"), "{path}");
            }
        }
        let predict = document.paths.paths["/predict"].post.as_ref().unwrap();
        let statuses: Vec<&str> = predict
            .responses
            .responses
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(
            statuses,
            [
                "200", "400", "408", "413", "415", "422", "500", "503", "504"
            ]
        );
    }
}
