//! Who calls: a merchant by an API key, looked up by its keyed hash, or an operator by the one key of the deployment.

use std::sync::Arc;

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, header, request::Parts},
};
use florin_domain::{card::Mode, ids::MerchantId, time::Timestamp};
use florin_platform::cache::Cache;

use crate::{Api, problem::Problem};

/// For how long a key is believed: a revoked key is refused everywhere after this time, in milliseconds.
pub const KEY_AGE_MS_MAX: i64 = 60_000;
/// Keys remembered by one instance.
const KEYS_REMEMBERED_MAX: usize = 10_000;
/// Longest API key, in characters.
const API_KEY_CHARACTERS_MAX: usize = 128;

/// Keys that this instance has looked up, by keyed hash.
pub(crate) struct Keys(Cache<String, MerchantId>);

impl Default for Keys {
    fn default() -> Self {
        Self(Cache::new(KEY_AGE_MS_MAX, KEYS_REMEMBERED_MAX))
    }
}

/// The merchant whose key came with the request. A handler that takes it cannot be reached without one.
pub(crate) struct Caller {
    pub(crate) merchant_id: MerchantId,
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
        let hash = api.dependencies.root_key.api_key_hash(key);
        let now = api.dependencies.clock.now();
        let merchant_id = merchant_of(api, hash, now).await?;
        Ok(Self { merchant_id })
    }
}

/// An operator of this deployment. A handler that takes it cannot be reached with a merchant's key.
pub(crate) struct Operator;

impl FromRequestParts<Arc<Api>> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let key = bearer(&parts.headers).filter(|key| api.dependencies.root_key.is_operator_key(key));
        key.map(|_| Self).ok_or(Problem::OperatorKeyInvalid)
    }
}

async fn merchant_of(api: &Api, hash: String, now: Timestamp) -> Result<MerchantId, Problem> {
    if let Some(merchant_id) = api.keys.0.get(&hash, now) {
        return Ok(merchant_id);
    }
    let record = api.dependencies.merchants.api_key(&hash).await?;
    let record = record.filter(|record| !record.revoked).ok_or(Problem::ApiKeyInvalid)?;
    api.keys.0.put(hash, record.merchant_id.clone(), now);
    Ok(record.merchant_id)
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
