//! `POST /v1/merchants` signs a merchant up; `/v1/merchants/me` is its profile.

use std::sync::Arc;

use axum::{Json, body::Body, extract::State, http::HeaderMap, response::Response};
use florin_domain::{
    ids::{ApiKeyId, MerchantId},
    merchant::{FIRST_KEY, KeyRing, Merchant, MerchantView, NAME_CHARACTERS_MAX, NewKey},
    time::Timestamp,
    user::{Email, User, UserView},
};
use florin_platform::{
    password::{self, Password},
    random,
};
use florin_store::merchants::{Newcomer, Saved, SignedUp};
use serde::Serialize;
use serde_json::Value;

use crate::{
    Api,
    api_keys::{self, Shown},
    auth::{Actor, Operator},
    body::{self, Fields},
    idempotency,
    permission::{May, MerchantRead, MerchantWrite},
    problem::Problem,
    told::told,
};

/// Who may sign merchants up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignUp {
    /// Everybody.
    Open,
    /// Operators, with their key.
    ByOperators,
}

/// What somebody who signs up sends.
struct Request {
    name: String,
    owner_name: String,
    email: Email,
    password: Password,
}

/// A new merchant, with everything that it begins with.
#[derive(Serialize)]
struct SignedUpView {
    object: &'static str,
    merchant: MerchantView,
    owner: UserView,
    api_key: Shown,
}

/// Signs a merchant up: the merchant, its owner and its first key, or none of them.
///
/// Whether it takes the operator key is a setting of the deployment.
#[utoipa::path(
    post, path = "/v1/merchants", operation_id = "sign_up", tag = "Merchants",
    params(crate::openapi::params::IdempotencyKey),
    request_body = crate::openapi::schemas::merchants::NewMerchant,
    responses(
        (status = 201, description = "Created, or answered as the first time.", body = crate::openapi::schemas::merchants::SignUp, headers(
            ("Location" = String, description = "Where it can be read."),
            ("Idempotent-Replayed" = Option<String>, description = "`true` if this key was answered before."),
        )),
        (status = 409, description = "email_taken api_key_revoked"),
        (status = 422, description = "name_missing name_invalid owner_missing owner_invalid email_missing \
            email_invalid password_missing password_invalid card_number_in_text"),
    ),
    security((), ("operatorKey" = [])),
)]
pub(crate) async fn sign_up(
    State(api): State<Arc<Api>>,
    operator: Result<Operator, Problem>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let deps = &api.dependencies;
    if deps.sign_up == SignUp::ByOperators {
        operator?;
    }
    body::check_content_type(&headers)?;
    let key = idempotency::key(&headers)?;
    let request = read(Fields::new(body::object(body, &headers).await?, ""))?;
    let email_hash = deps.root_key.email_hash(request.email.as_str());
    let id = MerchantId::derive(&["merchant", &email_hash, key]);
    let now = deps.clock.now();
    let merchant = Merchant::new(id.clone(), request.name.clone(), now);
    let owner = User::first(&id, request.email.clone(), request.owner_name.clone(), now);
    let (api_key, record) = api_keys::make(&api, first_key_id(&id), &id, &NewKey::first(), now);
    let ring = KeyRing::default().with(api_key).map_err(|_| Problem::Internal("a first key was refused".to_owned()))?;
    let password = password::hash(&request.password, &random::bytes());
    let actor = Actor::User { id: owner.id.clone(), role: owner.role };
    let told = told(&api, &id, &actor, "merchant.sign_up", &[("key_id", record.id.as_str())])?;
    let newcomer = Newcomer { merchant: &merchant, keys: (&ring, &record), owner: (&owner, &email_hash, &password) };
    match deps.merchants.sign_up(&newcomer, told).await? {
        SignedUp::Done => created(&api, &merchant, &owner, &ring, now),
        SignedUp::Before => replay(&api, &id, &request, &email_hash).await,
        SignedUp::EmailTaken => Err(email_taken()),
    }
}

/// An address belongs to one user of all merchants.
pub(crate) fn email_taken() -> Problem {
    let detail = "This mail address belongs to a user already.".to_owned();
    Problem::Conflict { code: "email_taken", detail }
}

fn read(mut fields: Fields) -> Result<Request, Problem> {
    let name = fields.line("name", NAME_CHARACTERS_MAX, "name_missing", "name_invalid");
    let owner = match fields.required("owner", "owner_missing") {
        Some(Value::Object(owner)) => Some(owner),
        Some(_) => {
            fields.wrong("owner", "owner_invalid", "The owner is an object with name, email and password.");
            None
        }
        None => None,
    };
    let mut owner = owner.map(|owner| Fields::new(owner, "/owner"));
    let person = owner.as_mut().and_then(|owner| {
        let name = owner.line("name", NAME_CHARACTERS_MAX, "name_missing", "name_invalid");
        let email = email(owner);
        let password = chosen_password(owner, "password", email.as_ref());
        Some((name?, email?, password?))
    });
    fields.errors.extend(owner.map(Fields::finish).unwrap_or_default());
    let errors = fields.finish();
    match (name, person) {
        (Some(name), Some((owner_name, email, password))) if errors.is_empty() => {
            Ok(Request { name, owner_name, email, password })
        }
        _ => Err(Problem::Fields(errors)),
    }
}

