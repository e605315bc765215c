//! The merchant (the tenant) and its API keys.

use serde::{Deserialize, Serialize};

use crate::{
    card::Mode,
    ids::{ApiKeyId, MerchantId},
    permission::{Permission, Permissions},
    time::Timestamp,
};

/// The generation of every merchant's webhook signing secret while there is no way to rotate it. The webhook sender
/// cannot read the merchants table, so it relies on this.
pub const MERCHANT_SECRET_GENERATION: u32 = 1;
/// Longest name of a merchant, an API key or a user, in characters.
pub const NAME_CHARACTERS_MAX: usize = 100;
/// Live API keys of one name: the one in use and the one that takes its place.
pub const API_KEYS_LIVE_PER_NAME_MAX: usize = 2;
/// Live API keys of a merchant.
pub const API_KEYS_LIVE_MAX: usize = 20;
/// The name of a merchant's first key.
pub const FIRST_KEY: &str = "default";
/// Characters of a key that are shown to tell it from others.
const LAST_CHARACTERS: usize = 4;
/// API keys of a merchant that are listed, revoked ones included; the first that were revoked are dropped.
pub const API_KEYS_LISTED_MAX: usize = 60;

/// A tenant. Everything else belongs to exactly one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merchant {
    /// Id.
    pub id: MerchantId,
    /// The name that its people and the platform owner see.
    pub name: String,
    /// Whether its payments are processed.
    pub active: bool,
    /// Which generation of its webhook signing secret is in use: rotation counts up.
    pub secret_generation: u32,
    /// When it signed up.
    pub created_at: Timestamp,
}

/// A merchant as clients see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the fields are those of the merchant")]
pub struct MerchantView {
    pub id: MerchantId,
    pub object: &'static str,
    pub name: String,
    pub mode: &'static str,
    pub active: bool,
    pub created_at: Timestamp,
}

impl Merchant {
    /// One that signs up now.
    pub fn new(id: MerchantId, name: String, now: Timestamp) -> Self {
        Self { id, name, active: true, secret_generation: MERCHANT_SECRET_GENERATION, created_at: now }
    }

    /// As clients see it, in a deployment of this mode.
    pub fn view(&self, mode: Mode) -> MerchantView {
        MerchantView {
            id: self.id.clone(),
            object: "merchant",
            name: self.name.clone(),
            mode: mode.as_str(),
            active: self.active,
            created_at: self.created_at,
        }
    }
}

/// How a key may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyKind {
    /// It comes with every request.
    Secret,
    /// It is exchanged for access tokens of a quarter of an hour (OAuth 2.0 client credentials).
    Client,
}

impl KeyKind {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Client => "client",
        }
    }

    /// The kind of this name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Secret, Self::Client].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// What is found under a key's keyed hash: never the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKeyRecord {
    /// Keyed hash of the key, in hexadecimal; the look-up key of the record.
    pub hash: String,
    /// The key's name.
    pub id: ApiKeyId,
    /// Whose key it is.
    pub merchant_id: MerchantId,
    /// How it may be used.
    pub kind: KeyKind,
    /// What it may do.
    pub scopes: Permissions,
    /// A revoked key authenticates nobody.
    pub revoked: bool,
    /// When it was used last, give or take [`LAST_USED_MS_EXACT`].
    pub last_used_at: Option<Timestamp>,
}

/// How exact the time of a key's last use is, in milliseconds: it is written once in so long, not at every request.
pub const LAST_USED_MS_EXACT: i64 = 60 * 60 * 1000;

impl ApiKeyRecord {
    /// Whether a use now is worth a write.
    pub fn is_use_worth_noting(&self, now: Timestamp) -> bool {
        self.last_used_at.is_none_or(|last| now.ms_since(last) >= LAST_USED_MS_EXACT)
    }
}

/// What a key is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// What its people call it.
    pub name: String,
    /// How it may be used.
    pub kind: KeyKind,
    /// What it may do.
    pub scopes: Permissions,
}

impl NewKey {
    /// The one that a merchant begins with: it may do all that a key may.
    pub fn first() -> Self {
        Self { name: FIRST_KEY.to_owned(), kind: KeyKind::Secret, scopes: Permissions::of_keys() }
    }
}

/// An API key as its merchant's people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Id.
    pub id: ApiKeyId,
    /// What its people call it.
    pub name: String,
    /// How it may be used.
    pub kind: KeyKind,
    /// `sk_test_` or `sk_live_`, shown to tell keys apart.
    pub prefix: String,
    /// The key's last four characters, shown to tell keys apart.
    pub last4: String,
    /// What it may do.
    pub scopes: Permissions,
    /// Since when there is it.
    pub created_at: Timestamp,
    /// Since when it authenticates nobody.
    pub revoked_at: Option<Timestamp>,
}

/// An API key as clients see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the fields are those of the key")]
pub struct ApiKeyView {
    pub id: ApiKeyId,
    pub object: &'static str,
    pub name: String,
    pub kind: KeyKind,
    pub prefix: String,
    pub last4: String,
    pub scopes: Vec<&'static str>,
    pub created_at: Timestamp,
    pub last_used_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

impl ApiKey {
    /// A key of which this is the text, in a deployment of this mode. Of the text only its end is kept.
    pub fn new(id: ApiKeyId, new: NewKey, mode: Mode, text: &str, now: Timestamp) -> Self {
        Self {
            id,
            name: new.name,
            kind: new.kind,
            prefix: mode.key_prefix().to_owned(),
            last4: text.get(text.len().saturating_sub(LAST_CHARACTERS)..).unwrap_or_default().to_owned(),
            scopes: new.scopes,
            created_at: now,
            revoked_at: None,
        }
    }

