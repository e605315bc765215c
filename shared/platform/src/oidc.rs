//! Tokens of another issuer, such as Cognito, Auth0 or Keycloak, where a deployment names one: its keys are found by
//! OpenID Connect Discovery 1.0, when the first of its tokens comes, and kept for an hour.

use std::time::Duration;

use florin_domain::{
    card::contains_card_number,
    ids::MerchantId,
    permission::{Permission, Permissions},
    time::{MS_PER_SECOND, Timestamp},
};
use jsonwebtoken::{
    Algorithm, DecodingKey, Validation,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse},
};
use reqwest::Client;
use serde_json::Value;
use tokio::sync::Mutex;

use crate::{
    config::{self, ConfigError},
    guard::Guard,
    tokens::TokenError,
};

/// What is accepted. Neither `none` nor a shared secret is among them, whatever a token or a key set says.
const ALGORITHMS: [Algorithm; 3] = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];
/// By how much the issuer's clock may differ from ours, in seconds.
const LEEWAY_SECONDS: i64 = 60;
/// Longest token, in bytes: API Gateway takes headers of 10 KiB together.
const TOKEN_BYTES_MAX: usize = 10 * 1024;
/// Longest document of the issuer, in bytes.
const DOCUMENT_BYTES_MAX: usize = 128 * 1024;
/// Keys taken from a key set.
const KEYS_MAX: usize = 50;
/// For how long keys are good without being fetched again, in milliseconds.
const KEYS_AGE_MS_MAX: i64 = 60 * 60 * 1000;
/// Between two fetches because of a key that is not known, in milliseconds: anybody can name one.
const UNKNOWN_KEY_MS_MIN: i64 = 60 * 1000;
/// Between two fetches while the issuer does not answer, in milliseconds.
const UNREACHABLE_MS_MIN: i64 = 5 * 1000;
/// One request to the issuer, in milliseconds. There are two in a row at most, well below the function's time-out.
const FETCH_TIMEOUT_MS: u64 = 3_000;
/// Longest `sub`, in characters (OpenID Connect Core 1.0, section 2).
const SUBJECT_CHARACTERS_MAX: usize = 255;
/// What a scope may begin with where the issuer has scopes named after the API (Cognito has).
const SCOPE_PREFIX: &str = "florin/";

/// Which issuer, and where its tokens say what.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The claim `iss`, and where discovery begins.
    pub issuer: String,
    /// What `aud` must name; `client_id` where a token has no `aud`, as Cognito's access tokens have none.
    pub audience: String,
    /// The claim that names the merchant.
    pub merchant_claim: String,
    /// The claim that names the scopes.
    pub scope_claim: String,
}

impl Settings {
    /// Reads `OIDC_ISSUER`, `OIDC_AUDIENCE`, `OIDC_MERCHANT_CLAIM` and `OIDC_SCOPE_CLAIM`. None without an issuer.
    pub fn from_env() -> Result<Option<Self>, ConfigError> {
        let Ok(issuer) = config::required("OIDC_ISSUER") else { return Ok(None) };
        Ok(Some(Self {
            issuer,
            audience: config::required("OIDC_AUDIENCE")?,
            merchant_claim: config::required("OIDC_MERCHANT_CLAIM")?,
            scope_claim: config::required("OIDC_SCOPE_CLAIM")?,
        }))
    }
}

/// Why a token of another issuer is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OidcError {
    /// What the token is.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// Nobody knows: the issuer's keys cannot be had.
    #[error("the issuer's keys cannot be had: {0}")]
    Unavailable(String),
}

/// What a token of another issuer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalClaims {
    /// Who acts, as the issuer calls them.
    pub subject: String,
    /// For which merchant. Whether there is one of this id is not said.
    pub merchant_id: MerchantId,
    /// The scopes that we know, and that programs may have.
    pub scopes: Permissions,
}

/// A key of the issuer.
struct Key {
    id: String,
    algorithm: Algorithm,
    key: DecodingKey,
}

/// What is known of the issuer.
#[derive(Default)]
struct Known {
    keys: Vec<Key>,
    fetched_at: Option<Timestamp>,
    tried_at: Option<Timestamp>,
}

/// Checks the tokens of one other issuer.
pub struct Oidc {
    settings: Settings,
    client: Client,
    guard: Guard,
    known: Mutex<Known>,
}

impl Oidc {
    /// Nothing is asked yet. The guard says what may be: `https`, and loopback in a local run.
    pub fn new(settings: Settings, client: Client, guard: Guard) -> Self {
        Self { settings, client, guard, known: Mutex::default() }
    }

