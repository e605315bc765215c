//! Users: people of a merchant, how they sign in, and how often somebody may guess.

use serde::Serialize;

use crate::{
    ids::{MerchantId, SessionId, UserId},
    permission::Role,
    time::Timestamp,
};

/// Longest e-mail address, in characters (RFC 5321, section 4.5.3.1.3).
pub const EMAIL_CHARACTERS_MAX: usize = 254;
/// Longest part of an address before the `@`, in characters (RFC 5321, section 4.5.3.1.1).
const LOCAL_PART_CHARACTERS_MAX: usize = 64;
/// Longest label of a domain, in characters (RFC 1035, section 2.3.4).
const LABEL_CHARACTERS_MAX: usize = 63;
/// Users of a merchant.
pub const USERS_MAX: usize = 100;
/// For how long an invitation can be accepted, in milliseconds: a week.
pub const INVITATION_MS_MAX: i64 = 7 * 24 * 60 * 60 * 1000;
/// For how long a session lives without being used, in milliseconds: thirty days.
pub const SESSION_IDLE_MS_MAX: i64 = 30 * 24 * 60 * 60 * 1000;
/// For how long a session lives at all, in milliseconds: ninety days.
pub const SESSION_MS_MAX: i64 = 90 * 24 * 60 * 60 * 1000;

/// Wrong passwords in a row that cost nothing.
pub const GUESSES_FREE: u32 = 5;
/// For how long an address is locked after the first wrong password too many, in milliseconds; it doubles from there.
const LOCK_MS_FIRST: i64 = 60 * 1000;
/// The longest lock, in milliseconds: who is locked out on purpose is not locked out for long.
const LOCK_MS_MAX: i64 = 15 * 60 * 1000;
/// After so long without a try, in milliseconds, wrong passwords are forgotten.
pub const GUESSES_FORGOTTEN_AFTER_MS: i64 = 24 * 60 * 60 * 1000;

/// An e-mail address, normalised: without spaces around it, in small letters.
#[derive(Clone, PartialEq, Eq)]
pub struct Email(String);