    /// As requests find it, under the keyed hash of its text.
    pub fn record(&self, merchant_id: MerchantId, hash: String) -> ApiKeyRecord {
        ApiKeyRecord {
            hash,
            id: self.id.clone(),
            merchant_id,
            kind: self.kind,
            scopes: self.scopes,
            revoked: self.revoked_at.is_some(),
            last_used_at: None,
        }
    }

    /// As clients see it.
    pub fn view(&self, last_used_at: Option<Timestamp>) -> ApiKeyView {
        ApiKeyView {
            id: self.id.clone(),
            object: "api_key",
            name: self.name.clone(),
            kind: self.kind,
            prefix: self.prefix.clone(),
            last4: self.last4.clone(),
            scopes: self.scopes.iter().map(Permission::scope).collect(),
            created_at: self.created_at,
            last_used_at,
            revoked_at: self.revoked_at,
        }
    }

    fn is_live(&self) -> bool {
        self.revoked_at.is_none()
    }
}

/// All keys of a merchant. They are stored as one, so that their rules hold however many people are at them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyRing {
    /// The oldest first.
    pub keys: Vec<ApiKey>,
    /// Counts changes; 0 before the first.
    pub version: u64,
}

/// Why there is no further key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeysExhausted {
    /// [`API_KEYS_LIVE_PER_NAME_MAX`] of this name are live.
    OfThisName,
    /// [`API_KEYS_LIVE_MAX`] are live.
    AtAll,
}

impl KeyRing {
    /// The key of this id.
    pub fn find(&self, id: &ApiKeyId) -> Option<&ApiKey> {
        self.keys.iter().find(|key| key.id == *id)
    }

    /// With one key more.
    pub fn with(&self, key: ApiKey) -> Result<Self, KeysExhausted> {
        let live = || self.keys.iter().filter(|key| key.is_live());
        if live().filter(|other| other.name == key.name).count() >= API_KEYS_LIVE_PER_NAME_MAX {
            return Err(KeysExhausted::OfThisName);
        }
        if live().count() >= API_KEYS_LIVE_MAX {
            return Err(KeysExhausted::AtAll);
        }
        let mut keys = self.keys.clone();
        if keys.len() >= API_KEYS_LISTED_MAX
            && let Some(first) = keys.iter().position(|key| !key.is_live())
        {
            keys.remove(first);
        }
        keys.push(key);
        Ok(Self { keys, version: self.version + 1 })
    }

    /// With this key revoked. None if there is nothing to revoke.
    pub fn without(&self, id: &ApiKeyId, now: Timestamp) -> Option<Self> {
        let mut ring = Self { version: self.version + 1, ..self.clone() };
        let key = ring.keys.iter_mut().find(|key| key.id == *id && key.is_live())?;
        key.revoked_at = Some(now);
        Some(ring)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: usize, name: &str) -> ApiKey {
        ApiKey {
            id: ApiKeyId::derive(&[&n.to_string()]),
            name: name.to_owned(),
            kind: KeyKind::Secret,
            prefix: "sk_test_".to_owned(),
            last4: "p7dc".to_owned(),
            scopes: Permissions::of_keys(),
            created_at: Timestamp::from_ms(0),
            revoked_at: None,
        }
    }

    #[test]
    fn a_third_key_of_a_name_waits_until_one_is_revoked() {
        let ring = KeyRing::default().with(key(1, "shop")).unwrap().with(key(2, "shop")).unwrap();
        assert_eq!(ring.with(key(3, "shop")), Err(KeysExhausted::OfThisName));
        let rotated = ring.without(&key(1, "shop").id, Timestamp::from_ms(9)).unwrap().with(key(3, "shop")).unwrap();
        assert_eq!((rotated.keys.len(), rotated.version), (3, 4));
        assert_eq!(rotated.without(&key(1, "shop").id, Timestamp::from_ms(9)), None, "it is revoked already");
    }

    #[test]
    fn live_keys_are_bounded_and_the_first_revoked_ones_are_forgotten() {
        let mut ring = KeyRing::default();
        for n in 0..200 {
            ring = ring.with(key(n, &n.to_string())).unwrap();
            if n >= API_KEYS_LIVE_MAX - 1 {
                assert_eq!(ring.with(key(999, "new")), Err(KeysExhausted::AtAll));
                ring = ring.without(&key(n, "").id, Timestamp::from_ms(1)).unwrap();
            }
        }
        assert_eq!(ring.keys.len(), API_KEYS_LISTED_MAX);
        assert_eq!(ring.keys.iter().filter(|key| key.is_live()).count(), API_KEYS_LIVE_MAX - 1);
        assert_eq!(ring.keys.last().map(|key| key.name.as_str()), Some("199"));
    }

    #[test]
    fn a_use_is_noted_once_an_hour() {
        let used = |last: Option<i64>| ApiKeyRecord {
            hash: String::new(),
            id: ApiKeyId::derive(&["k"]),
            merchant_id: MerchantId::derive(&["m"]),
            kind: KeyKind::Secret,
            scopes: Permissions::of_keys(),
            revoked: false,
            last_used_at: last.map(Timestamp::from_ms),
        };
        let now = Timestamp::from_ms(LAST_USED_MS_EXACT);
        assert!(used(None).is_use_worth_noting(now) && used(Some(0)).is_use_worth_noting(now));
        assert!(!used(Some(1)).is_use_worth_noting(now));
    }
}