/// The field `email`.
pub(crate) fn email(fields: &mut Fields) -> Option<Email> {
    let text = fields.required_text("email", "email_missing", "email_invalid")?;
    let email = Email::parse(&text);
    if email.is_none() {
        fields.wrong("email", "email_invalid", "A mail address, such as ada@shop.example.");
    }
    email
}

/// A field with a new password for the user of this address.
pub(crate) fn chosen_password(fields: &mut Fields, name: &str, email: Option<&Email>) -> Option<Password> {
    let text = fields.required_text(name, "password_missing", "password_invalid")?;
    match Password::choose(&text, email.map(Email::as_str).unwrap_or_default()) {
        Ok(password) => Some(password),
        Err(error) => {
            fields.wrong(name, "password_invalid", error.to_string());
            None
        }
    }
}

fn first_key_id(id: &MerchantId) -> ApiKeyId {
    ApiKeyId::derive(&[id.as_str(), FIRST_KEY])
}

/// Answers as the first time whoever knows the password.
async fn replay(api: &Api, id: &MerchantId, request: &Request, email_hash: &str) -> Result<Response, Problem> {
    let merchants = &api.dependencies.merchants;
    let (credentials, _) = merchants.credentials(email_hash).await?;
    let kept = credentials.and_then(|credentials| credentials.password);
    if !password::verify(&request.password, kept.as_deref()) {
        return Err(Problem::IdempotencyKeyReused("/owner/password"));
    }
    let (merchant, roster) = (merchants.merchant(id).await?, merchants.roster(id).await?);
    let ring = merchants.key_ring(id).await?;
    let owner = roster.users.into_iter().find(|user| user.email == request.email);
    let (Some(merchant), Some(owner)) = (merchant, owner) else {
        return Err(Problem::IdempotencyKeyReused("/owner/email"));
    };
    let differs = [("/name", merchant.name != request.name), ("/owner/name", owner.name != request.owner_name)];
    if let Some((pointer, _)) = differs.into_iter().find(|(_, differs)| *differs) {
        return Err(Problem::IdempotencyKeyReused(pointer));
    }
    let now = api.dependencies.clock.now();
    Ok(idempotency::replayed(created(api, &merchant, &owner, &ring, now)?))
}

fn created(api: &Api, merchant: &Merchant, owner: &User, ring: &KeyRing, now: Timestamp) -> Result<Response, Problem> {
    let key = ring.find(&first_key_id(&merchant.id)).filter(|key| key.revoked_at.is_none());
    let key = key.ok_or_else(api_keys::revoked)?;
    let view = SignedUpView {
        object: "sign_up",
        merchant: merchant.view(api.dependencies.mode),
        owner: owner.view(),
        api_key: api_keys::shown(api, key, now),
    };
    Ok(idempotency::created("/v1/merchants/me", &view))
}

/// Reads the merchant's profile.
#[utoipa::path(
    get, path = "/v1/merchants/me", operation_id = "get_merchant", tag = "Merchants",
    responses(
        (status = 200, description = "The merchant.", body = crate::openapi::schemas::merchants::Merchant),
        (status = 404, description = "merchant_not_found"),
    ),
    security(("caller" = ["merchant:read"])),
)]
pub(crate) async fn me(State(api): State<Arc<Api>>, caller: May<MerchantRead>) -> Result<Json<MerchantView>, Problem> {
    let merchant = api.dependencies.merchants.merchant(&caller.merchant_id).await?;
    let merchant = merchant.ok_or(Problem::MerchantNotFound)?;
    Ok(Json(merchant.view(api.dependencies.mode)))
}

/// Gives the merchant another name.
#[utoipa::path(
    patch, path = "/v1/merchants/me", operation_id = "change_merchant", tag = "Merchants",
    request_body = crate::openapi::schemas::merchants::MerchantChange,
    responses(
        (status = 200, description = "The merchant.", body = crate::openapi::schemas::merchants::Merchant),
        (status = 404, description = "merchant_not_found"),
        (status = 422, description = "name_invalid card_number_in_text"),
    ),
    security(("caller" = ["merchant:write"])),
)]
pub(crate) async fn change(
    State(api): State<Arc<Api>>,
    caller: May<MerchantWrite>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<MerchantView>, Problem> {
    body::check_content_type(&headers)?;
    let mut fields = Fields::new(body::object(body, &headers).await?, "");
    let name = fields.line_if_any("name", NAME_CHARACTERS_MAX, "name_invalid");
    fields.check()?;
    let merchants = &api.dependencies.merchants;
    if let Some(name) = name {
        let told = told(&api, &caller.merchant_id, &caller.actor, "merchant.change", &[("name", &name)])?;
        if merchants.rename(&caller.merchant_id, &name, told).await? != Saved::Done {
            return Err(Problem::MerchantNotFound);
        }
    }
    let merchant = merchants.merchant(&caller.merchant_id).await?.ok_or(Problem::MerchantNotFound)?;
    Ok(Json(merchant.view(api.dependencies.mode)))
}
