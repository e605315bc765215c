//! HTTP APIs and function URLs: a request becomes an event of payload version 2.0, the function's answer a response.

use axum::{body::Body, extract::Request, response::Response};

use crate::{functions::Functions, model};

/// All HTTP APIs and function URLs. Clones share them.
#[derive(Debug, Clone)]
pub struct HttpApis {}

impl HttpApis {
    /// None yet.
    #[must_use]
    pub fn new(place: model::Place, functions: Functions) -> Self {
        let _ = (place, functions);
        Self {}
    }

    /// The template's, instead of those of an earlier template.
    pub fn declare(&self, apis: &[model::HttpApi], urls: &[model::FunctionUrl]) {
        let _ = (apis, urls);
    }

    /// Answers a request to the API or function URL with this id; `path` is what follows the id, `/` at least, still
    /// percent-encoded, without the query.
    pub async fn call(&self, id: &str, path: &str, request: Request) -> Response {
        let _ = (id, path, request);
        Response::new(Body::empty())
    }
}
