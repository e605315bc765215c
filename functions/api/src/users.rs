//! `/v1/users`: people of a merchant are invited, get another role, and go.

use std::sync::Arc;

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use florin_domain::{
    ids::UserId,
    merchant::NAME_CHARACTERS_MAX,
    permission::Role,
    user::{Invitation, Roster, RosterRefused, USERS_MAX, User, UserView},
};
use florin_store::merchants::Saved;
use secrecy::ExposeSecret;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    Api,
    auth::{Actor, Caller},
    body::{self, Fields},
    idempotency, merchants,
    path::Name,
    permission::{May, UsersRead, UsersWrite},
    problem::Problem,
    told::told,
};

/// Tries of a change that meets other changes of the same users.
const TRIES_MAX: usize = 5;

/// A user with the token that chooses a password.
#[derive(Serialize)]
struct Invited {
    #[serde(flatten)]
    user: UserView,
    /// For the invited person and for nobody else: it is not stored, and whoever has it chooses the password.
    invitation_token: Option<String>,
}

/// Lists all users, the first one first.
#[utoipa::path(
    get, path = "/v1/users", operation_id = "list_users", tag = "Users",
    responses(
        (status = 200, description = "The users.", body = crate::openapi::schemas::people::UserList),
    ),
    security(("caller" = ["users:read"])),
)]
pub(crate) async fn list(State(api): State<Arc<Api>>, caller: May<UsersRead>) -> Result<Json<Value>, Problem> {
    let roster = api.dependencies.merchants.roster(&caller.merchant_id).await?;
    let data: Vec<UserView> = roster.users.iter().map(User::view).collect();
    Ok(Json(json!({ "object": "list", "data": data, "has_more": false, "next_cursor": null })))
}

/// Reads a user.
#[utoipa::path(
    get, path = "/v1/users/{id}", operation_id = "get_user", tag = "Users",
    params(crate::openapi::params::UserPath),
    responses(
        (status = 200, description = "The user.", body = crate::openapi::schemas::people::User),
        (status = 404, description = "user_not_found"),
    ),
    security(("caller" = ["users:read"])),
)]
pub(crate) async fn get(
    State(api): State<Arc<Api>>,
    caller: May<UsersRead>,
    Name(id): Name,
) -> Result<Json<UserView>, Problem> {
    let (_, user) = find(&api, &caller, &id).await?;
    Ok(Json(user.view()))
}

/// Invites somebody.
///
/// Hand the invitation on: whoever has it chooses the password, within a week.
#[utoipa::path(
    post, path = "/v1/users", operation_id = "invite_user", tag = "Users",
    params(crate::openapi::params::IdempotencyKey),
    request_body = crate::openapi::schemas::people::NewUser,
    responses(
        (status = 201, description = "Created, or answered as the first time.", body = crate::openapi::schemas::people::InvitedUser, headers(
            ("Location" = String, description = "Where it can be read."),
            ("Idempotent-Replayed" = Option<String>, description = "`true` if this key was answered before."),
        )),
        (status = 403, description = "owner_needed"),
        (status = 409, description = "email_taken users_too_many"),
        (status = 422, description = "email_missing email_invalid name_missing name_invalid card_number_in_text \
            role_missing role_invalid"),
    ),
    security(("caller" = ["users:write"])),
)]
pub(crate) async fn invite(
    State(api): State<Arc<Api>>,
    caller: May<UsersWrite>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    body::check_content_type(&headers)?;
    let key = idempotency::key(&headers)?;
    let mut fields = Fields::new(body::object(body, &headers).await?, "");
    let email = merchants::email(&mut fields);
    let name = fields.line("name", NAME_CHARACTERS_MAX, "name_missing", "name_invalid");
    let role = role(&mut fields, true);
    let errors = fields.finish();
    let (Some(email), Some(name), Some(role), true) = (email, name, role, errors.is_empty()) else {
        return Err(Problem::Fields(errors));
    };
    owners_are_made_by_owners(&caller, role)?;
    let deps = &api.dependencies;
    let id = UserId::derive(&[caller.merchant_id.as_str(), "user", key]);
    for _ in 0..TRIES_MAX {
        let roster = deps.merchants.roster(&caller.merchant_id).await?;
        let now = deps.clock.now();
        let blank = User::new(id.clone(), caller.merchant_id.clone(), email.clone(), name.clone(), role, now);
        if let Some(existing) = roster.find(&id) {
            return replay(&api, existing, &blank);
        }
        let user = blank.invited(now);
        let roster = roster.with(user.clone()).map_err(refused)?;
        let details = [("id", id.as_str()), ("role", role.as_str())];
        let told = told(&api, &caller.merchant_id, &caller.actor, "user.invite", &details)?;
        let hash = deps.root_key.email_hash(email.as_str());
        match deps.merchants.add_user(&roster, &user, &hash, told).await? {
            Saved::Done => return Ok(created(&api, &user)),
            Saved::Lost => {}
            Saved::Taken => return Err(merchants::email_taken()),
        }
    }
    Err(changing())
}

