//! From a request to an event of payload version 2.0.
//!
//! Format: <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html> and
//! <https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html>. Fields without a value are left out.

use std::{collections::BTreeMap, net::IpAddr};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, Method, Version, header};
use serde_json::{Map, Value, json};

use super::{Kind, routes::Parameters};
use crate::model::ACCOUNT_ID;

/// Headers that belong to the connection; `cookie` has a field of its own.
const NOT_PASSED_ON: [&str; 9] = [
    "connection",
    "cookie",
    "expect",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// Types besides `text/…` whose bodies are text. API Gateway encodes all others, forms among them.
const TEXT_TYPES: [&str; 3] = ["application/json", "application/javascript", "application/xml"];

/// A request, read.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) method: Method,
    pub(super) version: Version,
    /// As sent, with the stage, without the query.
    pub(super) path: String,
    pub(super) query: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    pub(super) source_ip: IpAddr,
}

/// What the event says about where it comes from.
#[derive(Debug)]
pub(super) struct Context<'a> {
    pub(super) kind: Kind,
    /// Of the API or function URL.
    pub(super) id: &'a str,
    pub(super) region: &'a str,
    /// Port on which the host listens.
    pub(super) port: u16,
    pub(super) route_key: &'a str,
    pub(super) stage: &'a str,
    pub(super) parameters: Parameters,
    pub(super) request_id: &'a str,
    /// `X-Amzn-Trace-Id` for requests that have none.
    pub(super) trace_id: &'a str,
    pub(super) now_ms: u64,
}

/// The event that the function gets.
pub(super) fn build(request: &Incoming, context: &Context<'_>) -> Value {
    let path = match context.kind {
        Kind::Api => decoded_path(&request.path),
        Kind::Url => request.path.clone(),
    };
    let mut event = Map::from_iter([
        ("version".to_owned(), json!("2.0")),
        ("routeKey".to_owned(), json!(context.route_key)),
        ("rawPath".to_owned(), json!(path)),
        ("rawQueryString".to_owned(), json!(request.query)),
        ("headers".to_owned(), json!(headers(request, context))),
        ("requestContext".to_owned(), request_context(request, context, &path)),
    ]);
    let cookies = cookies(&request.headers);
    if !cookies.is_empty() {
        event.insert("cookies".to_owned(), json!(cookies));
    }
    let query = query_parameters(&request.query);
    if !query.is_empty() {
        event.insert("queryStringParameters".to_owned(), json!(query));
    }
    if !context.parameters.is_empty() {
        event.insert("pathParameters".to_owned(), json!(context.parameters));
    }
    let text = as_text(request);
    event.insert("isBase64Encoded".to_owned(), json!(text.is_none()));
    if !request.body.is_empty() {
        let body = text.map_or_else(|| BASE64_STANDARD.encode(&request.body), str::to_owned);
        event.insert("body".to_owned(), json!(body));
    }
    Value::Object(event)
}

fn request_context(request: &Incoming, context: &Context<'_>, path: &str) -> Value {
    let domain = match context.kind {
        Kind::Api => format!("{}.execute-api.{}.amazonaws.com", context.id, context.region),
        Kind::Url => format!("{}.lambda-url.{}.on.aws", context.id, context.region),
    };
    let user_agent = request.headers.get(header::USER_AGENT).map(|value| String::from_utf8_lossy(value.as_bytes()));
    json!({
        "accountId": ACCOUNT_ID,
        "apiId": context.id,
        "domainName": domain,
        "domainPrefix": context.id,
        "http": {
            "method": request.method.as_str(),
            "path": path,
            "protocol": format!("{:?}", request.version),
            "sourceIp": request.source_ip.to_string(),
            "userAgent": user_agent.unwrap_or_default(),
        },
        "requestId": context.request_id,
        "routeKey": context.route_key,
        "stage": context.stage,
        "time": time(context.now_ms),
        "timeEpoch": context.now_ms,
    })
}

/// Names in lower case, values of one name joined by commas, and what a gateway says about the way here.
fn headers(request: &Incoming, context: &Context<'_>) -> BTreeMap<String, String> {
    let mut headers = BTreeMap::new();
    for (name, value) in &request.headers {
        if NOT_PASSED_ON.contains(&name.as_str()) {
            continue;
        }
        let value = String::from_utf8_lossy(value.as_bytes());
        join(headers.entry(name.as_str().to_owned()).or_default(), &value);
    }
    headers.insert("content-length".to_owned(), request.body.len().to_string());
    let forwarded_for = headers.entry("x-forwarded-for".to_owned()).or_default();
    let separator = if forwarded_for.is_empty() { "" } else { ", " };
    *forwarded_for += &format!("{separator}{}", request.source_ip);
    headers.insert("x-forwarded-port".to_owned(), context.port.to_string());
    headers.insert("x-forwarded-proto".to_owned(), "http".to_owned());
    headers.entry("x-amzn-trace-id".to_owned()).or_insert_with(|| context.trace_id.to_owned());
    headers
}

/// Each cookie by itself, `name=value`.
fn cookies(headers: &HeaderMap) -> Vec<String> {
    let lines = headers.get_all(header::COOKIE).into_iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    let lines: Vec<_> = lines.collect();
    let cookies = lines.iter().flat_map(|line| line.split(';')).map(str::trim);
    cookies.filter(|cookie| !cookie.is_empty()).map(str::to_owned).collect()
}

/// Decoded; values of one name are joined by commas.
fn query_parameters(query: &str) -> BTreeMap<String, String> {
    let mut parameters: BTreeMap<String, Option<String>> = BTreeMap::new();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let known = parameters.entry(name.into_owned()).or_default();
        *known = Some(known.take().map_or_else(|| value.to_string(), |before| format!("{before},{value}")));
    }
    parameters.into_iter().map(|(name, value)| (name, value.unwrap_or_default())).collect()
}

fn join(all: &mut String, value: &str) {
    if !all.is_empty() {
        all.push(',');
    }
    all.push_str(value);
}

/// The body, if its type says that it is text. An empty body counts as text.
fn as_text(request: &Incoming) -> Option<&str> {
    let text = std::str::from_utf8(&request.body).ok();
    let kind = request.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_text = request.body.is_empty() || kind.starts_with("text/") || TEXT_TYPES.contains(&kind.as_str());
    text.filter(|_| is_text)
}

/// HTTP APIs decode paths, and what decodes to a question mark ends them.
pub(super) fn decoded_path(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let hex = after.get(..2).filter(|_| *byte == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        // `from_str_radix` would take a sign, too.
        let code = hex.filter(|hex| !hex.starts_with('+')).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(code.unwrap_or(*byte));
        rest = if code.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    let path = String::from_utf8_lossy(&bytes);
    path.split('?').next().unwrap_or_default().to_owned()
}

/// `12/Mar/2020:19:03:58 +0000`.
fn time(ms: u64) -> String {
    let time = jiff::Timestamp::from_millisecond(i64::try_from(ms).unwrap_or(i64::MAX)).unwrap_or_default();
    time.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string()
}
