//! Errors as RFC 9457 problem details. Codes are stable; `docs/errors.md` lists them.
//!
//! One bad request always yields one code. The order in which a request is judged:
//!
//! 1. route (404), method (405)
//! 2. API key or operator key (401), rate (429), permission (403)
//! 3. `Content-Type` (415), `Idempotency-Key` (400), size (413), JSON (400)
//! 4. query parameters (400)
//! 5. fields (422): all wrong ones are listed; `code` is that of the first, in the order of `payments::create`
//! 6. absence (404)
//! 7. an `Idempotency-Key` that stands for another request (422)
//! 8. the state of what the request is about (409), the amount that is left to refund (422)
//! 9. the gateway's view of the card (402), the gateway's absence (503)
//! 10. ourselves (500, 503)

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use florin_domain::{field::FieldError, permission::Permission};
use florin_gateway::GatewayError;
use florin_platform::{oidc::OidcError, tokens::TokenError};
use florin_store::StoreError;
use serde::Serialize;

use crate::{body::BODY_BYTES_MAX, idempotency::IDEMPOTENCY_KEY_CHARACTERS_MAX};

/// What every `type` begins with; behind it stands the code.
pub const TYPE_PREFIX: &str = "https://florin.dev/errors/";
/// What a client that is told to come back later is asked to wait, in seconds.
const RETRY_AFTER_SECONDS: u16 = 2;

/// Everything that can be wrong with a request, or with us.
#[derive(Debug)]
pub enum Problem {
    /// No such route.
    RouteNotFound,
    /// The route has no such method.
    MethodNotAllowed,
    /// Neither `Authorization` nor `X-API-Key`.
    ApiKeyMissing,
    /// A key that authenticates nobody.
    ApiKeyInvalid,
    /// An access token that is not ours, or whose session, user or key is no more.
    TokenInvalid,
    /// An access token that was good once.
    TokenExpired,
    /// No key of an operator.
    OperatorKeyInvalid,
    /// The caller makes more requests than it may.
    TooManyRequests {
        /// When there is room for the next one, in seconds.
        retry_after_seconds: i64,
    },
    /// The caller lacks this permission.
    Forbidden(Permission),
    /// Not `application/json`.
    ContentTypeUnsupported,
    /// A POST that moves money needs an `Idempotency-Key`.
    IdempotencyKeyMissing,
    /// The key is not 1 to 255 visible ASCII characters.
    IdempotencyKeyInvalid,
    /// The body is too long.
    BodyTooLarge,
    /// The body broke off.
    BodyUnreadable,
    /// The body is no JSON object; line and column if it is no JSON.
    JsonInvalid(String),
    /// Query parameters that break a rule.
    Parameters(Vec<FieldError>),
    /// Fields that break a rule, in the order in which fields are judged.
    Fields(Vec<FieldError>),
    /// The key was used for a request that differs in this field.
    IdempotencyKeyReused(&'static str),
    /// The gateway refused the card.
    CardRefused {
        /// Where the card stands in the request.
        pointer: &'static str,
        /// The gateway's reason.
        code: String,
        /// For a person.
        message: String,
    },
    /// The gateway cannot be reached, or did not answer in time.
    GatewayUnavailable,
    /// Address and password are not those of a user.
    CredentialsInvalid,
    /// Too many wrong passwords for this address.
    LoginLocked {
        /// For how long.
        seconds: u64,
    },
    /// A refresh token that is not good, or not any more.
    SessionEnded,
    /// An invitation that is not open.
    InvitationInvalid,
    /// Only an owner may do this to an owner.
    OwnerNeeded,
    /// There is no such merchant (any more).
    MerchantNotFound,
    /// The merchant has no such API key.
    ApiKeyNotFound,
    /// The merchant has no such user.
    UserNotFound,
    /// The merchant has no such payment.
    PaymentNotFound,
    /// The merchant has no such refund.
    RefundNotFound,
    /// The merchant has no such payment method.
    PaymentMethodNotFound,
    /// No consumer has this name.
    ConsumerNotFound,
    /// The state of what the request is about does not allow it.
    Conflict {
        /// Which rule.
        code: &'static str,
        /// In which state it is.
        detail: String,
    },
    /// More is to be refunded than is left.
    RefundTooLarge {
        /// What is left, in minor units.
        left: i64,
    },
    /// A table or topic cannot be reached.
    Unavailable(String),
    /// A bug or a misconfiguration; what it is stands in the log.
    Internal(String),
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        if error.is_retryable() { Self::Unavailable(error.to_string()) } else { Self::Internal(error.to_string()) }
    }
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Invalid => Self::TokenInvalid,
            TokenError::Expired => Self::TokenExpired,
        }
    }
}

impl From<OidcError> for Problem {
    fn from(error: OidcError) -> Self {
        match error {
            OidcError::Token(error) => error.into(),
            OidcError::Unavailable(_) => Self::Unavailable(error.to_string()),
        }
    }
}

