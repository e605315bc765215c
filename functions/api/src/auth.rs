//! Who calls: somebody of a merchant, by an API key, which is looked up by its keyed hash, or an operator, by the one
//! key of the deployment. What they may do stands in `florin_domain::permission`.

use std::sync::Arc;

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, header, request::Parts},
};
use florin_domain::{
    ids::{ApiKeyId, MerchantId, UserId},
    merchant::{ApiKeyRecord, KeyKind},
    permission::{Permissions, Role},
    time::Timestamp,
};
use florin_platform::{
    cache::Cache,
    tokens::{Grant, Subject, TokenError},
};

use crate::{Api, api_keys, context::Slot, external, problem::Problem, sessions};

/// For how long a key is believed: a revoked key is refused everywhere after this time, in milliseconds.
pub const KEY_AGE_MS_MAX: i64 = 60_000;
/// Keys remembered by one instance.
const KEYS_REMEMBERED_MAX: usize = 10_000;
/// Longest API key, in characters.
const API_KEY_CHARACTERS_MAX: usize = 128;

/// Keys that this instance has looked up, by keyed hash.
pub(crate) struct Keys(Cache<String, ApiKeyRecord>);

impl Keys {
    /// Has the key looked up again.
    pub(crate) fn forget(&self, hash: &str) {
        self.0.forget(&hash.to_owned());
    }
}

impl Default for Keys {
    fn default() -> Self {
        Self(Cache::new(KEY_AGE_MS_MAX, KEYS_REMEMBERED_MAX))
    }
}

/// Who came with the request, and what they may do. Handlers take it as [`May`](crate::permission::May).
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) merchant_id: MerchantId,
    pub(crate) actor: Actor,
    pub(crate) permissions: Permissions,
}

/// Who acts for a merchant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Actor {
    /// A program.
    Key(ApiKeyId),
    /// A program that has exchanged its secret for a token.
    Client(ApiKeyId),
    /// Somebody whom another issuer knows: `ext:` and the issuer's name for them.
    External(String),
    /// A person who is signed in.
    User {
        /// Who.
        id: UserId,
        /// As what.
        role: Role,
    },
}

impl Actor {
    /// The id of whoever acts, which is no secret: logs and the audit name it.
    pub(crate) fn id(&self) -> &str {
        match self {
            Self::Key(id) | Self::Client(id) => id.as_str(),
            Self::User { id, .. } => id.as_str(),
            Self::External(subject) => subject,
        }
    }
}

impl FromRequestParts<Arc<Api>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let presented = presented(&parts.headers)?;
        let now = api.dependencies.clock.now();
        // An access token has three parts with dots between them, and a key has no dot.
        if presented.contains('.') { by_token(api, presented, now).await } else { by_key(api, presented, now).await }
    }
}

async fn by_key(api: &Api, key: &str, now: Timestamp) -> Result<Caller, Problem> {
    if !key.starts_with(api.dependencies.mode.key_prefix()) || key.len() > API_KEY_CHARACTERS_MAX {
        return Err(Problem::ApiKeyInvalid);
    }
    let hash = api.dependencies.root_key.api_key_hash(key);
    let record = record(api, hash, KeyKind::Secret, now).await?.ok_or(Problem::ApiKeyInvalid)?;
    let actor = Actor::Key(record.id);
    Ok(Caller { merchant_id: record.merchant_id, actor, permissions: record.scopes })
}

async fn by_token(api: &Api, token: &str, now: Timestamp) -> Result<Caller, Problem> {
    let claims = match (api.dependencies.tokens.verify(token, now), &api.dependencies.oidc) {
        (Err(TokenError::Invalid), Some(oidc)) => return external::caller(api, oidc, token, now).await,
        (claims, _) => claims?,
    };
    let Grant { subject, merchant_id } = claims.grant;
    match subject {
        Subject::User { user_id, session_id, .. } => {
            sessions::caller(api, merchant_id, user_id, &session_id, now).await
        }
        Subject::Client { key_id, scopes } => client(api, merchant_id, key_id, scopes, now).await,
    }
}

/// The client that a token names, if it is not revoked: the token alone would tell for a quarter of an hour, its record
/// tells for a minute.
async fn client(
    api: &Api,
    merchant_id: MerchantId,
    id: ApiKeyId,
    scopes: Permissions,
    now: Timestamp,
) -> Result<Caller, Problem> {
    let record = record(api, api_keys::hash_of(api, &id), KeyKind::Client, now).await?;
    let record = record.filter(|record| record.id == id && record.merchant_id == merchant_id);
    let record = record.ok_or(Problem::TokenInvalid)?;
    let permissions = scopes.intersection(record.scopes);
    Ok(Caller { merchant_id, actor: Actor::Client(id), permissions })
}

/// An operator of this deployment. A handler that takes it cannot be reached with a merchant's key.
pub(crate) struct Operator;

impl FromRequestParts<Arc<Api>> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let key = bearer(&parts.headers).filter(|key| api.dependencies.root_key.is_operator_key(key));
        key.ok_or(Problem::OperatorKeyInvalid)?;
        if let Some(slot) = parts.extensions.get::<Arc<Slot>>() {
            slot.acts("operator");
        }
        Ok(Self)
    }
}

/// The record of the key with this keyed hash, if the key is of this kind and not revoked.
async fn record(api: &Api, hash: String, kind: KeyKind, now: Timestamp) -> Result<Option<ApiKeyRecord>, Problem> {
    let is_good = |record: &ApiKeyRecord| !record.revoked && record.kind == kind;
    if let Some(record) = api.keys.0.get(&hash, now) {
        return Ok(Some(record).filter(is_good));
    }
    let record = api.dependencies.merchants.api_key(&hash).await?.filter(is_good);
    if let Some(record) = &record {
        note_use(api, record, now).await;
        api.keys.0.put(hash, record.clone(), now);
    }
    Ok(record)
}

/// Notes that a key is used, unless that was noted not long ago.
pub(crate) async fn note_use(api: &Api, record: &ApiKeyRecord, now: Timestamp) {
    if record.is_use_worth_noting(now)
        && let Err(error) = api.dependencies.merchants.note_use(&record.hash, now).await
    {
        tracing::warn!(%error, key_id = %record.id, "the time of its last use is not noted");
    }
}

fn presented(headers: &HeaderMap) -> Result<&str, Problem> {
    if headers.contains_key(header::AUTHORIZATION) {
        return bearer(headers).ok_or(Problem::ApiKeyInvalid);
    }
    let value = headers.get("x-api-key").ok_or(Problem::ApiKeyMissing)?;
    value.to_str().map_err(|_| Problem::ApiKeyInvalid)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, key) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}
