//! The one address: tells by each request which service it is for, applies fault rules, counts, answers in the
//! service's own form.

mod caller;
mod control;
mod wire;

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, HttpBody},
    extract::ConnectInfo,
};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};

use crate::{
    counters::{Call, CallKey, Counters, Units},
    dynamodb::{self, Dynamo},
    error::ServiceError,
    faults::{self, Fault, Faults, Service},
    functions::Functions,
    http_api::HttpApis,
    log::{self, HOST},
    sns::Topics,
    sqs::Queues,
};
use caller::Caller;

/// Bytes of a request to a service: DynamoDB's own limit, the largest of all.
const REQUEST_BYTES_MAX: usize = 16 * 1024 * 1024;
/// HTTP APIs live under this path, behind it the id, as with other emulators.
const APIS: &str = "/_aws/execute-api/";
/// Function URLs live under this path.
const FUNCTION_URLS: &str = "/_aws/lambda-url/";
/// What a throttling or failing service says.
const BY_RULE: &str = "a fault rule of the local host asked for this";

/// Everything that requests can be for.
#[derive(Debug)]
pub struct Front {
    /// Tables.
    pub dynamo: Dynamo,
    /// Queues.
    pub queues: Queues,
    /// Topics.
    pub topics: Topics,
    /// HTTP APIs and function URLs.
    pub apis: HttpApis,
    /// Functions, to kill those that a rule names.
    pub functions: Functions,
    /// Rules.
    pub faults: Arc<Faults>,
    /// Counts.
    pub counters: Arc<Counters>,
}

/// The connection ends without an answer. What was done all the same is counted.
#[derive(Debug, Default, thiserror::Error)]
#[error("dropped by a fault rule")]
struct Dropped {
    units: Units,
}

/// Who called a service, with what.
struct Origin {
    caller: Caller,
    body: Bytes,
}

/// A service's answer, before it is sent.
struct Answer {
    response: Response<Body>,
    bytes_out: u64,
    units: Units,
}

