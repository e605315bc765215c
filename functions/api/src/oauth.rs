//! `POST /oauth/token`: a client's id and secret for an access token (RFC 6749, section 4.4, "client credentials").
//!
//! What is wrong with such a request is told as section 5.2 has it, and not as a problem: libraries of OAuth read it.
//! Whatever is wrong with id or secret, one record is looked up and one answer given, so that neither the answer nor
//! its time tells which it was.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use florin_domain::{
    merchant::{ApiKeyRecord, KeyKind},
    permission::Permissions,
    time::Timestamp,
};
use florin_platform::tokens::{ACCESS_TOKEN_SECONDS, Grant, Subject};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use crate::{Api, auth, body, problem::Problem};

/// The only way to a token here.
const GRANT_TYPE: &str = "client_credentials";
const CONTENT_TYPE: &str = "application/x-www-form-urlencoded";

/// Why there is no token.
enum Refusal {
    /// As section 5.2 has it: its code, and a sentence for a person.
    Told(&'static str, &'static str),
    /// As elsewhere.
    Problem(Problem),
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (code, detail) = match self {
            Self::Problem(problem) => return problem.into_response(),
            Self::Told(code, detail) => (code, detail),
        };
        let body = Json(json!({ "error": code, "error_description": detail }));
        if code != INVALID_CLIENT.0 {
            return (StatusCode::BAD_REQUEST, body).into_response();
        }
        let challenge = HeaderValue::from_static("Basic realm=\"florin\"");
        (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)], body).into_response()
    }
}

const INVALID_CLIENT: (&str, &str) = ("invalid_client", "There is no such client with this secret.");
const INVALID_SCOPE: (&str, &str) = ("invalid_scope", "The client has not all of these scopes.");
const UNSUPPORTED_GRANT_TYPE: (&str, &str) = ("unsupported_grant_type", "The grant_type is client_credentials.");

fn told((code, detail): (&'static str, &'static str)) -> Refusal {
    Refusal::Told(code, detail)
}

fn invalid(detail: &'static str) -> Refusal {
    Refusal::Told("invalid_request", detail)
}

/// Who asks, as presented.
struct Client {
    id: String,
    secret: SecretString,
}

/// Exchanges a client's id and secret for an access token (RFC 6749, section 4.4).
///
/// Id and secret stand in the form, or in `Authorization: Basic …`. What is wrong is told as section 5.2 has it.
#[utoipa::path(
    post, path = "/oauth/token", operation_id = "create_access_token", tag = "Sign-in",
    request_body(content = crate::openapi::schemas::oauth::TokenRequest, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "A token.", body = crate::openapi::schemas::oauth::TokenAnswer),
        (status = 400, description = "invalid_request unsupported_grant_type invalid_scope", body = crate::openapi::schemas::oauth::OAuthError),
        (status = 401, description = "invalid_client", body = crate::openapi::schemas::oauth::OAuthError),
        (status = 429, description = "rate_limited"),
    ),
)]
pub(crate) async fn token(State(api): State<Arc<Api>>, headers: HeaderMap, body: Body) -> Response {
    match grant(&api, &headers, body).await {
        Ok(response) => response,
        Err(refusal) => refusal.into_response(),
    }
}

async fn grant(api: &Api, headers: &HeaderMap, body: Body) -> Result<Response, Refusal> {
    let mut form = form(headers, body).await?;
    match form.remove("grant_type").as_deref() {
        Some(GRANT_TYPE) => {}
        Some(_) => return Err(told(UNSUPPORTED_GRANT_TYPE)),
        None => return Err(invalid("The parameter grant_type is required.")),
    }
    let client = client(headers, &mut form)?;
    let now = api.dependencies.clock.now();
    let record = authenticated(api, &client, now).await?;
    api.dependencies.limiter.admit(record.id.as_str(), None, now).await?;
    let scopes = match form.remove("scope") {
        Some(asked) => Permissions::from_scopes(&asked).filter(|asked| asked.is_subset_of(record.scopes)),
        None => Some(record.scopes),
    };
    let scopes = scopes.ok_or(told(INVALID_SCOPE))?;
    let subject = Subject::Client { key_id: record.id, scopes };
    let token = api.dependencies.tokens.issue(&Grant { subject, merchant_id: record.merchant_id }, now);
    let body = json!({
        "access_token": token,
        "token_type": "Bearer",
        "expires_in": ACCESS_TOKEN_SECONDS,
        "scope": scopes.to_scopes(),
    });
    Ok(Json(body).into_response())
}

/// The parameters. One without a value is as good as none (section 3.2), and unknown ones are passed over.
async fn form(headers: &HeaderMap, body: Body) -> Result<BTreeMap<String, String>, Refusal> {
    if !body::is_of_type(headers, CONTENT_TYPE) {
        return Err(invalid("The Content-Type is application/x-www-form-urlencoded."));
    }
    let bytes = body::bytes(body, headers).await?;
    let pairs: Vec<(String, String)> =
        serde_urlencoded::from_bytes(&bytes).map_err(|_| invalid("The body is no form."))?;
    let mut form = BTreeMap::new();
    for (name, value) in pairs {
        if !value.is_empty() && form.insert(name, value).is_some() {
            return Err(invalid("A parameter is given more than once."));
        }
    }
    Ok(form)
}

/// Id and secret, from one of the two places where they may stand (section 2.3.1). Ours have no characters that would
/// be encoded in the header.
fn client(headers: &HeaderMap, form: &mut BTreeMap<String, String>) -> Result<Client, Refusal> {
    let (id, secret) = (form.remove("client_id"), form.remove("client_secret"));
    let Some(authorization) = headers.get(header::AUTHORIZATION) else {
        let (Some(id), Some(secret)) = (id, secret) else { return Err(told(INVALID_CLIENT)) };
        return Ok(Client { id, secret: secret.into() });
    };
    if secret.is_some() {
        return Err(invalid("The client's secret stands in the header or in the body, not in both."));
    }
    let basic = authorization.to_str().ok().and_then(basic).ok_or(told(INVALID_CLIENT))?;
    if id.is_some_and(|id| id != basic.id) {
        return Err(invalid("Header and body name different clients."));
    }
    Ok(basic)
}

/// The header of HTTP Basic authentication (RFC 7617).
fn basic(authorization: &str) -> Option<Client> {
    let (scheme, encoded) = authorization.split_once(' ')?;
    let decoded = STANDARD.decode(encoded.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let decoded = SecretString::from(String::from_utf8(decoded).ok()?);
    let (id, secret) = decoded.expose_secret().split_once(':')?;
    Some(Client { id: id.to_owned(), secret: secret.into() })
}

/// The client's record, read now: a revoked client gets no further token from this moment on.
async fn authenticated(api: &Api, client: &Client, now: Timestamp) -> Result<ApiKeyRecord, Refusal> {
    let hash = api.dependencies.root_key.api_key_hash(client.secret.expose_secret());
    let record = api.dependencies.merchants.api_key(&hash).await.map_err(Problem::from)?;
    let is_good =
        |record: &ApiKeyRecord| record.id.as_str() == client.id && record.kind == KeyKind::Client && !record.revoked;
    let record = record.filter(is_good).ok_or(told(INVALID_CLIENT))?;
    auth::note_use(api, &record, now).await;
    Ok(record)
}