impl From<GatewayError> for Problem {
    fn from(error: GatewayError) -> Self {
        match error {
            GatewayError::Declined { code, message, .. } => Self::CardRefused { pointer: "/source", code, message },
            GatewayError::Unreachable { .. } | GatewayError::Unavailable { .. } | GatewayError::Unknown { .. } => {
                Self::GatewayUnavailable
            }
            GatewayError::Rejected { message } => {
                Self::Internal(format!("the gateway rejected our request: {message}"))
            }
        }
    }
}

/// The body of an error.
#[derive(Debug, Serialize)]
struct Body {
    #[serde(rename = "type")]
    uri: String,
    title: &'static str,
    status: u16,
    detail: String,
    code: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
    request_id: Option<String>,
}

/// A problem, described for the client, on its way through the layer that knows the request's id.
#[derive(Debug, Clone)]
pub(crate) struct Described {
    status: StatusCode,
    title: &'static str,
    code: String,
    detail: String,
    errors: Vec<FieldError>,
    retry_after_seconds: Option<u64>,
}

impl Problem {
    fn describe(self) -> Described {
        let described = |status, title, code: &str, detail: &str| Described {
            status,
            title,
            code: code.to_owned(),
            detail: detail.to_owned(),
            errors: Vec::new(),
            retry_after_seconds: None,
        };
        match self {
            Self::RouteNotFound => {
                described(StatusCode::NOT_FOUND, "Not found", "route_not_found", "There is no such route.")
            }
            Self::MethodNotAllowed => described(
                StatusCode::METHOD_NOT_ALLOWED,
                "Method not allowed",
                "method_not_allowed",
                "The route has no such method; the header Allow names those it has.",
            ),
            Self::ApiKeyMissing => described(
                StatusCode::UNAUTHORIZED,
                "Unauthorized",
                "api_key_missing",
                "Send the API key as 'Authorization: Bearer sk_…' or as 'X-API-Key: sk_…'.",
            ),
            Self::ApiKeyInvalid => {
                described(StatusCode::UNAUTHORIZED, "Unauthorized", "api_key_invalid", "The API key is not valid.")
            }
            Self::TokenInvalid => {
                described(StatusCode::UNAUTHORIZED, "Unauthorized", "token_invalid", "The access token is not valid.")
            }
            Self::TokenExpired => {
                described(StatusCode::UNAUTHORIZED, "Unauthorized", "token_expired", "The access token has expired.")
            }
            Self::OperatorKeyInvalid => described(
                StatusCode::UNAUTHORIZED,
                "Unauthorized",
                "operator_key_invalid",
                "Send the operator key as 'Authorization: Bearer op_…'.",
            ),
            Self::TooManyRequests { retry_after_seconds } => described(
                StatusCode::TOO_MANY_REQUESTS,
                "Too many requests",
                "rate_limited",
                &format!("These are more requests than allowed. Come back after {retry_after_seconds} s."),
            ),
            Self::Forbidden(permission) => described(
                StatusCode::FORBIDDEN,
                "Forbidden",
                "permission_missing",
                &format!("This takes the permission {}.", permission.scope()),
            ),
            Self::ContentTypeUnsupported => described(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "Unsupported media type",
                "content_type_unsupported",
                "The Content-Type is application/json.",
            ),
            Self::IdempotencyKeyMissing => described(
                StatusCode::BAD_REQUEST,
                "Bad request",
                "idempotency_key_missing",
                "Send an Idempotency-Key, such as a UUID: sending the same request again is safe then.",
            ),
            Self::IdempotencyKeyInvalid => described(
                StatusCode::BAD_REQUEST,
                "Bad request",
                "idempotency_key_invalid",
                &format!("The Idempotency-Key has 1 to {IDEMPOTENCY_KEY_CHARACTERS_MAX} visible ASCII characters."),
            ),
            Self::BodyTooLarge => described(
                StatusCode::PAYLOAD_TOO_LARGE,
                "Content too large",
                "body_too_large",
                &format!("The body has at most {BODY_BYTES_MAX} bytes."),
            ),
            Self::BodyUnreadable => {
                described(StatusCode::BAD_REQUEST, "Bad request", "body_unreadable", "The body broke off.")
            }
            Self::JsonInvalid(detail) => described(StatusCode::BAD_REQUEST, "Bad request", "json_invalid", &detail),
            Self::Parameters(errors) => with_fields(StatusCode::BAD_REQUEST, "Bad request", errors),
            Self::Fields(errors) => with_fields(StatusCode::UNPROCESSABLE_ENTITY, "Unprocessable content", errors),
            Self::IdempotencyKeyReused(pointer) => {
                let detail = "The Idempotency-Key was used for a request that differs in this field.";
                let errors = vec![FieldError::new(pointer, "idempotency_key_reused", detail)];
                with_fields(StatusCode::UNPROCESSABLE_ENTITY, "Unprocessable content", errors)
            }
            Self::CardRefused { pointer, code, message } => Described {
                errors: vec![FieldError::new(pointer, "card_refused", message.clone())],
                ..described(StatusCode::PAYMENT_REQUIRED, "Payment required", &code, &message)
            },
            Self::GatewayUnavailable => described(
                StatusCode::SERVICE_UNAVAILABLE,
                "Service unavailable",
                "gateway_unavailable",
                "The gateway did not answer. Nothing was charged; send the same request again.",
            ),
            Self::CredentialsInvalid => described(
                StatusCode::UNAUTHORIZED,
                "Unauthorized",
                "credentials_invalid",
                "Mail address and password are not those of a user.",
            ),
            Self::LoginLocked { seconds } => Described {
                retry_after_seconds: Some(seconds),
                ..described(
                    StatusCode::TOO_MANY_REQUESTS,
                    "Too many requests",
                    "login_locked",
                    "There were too many wrong passwords for this mail address; wait before the next try.",
                )
            },
            Self::SessionEnded => described(
                StatusCode::UNAUTHORIZED,
                "Unauthorized",
                "session_ended",
                "The refresh token is not good, or not any more: sign in again.",
            ),
            Self::InvitationInvalid => described(
                StatusCode::UNAUTHORIZED,
                "Unauthorized",
                "invitation_invalid",
                "The invitation is not open: it was accepted, replaced, withdrawn or is older than a week.",
            ),
            Self::OwnerNeeded => {
                described(StatusCode::FORBIDDEN, "Forbidden", "owner_needed", "Only an owner may do this to an owner.")
            }
            Self::MerchantNotFound => {
                described(StatusCode::NOT_FOUND, "Not found", "merchant_not_found", "There is no such merchant.")
            }
            Self::ApiKeyNotFound => {
                described(StatusCode::NOT_FOUND, "Not found", "api_key_not_found", "There is no such API key.")
            }
            Self::UserNotFound => {
                described(StatusCode::NOT_FOUND, "Not found", "user_not_found", "There is no such user.")
            }
            Self::PaymentNotFound => {
                described(StatusCode::NOT_FOUND, "Not found", "payment_not_found", "There is no such payment.")
            }
            Self::RefundNotFound => {
                described(StatusCode::NOT_FOUND, "Not found", "refund_not_found", "There is no such refund.")
            }
            Self::PaymentMethodNotFound => described(
                StatusCode::NOT_FOUND,
                "Not found",
                "payment_method_not_found",
                "There is no such payment method.",
            ),
            Self::ConsumerNotFound => {
                described(StatusCode::NOT_FOUND, "Not found", "consumer_not_found", "There is no such consumer.")
            }
            Self::Conflict { code, detail } => described(StatusCode::CONFLICT, "Conflict", code, &detail),
            Self::RefundTooLarge { left } => {
                let detail = format!("Of the payment {left} minor units are left to refund.");
                let errors = vec![FieldError::new("/amount", "refund_amount_too_large", detail)];
                with_fields(StatusCode::UNPROCESSABLE_ENTITY, "Unprocessable content", errors)
            }
            Self::Unavailable(internal) => {
                tracing::error!(error = internal, "unavailable");
                described(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "Service unavailable",
                    "unavailable",
                    "Try again: sending the same request with the same Idempotency-Key is safe.",
                )
            }
            Self::Internal(internal) => {
                tracing::error!(error = internal, "internal error");
                described(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "Internal server error",
                    "internal_error",
                    "Something is wrong on our side.",
                )
            }
        }
    }
}

