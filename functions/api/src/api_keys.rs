//! `/v1/api_keys`: a merchant's people make, list and revoke API keys. A key's secret is in the answer that makes it.

use std::sync::Arc;

use axum::{Json, body::Body, extract::State, http::HeaderMap, response::Response};
use florin_domain::{
    ids::{ApiKeyId, MerchantId},
    merchant::{
        API_KEYS_LIVE_MAX, API_KEYS_LIVE_PER_NAME_MAX, ApiKey, ApiKeyRecord, ApiKeyView, KeyKind, KeyRing,
        KeysExhausted, NAME_CHARACTERS_MAX, NewKey,
    },
    permission::{Permission, Permissions},
    time::Timestamp,
};
use florin_store::merchants::Saved;
use secrecy::ExposeSecret;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    Api,
    auth::Caller,
    body::{self, Fields},
    idempotency,
    path::Name,
    permission::{KeysRead, KeysWrite, May},
    problem::Problem,
    told::told,
};

/// For how long a repeated request is shown the secret again, in milliseconds: a day, as long as clients repeat.
pub(crate) const SECRET_SHOWN_MS_MAX: i64 = 24 * 60 * 60 * 1000;
/// Tries of a change that meets other changes of the same keys.
const TRIES_MAX: usize = 5;

/// A key with its secret.
#[derive(Serialize)]
pub(crate) struct Shown {
    #[serde(flatten)]
    key: ApiKeyView,
    /// Once and for a day; null afterwards.
    secret: Option<String>,
}

/// Makes an API key.
///
/// Its `secret` is in this answer and in no other; the same request shows it again for a day.
/// Two keys of a name may be live, and 20 in all: to rotate a key, make a second one, use it, and revoke the first.
#[utoipa::path(
    post, path = "/v1/api_keys", operation_id = "create_api_key", tag = "API keys",
    params(crate::openapi::params::IdempotencyKey),
    request_body = crate::openapi::schemas::merchants::NewApiKey,
    responses(
        (status = 201, description = "Created, or answered as the first time.", body = crate::openapi::schemas::merchants::NewlyMadeApiKey, headers(
            ("Location" = String, description = "Where it can be read."),
            ("Idempotent-Replayed" = Option<String>, description = "`true` if this key was answered before."),
        )),
        (status = 409, description = "api_keys_too_many api_key_revoked"),
        (status = 422, description = "name_missing name_invalid card_number_in_text kind_invalid scopes_invalid \
            scopes_exceed_yours"),
    ),
    security(("caller" = ["keys:write"])),
)]
pub(crate) async fn create(
    State(api): State<Arc<Api>>,
    caller: May<KeysWrite>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    body::check_content_type(&headers)?;
    let idempotency_key = idempotency::key(&headers)?;
    let new = read(&caller, Fields::new(body::object(body, &headers).await?, ""))?;
    let id = ApiKeyId::derive(&[caller.merchant_id.as_str(), "api_key", idempotency_key]);
    let merchants = &api.dependencies.merchants;
    for _ in 0..TRIES_MAX {
        let ring = merchants.key_ring(&caller.merchant_id).await?;
        let now = api.dependencies.clock.now();
        if let Some(existing) = ring.find(&id) {
            return replay(&api, existing, &new, now);
        }
        let (key, record) = make(&api, id.clone(), &caller.merchant_id, &new, now);
        let ring = ring.with(key.clone()).map_err(exhausted)?;
        let scopes = new.scopes.to_scopes();
        let details = [("id", id.as_str()), ("kind", new.kind.as_str()), ("scopes", scopes.as_str())];
        let told = told(&api, &caller.merchant_id, &caller.actor, "api_key.create", &details)?;
        match merchants.add_key(&caller.merchant_id, &ring, &record, told).await? {
            Saved::Done => return Ok(created(&api, &key, now)),
            Saved::Lost => {}
            // Its record is there, but it is so long revoked that it is not listed any more.
            Saved::Taken => return Err(revoked()),
        }
    }
    Err(Problem::Unavailable("the merchant's keys kept changing".to_owned()))
}

