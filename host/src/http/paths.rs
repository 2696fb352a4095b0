//! Paths as clients write them, and as the router knows them: a slash at the end means nothing, and a verb behind a colon is
//! a part of the path of its own.

use axum::body::Body;
use axum::http::uri::PathAndQuery;
use axum::http::{Request, Uri};
use std::borrow::Cow;

/// Relative addresses in these pages would mean something else below a slash.
const PAGES: &str = "/docs";

/// Version 1 names what is done with a model behind a colon, which the router has no pattern for.
const VERBS: [&str; 2] = ["predict", "classify"];

/// The path under which the router knows a route that is written so.
pub fn for_router(route: &str) -> String {
    route.replace("}:", "}/:")
}

/// And the other way.
pub fn as_written(route: &str) -> String {
    route.replace("}/:", "}:")
}

/// Brings the path into the form that the router knows.
pub async fn rewrite(mut request: Request<Body>) -> Request<Body> {
    if let Some(uri) = known(request.uri()) {
        *request.uri_mut() = uri;
    }
    request
}

/// The other form, where there is one.
fn known(uri: &Uri) -> Option<Uri> {
    let path = uri.path();
    let known = known_path(path)?;
    let all = match uri.query() {
        Some(query) => format!("{known}?{query}"),
        None => known.into_owned(),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(all).ok()?);
    Uri::from_parts(parts).ok()
}

fn known_path(path: &str) -> Option<Cow<'_, str>> {
    let short = match path.strip_suffix('/') {
        None | Some("") => path,
        Some(_) if path.starts_with(PAGES) => path,
        Some(short) => short,
    };
    let verb = short
        .rsplit_once(':')
        .filter(|(model, verb)| model.starts_with("/v1/models/") && VERBS.contains(verb));
    match verb {
        Some((model, verb)) => Some(format!("{model}/:{verb}").into()),
        None if short.len() < path.len() => Some(short.into()),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_and_verbs_are_taken_off() {
        let known = |uri: &str| known(&uri.parse().unwrap()).map(|uri| uri.to_string());
        for (written, expected) in [
            ("/v2/", "/v2"),
            ("/predict/?top_k=1/", "/predict?top_k=1/"),
            ("/v1/models/m:predict", "/v1/models/m/:predict"),
            ("/v1/models/m:n:predict/", "/v1/models/m:n/:predict"),
            (
                "/v1/models/m/versions/1:classify?x",
                "/v1/models/m/versions/1/:classify?x",
            ),
            ("http://host/v2/", "http://host/v2"),
        ] {
            assert_eq!(known(written).as_deref(), Some(expected));
        }
        for same in [
            "/",
            "/v2",
            "/docs/",
            "/v1/models/m:regress",
            "/v2/models/m:predict",
            "*",
        ] {
            assert_eq!(known(same), None, "{same}");
        }
        let route = "/v1/models/{model}:predict";
        assert_eq!(as_written(&for_router(route)), route);
    }
}
