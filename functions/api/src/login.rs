//! `/v1/auth`: people sign in, stay signed in, sign out, and choose a password when they were invited.
//!
//! Nothing here tells whether an address is known: a wrong address takes as long as a wrong password, is answered the
//! same, and is locked after as many guesses.

use std::sync::Arc;

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use florin_domain::{
    ids::{MerchantId, SessionId, UserId},
    time::Timestamp,
    user::{Guesses, Refreshed, Session, User, UserView},
};
use florin_platform::{
    password::{self, Password},
    random,
    tokens::{ACCESS_TOKEN_SECONDS, Grant, Subject},
};
use florin_store::merchants::{Credentials, Saved};
use secrecy::ExposeSecret;
use serde::Serialize;

use crate::{
    Api,
    auth::Actor,
    body::{self, Fields},
    merchants::{chosen_password, email},
    problem::Problem,
    told::told,
};

/// Tries of a guess or change that meets others of the same address or users.
const TRIES_MAX: usize = 5;

/// What somebody who is signed in holds.
#[derive(Serialize)]
pub(crate) struct SignedIn {
    object: &'static str,
    access_token: String,
    token_type: &'static str,
    expires_in: i64,
    refresh_token: String,
    user: UserView,
}

/// Signs a user in.
///
/// A wrong address is answered as a wrong password is.
#[utoipa::path(
    post, path = "/v1/auth/login", operation_id = "login", tag = "Sign-in",
    request_body = crate::openapi::schemas::people::Login,
    responses(
        (status = 200, description = "Signed in.", body = crate::openapi::schemas::people::Session),
        (status = 401, description = "credentials_invalid"),
        (status = 422, description = "email_missing email_invalid password_missing password_invalid"),
        (status = 429, description = "login_locked"),
    ),
)]
pub(crate) async fn login(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<SignedIn>, Problem> {
    body::check_content_type(&headers)?;
    let mut fields = Fields::new(body::object(body, &headers).await?, "");
    let email = email(&mut fields);
    let password = fields.required_text("password", "password_missing", "password_invalid");
    fields.check()?;
    let (Some(email), Some(password)) = (email, password) else {
        return Err(Problem::CredentialsInvalid);
    };
    let hash = api.dependencies.root_key.email_hash(email.as_str());
    let (credentials, guesses) = guess(&api, &hash).await?;
    let kept = credentials.as_ref().and_then(|credentials| credentials.password.as_deref());
    let password = Password::presented(&password).ok_or(Problem::CredentialsInvalid)?;
    let (true, Some(credentials)) = (password::verify(&password, kept), credentials.as_ref()) else {
        return Err(Problem::CredentialsInvalid);
    };
    let user = user_of(&api, credentials).await?.ok_or(Problem::CredentialsInvalid)?;
    let session = Session::begin(SessionId::from_random(random::bytes()), &user, api.dependencies.clock.now());
    api.dependencies.merchants.begin_session(&session).await?;
    if guesses.count > 0
        && let Err(error) = api.dependencies.merchants.forget_guesses(&hash).await
    {
        tracing::warn!(%error, user_id = %user.id, "the guesses before the right password are still counted");
    }
    signed_in(&api, &session, &user)
}

/// Counts a guess, unless the address is locked; what it is to be compared with.
async fn guess(api: &Api, hash: &str) -> Result<(Option<Credentials>, Guesses), Problem> {
    let deps = &api.dependencies;
    for _ in 0..TRIES_MAX {
        let (credentials, before) = deps.merchants.credentials(hash).await?;
        let now = deps.clock.now();
        let after =
            before.guess(now).map_err(|until| Problem::LoginLocked { seconds: seconds(until.ms_since(now)) })?;
        if deps.merchants.count_guess(hash, before, after).await? {
            return Ok((credentials, after));
        }
    }
    Err(Problem::LoginLocked { seconds: 1 })
}

/// Milliseconds as whole seconds, one at least.
fn seconds(ms: i64) -> u64 {
    u64::try_from(ms).unwrap_or(0).div_ceil(1000).max(1)
}

async fn user_of(api: &Api, credentials: &Credentials) -> Result<Option<User>, Problem> {
    let roster = api.dependencies.merchants.roster(&credentials.merchant_id).await?;
    let user = roster.find(&credentials.user_id).filter(|user| user.invitation.is_none());
    Ok(user.cloned())
}

fn signed_in(api: &Api, session: &Session, user: &User) -> Result<Json<SignedIn>, Problem> {
    let deps = &api.dependencies;
    let subject = Subject::User { user_id: user.id.clone(), session_id: session.id.clone(), role: user.role };
    let grant = Grant { subject, merchant_id: user.merchant_id.clone() };
    Ok(Json(SignedIn {
        object: "session",
        access_token: deps.tokens.issue(&grant, deps.clock.now()),
        token_type: "Bearer",
        expires_in: ACCESS_TOKEN_SECONDS,
        refresh_token: deps.root_key.refresh_token(&session.id, session.number).expose_secret().to_owned(),
        user: user.view(),
    }))
}

/// Exchanges a refresh token for the next access token and the next refresh token.
///
/// A refresh token is good once. One that comes a second time ends the session, for both who have it.
#[utoipa::path(
    post, path = "/v1/auth/refresh", operation_id = "refresh_session", tag = "Sign-in",
    request_body = crate::openapi::schemas::people::PresentedRefreshToken,
    responses(
        (status = 200, description = "Still signed in.", body = crate::openapi::schemas::people::Session),
        (status = 401, description = "session_ended"),
        (status = 422, description = "refresh_token_missing refresh_token_invalid"),
    ),
)]
pub(crate) async fn refresh(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<SignedIn>, Problem> {
    let (id, number) = presented(&api, &headers, body).await?;
    let deps = &api.dependencies;
    let now = deps.clock.now();
    let before = deps.merchants.session(&id).await?.ok_or(Problem::SessionEnded)?;
    let refreshed = match before.refresh(number, now) {
        Refreshed::Goes(after) => deps.merchants.refresh(&before, &after, &random::hex128()).await?,
        over => over,
    };
    let session = match refreshed {
        Refreshed::Goes(session) => session,
        Refreshed::Ended => return Err(Problem::SessionEnded),
        Refreshed::Stolen => return Err(stolen(&api, &before, now).await?),
    };
    let roster = deps.merchants.roster(&session.merchant_id).await?;
    let user = roster.find(&session.user_id).filter(|user| session.lasts(user, now));
    signed_in(&api, &session, user.ok_or(Problem::SessionEnded)?)
}

/// Ends the session of a token that came twice, and leaves a trace.
async fn stolen(api: &Api, session: &Session, now: Timestamp) -> Result<Problem, Problem> {
    let deps = &api.dependencies;
    deps.merchants.end_session(&session.id).await?;
    api.sessions.forget(&session.id);
    let entry = crate::told::entry(
        session.user_id.to_string(),
        "session.refresh_token_reused",
        &[("session_id", session.id.as_str())],
        now,
    );
    tracing::warn!(session_id = %session.id, user_id = %session.user_id, "a refresh token came twice");
    if let Err(error) = deps.audit.append(session.merchant_id.as_str(), &[entry]).await {
        tracing::error!(%error, session_id = %session.id, "a refresh token came twice, which the audit does not tell");
    }
    Ok(Problem::SessionEnded)
}

/// Ends the session.
#[utoipa::path(
    post, path = "/v1/auth/logout", operation_id = "logout", tag = "Sign-in",
    request_body = crate::openapi::schemas::people::PresentedRefreshToken,
    responses(
        (status = 204, description = "Signed out."),
        (status = 401, description = "session_ended"),
        (status = 422, description = "refresh_token_missing refresh_token_invalid"),
    ),
)]
pub(crate) async fn logout(State(api): State<Arc<Api>>, headers: HeaderMap, body: Body) -> Result<StatusCode, Problem> {
    let (id, _) = presented(&api, &headers, body).await?;
    api.dependencies.merchants.end_session(&id).await?;
    api.sessions.forget(&id);
    Ok(StatusCode::NO_CONTENT)
}