/// A key of this id: as it is listed, and as requests find it.
pub(crate) fn make(
    api: &Api,
    id: ApiKeyId,
    merchant_id: &MerchantId,
    new: &NewKey,
    now: Timestamp,
) -> (ApiKey, ApiKeyRecord) {
    let root = &api.dependencies.root_key;
    let text = root.api_key_text(&id, api.dependencies.mode);
    let text = text.expose_secret();
    let key = ApiKey::new(id, new.clone(), api.dependencies.mode, text, now);
    let record = key.record(merchant_id.clone(), root.api_key_hash(text));
    (key, record)
}

fn read(caller: &Caller, mut fields: Fields) -> Result<NewKey, Problem> {
    let name = fields.line("name", NAME_CHARACTERS_MAX, "name_missing", "name_invalid");
    let rule = "The kind is secret or client.";
    let kind = fields.read("kind", "kind_invalid", rule, |value| KeyKind::parse(value.as_str()?));
    let rule = "The scopes are a list of names of permissions that an API key may have, each once.";
    let scopes = fields.read("scopes", "scopes_invalid", rule, scopes);
    let scopes = scopes.unwrap_or_else(|| Permissions::of_keys().intersection(caller.permissions));
    if !scopes.is_subset_of(caller.permissions) {
        fields.wrong("scopes", "scopes_exceed_yours", "A key may do no more than who makes it.");
    }
    let errors = fields.finish();
    match name {
        Some(name) if errors.is_empty() => Ok(NewKey { name, kind: kind.unwrap_or(KeyKind::Secret), scopes }),
        _ => Err(Problem::Fields(errors)),
    }
}

fn scopes(value: &Value) -> Option<Permissions> {
    let names = value.as_array()?;
    let read = |name: &Value| Permission::parse(name.as_str()?).filter(|permission| permission.is_for_keys());
    let scopes = names.iter().map(read).collect::<Option<Permissions>>()?;
    (!names.is_empty() && scopes.iter().count() == names.len()).then_some(scopes)
}

fn replay(api: &Api, existing: &ApiKey, new: &NewKey, now: Timestamp) -> Result<Response, Problem> {
    let differs = [
        ("/name", existing.name != new.name),
        ("/kind", existing.kind != new.kind),
        ("/scopes", existing.scopes != new.scopes),
    ];
    if let Some((pointer, _)) = differs.into_iter().find(|(_, differs)| *differs) {
        return Err(Problem::IdempotencyKeyReused(pointer));
    }
    if existing.revoked_at.is_some() {
        return Err(revoked());
    }
    Ok(idempotency::replayed(created(api, existing, now)))
}

fn created(api: &Api, key: &ApiKey, now: Timestamp) -> Response {
    idempotency::created(&format!("/v1/api_keys/{}", key.id), &shown(api, key, now))
}

/// The key with its secret, while it may be shown.
pub(crate) fn shown(api: &Api, key: &ApiKey, now: Timestamp) -> Shown {
    let is_new = now.ms_since(key.created_at) < SECRET_SHOWN_MS_MAX;
    let deps = &api.dependencies;
    let secret = is_new.then(|| deps.root_key.api_key_text(&key.id, deps.mode).expose_secret().to_owned());
    Shown { key: key.view(None), secret }
}

fn exhausted(why: KeysExhausted) -> Problem {
    let detail = match why {
        KeysExhausted::OfThisName => {
            format!(
                "{API_KEYS_LIVE_PER_NAME_MAX} keys of this name are live: revoke the one that is not used any more."
            )
        }
        KeysExhausted::AtAll => format!("{API_KEYS_LIVE_MAX} keys are live, which is all there may be."),
    };
    Problem::Conflict { code: "api_keys_too_many", detail }
}

pub(crate) fn revoked() -> Problem {
    let detail = "The key that this Idempotency-Key made is revoked.".to_owned();
    Problem::Conflict { code: "api_key_revoked", detail }
}

