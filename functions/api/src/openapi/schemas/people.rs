//! Users and their sessions.

use utoipa::ToSchema;

use super::{Cursor, ListObject, Moment, Name};

/// The id of a user.
#[derive(ToSchema)]
#[schema(pattern = "^usr_[0-7][0-9a-hjkmnp-tv-z]{25}$", example = "usr_1v7n2xr6d4gbwzb8m0t5c9k3q8")]
pub struct UserId(pub String);

/// A mail address, in whatever letters.
#[derive(ToSchema)]
#[schema(
    max_length = 254,
    format = "email",
    pattern = r"^[^@\s\x00-\x1f\x7f-\x9f]+@[^@.\s\x00-\x1f\x7f-\x9f]+(\.[^@.\s\x00-\x1f\x7f-\x9f]+)+$",
    example = "ada@shop.example"
)]
pub struct Email(pub String);

/// A password that is chosen: not easily guessed, and without the mail address in it.
#[derive(ToSchema)]
#[schema(min_length = 12, max_length = 128, format = "new-password", example = "correct horse battery staple")]
pub struct NewPassword(pub String);

/// What a user may do.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "docs/auth.md explains them")]
pub enum Role {
    Owner,
    Admin,
    Developer,
    Viewer,
}

/// Whether the user has chosen a password.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UserStatus {
    /// Not yet.
    Invited,
    /// Yes.
    Active,
}

/// Always `user`.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UserObject {
    /// A user.
    User,
}

/// Somebody of a merchant.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// Their id.
    pub id: UserId,
    /// Always `user`.
    #[schema(inline)]
    pub object: UserObject,
    /// With which they sign in, in small letters.
    pub email: String,
    /// Their name.
    pub name: Name,
    /// What they may do.
    pub role: Role,
    /// Whether they can sign in.
    pub status: UserStatus,
    /// When they were invited, or signed up.
    pub created_at: Moment,
}

/// What `POST /v1/users` takes.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// With which they sign in; of no other user.
    pub email: Email,
    /// Their name.
    pub name: Name,
    /// What they may do.
    pub role: Role,
}

/// What `PATCH /v1/users/{id}` takes. What is left out or `null` stays.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserChange {
    /// Another name.
    pub name: Option<Name>,
    /// Another role.
    pub role: Option<Role>,
}

/// A user with an invitation.
// The members of a user are added by `openapi::document`.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InvitedUser {
    /// For the invited person and for nobody else: whoever has it chooses the password. `null` once it was used.
    #[schema(required)]
    pub invitation_token: Option<String>,
}

/// All users, the first one first.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserList {
    /// Always `list`.
    #[schema(inline)]
    pub object: ListObject,
    /// The users.
    pub data: Vec<User>,
    /// Always `false`: the list is whole.
    pub has_more: bool,
    /// Always `null`.
    #[schema(required)]
    pub next_cursor: Option<Cursor>,
}

/// What `POST /v1/auth/login` takes.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// Whose.
    pub email: Email,
    /// The password.
    pub password: String,
}

/// What `POST /v1/auth/refresh` and `logout` take.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PresentedRefreshToken {
    /// The one of the last answer.
    pub refresh_token: String,
}

/// What `POST /v1/auth/accept_invitation` takes.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AcceptedInvitation {
    /// As it was handed on.
    pub invitation_token: String,
    /// With which the user signs in from now on.
    pub password: NewPassword,
}

/// Always `session`.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SessionObject {
    /// A session.
    Session,
}

/// Always `Bearer`.
#[derive(ToSchema)]
pub enum TokenType {
    /// It comes as `Authorization: Bearer …`.
    Bearer,
}

/// What somebody who is signed in holds.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// Always `session`.
    #[schema(inline)]
    pub object: SessionObject,
    /// Comes with every request.
    pub access_token: String,
    /// Always `Bearer`.
    #[schema(inline)]
    pub token_type: TokenType,
    /// For how many seconds the access token is good.
    #[schema(minimum = 1)]
    pub expires_in: i64,
    /// For the next access token. It is good once.
    pub refresh_token: String,
    /// Who is signed in.
    pub user: User,
}