/// The refresh token of the body, if we made it.
async fn presented(api: &Api, headers: &HeaderMap, body: Body) -> Result<(SessionId, u64), Problem> {
    body::check_content_type(headers)?;
    let mut fields = Fields::new(body::object(body, headers).await?, "");
    let token = fields.required_text("refresh_token", "refresh_token_missing", "refresh_token_invalid");
    fields.check()?;
    token.and_then(|token| api.dependencies.root_key.read_refresh_token(&token)).ok_or(Problem::SessionEnded)
}

/// Chooses a password and signs in, for who was invited.
#[utoipa::path(
    post, path = "/v1/auth/accept_invitation", operation_id = "accept_invitation", tag = "Sign-in",
    request_body = crate::openapi::schemas::people::AcceptedInvitation,
    responses(
        (status = 200, description = "Signed in.", body = crate::openapi::schemas::people::Session),
        (status = 401, description = "invitation_invalid"),
        (status = 422, description = "invitation_token_missing invitation_token_invalid password_missing \
            password_invalid"),
    ),
)]
pub(crate) async fn accept_invitation(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<SignedIn>, Problem> {
    body::check_content_type(&headers)?;
    let mut fields = Fields::new(body::object(body, &headers).await?, "");
    let token = fields.required_text("invitation_token", "invitation_token_missing", "invitation_token_invalid");
    let deps = &api.dependencies;
    let invitation = token.as_deref().and_then(|token| deps.root_key.read_invitation_token(token));
    let Some((merchant_id, user_id, number)) = invitation else {
        // The password is judged once it is known whose it is.
        chosen_password(&mut fields, "password", None);
        fields.check()?;
        return Err(Problem::InvitationInvalid);
    };
    let roster = deps.merchants.roster(&merchant_id).await?;
    let user = roster.find(&user_id).ok_or(Problem::InvitationInvalid)?;
    let password = chosen_password(&mut fields, "password", Some(&user.email));
    fields.check()?;
    let password = password.ok_or(Problem::InvitationInvalid)?;
    let user = accept(&api, &(merchant_id, user_id, number), &password).await?;
    let session = Session::begin(SessionId::from_random(random::bytes()), &user, deps.clock.now());
    deps.merchants.begin_session(&session).await?;
    signed_in(&api, &session, &user)
}

async fn accept(api: &Api, invited: &(MerchantId, UserId, u64), password: &Password) -> Result<User, Problem> {
    let (deps, (merchant_id, user_id, number)) = (&api.dependencies, invited);
    let kept = password::hash(password, &random::bytes());
    for _ in 0..TRIES_MAX {
        let roster = deps.merchants.roster(merchant_id).await?;
        let user = roster.find(user_id).and_then(|user| user.accepted(*number, deps.clock.now()));
        let user = user.ok_or(Problem::InvitationInvalid)?;
        let roster = roster.changed(&user).map_err(|why| Problem::Internal(format!("{why:?} by an acceptance")))?;
        let actor = Actor::User { id: user.id.clone(), role: user.role };
        let told = told(api, merchant_id, &actor, "user.accept_invitation", &[("id", user.id.as_str())])?;
        let hash = deps.root_key.email_hash(user.email.as_str());
        match deps.merchants.save_password(&roster, &user, (&hash, &kept), told).await? {
            Saved::Done => return Ok(user),
            Saved::Lost => {}
            Saved::Taken => return Err(Problem::InvitationInvalid),
        }
    }
    Err(Problem::Unavailable("the merchant's users kept changing".to_owned()))
}
