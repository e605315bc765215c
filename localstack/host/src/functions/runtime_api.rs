//! The Runtime API of Lambda (version 2018-06-01): each environment has it under a path of its own.
//!
//! The server only translates: what a request means depends on what the environment is doing, which its own task knows.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::{any, get, post},
    serve::ListenerExt,
};
use http_body_util::BodyExt;
use rustix::process::{Pid, Signal as KernelSignal, kill_process};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    task::AbortHandle,
};

use super::{PAYLOAD_BYTES_MAX, locked};

/// Requests of one environment that wait for its task. A runtime makes one after the other.
const SIGNALS_MAX: usize = 4;

/// An event on its way to a function.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) request_id: String,
    /// Milliseconds since 1970.
    pub(crate) deadline_ms: u64,
    pub(crate) function_arn: String,
    pub(crate) trace: String,
    pub(crate) payload: Bytes,
}

/// What a runtime says to its environment's task.
#[derive(Debug)]
pub(crate) enum Signal {
    /// It asks for the next event.
    Next(oneshot::Sender<Event>),
    /// It answers an event, or reports that it failed.
    Answer { request_id: String, result: Result<Bytes, Value>, taken: oneshot::Sender<bool> },
    /// Its init failed.
    InitError { error: Value, taken: oneshot::Sender<bool> },
}

impl Signal {
    /// The runtime may not say this now.
    pub(crate) fn refuse(self) {
        // A runtime that is gone need not be told.
        match self {
            Self::Next(event) => drop(event),
            Self::Answer { taken, .. } | Self::InitError { taken, .. } => taken.send(false).unwrap_or_default(),
        }
    }
}

/// The server, and which environments it knows.
#[derive(Debug)]
pub(crate) struct RuntimeApi {
    address: SocketAddr,
    environments: Mutex<Environments>,
    server: AbortHandle,
}

#[derive(Debug, Default)]
struct Environments {
    last: u64,
    known: HashMap<u64, Known>,
}

#[derive(Debug)]
struct Known {
    access_key_id: String,
    signals: mpsc::Sender<Signal>,
    pid: Option<Pid>,
}

/// An environment that the server knows, until this is dropped.
#[derive(Debug)]
pub(crate) struct Registration {
    api: Arc<RuntimeApi>,
    /// Counts all environments since the host's start.
    pub(crate) id: u64,
    pub(crate) access_key_id: String,
}

impl RuntimeApi {
    /// Begins to listen, on a free port of loopback.
    pub(crate) async fn start() -> anyhow::Result<Arc<Self>> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        // A response is small and never followed by more: waiting for more costs 40 ms.
        let listener = listener.tap_io(|connection| drop(connection.set_nodelay(true)));
        let (send_api, api) = oneshot::channel();
        let server = tokio::spawn(async move {
            let Ok(api) = api.await else { return };
            // It never ends by itself.
            drop(axum::serve(listener, router(api)).await);
        });
        let api = Arc::new(Self { address, environments: Mutex::default(), server: server.abort_handle() });
        drop(send_api.send(Arc::clone(&api)));
        Ok(api)
    }

    /// Makes an environment of this function known.
    pub(crate) fn register(self: &Arc<Self>, function: &str) -> (Registration, mpsc::Receiver<Signal>) {
        let (signals, receiver) = mpsc::channel(SIGNALS_MAX);
        let mut environments = locked(&self.environments);
        environments.last += 1;
        let id = environments.last;
        let access_key_id = format!("host.{function}.{id}");
        environments.known.insert(id, Known { access_key_id: access_key_id.clone(), signals, pid: None });
        (Registration { api: Arc::clone(self), id, access_key_id }, receiver)
    }

    /// Kills the environment with this access key id.
    pub(crate) fn kill(&self, access_key_id: &str) -> bool {
        let environments = locked(&self.environments);
        let known = environments.known.values().find(|known| known.access_key_id == access_key_id);
        // Known environments have not been waited for, or only just: the number is still theirs.
        known.and_then(|known| known.pid).is_some_and(|pid| kill_process(pid, KernelSignal::KILL).is_ok())
    }

    /// Answers nobody any more.
    pub(crate) fn stop(&self) {
        self.server.abort();
    }

    async fn send(&self, environment: &str, signal: Signal) -> Result<(), Refusal> {
        let id: Option<u64> = environment.strip_prefix("fn-").and_then(|id| id.parse().ok());
        let signals = id.and_then(|id| locked(&self.environments).known.get(&id).map(|known| known.signals.clone()));
        match signals {
            Some(signals) => signals.send(signal).await.map_err(|_| Refusal::State),
            None => Err(Refusal::Unknown),
        }
    }
}

impl Registration {
    /// `AWS_LAMBDA_RUNTIME_API`: runtimes take a path only behind a scheme.
    pub(crate) fn address(&self) -> String {
        format!("http://{}/fn-{}", self.api.address, self.id)
    }

