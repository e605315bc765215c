//! What others need to check our access tokens: the public keys, and the document of OpenID Connect Discovery 1.0 that
//! says where they are. Nobody has to sign in for them, and anybody may keep them for an hour.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderName, header},
    response::IntoResponse,
};
use florin_domain::permission::{Permission, Permissions};
use serde_json::json;

use crate::Api;

/// For how long the answers may be kept. The keys of the next generation are among them already, so that a rotation
/// finds nobody with old ones.
const KEEP: [(HeaderName, &str); 1] = [(header::CACHE_CONTROL, "public, max-age=3600")];

/// The public keys that access tokens are signed with (RFC 7517).
#[utoipa::path(
    get, path = "/.well-known/jwks.json", operation_id = "get_jwks", tag = "Sign-in",
    responses(
        (status = 200, description = "The keys.", body = crate::openapi::schemas::oauth::Jwks),
    ),
)]
pub(crate) async fn jwks(State(api): State<Arc<Api>>) -> impl IntoResponse {
    (KEEP, Json(api.dependencies.tokens.jwks()))
}

/// Where keys and tokens are (OpenID Connect Discovery 1.0).
///
/// There is no `authorization_endpoint`: nobody is sent here by a browser to sign in.
#[utoipa::path(
    get, path = "/.well-known/openid-configuration", operation_id = "get_openid_configuration", tag = "Sign-in",
    responses(
        (status = 200, description = "The document.", body = crate::openapi::schemas::oauth::Discovery),
    ),
)]
pub(crate) async fn configuration(State(api): State<Arc<Api>>) -> impl IntoResponse {
    let issuer = api.dependencies.tokens.issuer();
    let scopes: Vec<_> = Permissions::of_keys().iter().map(Permission::scope).collect();
    let document = json!({
        "issuer": issuer,
        "jwks_uri": format!("{issuer}/.well-known/jwks.json"),
        "token_endpoint": format!("{issuer}/oauth/token"),
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "grant_types_supported": ["client_credentials"],
        "scopes_supported": scopes,
        // What must be there although no token comes from an authorization endpoint, and none is an ID token.
        "response_types_supported": ["token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["EdDSA"],
        "claims_supported": [
            "iss", "aud", "sub", "client_id", "iat", "exp", "jti", "merchant_id", "scope", "sid", "role",
        ],
    });
    (KEEP, Json(document))
}
