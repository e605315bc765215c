//! Access tokens: JWTs of fifteen minutes (RFC 7519, with the claims of RFC 9068), signed with Ed25519 keys that are
//! derived from the root key (ADR 0013). Anybody may check them with the keys of [`Tokens::jwks`].
//!
//! Nothing is derived before the first token is made or checked: a cold start that meets none pays nothing.

use std::{fmt, sync::OnceLock};

use florin_domain::{
    ids::{ApiKeyId, MerchantId, SessionId, UserId},
    permission::{Permissions, Role},
    time::{MS_PER_SECOND, Timestamp},
};
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation,
    jwk::{Jwk, JwkSet, PublicKeyUse, ThumbprintHash},
};
use secrecy::{ExposeSecret, SecretBox};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{random, secrets::RootKey};

/// For how long an access token is good, in seconds.
pub const ACCESS_TOKEN_SECONDS: i64 = 15 * 60;
/// By how much the clocks of two instances may differ, in seconds.
pub const LEEWAY_SECONDS: i64 = 10;
/// The audience of our tokens: this API and nobody else.
pub const AUDIENCE: &str = "florin";
/// The client that tokens of users name: they come of a login here, and of no client's.
const USERS_CLIENT: &str = "florin";
/// The algorithm, which no token chooses.
const ALGORITHM: Algorithm = Algorithm::EdDSA;
/// What tells an access token from other JWTs (RFC 9068, section 2.1).
const TOKEN_TYPE: &str = "at+jwt";
/// Longest token, in bytes. Ours have about 800.
pub const ACCESS_TOKEN_BYTES_MAX: usize = 4_096;

/// What stands before the seed in the PKCS #8 form of an Ed25519 key (RFC 8410, section 7).
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// Why a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a token of ours, or not for us.
    #[error("not an access token of this deployment")]
    Invalid,
    /// It was one of ours.
    #[error("the access token has expired")]
    Expired,
}

/// Who acts by a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A person.
    User {
        /// Who.
        user_id: UserId,
        /// The session of the login that it came of.
        session_id: SessionId,
        /// The role when the token was made.
        role: Role,
    },
    /// A program, by client credentials.
    Client {
        /// The key of kind `client`.
        key_id: ApiKeyId,
        /// What was asked for and granted.
        scopes: Permissions,
    },
}

impl Subject {
    /// What the subject may do by this token.
    pub fn permissions(&self) -> Permissions {
        match self {
            Self::User { role, .. } => role.permissions(),
            Self::Client { scopes, .. } => *scopes,
        }
    }
}

/// What a token is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Who acts.
    pub subject: Subject,
    /// For which merchant.
    pub merchant_id: MerchantId,
}

/// What a token that was checked says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessClaims {
    /// Who acts for whom.
    pub grant: Grant,
    /// The token's own id.
    pub id: String,
    /// From when on it is refused.
    pub expires_at: Timestamp,
}

/// The claims as they are written.
#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: String,
    client_id: String,
    iat: i64,
    exp: i64,
    jti: String,
    merchant_id: MerchantId,
    scope: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sid: Option<SessionId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    role: Option<Role>,
}

/// The keys of the generations that matter.
struct Keys {
    signing: EncodingKey,
    signing_id: String,
    verifying: Vec<(String, DecodingKey)>,
    published: JwkSet,
}

/// Makes and checks access tokens.
pub struct Tokens {
    root_key: RootKey,
    issuer: String,
    generation: u32,
    keys: OnceLock<Keys>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

impl Tokens {
    /// Tokens of this issuer, the public URL of the API, signed with the keys of this generation.
    pub fn new(root_key: &RootKey, issuer: String, generation: u32) -> Self {
        Self { root_key: root_key.clone(), issuer, generation, keys: OnceLock::new() }
    }

    /// Who signs: the claim `iss`.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Makes a token that is good for [`ACCESS_TOKEN_SECONDS`].
    #[expect(clippy::expect_used, reason = "our keys sign and our claims are JSON, or no token was ever made")]
    pub fn issue(&self, grant: &Grant, now: Timestamp) -> String {
        let keys = self.keys();
        let mut header = Header::new(ALGORITHM);
        header.typ = Some(TOKEN_TYPE.to_owned());
        header.kid = Some(keys.signing_id.clone());
        jsonwebtoken::encode(&header, &self.claims(grant, now), &keys.signing).expect("our keys sign our claims")
    }

