//! HTTP APIs and function URLs: a request becomes an event of payload version 2.0, the function's answer a response.

mod answer;
mod cors;
mod event;
mod routes;
mod throttle;

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use axum::{
    body::{Body, to_bytes},
    extract::{ConnectInfo, Request},
    response::Response,
};
use futures::future::BoxFuture;
use http::{HeaderValue, StatusCode};

use self::{
    answer::Refusal,
    event::{Context, Incoming},
    routes::{Parameters, Route},
    throttle::Bucket,
};
use crate::{
    clock,
    functions::{Functions, InvokeError},
    ids::uuid,
    model,
};

/// Bytes of a request's body that an HTTP API takes.
const API_BODY_BYTES_MAX: usize = 10 * 1024 * 1024;
/// Bytes of an event, and of what a function returns.
const INVOCATION_BYTES_MAX: usize = 6 * 1024 * 1024;
/// Bytes of the request line and all headers that an HTTP API takes.
const API_HEADER_BYTES_MAX: usize = 10_240;
/// The longest time that an integration of an HTTP API may take.
const INTEGRATION_TIMEOUT_MAX: Duration = Duration::from_secs(30);

/// All HTTP APIs and function URLs. Clones share them.
#[derive(Debug, Clone)]
pub struct HttpApis {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    place: model::Place,
    invoker: Box<dyn Invoke>,
    /// None until the template is deployed.
    endpoints: RwLock<Option<HashMap<String, Arc<Endpoint>>>>,
    started: Instant,
}

/// What invokes functions.
trait Invoke: fmt::Debug + Send + Sync {
    /// See [`Functions::invoke`].
    fn invoke(&self, function: String, payload: Vec<u8>) -> BoxFuture<'static, Result<Vec<u8>, InvokeError>>;
}

impl Invoke for Functions {
    fn invoke(&self, function: String, payload: Vec<u8>) -> BoxFuture<'static, Result<Vec<u8>, InvokeError>> {
        let functions = self.clone();
        Box::pin(async move { functions.invoke(&function, payload).await })
    }
}

/// Events and errors of the two differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Api,
    Url,
}

#[derive(Debug)]
struct Endpoint {
    kind: Kind,
    routes: Vec<Route>,
    stage: String,
    bucket: Option<Bucket>,
    cors: Option<model::Cors>,
}

impl HttpApis {
    /// None yet.
    #[must_use]
    pub fn new(place: model::Place, functions: Functions) -> Self {
        Self::with_invoker(place, Box::new(functions))
    }

    fn with_invoker(place: model::Place, invoker: Box<dyn Invoke>) -> Self {
        let endpoints = RwLock::default();
        Self { inner: Arc::new(Inner { place, invoker, endpoints, started: Instant::now() }) }
    }

    /// The template's, instead of those of an earlier template. Token buckets begin full.
    pub fn declare(&self, apis: &[model::HttpApi], urls: &[model::FunctionUrl]) {
        let apis = apis.iter().map(|api| (api.id.clone(), Arc::new(Endpoint::of_api(api))));
        let urls = urls.iter().map(|url| (url.id.clone(), Arc::new(Endpoint::of_url(url))));
        let endpoints = apis.chain(urls).collect();
        *self.inner.endpoints.write().unwrap_or_else(PoisonError::into_inner) = Some(endpoints);
    }

    /// Answers a request to the API or function URL with this id; `path` is what follows the id, `/` at least, still
    /// percent-encoded, without the query. The request's extensions may hold the caller's `ConnectInfo<SocketAddr>`.
    pub async fn call(&self, id: &str, path: &str, request: Request) -> Response {
        let endpoint = match &*self.inner.endpoints.read().unwrap_or_else(PoisonError::into_inner) {
            // A client that calls while the host starts again must not hear that there is no such thing.
            None => Err(Refusal::Starting),
            Some(endpoints) => endpoints.get(id).cloned().ok_or(Refusal::NotFound),
        };
        let endpoint = match endpoint {
            Ok(endpoint) => endpoint,
            Err(refusal) => return refusal.response(Kind::Api),
        };
        let headers = request.headers().clone();
        let preflight = endpoint.cors.is_some() && cors::is_preflight(request.method(), &headers);
        let mut response =
            if preflight { endpoint.answer_to_preflight() } else { self.answer(&endpoint, id, path, request).await };
        if let Some(cors) = &endpoint.cors {
            cors::apply(cors, &headers, response.headers_mut(), preflight);
        }
        response
    }

    async fn answer(&self, endpoint: &Endpoint, id: &str, path: &str, request: Request) -> Response {
        let request_id = request_id(endpoint.kind);
        let answer = self.invoke(endpoint, id, path, request, &request_id).await;
        let mut response = answer.unwrap_or_else(|refusal| refusal.response(endpoint.kind));
        let header = match endpoint.kind {
            Kind::Api => "apigw-requestid",
            Kind::Url => "x-amzn-requestid",
        };
        if let Ok(request_id) = HeaderValue::try_from(request_id) {
            response.headers_mut().insert(header, request_id);
        }
        response
    }

