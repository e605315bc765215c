//! Answers in each service's own form.

use axum::body::Body;
use http::{
    HeaderValue, Response, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName},
};
use serde_json::json;

use crate::{error::ServiceError, faults::Service, ids::uuid};

const AMZ_JSON: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.0");
const XML: HeaderValue = HeaderValue::from_static("text/xml");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const QUERY_ERROR: HeaderName = HeaderName::from_static("x-amzn-query-error");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");

/// A successful answer.
pub(super) fn success(service: Service, text: String) -> Response<Body> {
    with_type(StatusCode::OK, content_type(service), text)
}

/// A refusal, and how many bytes it has.
pub(super) fn error(service: Service, error: &ServiceError) -> (Response<Body>, u64) {
    let text = match service {
        Service::Dynamodb => typed("com.amazonaws.dynamodb.v20120810", error),
        Service::Sqs => typed("com.amazonaws.sqs", error),
        Service::Sns => xml(error),
        Service::Http | Service::Function => json!({ "message": error.message }).to_string(),
    };
    let bytes = u64::try_from(text.len()).unwrap_or(u64::MAX);
    let mut response = with_type(error.status, content_type(service), text);
    if service == Service::Sqs {
        let code = error.query_code.as_ref().unwrap_or(&error.code);
        let fault = if error.is_sender_fault() { "Sender" } else { "Receiver" };
        if let Ok(value) = HeaderValue::try_from(format!("{code};{fault}")) {
            response.headers_mut().insert(QUERY_ERROR, value);
        }
    }
    (response, bytes)
}

/// Text for people.
pub(super) fn plain(status: StatusCode, text: &str) -> Response<Body> {
    with_type(status, TEXT, text.to_owned())
}

/// JSON of the control address.
pub(super) fn json_text(status: StatusCode, text: String) -> Response<Body> {
    with_type(status, JSON, text)
}

/// The service's own words for too many requests.
pub(super) fn throttled(service: Service, why: &str) -> ServiceError {
    let too_many = |code: &str| ServiceError::sender(code, format!("Rate exceeded: {why}"));
    match service {
        Service::Dynamodb => too_many("ThrottlingException"),
        Service::Sqs => too_many("RequestThrottled").with_status(StatusCode::FORBIDDEN),
        Service::Sns => too_many("Throttled").with_status(StatusCode::TOO_MANY_REQUESTS),
        Service::Http | Service::Function => ServiceError {
            message: "Too Many Requests".to_owned(),
            ..too_many("TooManyRequests").with_status(StatusCode::TOO_MANY_REQUESTS)
        },
    }
}

/// The service's own words for its own failure.
pub(super) fn failed(service: Service, why: &str) -> ServiceError {
    let error = ServiceError::internal(why);
    match service {
        Service::Dynamodb => ServiceError { code: "InternalServerError".to_owned(), ..error },
        Service::Sns => ServiceError { code: "InternalError".to_owned(), ..error },
        Service::Http => ServiceError { message: "Internal Server Error".to_owned(), ..error },
        Service::Sqs | Service::Function => error,
    }
}

/// A service that is away.
pub(super) fn unavailable(why: &str) -> ServiceError {
    ServiceError::sender("ServiceUnavailable", format!("Service Unavailable: {why}"))
        .with_status(StatusCode::SERVICE_UNAVAILABLE)
}

/// DynamoDB's refusal because of another transaction, and how many bytes it has. Of a transaction's items the first
/// is at fault.
pub(super) fn conflict(operation: &str, items: usize) -> (Response<Body>, u64) {
    const NAMESPACE: &str = "com.amazonaws.dynamodb.v20120810";
    let body = if operation == "TransactWriteItems" {
        let codes: Vec<&str> = (0..items).map(|at| if at == 0 { "TransactionConflict" } else { "None" }).collect();
        let reason = |code: &&str| match *code {
            "None" => json!({ "Code": code }),
            _ => json!({ "Code": code, "Message": "Transaction is ongoing for the item" }),
        };
        let text = "Transaction cancelled, please refer cancellation reasons for specific reasons";
        json!({
            "__type": format!("{NAMESPACE}#TransactionCanceledException"),
            "Message": format!("{text} [{}]", codes.join(", ")),
            "CancellationReasons": codes.iter().map(reason).collect::<Vec<_>>(),
        })
    } else {
        let text = "Transaction is ongoing for the item";
        json!({ "__type": format!("{NAMESPACE}#TransactionConflictException"), "message": text })
    };
    let text = body.to_string();
    let bytes = u64::try_from(text.len()).unwrap_or(u64::MAX);
    (with_type(StatusCode::BAD_REQUEST, AMZ_JSON, text), bytes)
}

fn content_type(service: Service) -> HeaderValue {
    match service {
        Service::Dynamodb | Service::Sqs => AMZ_JSON,
        Service::Sns => XML,
        Service::Http | Service::Function => JSON,
    }
}

fn with_type(status: StatusCode, content_type: HeaderValue, text: String) -> Response<Body> {
    let length = HeaderValue::from(text.len());
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response.headers_mut().insert(CONTENT_LENGTH, length);
    if let Ok(id) = HeaderValue::try_from(uuid()) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

fn typed(namespace: &str, error: &ServiceError) -> String {
    json!({ "__type": format!("{namespace}#{}", error.code), "message": error.message }).to_string()
}

fn xml(error: &ServiceError) -> String {
    let fault = if error.is_sender_fault() { "Sender" } else { "Receiver" };
    let code = escape(error.query_code.as_ref().unwrap_or(&error.code));
    let (message, id) = (escape(&error.message), uuid());
    format!(
        "<ErrorResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><Error><Type>{fault}</Type>\
         <Code>{code}</Code><Message>{message}</Message></Error><RequestId>{id}</RequestId></ErrorResponse>"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
