//! Secrets are derived, not stored (ADR 0004): from one root key, held by the environment, come the keyed hashes under
//! which API keys are looked up, the secrets that sign webhooks and the key of operators. So no table holds one
//! (invariant 8).

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretBox};
use sha2::Sha256;

use crate::config::ConfigError;

/// Bytes of the root key.
pub const ROOT_KEY_BYTES: usize = 32;

/// What the operator key begins with.
const OPERATOR_KEY_PREFIX: &str = "op_";
const OPERATOR_PURPOSE: &str = "operator-key/1";

/// The key from which all others are derived.
#[derive(Clone)]
pub struct RootKey(std::sync::Arc<SecretBox<[u8; ROOT_KEY_BYTES]>>);

impl fmt::Debug for RootKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RootKey")
    }
}

impl RootKey {
    /// Reads `ROOT_KEY`: 64 hexadecimal characters.
    pub fn from_env() -> Result<Self, ConfigError> {
        let invalid = ConfigError::Invalid { name: "ROOT_KEY", rule: "64 hexadecimal characters" };
        Self::from_hex(&crate::config::required("ROOT_KEY")?).ok_or(invalid)
    }

    /// Reads 64 hexadecimal characters.
    pub fn from_hex(hex: &str) -> Option<Self> {
        Some(Self(std::sync::Arc::new(read_hex(hex)?)))
    }

    /// HMAC-SHA256 over a purpose and a subject; the purpose keeps derived secrets of different kinds apart.
    fn derive(&self, purpose: &str, subject: &str) -> [u8; 32] {
        let key = self.0.expose_secret();
        mac(key, &[purpose.as_bytes(), b"\0", subject.as_bytes()])
    }

    /// The keyed hash under which an API key is stored, in hexadecimal. Looking it up compares in no secret-dependent
    /// time: who does not know the root key cannot steer the hash.
    pub fn api_key_hash(&self, api_key: &str) -> String {
        self.derive("api-key/1", api_key).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The key with which operators of this deployment call `/v1/ops`.
    pub fn operator_key(&self) -> OperatorKey {
        OperatorKey(SecretBox::new(Box::new(self.derive(OPERATOR_PURPOSE, ""))))
    }

    /// Whether this is the operator key, found out in constant time.
    pub fn is_operator_key(&self, presented: &str) -> bool {
        let presented = presented.strip_prefix(OPERATOR_KEY_PREFIX).and_then(read_hex);
        // Both are hashed under the root key, so that the time of comparing them tells nothing of the key itself.
        let hash = |key: &SecretBox<[u8; ROOT_KEY_BYTES]>| {
            mac(self.0.expose_secret(), &[b"operator-key-compared/1\0", key.expose_secret()])
        };
        presented.is_some_and(|key| hash(&key) == hash(&self.operator_key().0))
    }

    /// The secret that signs webhooks for `owner` (a merchant or an endpoint); rotation counts the generation up.
    pub fn webhook_secret(&self, owner: &str, generation: u32) -> WebhookSecret {
        WebhookSecret(SecretBox::new(Box::new(self.derive("webhook-signing/1", &format!("{owner}/{generation}")))))
    }
}

/// 32 bytes in hexadecimal.
fn read_hex(hex: &str) -> Option<SecretBox<[u8; ROOT_KEY_BYTES]>> {
    if hex.len() != ROOT_KEY_BYTES * 2 || !hex.is_ascii() {
        return None;
    }
    let mut bytes = Box::new([0; ROOT_KEY_BYTES]);
    for (byte, place) in bytes.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(hex.get(place..place + 2)?, 16).ok()?;
    }
    Some(SecretBox::new(bytes))
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of every length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// The key of this deployment's operators.
pub struct OperatorKey(SecretBox<[u8; 32]>);

impl fmt::Debug for OperatorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OperatorKey")
    }
}

impl OperatorKey {
    /// `op_` and 64 hexadecimal characters, for operators and for nobody else.
    pub fn expose_text(&self) -> String {
        let hex: String = self.0.expose_secret().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{OPERATOR_KEY_PREFIX}{hex}")
    }
}

/// The secret that signs webhooks, as Standard Webhooks 1.0.0 has it: 24 to 64 bytes.
pub struct WebhookSecret(SecretBox<[u8; 32]>);

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret")
    }
}

impl WebhookSecret {
    /// `whsec_…`, for the merchant and for nobody else.
    pub fn expose_text(&self) -> String {
        format!("whsec_{}", STANDARD.encode(self.0.expose_secret()))
    }

    /// The header `webhook-signature`: version 1, HMAC-SHA256 over id, timestamp (seconds) and body, joined by dots.
    pub fn sign(&self, id: &str, timestamp_seconds: i64, body: &str) -> String {
        let timestamp = timestamp_seconds.to_string();
        let parts = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body.as_bytes()];
        format!("v1,{}", STANDARD.encode(mac(self.0.expose_secret(), &parts)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_only_64_hexadecimal_characters() {
        assert!(RootKey::from_hex(&"0f".repeat(32)).is_some());
        for wrong in ["", "0f", &"0g".repeat(32), &"0f".repeat(33), &"é".repeat(32)] {
            assert!(RootKey::from_hex(wrong).is_none());
        }
    }

    #[test]
    fn derived_secrets_differ_by_root_purpose_owner_and_generation() {
        let (a, b) = (RootKey::from_hex(&"00".repeat(32)).unwrap(), RootKey::from_hex(&"01".repeat(32)).unwrap());
        let secrets = [
            a.webhook_secret("mer_1", 1).expose_text(),
            a.webhook_secret("mer_1", 2).expose_text(),
            a.webhook_secret("mer_2", 1).expose_text(),
            b.webhook_secret("mer_1", 1).expose_text(),
            a.api_key_hash("mer_1/1"),
        ];
        for (i, secret) in secrets.iter().enumerate() {
            assert!(secrets.iter().skip(i + 1).all(|other| other != secret));
        }
        assert_eq!(a.api_key_hash("sk_test_1"), a.api_key_hash("sk_test_1"));
    }

    #[test]
    fn a_root_key_has_one_operator_key() {
        let (a, b) = (RootKey::from_hex(&"00".repeat(32)).unwrap(), RootKey::from_hex(&"01".repeat(32)).unwrap());
        let key = a.operator_key().expose_text();
        assert_eq!((key.len(), key.starts_with("op_")), (67, true));
        assert!(a.is_operator_key(&key) && !b.is_operator_key(&key));
        let mut flipped = key.clone();
        flipped.replace_range(66.., if key.ends_with('0') { "1" } else { "0" });
        for wrong in
            ["", "op_", &key[3..], &key[..66], &flipped, &format!("{key}0"), &format!("op_{}", "00".repeat(32))]
        {
            assert!(!a.is_operator_key(wrong), "{wrong}");
        }
    }

    #[test]
    fn nothing_shows_a_secret() {
        let root = RootKey::from_hex(&"ab".repeat(32)).unwrap();
        let shown = format!("{root:?} {:?} {:?}", root.webhook_secret("a", 1), root.operator_key());
        assert_eq!(shown, "RootKey WebhookSecret OperatorKey");
    }
}
