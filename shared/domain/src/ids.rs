//! Typed, prefixed ids: `pay_` and 26 characters of Crockford's base 32 (the alphabet of TypeID) for 128 bits.
//!
//! Ids of things that a request creates are derived from the merchant, the operation and its `Idempotency-Key`,
//! so that a retry yields the same id and one conditional write is all the bookkeeping (ADR 0001).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use sha2::{Digest, Sha256};

/// Characters behind the prefix.
pub const ID_BODY_CHARACTERS: usize = 26;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Writes 128 bits as 26 characters, most significant first (the first one holds three bits).
fn base32(bytes: [u8; 16]) -> String {
    let value = u128::from_be_bytes(bytes);
    (0..ID_BODY_CHARACTERS)
        .rev()
        .filter_map(|place| {
            let five_bits = usize::try_from((value >> (place * 5)) & 0x1f).ok()?;
            ALPHABET.get(five_bits).copied().map(char::from)
        })
        .collect()
}

/// The first 128 bits of SHA-256 over the parts, each preceded by its length so that no two lists of parts collide.
fn digest(parts: &[&str]) -> [u8; 16] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(hash.finalize()) {
        *to = from;
    }
    bytes
}

/// The text is no id of the wanted kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an id that begins with {prefix} and goes on with 26 characters of 0-9a-z")]
pub struct InvalidId {
    /// The prefix that the id should have.
    pub prefix: &'static str,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// What every id of this kind begins with.
            pub const PREFIX: &'static str = $prefix;

            /// An id from 128 random bits.
            pub fn from_random(bytes: [u8; 16]) -> Self {
                Self(format!("{}{}", $prefix, base32(bytes)))
            }

            /// The id that these parts, and only these, always yield.
            pub fn derive(parts: &[&str]) -> Self {
                Self::from_random(digest(parts))
            }

            /// The whole id.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                text.strip_prefix($prefix)
                    .filter(|body| body.len() == ID_BODY_CHARACTERS)
                    .filter(|body| body.bytes().all(|b| ALPHABET.contains(&b)))
                    .map(|_| Self(text.to_owned()))
                    .ok_or(InvalidId { prefix: $prefix })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }
    };
}

id!(
    /// A merchant: the tenant.
    MerchantId, "mer_"
);
id!(
    /// An API key of a merchant (the key's name, not its secret).
    ApiKeyId, "key_"
);
id!(
    /// A user: a person of a merchant.
    UserId, "usr_"
);
id!(
    /// A session of a user: all refresh tokens that came of one login.
    SessionId, "ses_"
);
id!(
    /// A payment method: a stored card.
    PaymentMethodId, "pm_"
);
id!(
    /// A payment.
    PaymentId, "pay_"
);
id!(
    /// Money given back for a payment.
    RefundId, "re_"
);
id!(
    /// An event: derived from the resource and its sequence, so that publishing twice is harmless.
    EventId, "evt_"
);
id!(
    /// A webhook endpoint.
    WebhookEndpointId, "we_"
);
id!(
    /// A delivery: one event for one endpoint.
    DeliveryId, "del_"
);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_alphabet_is_that_of_typeid() {
        // Test vectors of the TypeID specification: nil, one, ten, thirty-two, max.
        let id = |n: u128| PaymentId::from_random(n.to_be_bytes()).to_string();
        assert_eq!(id(0), "pay_00000000000000000000000000");
        assert_eq!(id(1), "pay_00000000000000000000000001");
        assert_eq!(id(10), "pay_0000000000000000000000000a");
        assert_eq!(id(32), "pay_00000000000000000000000010");
        assert_eq!(id(u128::MAX), "pay_7zzzzzzzzzzzzzzzzzzzzzzzzz");
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_eq!(PaymentId::derive(&["a", "b"]), PaymentId::derive(&["a", "b"]));
        assert_ne!(PaymentId::derive(&["ab", ""]), PaymentId::derive(&["a", "b"]));
        assert_ne!(PaymentId::derive(&["a", "b"]), PaymentId::derive(&["b", "a"]));
    }

    proptest! {
        #[test]
        fn every_id_reads_back(bytes in any::<[u8; 16]>()) {
            let id = PaymentId::from_random(bytes);
            prop_assert_eq!(id.as_str().parse::<PaymentId>(), Ok(id.clone()));
            prop_assert!(id.as_str().parse::<EventId>().is_err());
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let parsed = text.parse::<PaymentId>();
            prop_assert!(parsed.is_err() || parsed.is_ok_and(|id| id.as_str() == text));
        }
    }
}