impl Front {
    /// Serves until `stopping` says so; then every connection ends.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, mut stopping: watch::Receiver<bool>) {
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                Some(_) = connections.join_next() => continue,
                _ = stopping.wait_for(|stopping| *stopping) => break,
            };
            let Ok((stream, peer)) = accepted else {
                // Out of file descriptors, most likely: others will close some.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            if stream.set_nodelay(true).is_err() {
                // The other side has gone already.
                continue;
            }
            let front = Arc::clone(&self);
            connections.spawn(async move {
                let service = service_fn(|mut request: Request<Incoming>| {
                    request.extensions_mut().insert(ConnectInfo(peer));
                    front.answer(request)
                });
                // A connection that breaks is the caller's business; one that is dropped by a rule has been logged.
                drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
            });
        }
        connections.shutdown().await;
    }

    async fn answer(self: &Arc<Self>, request: Request<Incoming>) -> Result<Response<Body>, Dropped> {
        if !caller::is_local(request.headers()) {
            let text = "this host answers to loopback names only\n";
            return Ok(wire::plain(StatusCode::FORBIDDEN, text));
        }
        let path = request.uri().path();
        let under = |prefix: &str| path.strip_prefix(prefix).filter(|rest| !rest.is_empty()).map(str::to_owned);
        if let Some(rest) = under(APIS).or_else(|| under(FUNCTION_URLS)) {
            let front = Arc::clone(self);
            return to_the_end(async move { front.api(&rest, request).await }).await;
        }
        if caller::is_a_web_page(request.headers()) {
            let text = "this host answers no web pages; its HTTP APIs do, as far as their CORS settings go\n";
            return Ok(wire::plain(StatusCode::FORBIDDEN, text));
        }
        if path == "/metrics" || path.starts_with("/_host/") {
            return Ok(control::answer(self, request).await);
        }
        let (parts, body) = request.into_parts();
        let body = match Limited::new(body, REQUEST_BYTES_MAX).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => {
                return Ok(wire::plain(StatusCode::PAYLOAD_TOO_LARGE, "the request is larger than 16 MiB\n"));
            }
            Err(_) => return Err(Dropped::default()),
        };
        match Target::of(&parts.headers, &body) {
            // A long poll ends with its connection; it has taken nothing yet.
            Ok(target) if target.operation == "ReceiveMessage" => self.service(&target, &parts.headers, body).await,
            Ok(target) => {
                let front = Arc::clone(self);
                to_the_end(async move { front.service(&target, &parts.headers, body).await }).await
            }
            Err(refusal) => Ok(wire::plain(StatusCode::NOT_IMPLEMENTED, &refusal)),
        }
    }

    /// A request to an HTTP API or function URL: `rest` is its id and path.
    async fn api(&self, rest: &str, request: Request<Incoming>) -> Result<Response<Body>, Dropped> {
        let (id, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        let method = request.method().to_string();
        let resource = format!("{id} {path}");
        let call = faults::Call {
            service: Service::Http,
            operation: &method,
            resource: &resource,
            function: crate::counters::CLIENT,
        };
        let bytes_in = length(request.headers());
        let answer = async {
            let response = self.apis.call(id, path, request.map(Body::new)).await;
            let bytes_out = HttpBody::size_hint(response.body()).exact().unwrap_or_default();
            Answer { response, bytes_out, units: Units::default() }
        };
        let answer = self.with_faults(&call, None, answer).await;
        self.count(&call, id, bytes_in, answer)
    }

    async fn service(&self, target: &Target, headers: &HeaderMap, body: Bytes) -> Result<Response<Body>, Dropped> {
        let origin = Origin { caller: Caller::of(headers), body: body.clone() };
        let resource = target.resource(&body);
        let call = faults::Call {
            service: target.service,
            operation: &target.operation,
            resource: &resource,
            function: &origin.caller.function,
        };
        let bytes_in = u64::try_from(body.len()).unwrap_or(u64::MAX);
        let answer = self.with_faults(&call, Some(&origin), self.dispatch(target, headers, body)).await;
        self.count(&call, &resource, bytes_in, answer)
    }

    async fn dispatch(&self, target: &Target, headers: &HeaderMap, body: Bytes) -> Answer {
        let answered = match target.service {
            Service::Dynamodb => match self.dynamo.call(&target.operation, headers, body).await {
                Ok(answer) => {
                    let (units, bytes_out) = (answer.units, u64::try_from(answer.body.len()).unwrap_or(u64::MAX));
                    return Answer { response: answer.into(), bytes_out, units };
                }
                Err(error) => Err(ServiceError::internal(error.to_string())),
            },
            Service::Sqs => match serde_json::from_slice::<Value>(&body) {
                Ok(input) => self.queues.call(&target.operation, input).await.map(|output| {
                    // A call without output answers an empty object.
                    if output.is_null() { "{}".to_owned() } else { output.to_string() }
                }),
                Err(_) => Err(ServiceError::sender("SerializationException", "the request is not JSON")),
            },
            _ => self.topics.call(&target.form).await,
        };
        let (response, bytes_out) = match answered {
            Ok(text) => {
                let bytes = u64::try_from(text.len()).unwrap_or(u64::MAX);
                (wire::success(target.service, text), bytes)
            }
            Err(error) => wire::error(target.service, &error),
        };
        Answer { response, bytes_out, units: Units::default() }
    }

    /// Does what the rules ask for around a call.
    async fn with_faults(
        &self,
        call: &faults::Call<'_>,
        origin: Option<&Origin>,
        answer: impl Future<Output = Answer>,
    ) -> Result<Answer, Dropped> {
        let Some(fault) = self.faults.decide(call) else { return Ok(answer.await) };
        let refused = |error: ServiceError| {
            let (response, bytes_out) = wire::error(call.service, &error);
            Ok(Answer { response, bytes_out, units: Units::default() })
        };
        match fault {
            Fault::Throttle {} => refused(wire::throttled(call.service, BY_RULE)),
            Fault::Outage {} => refused(wire::unavailable(BY_RULE)),
            Fault::Conflict {} => {
                let items = origin.map_or(0, |origin| dynamodb::transact_items(&origin.body));
                let (response, bytes_out) = wire::conflict(call.operation, items);
                Ok(Answer { response, bytes_out, units: Units::default() })
            }
            Fault::ErrorBefore {} => refused(wire::failed(call.service, BY_RULE)),
            Fault::ErrorAfter {} => {
                let units = answer.await.units;
                refused(wire::failed(call.service, BY_RULE)).map(|refusal| Answer { units, ..refusal })
            }
            Fault::Delay { delay_ms } => {
                tokio::time::sleep(Duration::from_millis(delay_ms)).await;
                Ok(answer.await)
            }
            Fault::DelayAfter { delay_ms } => {
                let answer = answer.await;
                tokio::time::sleep(Duration::from_millis(delay_ms)).await;
                Ok(answer)
            }
            Fault::DropReply {} => Err(Dropped { units: answer.await.units }),
            Fault::KillBefore {} => {
                self.kill(origin);
                Err(Dropped::default())
            }
            Fault::KillAfter {} => {
                let units = answer.await.units;
                self.kill(origin);
                Err(Dropped { units })
            }
            // Decided at the queue, never here.
            Fault::Duplicate {} | Fault::Reorder {} => Ok(answer.await),
        }
    }

    fn kill(&self, origin: Option<&Origin>) {
        let killed = origin.is_some_and(|origin| self.functions.kill_environment(&origin.caller.access_key_id));
        if !killed {
            log::line(HOST, "the caller is no function of this host: its connection ends instead");
        }
    }

    fn count(
        &self,
        call: &faults::Call<'_>,
        resource: &str,
        bytes_in: u64,
        answer: Result<Answer, Dropped>,
    ) -> Result<Response<Body>, Dropped> {
        let key = CallKey {
            service: call.service.name(),
            operation: call.operation.to_owned(),
            function: call.function.to_owned(),
            resource: resource.to_owned(),
        };
        let counted = match &answer {
            Err(dropped) => Call { failed: true, bytes_in, bytes_out: 0, units: dropped.units },
            Ok(answer) => {
                let status = answer.response.status();
                let failed = status.is_client_error() || status.is_server_error();
                Call { failed, bytes_in, bytes_out: answer.bytes_out, units: answer.units }
            }
        };
        self.counters.called(key, counted);
        answer.map(|answer| answer.response)
    }
}