    /// Which process it is.
    pub(crate) fn runs_as(&self, pid: Pid) {
        if let Some(known) = locked(&self.api.environments).known.get_mut(&self.id) {
            known.pid = Some(pid);
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        locked(&self.api.environments).known.remove(&self.id);
    }
}

/// Why the API does not do what a runtime asks.
#[derive(Debug, Clone, Copy)]
enum Refusal {
    Unknown,
    State,
    TooLarge,
    Streaming,
    Extensions,
    Path,
    Broken,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, error_type, message) = match self {
            Self::Unknown => {
                (StatusCode::FORBIDDEN, "UnknownEnvironment", "there is no environment with this address any more")
            }
            Self::State => (StatusCode::FORBIDDEN, "InvalidStateTransition", "Transition is not allowed"),
            Self::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "RequestEntityTooLarge",
                "Exceeded maximum allowed payload size (6291556 bytes).",
            ),
            Self::Streaming => (
                StatusCode::BAD_REQUEST,
                "Runtime.InvalidResponseModeHeader",
                "response streaming is not provided by this host",
            ),
            Self::Extensions => (
                StatusCode::FORBIDDEN,
                "Extension.NotSupported",
                "the Extensions, Logs and Telemetry APIs are not provided by this host",
            ),
            Self::Path => (StatusCode::NOT_FOUND, "ResourceNotFound", "the Runtime API has no such path"),
            Self::Broken => (StatusCode::BAD_REQUEST, "RequestBroken", "the body did not arrive completely"),
        };
        (status, Json(json!({ "errorType": error_type, "errorMessage": message }))).into_response()
    }
}

fn router(api: Arc<RuntimeApi>) -> Router {
    let refuse_extensions = || async { Refusal::Extensions };
    Router::new()
        .route("/{environment}/2018-06-01/runtime/invocation/next", get(next))
        .route("/{environment}/2018-06-01/runtime/invocation/{request}/response", post(response))
        .route("/{environment}/2018-06-01/runtime/invocation/{request}/error", post(error))
        .route("/{environment}/2018-06-01/runtime/init/error", post(init_error))
        .route("/{environment}/2020-01-01/extension/{*path}", any(refuse_extensions))
        .route("/{environment}/2020-08-15/logs", any(refuse_extensions))
        .route("/{environment}/2022-07-01/telemetry", any(refuse_extensions))
        .fallback(|| async { Refusal::Path })
        .with_state(api)
}

async fn next(State(api): State<Arc<RuntimeApi>>, Path(environment): Path<String>) -> Result<Response, Refusal> {
    let (send_event, event) = oneshot::channel();
    api.send(&environment, Signal::Next(send_event)).await?;
    let event = event.await.map_err(|_| Refusal::State)?;
    Response::builder()
        .header(CONTENT_TYPE, "application/json")
        .header("Lambda-Runtime-Aws-Request-Id", event.request_id)
        .header("Lambda-Runtime-Deadline-Ms", event.deadline_ms)
        .header("Lambda-Runtime-Invoked-Function-Arn", event.function_arn)
        .header("Lambda-Runtime-Trace-Id", event.trace)
        .body(Body::from(event.payload))
        .map_err(|_| Refusal::State)
}

async fn response(
    State(api): State<Arc<RuntimeApi>>,
    Path((environment, request_id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let mode = headers.get("Lambda-Runtime-Function-Response-Mode");
    if mode.is_some_and(|mode| mode.as_bytes().eq_ignore_ascii_case(b"streaming")) {
        let error = json!({
            "errorType": "Runtime.InvalidResponseModeHeader",
            "errorMessage": "response streaming is not provided by this host",
        });
        answer(&api, &environment, request_id, Err(error)).await?;
        return Err(Refusal::Streaming);
    }
    match read(body).await {
        Err(Refusal::TooLarge) => {
            let error = json!({
                "errorType": "Function.ResponseSizeTooLarge",
                "errorMessage": "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
            });
            answer(&api, &environment, request_id, Err(error)).await?;
            Err(Refusal::TooLarge)
        }
        body => answer(&api, &environment, request_id, Ok(body?)).await,
    }
}

async fn error(
    State(api): State<Arc<RuntimeApi>>,
    Path((environment, request_id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let error = error_object(&headers, &read(body).await?);
    answer(&api, &environment, request_id, Err(error)).await
}

async fn init_error(
    State(api): State<Arc<RuntimeApi>>,
    Path(environment): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let error = error_object(&headers, &read(body).await?);
    let (taken, was_taken) = oneshot::channel();
    api.send(&environment, Signal::InitError { error, taken }).await?;
    accepted(was_taken).await
}

async fn answer(
    api: &RuntimeApi,
    environment: &str,
    request_id: String,
    result: Result<Bytes, Value>,
) -> Result<Response, Refusal> {
    let (taken, was_taken) = oneshot::channel();
    api.send(environment, Signal::Answer { request_id, result, taken }).await?;
    accepted(was_taken).await
}

async fn accepted(taken: oneshot::Receiver<bool>) -> Result<Response, Refusal> {
    match taken.await {
        Ok(true) => Ok((StatusCode::ACCEPTED, Json(json!({ "status": "OK" }))).into_response()),
        Ok(false) | Err(_) => Err(Refusal::State),
    }
}

/// The whole body is read, even when it is too large: a runtime that is cut off while it writes never sees the answer.
async fn read(mut body: Body) -> Result<Bytes, Refusal> {
    let (mut whole, mut too_large) = (Vec::new(), false);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Refusal::Broken)?.into_data() else { continue };
        too_large |= whole.len() + data.len() > PAYLOAD_BYTES_MAX;
        if !too_large {
            whole.extend_from_slice(&data);
        }
    }
    if too_large { Err(Refusal::TooLarge) } else { Ok(whole.into()) }
}

/// What a function reports about its failure, as it reports it if it is JSON.
fn error_object(headers: &HeaderMap, body: &[u8]) -> Value {
    let of_header = || {
        let error_type = headers.get("Lambda-Runtime-Function-Error-Type").and_then(|value| value.to_str().ok());
        json!({
            "errorType": error_type.unwrap_or("Runtime.Unknown"),
            "errorMessage": String::from_utf8_lossy(body),
        })
    };
    match serde_json::from_slice(body) {
        Ok(Value::Object(error)) => Value::Object(error),
        _ => of_header(),
    }
}