    async fn invoke(
        &self,
        endpoint: &Endpoint,
        id: &str,
        path: &str,
        request: Request,
        request_id: &str,
    ) -> Result<Response, Refusal> {
        let (route, parameters) = endpoint.find(request.method().as_str(), path).ok_or(Refusal::NotFound)?;
        if endpoint.bucket.as_ref().is_some_and(|bucket| !bucket.take(self.inner.started.elapsed())) {
            return Err(Refusal::TooManyRequests);
        }
        let request = read(endpoint.kind, path, request).await?;
        let now_ms = clock::now_ms();
        let context = Context {
            kind: endpoint.kind,
            id,
            region: &self.inner.place.region,
            port: self.port(),
            route_key: &route.route.key,
            stage: &endpoint.stage,
            parameters,
            request_id,
            trace_id: &trace_id(now_ms),
            now_ms,
        };
        let event = event::build(&request, &context).to_string().into_bytes();
        if event.len() > INVOCATION_BYTES_MAX {
            return Err(Refusal::BodyTooLarge);
        }
        let returned = self.run(endpoint.kind, &route.route, event).await?;
        answer::read(&returned, endpoint.kind)
    }

    /// Runs the function. It goes on when nobody waits for its answer any more, as it does on AWS.
    async fn run(&self, kind: Kind, route: &model::Route, event: Vec<u8>) -> Result<Vec<u8>, Refusal> {
        let invocation = tokio::spawn(self.inner.invoker.invoke(route.function.clone(), event));
        let returned = match kind {
            Kind::Api => {
                tokio::time::timeout(integration_timeout(route), invocation).await.map_err(|_| Refusal::TimedOut)?
            }
            Kind::Url => invocation.await,
        };
        let returned = returned.map_err(|_| Refusal::FunctionFailed)?.map_err(|error| match error {
            InvokeError::Throttled => Refusal::FunctionThrottled,
            InvokeError::Unknown(_) | InvokeError::Function(_) => Refusal::FunctionFailed,
        })?;
        if returned.len() > INVOCATION_BYTES_MAX { Err(Refusal::FunctionFailed) } else { Ok(returned) }
    }

    /// The host's own port.
    fn port(&self) -> u16 {
        let url = url::Url::parse(&self.inner.place.endpoint).ok();
        url.and_then(|url| url.port_or_known_default()).unwrap_or_default()
    }
}

impl Endpoint {
    fn of_api(api: &model::HttpApi) -> Self {
        Self {
            kind: Kind::Api,
            routes: routes::prepare(&api.routes),
            stage: api.stage.clone(),
            bucket: api.throttle.map(Bucket::new),
            cors: api.cors.clone(),
        }
    }

    fn of_url(url: &model::FunctionUrl) -> Self {
        // The function's own time-out ends it.
        let timeout = Duration::MAX;
        let route = model::Route { key: "$default".to_owned(), function: url.function.clone(), timeout };
        Self {
            kind: Kind::Url,
            routes: routes::prepare(&[route]),
            stage: "$default".to_owned(),
            bucket: None,
            cors: url.cors.clone(),
        }
    }

    /// The route of a request. A stage with a name is the first piece of the path.
    fn find(&self, method: &str, path: &str) -> Option<(&Route, Parameters)> {
        let path = event::decoded_path(path);
        let path = match self.stage.as_str() {
            "$default" => path.as_str(),
            stage => path.strip_prefix('/')?.strip_prefix(stage)?,
        };
        if !path.is_empty() && !path.starts_with('/') {
            return None;
        }
        routes::find(&self.routes, method, path)
    }

    fn answer_to_preflight(&self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = match self.kind {
            Kind::Api => StatusCode::NO_CONTENT,
            Kind::Url => StatusCode::OK,
        };
        response
    }
}

fn integration_timeout(route: &model::Route) -> Duration {
    route.timeout.min(INTEGRATION_TIMEOUT_MAX)
}

/// Reads a request to its end.
async fn read(kind: Kind, path: &str, request: Request) -> Result<Incoming, Refusal> {
    let (parts, body) = request.into_parts();
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let of_headers: usize = parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if kind == Kind::Api && of_headers + path.len() + query.len() > API_HEADER_BYTES_MAX {
        return Err(Refusal::HeadersTooLarge);
    }
    let limit = match kind {
        Kind::Api => API_BODY_BYTES_MAX,
        Kind::Url => INVOCATION_BYTES_MAX,
    };
    // A caller that goes away half-way gets the same answer, which it does not see.
    let body = to_bytes(body, limit).await.map_err(|_| Refusal::BodyTooLarge)?;
    let source = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| address.ip());
    Ok(Incoming {
        method: parts.method,
        version: parts.version,
        path: path.to_owned(),
        query,
        headers: parts.headers,
        body: body.into(),
        source_ip: source.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
    })
}

/// API Gateway's ids are sixteen characters of base64, those of Lambda UUIDs.
fn request_id(kind: Kind) -> String {
    use base64::{Engine, prelude::BASE64_STANDARD};

    let id = uuid();
    match kind {
        Kind::Api => BASE64_STANDARD.encode(id.bytes().take(11).collect::<Vec<_>>()),
        Kind::Url => id,
    }
}

/// `Root=1-5759e988-bd862e3fe1be46a994272793`: seconds since 1970 and 96 random bits.
fn trace_id(now_ms: u64) -> String {
    let random: String = uuid().chars().filter(|character| *character != '-').take(24).collect();
    format!("Root=1-{:08x}-{random}", now_ms / 1_000)
}