    fn claims(&self, grant: &Grant, now: Timestamp) -> Claims {
        let (sub, client_id, sid, role) = match &grant.subject {
            Subject::User { user_id, session_id, role } => {
                (user_id.to_string(), USERS_CLIENT.to_owned(), Some(session_id.clone()), Some(*role))
            }
            Subject::Client { key_id, .. } => (key_id.to_string(), key_id.to_string(), None, None),
        };
        Claims {
            iss: self.issuer.clone(),
            aud: AUDIENCE.to_owned(),
            sub,
            client_id,
            iat: now.seconds(),
            exp: now.seconds() + ACCESS_TOKEN_SECONDS,
            jti: random::hex128(),
            merchant_id: grant.merchant_id.clone(),
            scope: grant.subject.permissions().to_scopes(),
            sid,
            role,
        }
    }

    /// Checks a token: that one of our keys signed it, for us, and not too long ago.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<AccessClaims, TokenError> {
        if token.len() > ACCESS_TOKEN_BYTES_MAX {
            return Err(TokenError::Invalid);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Invalid)?;
        // What it says to be critical (RFC 7515, section 4.1.11) we would not understand.
        if header.typ.as_deref() != Some(TOKEN_TYPE) || header.crit.is_some() {
            return Err(TokenError::Invalid);
        }
        let known = |(id, _): &&(String, DecodingKey)| Some(id.as_str()) == header.kid.as_deref();
        let (_, key) = self.keys().verifying.iter().find(known).ok_or(TokenError::Invalid)?;
        let read = jsonwebtoken::decode::<Claims>(token, key, &self.validation()).map_err(|_| TokenError::Invalid)?;
        if read.claims.iat > now.seconds() + LEEWAY_SECONDS {
            return Err(TokenError::Invalid);
        }
        if read.claims.exp + LEEWAY_SECONDS <= now.seconds() {
            return Err(TokenError::Expired);
        }
        read.claims.checked().ok_or(TokenError::Invalid)
    }

    /// Whom a token must name. Times are compared by `verify`, which is told what time it is.
    fn validation(&self) -> Validation {
        let mut validation = Validation::new(ALGORITHM);
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["iss", "aud", "sub", "exp"]);
        validation.validate_exp = false;
        validation
    }

    /// The public keys as a JWK set (RFC 7517).
    pub fn jwks(&self) -> serde_json::Value {
        serde_json::json!(self.keys().published)
    }

    /// The keys of the present generation; of the one before, which signed tokens that are still good; and of the next,
    /// which an instance that was updated a moment ago signs with already, and which others should know by then.
    fn keys(&self) -> &Keys {
        self.keys.get_or_init(|| {
            let pair = |generation| pair(&self.root_key.access_token_seed(generation));
            let (signing, signing_jwk) = pair(self.generation);
            let others = [self.generation.checked_add(1), self.generation.checked_sub(1).filter(|one| *one > 0)];
            let others = others.into_iter().flatten().map(|generation| pair(generation).1);
            let published = JwkSet { keys: std::iter::once(signing_jwk).chain(others).collect() };
            let verifying = published
                .keys
                .iter()
                .filter_map(|jwk| Some((jwk.common.key_id.clone()?, DecodingKey::from_jwk(jwk).ok()?)));
            Keys { signing, signing_id: id_of(published.keys.first()), verifying: verifying.collect(), published }
        })
    }
}

/// The private key of a seed, and the public one with its id.
#[expect(clippy::expect_used, reason = "every seed of 32 bytes is an Ed25519 key (RFC 8032, section 5.1.5)")]
fn pair(seed: &SecretBox<[u8; 32]>) -> (EncodingKey, Jwk) {
    let der: Zeroizing<Vec<u8>> = Zeroizing::new([&PKCS8_PREFIX, seed.expose_secret().as_slice()].concat());
    let private = EncodingKey::from_ed_der(&der);
    let mut public = Jwk::from_encoding_key(&private, ALGORITHM).expect("every seed is a key");
    public.common.public_key_use = Some(PublicKeyUse::Signature);
    public.common.key_id = public.thumbprint(ThumbprintHash::SHA256).ok();
    (private, public)
}

/// The thumbprint by which tokens name a key (RFC 7638, RFC 8037).
fn id_of(key: Option<&Jwk>) -> String {
    key.and_then(|key| key.common.key_id.clone()).unwrap_or_default()
}

