//! The merchant (the tenant) and its API keys.

use serde::{Deserialize, Serialize};

use crate::{
    ids::{ApiKeyId, MerchantId},
    permission::Permissions,
};

/// The generation of every merchant's webhook signing secret while there is no way to rotate it. The webhook sender
/// cannot read the merchants table, so it relies on this.
pub const MERCHANT_SECRET_GENERATION: u32 = 1;

/// A tenant. Everything else belongs to exactly one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Merchant {
    /// Id.
    pub id: MerchantId,
    /// The name that the platform owner sees.
    pub name: String,
    /// Whether its payments are processed.
    pub active: bool,
    /// Which generation of its webhook signing secret is in use: rotation counts up.
    pub secret_generation: u32,
}

/// What is kept of an API key: never the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKeyRecord {
    /// Keyed hash of the key, in hexadecimal; the look-up key of the record.
    pub hash: String,
    /// The key's name.
    pub id: ApiKeyId,
    /// Whose key it is.
    pub merchant_id: MerchantId,
    /// `sk_test_` or `sk_live_`, shown to tell keys apart.
    pub prefix: String,
    /// The key's last four characters, shown to tell keys apart.
    pub last4: String,
    /// What it may do.
    pub scopes: Permissions,
    /// A revoked key authenticates nobody.
    pub revoked: bool,
}
