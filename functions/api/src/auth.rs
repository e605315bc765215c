//! Who calls: somebody of a merchant, by an API key, which is looked up by its keyed hash, or an operator, by the one
//! key of the deployment. What they may do stands in `florin_domain::permission`.

use std::sync::Arc;

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, header, request::Parts},
};
use florin_domain::{
    card::Mode,
    ids::{ApiKeyId, MerchantId},
    merchant::ApiKeyRecord,
    permission::Permissions,
    time::Timestamp,
};
use florin_platform::cache::Cache;

use crate::{Api, context::Slot, problem::Problem};

/// For how long a key is believed: a revoked key is refused everywhere after this time, in milliseconds.
pub const KEY_AGE_MS_MAX: i64 = 60_000;
/// Keys remembered by one instance.
const KEYS_REMEMBERED_MAX: usize = 10_000;
/// Longest API key, in characters.
const API_KEY_CHARACTERS_MAX: usize = 128;

/// Keys that this instance has looked up, by keyed hash.
pub(crate) struct Keys(Cache<String, ApiKeyRecord>);

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
}

impl Actor {
    /// The id of whoever acts, which is no secret.
    pub(crate) fn id(&self) -> &str {
        match self {
            Self::Key(id) => id.as_str(),
        }
    }
}

impl FromRequestParts<Arc<Api>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let key = presented(&parts.headers)?;
        let prefix = match api.dependencies.mode {
            Mode::Test => "sk_test_",
            Mode::Live => "sk_live_",
        };
        if !key.starts_with(prefix) || key.len() > API_KEY_CHARACTERS_MAX {
            return Err(Problem::ApiKeyInvalid);
        }
        let record = record(api, key, api.dependencies.clock.now()).await?;
        Ok(Self { merchant_id: record.merchant_id, actor: Actor::Key(record.id), permissions: record.scopes })
    }
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

async fn record(api: &Api, key: &str, now: Timestamp) -> Result<ApiKeyRecord, Problem> {
    let hash = api.dependencies.root_key.api_key_hash(key);
    if let Some(record) = api.keys.0.get(&hash, now) {
        return Ok(record);
    }
    let record = api.dependencies.merchants.api_key(&hash).await?;
    let record = record.filter(|record| !record.revoked).ok_or(Problem::ApiKeyInvalid)?;
    api.keys.0.put(hash, record.clone(), now);
    Ok(record)
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