impl Claims {
    /// What they say, if they agree with each other.
    fn checked(self) -> Option<AccessClaims> {
        let subject = match (self.sid, self.role) {
            (Some(session_id), Some(role)) => Subject::User { user_id: self.sub.parse().ok()?, session_id, role },
            (None, None) => {
                Subject::Client { key_id: self.sub.parse().ok()?, scopes: Permissions::from_scopes(&self.scope)? }
            }
            _ => return None,
        };
        Some(AccessClaims {
            grant: Grant { subject, merchant_id: self.merchant_id },
            id: self.jti,
            expires_at: Timestamp::from_ms(self.exp * MS_PER_SECOND),
        })
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    use serde_json::{Value, json};

    use super::*;

    const NOW: Timestamp = Timestamp::from_ms(1_763_715_600_000);
    const ISSUER: &str = "https://api.shop.example";

    fn root() -> RootKey {
        RootKey::from_hex(&"5a".repeat(32)).unwrap()
    }

    fn tokens(generation: u32) -> Tokens {
        Tokens::new(&root(), ISSUER.to_owned(), generation)
    }

    fn grants() -> [Grant; 2] {
        let scopes = Permissions::from_scopes("payments:read refunds:write").unwrap();
        let client = Subject::Client { key_id: ApiKeyId::derive(&["key"]), scopes };
        let session_id = SessionId::derive(&["session"]);
        let user = Subject::User { user_id: UserId::derive(&["ada"]), session_id, role: Role::Developer };
        [client, user].map(|subject| Grant { subject, merchant_id: MerchantId::derive(&["shop"]) })
    }

    fn part(token: &str, place: usize) -> Value {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(place).unwrap()).unwrap()).unwrap()
    }

    /// A token that a key of this generation signed, whatever it says.
    fn signed(generation: u32, change_header: impl FnOnce(&mut Header), claims: &Value) -> String {
        let (private, public) = pair(&root().access_token_seed(generation));
        let mut header = Header::new(ALGORITHM);
        header.typ = Some(TOKEN_TYPE.to_owned());
        header.kid = public.common.key_id;
        change_header(&mut header);
        jsonwebtoken::encode(&header, claims, &private).unwrap()
    }

    #[test]
    fn keys_are_those_of_rfc_8037() {
        let seed = URL_SAFE_NO_PAD.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
        let (private, public) = pair(&SecretBox::new(Box::new(seed.try_into().unwrap())));
        let expected = json!({
            "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "use": "sig",
            "alg": "EdDSA", "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
        });
        assert_eq!(json!(public), expected);
        let input = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
        let signature = jsonwebtoken::crypto::sign(input, &private, ALGORITHM).unwrap();
        assert_eq!(signature, "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg");
    }

    #[test]
    fn a_token_says_what_was_granted() {
        for grant in grants() {
            let token = tokens(1).issue(&grant, NOW);
            let read = tokens(1).verify(&token, NOW).unwrap();
            assert_eq!(read.grant, grant);
            assert_eq!(read.expires_at.ms_since(NOW), 900_000);
            assert!(token.len() < ACCESS_TOKEN_BYTES_MAX / 4, "{}", token.len());
        }
        let [client, user] = grants().map(|grant| part(&tokens(1).issue(&grant, NOW), 1));
        assert_eq!((&client["iss"], &client["aud"]), (&json!(ISSUER), &json!("florin")));
        assert_eq!(client["scope"], "payments:read refunds:write");
        assert_eq!((&client["client_id"], client.get("sid"), client.get("role")), (&client["sub"], None, None));
        assert_eq!(user["scope"], Role::Developer.permissions().to_scopes());
        assert_eq!((&user["client_id"], &user["role"]), (&json!("florin"), &json!("developer")));
        assert_ne!(client["jti"], user["jti"]);
        let header = part(&tokens(1).issue(&grants()[0], NOW), 0);
        let key_id = &tokens(1).jwks()["keys"][0]["kid"];
        assert_eq!(header, json!({ "typ": "at+jwt", "alg": "EdDSA", "kid": key_id }));
    }

    #[test]
    fn a_token_is_good_for_fifteen_minutes() {
        let token = tokens(1).issue(&grants()[0], NOW);
        let after = |seconds: i64| tokens(1).verify(&token, NOW.plus_ms(seconds * 1_000)).map(|_| ());
        assert_eq!(after(-LEEWAY_SECONDS), Ok(()));
        assert_eq!(after(-LEEWAY_SECONDS - 1), Err(TokenError::Invalid));
        assert_eq!(after(900 + LEEWAY_SECONDS - 1), Ok(()));
        assert_eq!(after(900 + LEEWAY_SECONDS), Err(TokenError::Expired));
    }

    #[test]
    fn generations_overlap_while_they_change() {
        let token = tokens(5).issue(&grants()[0], NOW);
        let accepted: Vec<u32> = (1..10).filter(|one| tokens(*one).verify(&token, NOW).is_ok()).collect();
        assert_eq!(accepted, [4, 5, 6]);
        assert_eq!([1, 5].map(|one| tokens(one).jwks()["keys"].as_array().unwrap().len()), [2, 3]);
        assert!(tokens(u32::MAX).verify(&tokens(u32::MAX).issue(&grants()[0], NOW), NOW).is_ok());
    }

    #[test]
    fn what_another_signed_or_meant_is_refused() {
        let good = tokens(1).issue(&grants()[0], NOW);
        let claims = part(&good, 1);
        let refused = |token: &str| assert_eq!(tokens(1).verify(token, NOW), Err(TokenError::Invalid), "{token}");
        assert!(tokens(1).verify(&signed(1, |_| {}, &claims), NOW).is_ok(), "else the rest shows nothing");

        let other_root = RootKey::from_hex(&"5b".repeat(32)).unwrap();
        refused(&Tokens::new(&other_root, ISSUER.to_owned(), 1).issue(&grants()[0], NOW));
        refused(&Tokens::new(&root(), "https://api.other.example".to_owned(), 1).issue(&grants()[0], NOW));
        for (name, value) in [
            ("aud", json!("other")),
            ("aud", json!(["florin", "other"])),
            ("sub", json!("mer_00000000000000000000000000")),
            ("merchant_id", json!("shop")),
            ("scope", json!("payments:fly")),
            ("sid", json!(SessionId::derive(&["session"]))),
            ("role", json!("owner")),
            ("exp", json!("soon")),
        ] {
            let mut changed = claims.clone();
            changed[name] = value;
            refused(&signed(1, |_| {}, &changed));
        }
        for name in ["iss", "aud", "sub", "exp", "iat", "jti", "merchant_id", "scope"] {
            let mut changed = claims.clone();
            changed.as_object_mut().unwrap().remove(name);
            refused(&signed(1, |_| {}, &changed));
        }
        refused(&signed(1, |header| header.typ = Some("JWT".to_owned()), &claims));
        refused(&signed(1, |header| header.kid = None, &claims));
        refused(&signed(1, |header| header.kid = Some("other".to_owned()), &claims));
        refused(&signed(1, |header| header.crit = Some(vec!["b64".to_owned()]), &claims));
        refused(&signed(3, |_| {}, &claims));
    }

    #[test]
    fn the_algorithm_is_not_for_the_token_to_choose() {
        let good = tokens(1).issue(&grants()[0], NOW);
        let key = &tokens(1).jwks()["keys"][0];
        let payload = good.split('.').nth(1).unwrap();
        let unsigned = |algorithm: &str| {
            let header = json!({ "typ": "at+jwt", "alg": algorithm, "kid": key["kid"] }).to_string();
            format!("{}.{payload}", URL_SAFE_NO_PAD.encode(header))
        };
        for algorithm in ["none", "None", "", "RS256", "HS256"] {
            for signature in ["", good.rsplit('.').next().unwrap()] {
                let token = format!("{}.{signature}", unsigned(algorithm));
                assert_eq!(tokens(1).verify(&token, NOW), Err(TokenError::Invalid), "{algorithm}");
            }
        }
        // The public key as the secret of an HMAC.
        let public = URL_SAFE_NO_PAD.decode(key["x"].as_str().unwrap()).unwrap();
        for secret in [public.as_slice(), key["x"].as_str().unwrap().as_bytes(), key.to_string().as_bytes()] {
            let input = unsigned("HS256");
            let secret = EncodingKey::from_secret(secret);
            let signature = jsonwebtoken::crypto::sign(input.as_bytes(), &secret, Algorithm::HS256).unwrap();
            assert_eq!(tokens(1).verify(&format!("{input}.{signature}"), NOW), Err(TokenError::Invalid));
        }
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let good = tokens(1).issue(&grants()[0], NOW);
        let long = format!("{good}{}", "A".repeat(ACCESS_TOKEN_BYTES_MAX));
        let refused = |token: &str| assert_eq!(tokens(1).verify(token, NOW), Err(TokenError::Invalid), "{token}");
        for token in ["", ".", "..", "...", "a.b.c", &good[1..], &format!("{good}."), &format!(".{good}"), &long] {
            refused(token);
        }
        // The last character of a signature has four bits that mean nothing: only its canonical form is taken.
        for place in 0..good.len() {
            let mut changed = good.clone();
            changed.replace_range(place..=place, if good[place..].starts_with('A') { "B" } else { "A" });
            refused(&changed);
        }
    }

    #[test]
    fn nothing_shows_a_key() {
        let tokens = tokens(1);
        tokens.jwks();
        assert_eq!(format!("{tokens:?}"), format!("Tokens {{ issuer: {ISSUER:?}, .. }}"));
        let seed = URL_SAFE_NO_PAD.encode(root().access_token_seed(1).expose_secret());
        assert!(!tokens.jwks().to_string().contains(&seed));
        assert!(tokens.jwks()["keys"].as_array().unwrap().iter().all(|key| key.get("d").is_none()));
    }
}