/// Answers as the first time; the invitation is shown while it is open.
fn replay(api: &Api, existing: &User, asked: &User) -> Result<Response, Problem> {
    let differs = [("/email", existing.email != asked.email), ("/name", existing.name != asked.name)];
    if let Some((pointer, _)) = differs.into_iter().find(|(_, differs)| *differs) {
        return Err(Problem::IdempotencyKeyReused(pointer));
    }
    Ok(idempotency::replayed(created(api, existing)))
}

fn created(api: &Api, user: &User) -> Response {
    idempotency::created(&format!("/v1/users/{}", user.id), &shown(api, user))
}

fn shown(api: &Api, user: &User) -> Invited {
    let token = |invitation: &Invitation| {
        let token = api.dependencies.root_key.invitation_token(&user.merchant_id, &user.id, invitation.number);
        token.expose_secret().to_owned()
    };
    Invited { user: user.view(), invitation_token: user.invitation.as_ref().map(token) }
}

/// Makes a new invitation, for who has lost the first or forgotten the password.
///
/// The user's sessions end.
#[utoipa::path(
    post, path = "/v1/users/{id}/invite", operation_id = "invite_user_again", tag = "Users",
    params(crate::openapi::params::UserPath),
    responses(
        (status = 200, description = "The user.", body = crate::openapi::schemas::people::InvitedUser),
        (status = 403, description = "owner_needed"),
        (status = 404, description = "user_not_found"),
        (status = 409, description = "last_owner"),
    ),
    security(("caller" = ["users:write"])),
)]
pub(crate) async fn invite_again(
    State(api): State<Arc<Api>>,
    caller: May<UsersWrite>,
    Name(id): Name,
) -> Result<Response, Problem> {
    let user = change_user(&api, &caller, &id, "user.invite_again", |user, now| Ok(user.invited(now))).await?;
    Ok((StatusCode::OK, Json(shown(&api, &user))).into_response())
}

