//! Signing up: merchant, owner and first key in one transaction.

use florin_domain::{
    merchant::{ApiKeyRecord, KeyRing, Merchant},
    user::{Roster, User},
};

use super::{
    Merchants, keys, merchant_item,
    users::{self, login_item},
};
use crate::{StoreError, audit::Told};

/// Everything that a new merchant begins with.
pub struct Newcomer<'a> {
    /// The merchant.
    pub merchant: &'a Merchant,
    /// Its first key, in its ring and as its record.
    pub keys: (&'a KeyRing, &'a ApiKeyRecord),
    /// Its owner, with the keyed hash of the address and the hash of the password.
    pub owner: (&'a User, &'a str, &'a str),
}

/// What became of signing up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignedUp {
    /// The merchant is there.
    Done,
    /// It was there before.
    Before,
    /// The owner's address belongs to somebody.
    EmailTaken,
}

impl Merchants {
    /// Writes all of a new merchant, or nothing.
    pub async fn sign_up(&self, newcomer: &Newcomer<'_>, told: Told) -> Result<SignedUp, StoreError> {
        let (ring, record) = newcomer.keys;
        let id = &newcomer.merchant.id;
        let (owner, email_hash, password) = newcomer.owner;
        let roster = Roster { users: vec![owner.clone()], version: 1 };
        let changes = [
            self.put_new(merchant_item(newcomer.merchant))?,
            self.put_new(login_item(email_hash, owner, Some(password)))?,
            self.put_next(users::roster_item(id, &roster), roster.version)?,
            self.put_next(keys::ring_item(id, ring), ring.version)?,
            self.put_new(keys::record_item(record))?,
        ];
        match self.write(changes, told).await? {
            None => Ok(SignedUp::Done),
            Some(0) => Ok(SignedUp::Before),
            Some(1) => Ok(SignedUp::EmailTaken),
            Some(_) => Err(StoreError::Refused("a part of the new merchant was there already".to_owned())),
        }
    }
}