fn with_fields(status: StatusCode, title: &'static str, errors: Vec<FieldError>) -> Described {
    let first = errors.first();
    Described {
        status,
        title,
        code: first.map_or("invalid", |error| error.code).to_owned(),
        detail: first.map(|error| error.detail.clone()).unwrap_or_default(),
        errors,
        retry_after_seconds: None,
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let retry_after = match self {
            Self::TooManyRequests { retry_after_seconds } => Some(HeaderValue::from(retry_after_seconds)),
            _ => None,
        };
        let described = self.describe();
        let mut response = described.status.into_response();
        if let Some(retry_after) = retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, retry_after);
        }
        response.extensions_mut().insert(described);
        response
    }
}

/// Writes the body of a described problem, now that the request's id is known.
pub(crate) fn render(mut response: Response, request_id: &str) -> Response {
    let Some(described) = response.extensions_mut().remove::<Described>() else {
        return response;
    };
    let body = Body {
        uri: format!("{TYPE_PREFIX}{}", described.code),
        title: described.title,
        status: described.status.as_u16(),
        detail: described.detail,
        code: described.code,
        errors: described.errors,
        request_id: Some(request_id.to_owned()),
    };
    let (kept, _) = response.into_parts();
    let mut response = (described.status, Json(body)).into_response();
    let headers = response.headers_mut();
    // What the router has set, such as Allow, stays.
    for (name, value) in &kept.headers {
        if name != header::CONTENT_LENGTH && name != header::CONTENT_TYPE {
            headers.insert(name, value.clone());
        }
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    match described.status {
        StatusCode::UNAUTHORIZED => {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        StatusCode::SERVICE_UNAVAILABLE => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
        }
        _ => {}
    }
    if let Some(seconds) = described.retry_after_seconds {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}