/// Lists all API keys, newest first.
#[utoipa::path(
    get, path = "/v1/api_keys", operation_id = "list_api_keys", tag = "API keys",
    responses(
        (status = 200, description = "The keys.", body = crate::openapi::schemas::merchants::ApiKeyList),
    ),
    security(("caller" = ["keys:read"])),
)]
pub(crate) async fn list(State(api): State<Arc<Api>>, caller: May<KeysRead>) -> Result<Json<Value>, Problem> {
    let ring = api.dependencies.merchants.key_ring(&caller.merchant_id).await?;
    let views = views(&api, ring.keys.iter().rev()).await?;
    Ok(Json(json!({ "object": "list", "data": views, "has_more": false, "next_cursor": null })))
}

/// Reads an API key.
#[utoipa::path(
    get, path = "/v1/api_keys/{id}", operation_id = "get_api_key", tag = "API keys",
    params(crate::openapi::params::ApiKeyPath),
    responses(
        (status = 200, description = "The key.", body = crate::openapi::schemas::merchants::ApiKey),
        (status = 404, description = "api_key_not_found"),
    ),
    security(("caller" = ["keys:read"])),
)]
pub(crate) async fn get(
    State(api): State<Arc<Api>>,
    caller: May<KeysRead>,
    Name(id): Name,
) -> Result<Json<ApiKeyView>, Problem> {
    let (ring, id) = find(&api, &caller, &id).await?;
    let view = views(&api, ring.find(&id).into_iter()).await?.pop();
    view.map(Json).ok_or(Problem::ApiKeyNotFound)
}

/// Revokes an API key: within a minute it is refused everywhere.
#[utoipa::path(
    delete, path = "/v1/api_keys/{id}", operation_id = "revoke_api_key", tag = "API keys",
    params(crate::openapi::params::ApiKeyPath),
    responses(
        (status = 200, description = "The key.", body = crate::openapi::schemas::merchants::ApiKey),
        (status = 404, description = "api_key_not_found"),
    ),
    security(("caller" = ["keys:write"])),
)]
pub(crate) async fn revoke(
    State(api): State<Arc<Api>>,
    caller: May<KeysWrite>,
    Name(id): Name,
) -> Result<Json<ApiKeyView>, Problem> {
    let deps = &api.dependencies;
    for _ in 0..TRIES_MAX {
        let (ring, id) = find(&api, &caller, &id).await?;
        let Some(without) = ring.without(&id, deps.clock.now()) else { return as_it_stands(&ring, &id) };
        let hash = hash_of(&api, &id);
        let told = told(&api, &caller.merchant_id, &caller.actor, "api_key.revoke", &[("id", id.as_str())])?;
        let saved = deps.merchants.revoke_key(&caller.merchant_id, &without, &hash, told).await?;
        // This instance need not wait until it forgets the key.
        api.keys.forget(&hash);
        if saved == Saved::Done {
            return as_it_stands(&without, &id);
        }
    }
    Err(Problem::Unavailable("the merchant's keys kept changing".to_owned()))
}

fn as_it_stands(ring: &KeyRing, id: &ApiKeyId) -> Result<Json<ApiKeyView>, Problem> {
    ring.find(id).map(|key| Json(key.view(None))).ok_or(Problem::ApiKeyNotFound)
}

async fn find(api: &Api, caller: &Caller, id: &str) -> Result<(KeyRing, ApiKeyId), Problem> {
    let id: ApiKeyId = id.parse().map_err(|_| Problem::ApiKeyNotFound)?;
    let ring = api.dependencies.merchants.key_ring(&caller.merchant_id).await?;
    if ring.find(&id).is_none() {
        return Err(Problem::ApiKeyNotFound);
    }
    Ok((ring, id))
}

async fn views(api: &Api, keys: impl Iterator<Item = &ApiKey>) -> Result<Vec<ApiKeyView>, Problem> {
    let keys: Vec<&ApiKey> = keys.collect();
    let hashes: Vec<String> = keys.iter().map(|key| hash_of(api, &key.id)).collect();
    let uses = api.dependencies.merchants.last_uses(&hashes).await?;
    Ok(keys.into_iter().zip(uses).map(|(key, used)| key.view(used)).collect())
}

pub(crate) fn hash_of(api: &Api, id: &ApiKeyId) -> String {
    let deps = &api.dependencies;
    deps.root_key.api_key_hash(deps.root_key.api_key_text(id, deps.mode).expose_secret())
}