/// Does the work to its end, also when the caller goes away meanwhile, as a service does.
async fn to_the_end(
    work: impl Future<Output = Result<Response<Body>, Dropped>> + Send + 'static,
) -> Result<Response<Body>, Dropped> {
    tokio::spawn(work).await.unwrap_or_else(|_| Err(Dropped::default()))
}

/// What a request to a service is for.
#[derive(Debug)]
struct Target {
    service: Service,
    operation: String,
    /// The fields of the query protocol.
    form: Vec<(String, String)>,
}

impl Target {
    fn of(headers: &HeaderMap, body: &[u8]) -> Result<Self, String> {
        if let Some(target) = headers.get("x-amz-target").and_then(|target| target.to_str().ok()) {
            let service = match target.split_once('.') {
                Some(("DynamoDB_20120810", _)) => Service::Dynamodb,
                Some(("AmazonSQS", _)) => Service::Sqs,
                _ => return Err(format!("this host has no service for X-Amz-Target {target}\n")),
            };
            let operation = target.split_once('.').map_or("", |(_, operation)| operation).to_owned();
            return Ok(Self { service, operation, form: Vec::new() });
        }
        let form: Vec<(String, String)> = serde_urlencoded::from_bytes(body).unwrap_or_default();
        let field = |wanted: &str| form.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
        match (field("Action"), field("Version").as_deref()) {
            (Some(operation), Some("2010-03-31") | None) => Ok(Self { service: Service::Sns, operation, form }),
            (Some(operation), Some("2012-11-05")) => {
                Err(format!("{operation}: this host speaks SQS's JSON protocol, not the query protocol\n"))
            }
            (Some(operation), Some(version)) => {
                Err(format!("this host has no service with the operation {operation} of version {version}\n"))
            }
            (None, _) => {
                Err("this host serves DynamoDB, SQS (JSON), SNS and HTTP APIs; this request is none\n".to_owned())
            }
        }
    }

    /// Table, queue or topic, by name.
    fn resource(&self, body: &[u8]) -> String {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Peek {
            queue_url: Option<String>,
            queue_name: Option<String>,
        }
        let last = |text: &str, separator: char| text.rsplit(separator).next().unwrap_or_default().to_owned();
        match self.service {
            Service::Dynamodb => dynamodb::tables(body),
            Service::Sqs => serde_json::from_slice::<Peek>(body)
                .ok()
                .and_then(|peek| peek.queue_url.map(|url| last(&url, '/')).or(peek.queue_name))
                .unwrap_or_default(),
            _ => {
                let field = |wanted: &str| self.form.iter().find(|(name, _)| name == wanted).map(|(_, value)| value);
                let arn = field("TopicArn").or_else(|| field("TargetArn")).or_else(|| field("SubscriptionArn"));
                // arn:aws:sns:REGION:ACCOUNT:TOPIC[:SUBSCRIPTION]
                let named = arn.map(|arn| arn.split(':').nth(5).unwrap_or_default().to_owned());
                named.or_else(|| field("Name").cloned()).unwrap_or_default()
            }
        }
    }
}

/// What the headers say; a body without a length counts as none.
fn length(headers: &HeaderMap) -> u64 {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    length.and_then(|length| length.parse().ok()).unwrap_or_default()
}