/// Gives a user another role or name.
#[utoipa::path(
    patch, path = "/v1/users/{id}", operation_id = "change_user", tag = "Users",
    params(crate::openapi::params::UserPath),
    request_body = crate::openapi::schemas::people::UserChange,
    responses(
        (status = 200, description = "The user.", body = crate::openapi::schemas::people::User),
        (status = 403, description = "owner_needed"),
        (status = 404, description = "user_not_found"),
        (status = 409, description = "last_owner"),
        (status = 422, description = "name_invalid card_number_in_text role_invalid"),
    ),
    security(("caller" = ["users:write"])),
)]
pub(crate) async fn change(
    State(api): State<Arc<Api>>,
    caller: May<UsersWrite>,
    Name(id): Name,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<UserView>, Problem> {
    body::check_content_type(&headers)?;
    let mut fields = Fields::new(body::object(body, &headers).await?, "");
    let name = fields.line_if_any("name", NAME_CHARACTERS_MAX, "name_invalid");
    let role = role(&mut fields, false);
    fields.check()?;
    let user = change_user(&api, &caller, &id, "user.change", |user, _| {
        let role = role.unwrap_or(user.role);
        owners_are_made_by_owners(&caller, role)?;
        let name = name.clone().unwrap_or_else(|| user.name.clone());
        Ok(User { role, name, version: user.version + 1, ..user.clone() })
    });
    Ok(Json(user.await?.view()))
}

/// Removes a user: within a minute what was signed in is out.
#[utoipa::path(
    delete, path = "/v1/users/{id}", operation_id = "remove_user", tag = "Users",
    params(crate::openapi::params::UserPath),
    responses(
        (status = 204, description = "Gone."),
        (status = 403, description = "owner_needed"),
        (status = 404, description = "user_not_found"),
        (status = 409, description = "last_owner"),
    ),
    security(("caller" = ["users:write"])),
)]
pub(crate) async fn remove(
    State(api): State<Arc<Api>>,
    caller: May<UsersWrite>,
    Name(id): Name,
) -> Result<StatusCode, Problem> {
    let deps = &api.dependencies;
    for _ in 0..TRIES_MAX {
        let (roster, user) = find(&api, &caller, &id).await?;
        owners_are_made_by_owners(&caller, user.role)?;
        let roster = roster.without(&user.id).map_err(refused)?;
        let told = told(&api, &caller.merchant_id, &caller.actor, "user.remove", &[("id", user.id.as_str())])?;
        let hash = deps.root_key.email_hash(user.email.as_str());
        match deps.merchants.remove_user(&roster, &user, &hash, told).await? {
            Saved::Done => return Ok(StatusCode::NO_CONTENT),
            Saved::Lost => {}
            Saved::Taken => return Err(Problem::Internal("a user's address belongs to somebody else".to_owned())),
        }
    }
    Err(changing())
}

async fn change_user(
    api: &Api,
    caller: &Caller,
    id: &str,
    action: &str,
    change: impl Fn(&User, florin_domain::time::Timestamp) -> Result<User, Problem>,
) -> Result<User, Problem> {
    let deps = &api.dependencies;
    for _ in 0..TRIES_MAX {
        let (roster, user) = find(api, caller, id).await?;
        owners_are_made_by_owners(caller, user.role)?;
        let changed = change(&user, deps.clock.now())?;
        let roster = roster.changed(&changed).map_err(refused)?;
        let details = [("id", user.id.as_str()), ("role", changed.role.as_str())];
        let told = told(api, &caller.merchant_id, &caller.actor, action, &details)?;
        if deps.merchants.save_users(&caller.merchant_id, &roster, told).await? == Saved::Done {
            return Ok(changed);
        }
    }
    Err(changing())
}

async fn find(api: &Api, caller: &Caller, id: &str) -> Result<(Roster, User), Problem> {
    let id: UserId = id.parse().map_err(|_| Problem::UserNotFound)?;
    let roster = api.dependencies.merchants.roster(&caller.merchant_id).await?;
    let user = roster.find(&id).cloned().ok_or(Problem::UserNotFound)?;
    Ok((roster, user))
}

fn role(fields: &mut Fields, is_required: bool) -> Option<Role> {
    let rule = "The role is owner, admin, developer or viewer.";
    if is_required {
        let text = fields.required_text("role", "role_missing", "role_invalid")?;
        let role = Role::parse(&text);
        if role.is_none() {
            fields.wrong("role", "role_invalid", rule);
        }
        return role;
    }
    fields.read("role", "role_invalid", rule, |value| Role::parse(value.as_str()?))
}

/// An admin makes no owners, changes none and removes none.
fn owners_are_made_by_owners(caller: &Caller, role: Role) -> Result<(), Problem> {
    let is_owner = matches!(caller.actor, Actor::User { role: Role::Owner, .. });
    if role == Role::Owner && !is_owner { Err(Problem::OwnerNeeded) } else { Ok(()) }
}

fn refused(why: RosterRefused) -> Problem {
    let (code, detail) = match why {
        RosterRefused::Full => {
            ("users_too_many", format!("The merchant has {USERS_MAX} users, which is all it may have."))
        }
        RosterRefused::LastOwner => ("last_owner", "A merchant always has an owner who can sign in.".to_owned()),
    };
    Problem::Conflict { code, detail }
}

fn changing() -> Problem {
    Problem::Unavailable("the merchant's users kept changing".to_owned())
}