impl Email {
    /// Reads what a person types: the `dot-atom`s of RFC 5322 around one `@`, and a domain of two labels or more behind
    /// it (RFC 1035). Addresses with other than ASCII letters are not taken.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_lowercase();
        let (local, domain) = text.split_once('@')?;
        let is_atom = |atom: &str| {
            !atom.is_empty() && atom.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+/=?^_`{|}~-".contains(&b))
        };
        let is_label = |label: &str| {
            let plain = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            plain
                && (1..=LABEL_CHARACTERS_MAX).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        let fits = local.len() <= LOCAL_PART_CHARACTERS_MAX
            && local.split('.').all(is_atom)
            && domain.split('.').count() >= 2
            && domain.split('.').all(is_label)
            && text.len() <= EMAIL_CHARACTERS_MAX;
        fits.then_some(Self(text))
    }

    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Email {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Personal data stays out of logs.
        f.write_str("Email")
    }
}

/// A person of a merchant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Id.
    pub id: UserId,
    /// Whose.
    pub merchant_id: MerchantId,
    /// The address, which no other user has.
    pub email: Email,
    /// The name.
    pub name: String,
    /// What this person may do.
    pub role: Role,
    /// Open until a password was chosen.
    pub invitation: Option<Invitation>,
    /// Sessions that began before this have ended.
    pub sessions_from: Timestamp,
    /// Since when there is the user.
    pub created_at: Timestamp,
    /// Counts changes.
    pub version: u64,
}

/// What lets a person choose a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// Tells it from earlier ones.
    pub number: u64,
    /// Until when.
    pub until: Timestamp,
}

/// A user as clients see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the fields are those of the user")]
pub struct UserView {
    pub id: UserId,
    pub object: &'static str,
    pub email: String,
    pub name: String,
    pub role: Role,
    pub status: &'static str,
    pub created_at: Timestamp,
}

impl User {
    /// A person who is not invited yet.
    pub fn new(id: UserId, merchant_id: MerchantId, email: Email, name: String, role: Role, now: Timestamp) -> Self {
        Self { id, merchant_id, email, name, role, invitation: None, sessions_from: now, created_at: now, version: 0 }
    }

    /// The owner whom a merchant begins with, who chose a password when signing up.
    pub fn first(merchant_id: &MerchantId, email: Email, name: String, now: Timestamp) -> Self {
        let id = UserId::derive(&[merchant_id.as_str(), "owner"]);
        Self { version: 1, ..Self::new(id, merchant_id.clone(), email, name, Role::Owner, now) }
    }

    /// As clients see it.
    pub fn view(&self) -> UserView {
        UserView {
            id: self.id.clone(),
            object: "user",
            email: self.email.as_str().to_owned(),
            name: self.name.clone(),
            role: self.role,
            status: if self.invitation.is_some() { "invited" } else { "active" },
            created_at: self.created_at,
        }
    }

    /// Invited again: the sessions end, and a new password is chosen.
    #[must_use]
    pub fn invited(&self, now: Timestamp) -> Self {
        let invitation = Invitation { number: self.version + 1, until: now.plus_ms(INVITATION_MS_MAX) };
        Self { invitation: Some(invitation), sessions_from: now, version: self.version + 1, ..self.clone() }
    }

    /// With a password: the invitation is used up. None if this is not the open one.
    pub fn accepted(&self, number: u64, now: Timestamp) -> Option<Self> {
        let open = self.invitation.as_ref().filter(|open| open.number == number && now <= open.until);
        open.map(|_| Self { invitation: None, sessions_from: now, version: self.version + 1, ..self.clone() })
    }
}

/// All users of a merchant. They are stored as one, so that their rules hold however many people are at them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Roster {
    /// The first one first.
    pub users: Vec<User>,
    /// Counts changes; 0 before the first.
    pub version: u64,
}

/// Why a change of the users is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RosterRefused {
    /// There are [`USERS_MAX`].
    Full,
    /// The last owner would be gone.
    LastOwner,
}

impl Roster {
    /// The user of this id.
    pub fn find(&self, id: &UserId) -> Option<&User> {
        self.users.iter().find(|user| user.id == *id)
    }

    /// With one user more.
    pub fn with(&self, user: User) -> Result<Self, RosterRefused> {
        if self.users.len() >= USERS_MAX {
            return Err(RosterRefused::Full);
        }
        let users = self.users.iter().cloned().chain([user]).collect();
        Ok(Self { users, version: self.version + 1 })
    }

    /// With this user as it is now.
    pub fn changed(&self, changed: &User) -> Result<Self, RosterRefused> {
        let users = self.users.iter().map(|user| if user.id == changed.id { changed } else { user });
        Self { users: users.cloned().collect(), version: self.version + 1 }.if_owned()
    }

    /// Without this user.
    pub fn without(&self, id: &UserId) -> Result<Self, RosterRefused> {
        let users = self.users.iter().filter(|user| user.id != *id).cloned();
        Self { users: users.collect(), version: self.version + 1 }.if_owned()
    }

    /// An owner who has not accepted yet owns nothing.
    fn if_owned(self) -> Result<Self, RosterRefused> {
        let owns = |user: &User| user.role == Role::Owner && user.invitation.is_none();
        if self.users.iter().any(owns) { Ok(self) } else { Err(RosterRefused::LastOwner) }
    }
}

/// All that came of one login: refresh tokens with numbers, of which one is valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Id.
    pub id: SessionId,
    /// Whose.
    pub user_id: UserId,
    /// Of which merchant.
    pub merchant_id: MerchantId,
    /// The number of the refresh token that is valid.
    pub number: u64,
    /// When it began.
    pub began_at: Timestamp,
    /// Until when it can be refreshed.
    pub until: Timestamp,
    /// It was logged out of, or one of its tokens was used twice.
    pub ended: bool,
}

impl Session {
    /// A new one.
    pub fn begin(id: SessionId, user: &User, now: Timestamp) -> Self {
        Self {
            id,
            user_id: user.id.clone(),
            merchant_id: user.merchant_id.clone(),
            number: 1,
            began_at: now,
            until: now.plus_ms(SESSION_IDLE_MS_MAX),
            ended: false,
        }
    }

    /// Whether it lasts, now that its user is this.
    pub fn lasts(&self, user: &User, now: Timestamp) -> bool {
        !self.ended && now < self.until && self.began_at >= user.sessions_from && user.invitation.is_none()
    }

    /// What a refresh token of this number is worth.
    pub fn refresh(&self, number: u64, now: Timestamp) -> Refreshed {
        if self.ended || now >= self.until {
            Refreshed::Ended
        } else if number == self.number {
            let latest = self.began_at.plus_ms(SESSION_MS_MAX);
            let until = now.plus_ms(SESSION_IDLE_MS_MAX).min(latest);
            Refreshed::Goes(Self { number: number + 1, until, ..self.clone() })
        } else {
            Refreshed::Stolen
        }
    }
}

/// What a refresh token is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refreshed {
    /// The session goes on like this.
    Goes(Session),
    /// It is over.
    Ended,
    /// The token was used before: somebody has it who should not, and nobody can tell who. The session ends.
    Stolen,
}

/// Wrong passwords for an address, whether or not anybody has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Guesses {
    /// In a row.
    pub count: u32,
    /// The last one.
    pub last: Option<Timestamp>,
}

impl Guesses {
    /// With one more; or until when the address is locked.
    pub fn guess(self, now: Timestamp) -> Result<Self, Timestamp> {
        let fresh = self.last.is_some_and(|last| now.ms_since(last) < GUESSES_FORGOTTEN_AFTER_MS);
        let count = if fresh { self.count } else { 0 };
        if let Some(last) = self.last
            && count >= GUESSES_FREE
        {
            let doubled = LOCK_MS_FIRST.checked_shl(count - GUESSES_FREE).filter(|ms| *ms > 0).unwrap_or(LOCK_MS_MAX);
            let until = last.plus_ms(doubled.min(LOCK_MS_MAX));
            if now < until {
                return Err(until);
            }
        }
        Ok(Self { count: count.saturating_add(1), last: Some(now) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> User {
        let email = Email::parse("ada@shop.example").unwrap();
        User::first(&MerchantId::derive(&["m"]), email, "Ada".to_owned(), Timestamp::from_ms(0))
    }

    #[test]
    fn addresses_are_normalised() {
        assert_eq!(Email::parse(" Ada@Shop.Example ").unwrap().as_str(), "ada@shop.example");
        for wrong in [
            "",
            "@",
            "ada",
            "ada@",
            "@shop.example",
            "ada@shop",
            "a b@shop.example",
            "a@b@c.d",
            "a@.b",
            "a@b.",
            ".a@b.c",
            "a..b@b.c",
            "a@-b.c",
            "a@b-.c",
            "ä@b.c",
            "a@b.ç",
            "a\"@b.c",
        ] {
            assert!(Email::parse(wrong).is_none(), "{wrong}");
        }
        assert!(Email::parse(&format!("{}@shop.example", "a".repeat(300))).is_none());
    }

    #[test]
    fn an_invitation_is_accepted_once_and_in_time() {
        let at = Timestamp::from_ms;
        let invited = user().invited(at(1_000));
        assert_eq!((invited.view().status, invited.version), ("invited", 2));
        assert_eq!(invited.accepted(1, at(2_000)), None, "an earlier invitation");
        assert_eq!(invited.accepted(2, at(1_001 + INVITATION_MS_MAX)), None, "too late");
        let accepted = invited.accepted(2, at(2_000)).unwrap();
        assert_eq!(accepted.accepted(2, at(2_000)), None, "a second time");
        assert_eq!(accepted.view().status, "active");
    }

    #[test]
    fn there_is_always_an_owner_and_never_a_crowd() {
        let other = |n: usize, role| User { id: UserId::derive(&[&n.to_string()]), role, ..user() };
        let alone = Roster::default().with(user()).unwrap();
        assert_eq!(alone.without(&user().id), Err(RosterRefused::LastOwner));
        assert_eq!(alone.changed(&User { role: Role::Admin, ..user() }), Err(RosterRefused::LastOwner));
        let invited = alone.with(other(1, Role::Owner).invited(Timestamp::from_ms(0))).unwrap();
        assert_eq!(invited.without(&user().id), Err(RosterRefused::LastOwner), "the other one has not accepted");
        let two = alone.with(other(1, Role::Owner)).unwrap();
        assert_eq!(two.without(&user().id).unwrap().users, [other(1, Role::Owner)]);
        let full = (1..USERS_MAX).fold(alone, |roster, n| roster.with(other(n, Role::Viewer)).unwrap());
        assert_eq!(full.with(other(USERS_MAX, Role::Viewer)), Err(RosterRefused::Full));
    }

    #[test]
    fn a_refresh_token_is_good_once() {
        let at = Timestamp::from_ms;
        let session = Session::begin(SessionId::derive(&["s"]), &user(), at(0));
        let Refreshed::Goes(next) = session.refresh(1, at(1)) else { panic!("it should go on") };
        assert_eq!(next.refresh(1, at(2)), Refreshed::Stolen);
        assert_eq!(next.refresh(3, at(2)), Refreshed::Stolen, "a token that was never given");
        assert!(matches!(next.refresh(2, at(2)), Refreshed::Goes(_)));
        assert_eq!(next.refresh(2, next.until), Refreshed::Ended);
        assert_eq!(Session { ended: true, ..next }.refresh(2, at(2)), Refreshed::Ended);
    }

    #[test]
    fn a_session_ends_after_ninety_days_however_much_it_is_used() {
        let mut session = Session::begin(SessionId::derive(&["s"]), &user(), Timestamp::from_ms(0));
        let day = 24 * 60 * 60 * 1000;
        for days in 1..90 {
            let Refreshed::Goes(next) = session.refresh(session.number, Timestamp::from_ms(days * day)) else {
                panic!("day {days}")
            };
            session = next;
        }
        assert_eq!(session.until, Timestamp::from_ms(SESSION_MS_MAX));
    }

    #[test]
    fn a_session_ends_with_its_user() {
        let at = Timestamp::from_ms;
        let session = Session::begin(SessionId::derive(&["s"]), &user(), at(10));
        assert!(session.lasts(&user(), at(11)));
        assert!(!session.lasts(&user().invited(at(20)), at(21)), "a new password is to be chosen");
        assert!(!session.lasts(&User { sessions_from: at(11), ..user() }, at(21)));
        assert!(!session.lasts(&user(), session.until));
    }

    #[test]
    fn guesses_become_slow_and_are_forgotten() {
        let at = Timestamp::from_ms;
        let (mut guesses, mut now) = (Guesses::default(), 0);
        for _ in 0..GUESSES_FREE {
            guesses = guesses.guess(at(now)).unwrap();
        }
        let mut locks = Vec::new();
        for _ in 0..40 {
            let until = guesses.guess(at(now)).unwrap_err();
            locks.push(until.ms() - now);
            now = until.ms();
            guesses = guesses.guess(at(now)).unwrap();
        }
        assert_eq!(locks[..6], [60_000, 120_000, 240_000, 480_000, 900_000, 900_000]);
        assert_eq!(locks.last(), Some(&900_000));
        let later = guesses.guess(at(now + GUESSES_FORGOTTEN_AFTER_MS)).unwrap();
        assert_eq!(later.count, 1);
    }
}
