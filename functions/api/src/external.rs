//! Callers whom another issuer knows, by configuration: its token says for which merchant they act, and what they may.

use florin_domain::{ids::MerchantId, time::Timestamp};
use florin_platform::{cache::Cache, oidc::Oidc, tokens::TokenError};

use crate::{
    Api,
    auth::{Actor, Caller, KEY_AGE_MS_MAX},
    problem::Problem,
};

/// Merchants remembered by one instance.
const MERCHANTS_REMEMBERED_MAX: usize = 10_000;

/// Merchants of which this instance has seen that there are.
pub(crate) struct KnownMerchants(Cache<MerchantId, ()>);

impl Default for KnownMerchants {
    fn default() -> Self {
        Self(Cache::new(KEY_AGE_MS_MAX, MERCHANTS_REMEMBERED_MAX))
    }
}

/// Whoever the token of the other issuer names.
pub(crate) async fn caller(api: &Api, oidc: &Oidc, token: &str, now: Timestamp) -> Result<Caller, Problem> {
    let claims = oidc.verify(token, now).await?;
    let merchant_id = claims.merchant_id;
    if api.known_merchants.0.get(&merchant_id, now).is_none() {
        api.dependencies.merchants.merchant(&merchant_id).await?.ok_or(TokenError::Invalid)?;
        api.known_merchants.0.put(merchant_id.clone(), (), now);
    }
    // With a prefix, or an issuer could name somebody like one of our keys.
    let actor = Actor::External(format!("ext:{}", claims.subject));
    Ok(Caller { merchant_id, actor, permissions: claims.scopes })
}
