//! From what a function returned to a response.

use axum::body::Body;
use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use serde_json::Value;

use super::Kind;

/// Headers that belong to the connection: a function cannot set them.
const NOT_PASSED_ON: [&str; 8] =
    ["connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"];

/// Why a request gets no answer of a function's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Nothing is deployed yet.
    Starting,
    /// There is no such route, or no such API.
    NotFound,
    /// The stage's token bucket is empty.
    TooManyRequests,
    BodyTooLarge,
    HeadersTooLarge,
    /// The function failed, or its answer is none.
    FunctionFailed,
    /// The function has no environment left.
    FunctionThrottled,
    /// The integration's time is over.
    TimedOut,
}

impl Refusal {
    pub(super) fn response(self, kind: Kind) -> Response<Body> {
        let (status, content_type, body) = match (self, kind) {
            (Self::NotFound, Kind::Api) => (StatusCode::NOT_FOUND, "application/json", r#"{"message":"Not Found"}"#),
            (Self::NotFound, Kind::Url) => (StatusCode::FORBIDDEN, "application/json", r#"{"Message":"Forbidden"}"#),
            (Self::TooManyRequests, _) => {
                (StatusCode::TOO_MANY_REQUESTS, "application/json", r#"{"message":"Too Many Requests"}"#)
            }
            (Self::BodyTooLarge, _) => {
                (StatusCode::PAYLOAD_TOO_LARGE, "application/json", r#"{"message":"Request Entity Too Large"}"#)
            }
            (Self::HeadersTooLarge, _) => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "application/json",
                r#"{"message":"Request Header Fields Too Large"}"#,
            ),
            (Self::FunctionFailed, Kind::Api) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "application/json", r#"{"message":"Internal Server Error"}"#)
            }
            (Self::FunctionFailed, Kind::Url) => (StatusCode::BAD_GATEWAY, "text/plain", "Internal Server Error"),
            (Self::Starting, _) | (Self::FunctionThrottled, Kind::Api) => {
                (StatusCode::SERVICE_UNAVAILABLE, "application/json", r#"{"message":"Service Unavailable"}"#)
            }
            (Self::FunctionThrottled, Kind::Url) => {
                (StatusCode::TOO_MANY_REQUESTS, "application/json", r#"{"Message":"Rate Exceeded."}"#)
            }
            (Self::TimedOut, _) => {
                (StatusCode::GATEWAY_TIMEOUT, "application/json", r#"{"message":"Endpoint request timed out"}"#)
            }
        };
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        response
    }
}

/// Reads what a function returned: an object with a `statusCode`, or any other JSON value, which is the body then.
pub(super) fn read(returned: &[u8], kind: Kind) -> Result<Response<Body>, Refusal> {
    let value: Value = serde_json::from_slice(returned).map_err(|_| Refusal::FunctionFailed)?;
    match value.get("statusCode") {
        Some(status) => structured(&value, status, kind).ok_or(Refusal::FunctionFailed),
        None => {
            let body = value.as_str().map_or_else(|| returned.to_vec(), |text| text.as_bytes().to_vec());
            let mut response = Response::new(Body::from(body));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            Ok(response)
        }
    }
}

/// `None` when a field is not what it should be.
fn structured(value: &Value, status: &Value, kind: Kind) -> Option<Response<Body>> {
    let status = match status {
        Value::String(text) => text.parse().ok()?,
        number => u16::try_from(number.as_u64()?).ok()?,
    };
    let status = StatusCode::from_u16(status).ok().filter(|status| (200..600).contains(&status.as_u16()))?;
    let body = match value.get("body") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(body)) if is_encoded(value)? => BASE64_STANDARD.decode(body).ok()?,
        Some(Value::String(body)) => body.as_bytes().to_vec(),
        Some(_) => return None,
    };
    let mut headers = headers(value)?;
    if !headers.contains_key(header::CONTENT_TYPE) {
        let default = match kind {
            Kind::Api => "text/plain;charset=UTF-8",
            Kind::Url => "application/json",
        };
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(default));
    }
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Some(response)
}

fn is_encoded(value: &Value) -> Option<bool> {
    match value.get("isBase64Encoded") {
        None | Some(Value::Null) => Some(false),
        Some(encoded) => encoded.as_bool(),
    }
}

/// `headers`, and `cookies` as one `set-cookie` each.
fn headers(value: &Value) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in object(value.get("headers"))? {
        let value = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(truth) => truth.to_string(),
            Value::Null => continue,
            Value::Array(_) | Value::Object(_) => return None,
        };
        let name = HeaderName::try_from(name).ok()?;
        if !NOT_PASSED_ON.contains(&name.as_str()) {
            headers.append(name, HeaderValue::try_from(value).ok()?);
        }
    }
    match value.get("cookies") {
        None | Some(Value::Null) => {}
        Some(Value::Array(cookies)) => {
            for cookie in cookies {
                headers.append(header::SET_COOKIE, HeaderValue::try_from(cookie.as_str()?).ok()?);
            }
        }
        Some(_) => return None,
    }
    Some(headers)
}

fn object(value: Option<&Value>) -> Option<impl Iterator<Item = (&String, &Value)>> {
    match value {
        None | Some(Value::Null) => Some(None.into_iter().flatten()),
        Some(Value::Object(entries)) => Some(Some(entries).into_iter().flatten()),
        Some(_) => None,
    }
}
