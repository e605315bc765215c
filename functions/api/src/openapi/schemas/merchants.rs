//! Merchants and their API keys.

use utoipa::ToSchema;

use super::{
    Cursor, ListObject, Moment, Name,
    operations::MerchantId,
    people::{Email, NewPassword, User},
};

/// Always `merchant`.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MerchantObject {
    /// A merchant.
    Merchant,
}

/// Whether real money moves; of the whole deployment.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It does not.
    Test,
    /// It does.
    Live,
}

/// Who signs up, and becomes the first owner.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewOwner {
    /// Their name.
    pub name: Name,
    /// With which they sign in; of no other user.
    pub email: Email,
    /// With which they sign in.
    pub password: NewPassword,
}

/// What `POST /v1/merchants` takes.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMerchant {
    /// The name of the business.
    pub name: Name,
    /// Who signs up.
    pub owner: NewOwner,
}

/// What `PATCH /v1/merchants/me` takes. What is left out or `null` stays.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MerchantChange {
    /// Another name.
    pub name: Option<Name>,
}

/// Who takes payments.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Merchant {
    /// Its id.
    pub id: MerchantId,
    /// Always `merchant`.
    #[schema(inline)]
    pub object: MerchantObject,
    /// Its name.
    pub name: Name,
    /// Whether real money moves.
    pub mode: Mode,
    /// Whether it may charge cards.
    pub active: bool,
    /// When it signed up.
    pub created_at: Moment,
}

/// Always `sign_up`.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SignUpObject {
    /// A new merchant.
    SignUp,
}

/// A new merchant, with everything that it begins with.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignUp {
    /// Always `sign_up`.
    #[schema(inline)]
    pub object: SignUpObject,
    /// The merchant.
    pub merchant: Merchant,
    /// Its first user.
    pub owner: User,
    /// Its first key.
    pub api_key: NewlyMadeApiKey,
}

/// The id of an API key, and of a client.
#[derive(ToSchema)]
#[schema(pattern = "^key_[0-7][0-9a-hjkmnp-tv-z]{25}$", example = "key_0t5c9m3k8q1v7n2xr6d4gbwzb8")]
pub struct ApiKeyId(pub String);

/// Always `api_key`.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ApiKeyObject {
    /// An API key.
    ApiKey,
}

/// How a key is used: `secret` directly, `client` at `/oauth/token` only.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyKind {
    /// It comes with every request.
    Secret,
    /// It is exchanged for access tokens.
    Client,
}

/// Something that a key may do.
// Its names are filled in by `openapi::document`.
#[derive(ToSchema)]
pub struct KeyScope(pub String);

/// What `POST /v1/api_keys` takes. A field that is `null` is as good as absent.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewApiKey {
    /// At most two live keys have the same one.
    pub name: Name,
    /// `secret` unless told.
    pub kind: Option<KeyKind>,
    /// What it may do, each once; all that you and a key may, unless told.
    #[schema(min_items = 1)]
    pub scopes: Option<Vec<KeyScope>>,
}

/// An API key, without its secret.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    /// Its id.
    pub id: ApiKeyId,
    /// Always `api_key`.
    #[schema(inline)]
    pub object: ApiKeyObject,
    /// Its name.
    pub name: Name,
    /// How it is used.
    pub kind: KeyKind,
    /// What it begins with: `sk_test_` or `sk_live_`.
    pub prefix: String,
    /// Its last four characters.
    #[schema(min_length = 4, max_length = 4)]
    pub last4: String,
    /// What it may do.
    pub scopes: Vec<KeyScope>,
    /// When it was made.
    pub created_at: Moment,
    /// When it was last used, exact to an hour.
    #[schema(required)]
    pub last_used_at: Option<Moment>,
    /// When it was revoked.
    #[schema(required)]
    pub revoked_at: Option<Moment>,
}

/// An API key with its secret.
// The members of an API key are added by `openapi::document`.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewlyMadeApiKey {
    /// The key itself: for a day after it was made, `null` afterwards.
    #[schema(required)]
    pub secret: Option<String>,
}

/// All keys, newest first.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKeyList {
    /// Always `list`.
    #[schema(inline)]
    pub object: ListObject,
    /// The keys.
    pub data: Vec<ApiKey>,
    /// Always `false`: the list is whole.
    pub has_more: bool,
    /// Always `null`.
    #[schema(required)]
    pub next_cursor: Option<Cursor>,
}
