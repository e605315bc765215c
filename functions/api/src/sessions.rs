//! Whether the person whom an access token names is still signed in: the token alone would tell for a quarter of an
//! hour, this tells for a minute.

use florin_domain::{
    ids::{MerchantId, SessionId, UserId},
    permission::Role,
    time::Timestamp,
};
use florin_platform::cache::Cache;

use crate::{
    Api,
    auth::{Actor, Caller},
    problem::Problem,
};

/// For how long a session is believed: after a logout, another role or the end of a user its access tokens are good for
/// this long at most, in milliseconds.
pub(crate) const SESSION_AGE_MS_MAX: i64 = 60_000;
/// Sessions remembered by one instance.
const SESSIONS_REMEMBERED_MAX: usize = 10_000;

/// Sessions that this instance has looked up, with the role that their user has.
pub(crate) struct Sessions(Cache<SessionId, Role>);

impl Default for Sessions {
    fn default() -> Self {
        Self(Cache::new(SESSION_AGE_MS_MAX, SESSIONS_REMEMBERED_MAX))
    }
}

impl Sessions {
    /// Has the session looked up again.
    pub(crate) fn forget(&self, id: &SessionId) {
        self.0.forget(id);
    }
}

/// The person of a session that lasts, with the role of this minute: the token's may be older.
pub(crate) async fn caller(
    api: &Api,
    merchant_id: MerchantId,
    user_id: UserId,
    session_id: &SessionId,
    now: Timestamp,
) -> Result<Caller, Problem> {
    let role = match api.sessions.0.get(session_id, now) {
        Some(role) => role,
        None => {
            let role = look_up(api, &merchant_id, &user_id, session_id, now).await?;
            api.sessions.0.put(session_id.clone(), role, now);
            role
        }
    };
    let actor = Actor::User { id: user_id, role };
    Ok(Caller { merchant_id, actor, permissions: role.permissions() })
}

async fn look_up(
    api: &Api,
    merchant_id: &MerchantId,
    user_id: &UserId,
    session_id: &SessionId,
    now: Timestamp,
) -> Result<Role, Problem> {
    let (session, roster) = api.dependencies.merchants.session_and_users(session_id, merchant_id).await?;
    let session = session.filter(|session| session.user_id == *user_id && session.merchant_id == *merchant_id);
    let user = roster.find(user_id).filter(|user| session.is_some_and(|session| session.lasts(user, now)));
    user.map(|user| user.role).ok_or(Problem::TokenInvalid)
}