    /// Checks a token.
    pub async fn verify(&self, token: &str, now: Timestamp) -> Result<ExternalClaims, OidcError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Invalid.into());
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Invalid)?;
        let id = header.kid.filter(|_| header.crit.is_none()).ok_or(TokenError::Invalid)?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(TokenError::Invalid.into());
        }
        let mut known = self.known.lock().await;
        self.learn(&mut known, &id, now).await?;
        let key = known.keys.iter().find(|key| key.id == id && key.algorithm == header.alg);
        let key = key.ok_or(TokenError::Invalid)?;
        let read = jsonwebtoken::decode::<Value>(token, &key.key, &self.validation(key.algorithm));
        let claims = read.map_err(|_| TokenError::Invalid)?.claims;
        check_times(&claims, now)?;
        Ok(self.checked(&claims).ok_or(TokenError::Invalid)?)
    }

    /// Audience and times are compared by us: the one may stand in another claim, the others are told to us.
    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.set_issuer(&[&self.settings.issuer]);
        validation.set_required_spec_claims(&["iss", "sub", "exp"]);
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation
    }

    /// What the claims say, if it is for us.
    fn checked(&self, claims: &Value) -> Option<ExternalClaims> {
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        let names_us = |value: &Value| value.as_str() == Some(self.settings.audience.as_str());
        let is_for_us = match claims.get("aud") {
            Some(Value::Array(audiences)) => audiences.iter().any(names_us),
            Some(audience) => names_us(audience),
            None => claims.get("client_id").is_some_and(names_us),
        };
        // Cognito's ID tokens are for the client that signed the user in, not for an API.
        if !is_for_us || text("token_use").is_some_and(|token_use| token_use != "access") {
            return None;
        }
        let subject = text("sub").filter(|subject| {
            let is_visible = subject.bytes().all(|byte| byte.is_ascii_graphic());
            (1..=SUBJECT_CHARACTERS_MAX).contains(&subject.len()) && is_visible && !contains_card_number(subject)
        });
        Some(ExternalClaims {
            subject: subject?.to_owned(),
            merchant_id: text(&self.settings.merchant_claim)?.parse().ok()?,
            scopes: scopes(claims.get(&self.settings.scope_claim)?)?,
        })
    }

    /// Fetches the keys if they are old, or if this one is not among them, and it was not asked for too often.
    async fn learn(&self, known: &mut Known, id: &str, now: Timestamp) -> Result<(), OidcError> {
        let within = |since: Option<Timestamp>, ms: i64| since.is_some_and(|at| (0..ms).contains(&now.ms_since(at)));
        if within(known.fetched_at, KEYS_AGE_MS_MAX) {
            let is_known = known.keys.iter().any(|key| key.id == id);
            if is_known || within(known.tried_at, UNKNOWN_KEY_MS_MIN) {
                return Ok(());
            }
        } else if within(known.tried_at, UNREACHABLE_MS_MIN) {
            return Err(OidcError::Unavailable("it did not answer a moment ago".to_owned()));
        }
        known.tried_at = Some(now);
        known.keys = self.keys().await?;
        known.fetched_at = Some(now);
        Ok(())
    }

    /// The issuer's keys, as far as they are of use.
    async fn keys(&self) -> Result<Vec<Key>, OidcError> {
        // OpenID Connect Discovery 1.0, section 4.1.
        let base = self.settings.issuer.trim_end_matches('/');
        let document = self.fetch(&format!("{base}/.well-known/openid-configuration")).await?;
        if document.get("issuer").and_then(Value::as_str) != Some(self.settings.issuer.as_str()) {
            return Err(OidcError::Unavailable("its discovery document names another issuer".to_owned()));
        }
        let place = document.get("jwks_uri").and_then(Value::as_str);
        let place = place.ok_or_else(|| OidcError::Unavailable("its discovery document has no jwks_uri".to_owned()))?;
        let set = self.fetch(place).await?;
        let keys = set.get("keys").and_then(Value::as_array);
        let keys = keys.ok_or_else(|| OidcError::Unavailable("its key set has no keys".to_owned()))?;
        Ok(keys.iter().take(KEYS_MAX).filter_map(usable).collect())
    }

    async fn fetch(&self, url: &str) -> Result<Value, OidcError> {
        let unavailable = |error: &dyn std::fmt::Display| OidcError::Unavailable(format!("{url}: {error}"));
        let checked = self.guard.check(url).map_err(|error| unavailable(&error))?;
        let request = self.client.get(checked).timeout(Duration::from_millis(FETCH_TIMEOUT_MS));
        let mut response = request.send().await.map_err(|error| unavailable(&error.without_url()))?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(unavailable(&response.status()));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| unavailable(&error.without_url()))? {
            if bytes.len() + chunk.len() > DOCUMENT_BYTES_MAX {
                return Err(unavailable(&"the document is too long"));
            }
            bytes.extend_from_slice(&chunk);
        }
        serde_json::from_slice(&bytes).map_err(|_| unavailable(&"the document is no JSON"))
    }
}

/// A key that checks signatures of a kind that is accepted; others in the set are passed over.
fn usable(key: &Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(key.clone()).ok()?;
    let (algorithm, name) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, "RS256"),
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => (Algorithm::ES256, "ES256"),
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => (Algorithm::EdDSA, "EdDSA"),
        _ => return None,
    };
    let is_for_it = key.get("alg").is_none_or(|named| named == name);
    let signs = matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature));
    let decoding = DecodingKey::from_jwk(&jwk).ok().filter(|_| is_for_it && signs)?;
    Some(Key { id: jwk.common.key_id?, algorithm, key: decoding })
}

fn check_times(claims: &Value, now: Timestamp) -> Result<(), TokenError> {
    let now = now.ms() / MS_PER_SECOND;
    let expires = claims.get("exp").and_then(Value::as_i64).ok_or(TokenError::Invalid)?;
    if expires.saturating_add(LEEWAY_SECONDS) <= now {
        return Err(TokenError::Expired);
    }
    match claims.get("nbf").map(Value::as_i64) {
        None => Ok(()),
        Some(Some(begins)) if begins <= now.saturating_add(LEEWAY_SECONDS) => Ok(()),
        Some(_) => Err(TokenError::Invalid),
    }
}

/// The scopes that we know: a text with spaces between them, or a list. Those of others, such as `openid`, are passed
/// over, and what is for people only is never among them.
fn scopes(claim: &Value) -> Option<Permissions> {
    let names: Vec<&str> = match claim {
        Value::String(text) => text.split(' ').collect(),
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        _ => return None,
    };
    let known = names.iter().filter_map(|name| Permission::parse(name.strip_prefix(SCOPE_PREFIX).unwrap_or(name)));
    Some(known.collect::<Permissions>().intersection(Permissions::of_keys()))
}
