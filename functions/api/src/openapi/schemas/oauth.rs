//! Access tokens for clients, and what others need to check them.

use utoipa::ToSchema;

use super::people::TokenType;

/// Always `client_credentials`.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum GrantType {
    /// The only way to a token here.
    ClientCredentials,
}

/// What `POST /oauth/token` takes, as a form. Unknown parameters are passed over.
#[derive(ToSchema)]
pub struct TokenRequest {
    /// Always `client_credentials`.
    #[schema(inline)]
    pub grant_type: GrantType,
    /// The id of an API key of kind `client`, unless it stands in the header.
    #[schema(nullable = false)]
    pub client_id: Option<String>,
    /// The key's secret, unless it stands in the header.
    #[schema(nullable = false)]
    pub client_secret: Option<String>,
    /// Scopes with spaces between them; all of the client unless told.
    #[schema(nullable = false)]
    pub scope: Option<String>,
}

/// An access token (RFC 6749, section 5.1).
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenAnswer {
    /// Comes with every request.
    pub access_token: String,
    /// Always `Bearer`.
    #[schema(inline)]
    pub token_type: TokenType,
    /// For how many seconds it is good.
    #[schema(minimum = 1)]
    pub expires_in: i64,
    /// What it allows: scopes with spaces between them.
    pub scope: String,
}

/// Why there is no access token (RFC 6749, section 5.2).
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OAuthError {
    /// Stable.
    #[schema(pattern = "^[a-z_]+$")]
    pub error: String,
    /// For a person.
    pub error_description: String,
}

/// A public key (RFC 7517, RFC 8037).
#[derive(ToSchema)]
pub struct Jwk {
    /// The kind of key: `OKP`.
    pub kty: String,
    /// The curve: `Ed25519`.
    pub crv: String,
    /// The key.
    pub x: String,
    /// For signatures: `sig`.
    #[serde(rename = "use")]
    pub public_key_use: String,
    /// The thumbprint by which tokens name the key (RFC 7638).
    pub kid: String,
}

/// The public keys: of the present generation, of the one before, and of the next.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Jwks {
    /// The keys.
    #[schema(min_items = 1)]
    pub keys: Vec<Jwk>,
}

/// What OpenID Connect Discovery 1.0 asks for, as far as there is anything to say.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Discovery {
    /// What tokens name as `iss`.
    pub issuer: String,
    /// Where the public keys are.
    pub jwks_uri: String,
    /// Where tokens are.
    pub token_endpoint: String,
    /// How a client shows who it is.
    pub token_endpoint_auth_methods_supported: Vec<String>,
    /// The ways to a token.
    pub grant_types_supported: Vec<String>,
    /// What a client may be allowed.
    pub scopes_supported: Vec<String>,
    /// Must be there.
    pub response_types_supported: Vec<String>,
    /// Must be there.
    pub subject_types_supported: Vec<String>,
    /// How tokens are signed.
    pub id_token_signing_alg_values_supported: Vec<String>,
    /// What a token says.
    pub claims_supported: Vec<String>,
}
