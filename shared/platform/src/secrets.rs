//! Secrets are derived, not stored (ADR 0004): from one root key, held by the environment, come the keyed hashes under
//! which API keys are looked up, the keys themselves, the tokens of users, the secrets that sign webhooks and access
//! tokens, and the key of operators. So no table holds one (invariant 8).

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use florin_domain::{
    card::Mode,
    ids::{ApiKeyId, MerchantId, SessionId, UserId},
};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretBox, SecretString};
use sha2::Sha256;

use crate::config::ConfigError;

/// Bytes of the root key.
pub const ROOT_KEY_BYTES: usize = 32;

/// What the operator key begins with.
const OPERATOR_KEY_PREFIX: &str = "op_";
const OPERATOR_PURPOSE: &str = "operator-key/1";

/// Characters of an API key behind its prefix, of five bits each.
const API_KEY_BODY_CHARACTERS: usize = 32;
/// Of which characters it consists: the alphabet of ids, which nobody misreads.
const API_KEY_ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// What a refresh token begins with.
const REFRESH_PREFIX: &str = "rft_";
const REFRESH_PURPOSE: &str = "refresh-token/1";

/// What an invitation begins with.
const INVITATION_PREFIX: &str = "inv_";
const INVITATION_PURPOSE: &str = "invitation/1";

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

    /// Whether this is what `derive` yields, found out in constant time.
    fn is_derived(&self, purpose: &str, subject: &str, presented: &[u8; 32]) -> bool {
        let key = self.0.expose_secret();
        let mac = keyed(key, &[purpose.as_bytes(), b"\0", subject.as_bytes()]);
        mac.verify_slice(presented).is_ok()
    }

    /// The keyed hash under which an API key is stored, in hexadecimal. Looking it up compares in no secret-dependent
    /// time: who does not know the root key cannot steer the hash.
    pub fn api_key_hash(&self, api_key: &str) -> String {
        hex(&self.derive("api-key/1", api_key))
    }

    /// The text of an API key, for the merchant and for nobody else: the same for the same key always, so that a
    /// request that makes a key can be repeated. It tells its mode by its prefix.
    pub fn api_key_text(&self, id: &ApiKeyId, mode: Mode) -> SecretString {
        let prefix = mode.key_prefix();
        let bytes = self.derive("api-key-text/1", &format!("{prefix}{id}"));
        let character = |byte: &u8| API_KEY_ALPHABET.get(usize::from(byte % 32)).copied().map(char::from);
        let body = bytes.iter().take(API_KEY_BODY_CHARACTERS).filter_map(character);
        prefix.chars().chain(body).collect::<String>().into()
    }

    /// The keyed hash under which a user's credentials are found, in hexadecimal. The address is a normalised one.
    pub fn email_hash(&self, address: &str) -> String {
        hex(&self.derive("email/1", address))
    }

    /// The keyed hash under which what belongs to a merchant's customer is found, in hexadecimal. Two merchants that
    /// name their customers alike get different ones.
    pub fn customer_hash(&self, merchant_id: &MerchantId, reference: &str) -> String {
        hex(&self.derive("customer/1", &format!("{merchant_id}/{reference}")))
    }

    /// The refresh token of this number of a session: nothing of it needs to be stored, but which number is next.
    pub fn refresh_token(&self, session_id: &SessionId, number: u64) -> SecretString {
        let subject = format!("{session_id}.{number}");
        let mac = self.derive(REFRESH_PURPOSE, &subject);
        format!("{REFRESH_PREFIX}{subject}.{}", hex(&mac)).into()
    }

    /// The session and the number of a refresh token that we made; whether the number is still good is for the session
    /// to say.
    pub fn read_refresh_token(&self, presented: &str) -> Option<(SessionId, u64)> {
        let (subject, mac) = presented.strip_prefix(REFRESH_PREFIX)?.rsplit_once('.')?;
        let is_ours = self.is_derived(REFRESH_PURPOSE, subject, read_hex(mac)?.expose_secret());
        let (session_id, number) = subject.split_once('.').filter(|_| is_ours)?;
        Some((session_id.parse().ok()?, number.parse().ok()?))
    }

    /// The token with which an invited user chooses a password; every invitation of a user has its own number.
    pub fn invitation_token(&self, merchant_id: &MerchantId, user_id: &UserId, number: u64) -> SecretString {
        let subject = format!("{merchant_id}.{user_id}.{number}");
        let mac = self.derive(INVITATION_PURPOSE, &subject);
        format!("{INVITATION_PREFIX}{subject}.{}", hex(&mac)).into()
    }

    /// Whom an invitation that we made is for, and its number; whether it is still open is for the user to say.
    pub fn read_invitation_token(&self, presented: &str) -> Option<(MerchantId, UserId, u64)> {
        let (subject, mac) = presented.strip_prefix(INVITATION_PREFIX)?.rsplit_once('.')?;
        let is_ours = self.is_derived(INVITATION_PURPOSE, subject, read_hex(mac)?.expose_secret());
        let mut parts = is_ours.then(|| subject.split('.'))?;
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    }

    /// The seed of the Ed25519 key of this generation, with which access tokens are signed.
    pub(crate) fn access_token_seed(&self, generation: u32) -> SecretBox<[u8; 32]> {
        SecretBox::new(Box::new(self.derive("access-token-signing/1", &generation.to_string())))
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

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
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
fn keyed(key: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of every length");
    for part in parts {
        mac.update(part);
    }
    mac
}

fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    keyed(key, parts).finalize().into_bytes().into()
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
        format!("{OPERATOR_KEY_PREFIX}{}", hex(self.0.expose_secret()))
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
    fn an_api_key_has_one_text_of_its_mode() {
        let (a, b) = (RootKey::from_hex(&"00".repeat(32)).unwrap(), RootKey::from_hex(&"01".repeat(32)).unwrap());
        let (one, two) = (ApiKeyId::derive(&["1"]), ApiKeyId::derive(&["2"]));
        let text = |root: &RootKey, id, mode| root.api_key_text(id, mode).expose_secret().to_owned();
        let (test, live) = (text(&a, &one, Mode::Test), text(&a, &one, Mode::Live));
        assert_eq!(test, text(&a, &one, Mode::Test));
        assert_eq!((test.len(), test.strip_prefix("sk_test_").map(str::len)), (40, Some(32)));
        // Whoever has the key of one mode knows nothing of the other's.
        assert_ne!(test.strip_prefix("sk_test_"), live.strip_prefix("sk_live_"));
        assert_ne!(test, text(&a, &two, Mode::Test));
        assert_ne!(test, text(&b, &one, Mode::Test));
    }

    #[test]
    fn addresses_and_customers_are_found_by_keyed_hashes() {
        let (a, b) = (RootKey::from_hex(&"00".repeat(32)).unwrap(), RootKey::from_hex(&"01".repeat(32)).unwrap());
        let (shop, other) = (MerchantId::derive(&["shop"]), MerchantId::derive(&["other"]));
        assert_ne!(a.email_hash("ada@shop.example"), b.email_hash("ada@shop.example"));
        assert_eq!(a.customer_hash(&shop, "c-1"), a.customer_hash(&shop, "c-1"));
        assert_ne!(a.customer_hash(&shop, "c-1"), a.customer_hash(&other, "c-1"));
        assert_ne!(a.email_hash("c-1"), a.customer_hash(&shop, "c-1"));
    }

    /// Every text that differs from this one in one character.
    fn neighbours(text: &str) -> impl Iterator<Item = String> {
        (0..text.len()).map(move |place| {
            let mut changed = text.to_owned();
            changed.replace_range(place..=place, if text[place..].starts_with('1') { "2" } else { "1" });
            changed
        })
    }

    #[test]
    fn only_our_refresh_tokens_are_read() {
        let (a, b) = (RootKey::from_hex(&"00".repeat(32)).unwrap(), RootKey::from_hex(&"01".repeat(32)).unwrap());
        let session = SessionId::derive(&["session"]);
        let token = a.refresh_token(&session, 17).expose_secret().to_owned();
        assert!(token.starts_with(&format!("rft_{session}.17.")));
        assert_eq!(a.read_refresh_token(&token), Some((session.clone(), 17)));
        assert_eq!(b.read_refresh_token(&token), None);
        for wrong in neighbours(&token).chain(["", "rft_", "rft_.."].map(str::to_owned)) {
            assert_eq!(a.read_refresh_token(&wrong), None, "{wrong}");
        }
        for number in ["+17", "017", "", "-1", "4294967296"] {
            assert_eq!(a.read_refresh_token(&token.replace(".17.", &format!(".{number}."))), None, "{number}");
        }
        assert_eq!(a.read_refresh_token(&format!("{token}0")), None);
    }

    #[test]
    fn an_invitation_is_of_one_merchant_and_one_user() {
        let (a, b) = (RootKey::from_hex(&"00".repeat(32)).unwrap(), RootKey::from_hex(&"01".repeat(32)).unwrap());
        let (shop, other) = (MerchantId::derive(&["shop"]), MerchantId::derive(&["other"]));
        let user = UserId::derive(&["ada"]);
        let token = a.invitation_token(&shop, &user, 7).expose_secret().to_owned();
        assert_eq!(a.read_invitation_token(&token), Some((shop, user.clone(), 7)));
        assert_eq!(b.read_invitation_token(&token), None);
        assert_ne!(a.invitation_token(&other, &user, 7).expose_secret(), token);
        for wrong in neighbours(&token).chain(["", "inv_", "inv_.."].map(str::to_owned)) {
            assert_eq!(a.read_invitation_token(&wrong), None, "{wrong}");
        }
        let refresh = a.refresh_token(&SessionId::derive(&["session"]), 1);
        assert_eq!(a.read_invitation_token(refresh.expose_secret()), None);
    }

    #[test]
    fn nothing_shows_a_secret() {
        let root = RootKey::from_hex(&"ab".repeat(32)).unwrap();
        let shown = format!("{root:?} {:?} {:?}", root.webhook_secret("a", 1), root.operator_key());
        assert_eq!(shown, "RootKey WebhookSecret OperatorKey");

        let (merchant, user) = (MerchantId::derive(&["m"]), UserId::derive(&["u"]));
        let texts = [
            root.api_key_text(&ApiKeyId::derive(&["k"]), Mode::Test),
            root.refresh_token(&SessionId::derive(&["s"]), 1),
            root.invitation_token(&merchant, &user, 1),
        ];
        let shown = format!("{texts:?} {:?}", root.access_token_seed(1));
        for text in &texts {
            let last = text.expose_secret().rsplit(['_', '.']).next().unwrap();
            assert!(!shown.contains(last), "{shown}");
        }
    }
}
