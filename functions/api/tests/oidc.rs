//! Tokens of another issuer, which runs here on loopback.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    unreachable_pub,
    missing_docs,
    reason = "a test stops at the first surprise"
)]

mod common;

use std::sync::{Arc, Mutex};

use aws_lc_rs::{
    encoding::AsDer,
    rsa,
    signature::{self, EcdsaKeyPair, Ed25519KeyPair},
};
use axum::{Json, Router, extract::State, routing::get};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use florin_platform::oidc::Settings;
use florin_testing::build;
use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
use serde_json::{Value, json};

use crate::common::World;

const AUDIENCE: &str = "https://api.florin.example";
const PAYMENTS: &str = "/v1/payments";

/// A key of the issuer.
struct Key {
    algorithm: Algorithm,
    private: EncodingKey,
    public: Value,
}

impl Key {
    fn new(algorithm: Algorithm, name: &str) -> Self {
        let private = match algorithm {
            Algorithm::RS256 => {
                let pair = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap();
                // In the PKCS #8 form of a key of this size the PKCS #1 form begins behind 26 bytes.
                EncodingKey::from_rsa_der(&pair.as_der().unwrap().as_ref()[26..])
            }
            Algorithm::ES256 => {
                let pair = EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
                EncodingKey::from_ec_der(pair.to_pkcs8v1().unwrap().as_ref())
            }
            _ => {
                let pair = Ed25519KeyPair::generate().unwrap();
                EncodingKey::from_ed_der(pair.to_pkcs8v1().unwrap().as_ref())
            }
        };
        let mut public = json!(Jwk::from_encoding_key(&private, algorithm).unwrap());
        public["kid"] = json!(name);
        public["use"] = json!("sig");
        Self { algorithm, private, public }
    }

    fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = self.public["kid"].as_str().map(str::to_owned);
        jsonwebtoken::encode(&header, claims, &self.private).unwrap()
    }
}

/// What the issuer says, and how often it was asked for its keys.
#[derive(Default)]
struct Says {
    document: Value,
    set: Value,
    asked: u32,
}

#[derive(Clone)]
struct Issuer {
    url: String,
    says: Arc<Mutex<Says>>,
}

impl Issuer {
    async fn start(keys: &[&Key]) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let says = Arc::new(Mutex::new(Says {
            document: json!({ "issuer": url, "jwks_uri": format!("{url}/keys") }),
            ..Says::default()
        }));
        let document = async |State(says): State<Arc<Mutex<Says>>>| Json(says.lock().unwrap().document.clone());
        let set = async |State(says): State<Arc<Mutex<Says>>>| {
            let mut says = says.lock().unwrap();
            says.asked += 1;
            Json(says.set.clone())
        };
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(document))
            .route("/keys", get(set))
            .with_state(Arc::clone(&says));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let issuer = Self { url, says };
        issuer.publish(keys);
        issuer
    }

    fn publish(&self, keys: &[&Key]) {
        let keys: Vec<&Value> = keys.iter().map(|key| &key.public).collect();
        self.says.lock().unwrap().set = json!({ "keys": keys });
    }

    fn asked(&self) -> u32 {
        self.says.lock().unwrap().asked
    }

    fn settings(&self) -> Settings {
        Settings {
            issuer: self.url.clone(),
            audience: AUDIENCE.to_owned(),
            merchant_claim: "custom:merchant_id".to_owned(),
            scope_claim: "scope".to_owned(),
        }
    }

    /// What a good token says at the time at which tests begin.
    fn claims(&self) -> Value {
        let now = build::START.seconds();
        json!({
            "iss": self.url, "aud": AUDIENCE, "sub": "auth0|ada", "iat": now, "nbf": now, "exp": now + 3_600,
            "custom:merchant_id": build::merchant("shop").id, "scope": "openid payments:read florin/analytics:read",
        })
    }

    fn claims_with(&self, name: &str, value: Value) -> Value {
        let mut claims = self.claims();
        claims[name] = value;
        claims
    }
}

/// The API with the issuer's tokens, and the merchant that they name.
async fn world(issuer: &Issuer) -> World {
    let world = World::with_issuer(issuer.settings()).await;
    world.merchants.put_merchant(&build::merchant("shop")).await.unwrap();
    world
}

async fn refused(world: &World, token: &str) -> String {
    world.get_as(token, PAYMENTS, 401).await.code().to_owned()
}

#[tokio::test]
async fn tokens_of_all_accepted_kinds_open_what_their_scopes_name() {
    let keys = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA].map(|one| Key::new(one, &format!("{one:?}")));
    let issuer = Issuer::start(&keys.iter().collect::<Vec<_>>()).await;
    let world = world(&issuer).await;
    let mine = world.payment("1", &common::body()).await;
    assert_eq!(issuer.asked(), 0, "nothing is fetched before it is needed");
    for key in &keys {
        let token = key.sign(&issuer.claims());
        assert_eq!(world.get_as(&token, PAYMENTS, 200).await.body["data"][0]["id"], mine.id.as_str());
        assert_eq!(world.get_as(&token, "/v1/refunds", 200).await.body["data"], json!([]));
        assert_eq!(world.get_as(&token, "/v1/api_keys", 403).await.code(), "permission_missing");
    }
    assert_eq!(issuer.asked(), 1, "keys are kept");
    let own = world.tokens();
    assert!(own.verify(&keys[2].sign(&issuer.claims()), build::START).is_err(), "it is no token of ours");
}

#[tokio::test]
async fn claims_may_stand_where_other_issuers_have_them() {
    let key = Key::new(Algorithm::EdDSA, "one");
    let issuer = Issuer::start(&[&key]).await;
    let world = world(&issuer).await;
    let mut cognito = issuer.claims_with("token_use", json!("access"));
    cognito.as_object_mut().unwrap().remove("aud");
    cognito["client_id"] = json!(AUDIENCE);
    let several = issuer.claims_with("aud", json!(["https://other.example", AUDIENCE]));
    let listed = issuer.claims_with("scope", json!(["payments:read", 7]));
    for claims in [cognito.clone(), several, listed] {
        world.get_as(&key.sign(&claims), PAYMENTS, 200).await;
    }
    cognito["token_use"] = json!("id");
    assert_eq!(refused(&world, &key.sign(&cognito)).await, "token_invalid");
    // What is for people is not for tokens of others, whatever they say.
    let mighty = key.sign(&issuer.claims_with("scope", json!("keys:write users:write keys:read payments:read")));
    assert_eq!(world.get_as(&mighty, "/v1/api_keys", 403).await.code(), "permission_missing");
    let powerless = key.sign(&issuer.claims_with("scope", json!("openid email")));
    assert_eq!(world.get_as(&powerless, PAYMENTS, 403).await.code(), "permission_missing");
}

#[tokio::test]
async fn a_token_that_is_not_for_us_or_not_for_now_is_refused() {
    let key = Key::new(Algorithm::EdDSA, "one");
    let issuer = Issuer::start(&[&key]).await;
    let world = world(&issuer).await;
    let now = build::START.seconds();
    let nobody = florin_domain::ids::MerchantId::derive(&["nobody"]);
    for (name, value) in [
        ("iss", json!("https://other.example")),
        ("iss", json!(format!("{}/", issuer.url))),
        ("aud", json!("https://other.example")),
        ("aud", json!(["https://other.example"])),
        ("aud", json!([])),
        ("aud", json!(7)),
        ("nbf", json!(now + 61)),
        ("nbf", json!("soon")),
        ("exp", json!("soon")),
        ("sub", json!("")),
        ("sub", json!("a b")),
        ("sub", json!("4242424242424242")),
        ("sub", json!("a".repeat(256))),
        ("custom:merchant_id", json!(nobody)),
        ("custom:merchant_id", json!("shop")),
        ("scope", json!(7)),
    ] {
        let token = key.sign(&issuer.claims_with(name, value.clone()));
        assert_eq!(refused(&world, &token).await, "token_invalid", "{name} {value}");
    }
    for name in ["iss", "aud", "sub", "exp", "custom:merchant_id", "scope"] {
        let mut claims = issuer.claims();
        claims.as_object_mut().unwrap().remove(name);
        assert_eq!(refused(&world, &key.sign(&claims)).await, "token_invalid", "{name}");
    }
    world.get_as(&key.sign(&issuer.claims_with("exp", json!(now - 59))), PAYMENTS, 200).await;
    let expired = key.sign(&issuer.claims_with("exp", json!(now - 60)));
    assert_eq!(refused(&world, &expired).await, "token_expired");
}

#[tokio::test]
async fn a_token_chooses_neither_algorithm_nor_key() {
    let (rsa, other) = (Key::new(Algorithm::RS256, "one"), Key::new(Algorithm::RS256, "one"));
    let issuer = Issuer::start(&[&rsa]).await;
    let world = world(&issuer).await;
    let claims = issuer.claims();
    world.get_as(&rsa.sign(&claims), PAYMENTS, 200).await;
    assert_eq!(refused(&world, &other.sign(&claims)).await, "token_invalid", "another key of this name");
    assert_eq!(refused(&world, &Key::new(Algorithm::ES256, "one").sign(&claims)).await, "token_invalid");

    let payload = URL_SAFE_NO_PAD.encode(claims.to_string());
    let head = |header: Value| format!("{}.{payload}", URL_SAFE_NO_PAD.encode(header.to_string()));
    for algorithm in ["none", "None", "NONE", ""] {
        let token = format!("{}.", head(json!({ "alg": algorithm, "kid": "one" })));
        assert_eq!(refused(&world, &token).await, "token_invalid", "{algorithm}");
    }
    let modulus = rsa.public["n"].as_str().unwrap();
    for secret in [modulus.as_bytes(), &URL_SAFE_NO_PAD.decode(modulus).unwrap(), rsa.public.to_string().as_bytes()] {
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some("one".to_owned());
        let token = jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(secret)).unwrap();
        assert_eq!(refused(&world, &token).await, "token_invalid");
    }
    for (name, value) in [("kid", Value::Null), ("crit", json!(["b64"])), ("alg", json!("RS512"))] {
        let mut header = json!({ "alg": "RS256", "kid": "one" });
        header[name] = value;
        let input = head(header);
        let signature = jsonwebtoken::crypto::sign(input.as_bytes(), &rsa.private, Algorithm::RS256).unwrap();
        assert_eq!(refused(&world, &format!("{input}.{signature}")).await, "token_invalid", "{name}");
    }
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test]
async fn keys_that_are_for_something_else_are_passed_over() {
    let mut keys = ["enc", "oct", "other algorithm"].map(|name| Key::new(Algorithm::RS256, name));
    keys[0].public["use"] = json!("enc");
    keys[1].public = json!({ "kty": "oct", "kid": "oct", "alg": "HS256", "k": "c2VjcmV0" });
    keys[2].public["alg"] = json!("PS256");
    let good = Key::new(Algorithm::EdDSA, "good");
    let issuer = Issuer::start(&[&keys[0], &keys[1], &keys[2], &good]).await;
    let world = world(&issuer).await;
    world.get_as(&good.sign(&issuer.claims()), PAYMENTS, 200).await;
    for key in &keys {
        assert_eq!(refused(&world, &key.sign(&issuer.claims())).await, "token_invalid");
    }
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some("oct".to_owned());
    let secret = EncodingKey::from_secret(b"secret");
    let shared = jsonwebtoken::encode(&header, &issuer.claims(), &secret).unwrap();
    assert_eq!(refused(&world, &shared).await, "token_invalid");
}

#[tokio::test]
async fn keys_that_are_not_known_are_asked_for_once_a_minute() {
    let (old, new) = (Key::new(Algorithm::EdDSA, "old"), Key::new(Algorithm::EdDSA, "new"));
    let issuer = Issuer::start(&[&old]).await;
    let world = world(&issuer).await;
    world.get_as(&old.sign(&issuer.claims()), PAYMENTS, 200).await;
    issuer.publish(&[&new]);
    for _ in 0..3 {
        assert_eq!(refused(&world, &new.sign(&issuer.claims())).await, "token_invalid");
    }
    assert_eq!(issuer.asked(), 1, "it was asked a moment ago");
    world.clock.advance_ms(60_000);
    world.get_as(&new.sign(&issuer.claims()), PAYMENTS, 200).await;
    assert_eq!(refused(&world, &old.sign(&issuer.claims())).await, "token_invalid", "a key that was taken back");
    assert_eq!(issuer.asked(), 2);
    // Keys that are known are asked for again when they are an hour old.
    world.clock.advance_ms(3_539_000);
    world.get_as(&new.sign(&issuer.claims_with("exp", json!(i64::MAX))), PAYMENTS, 200).await;
    assert_eq!(issuer.asked(), 2);
    world.clock.advance_ms(61_000);
    world.get_as(&new.sign(&issuer.claims_with("exp", json!(i64::MAX))), PAYMENTS, 200).await;
    assert_eq!(issuer.asked(), 3);
}

#[tokio::test]
async fn an_issuer_that_cannot_be_asked_is_no_ones_fault_but_ours() {
    let key = Key::new(Algorithm::EdDSA, "one");
    let issuer = Issuer::start(&[&key]).await;
    let world = world(&issuer).await;
    let token = key.sign(&issuer.claims());
    let good = issuer.says.lock().unwrap().document.clone();
    let filler = "x".repeat(200_000);
    for wrong in [
        json!({ "issuer": "https://other.example", "jwks_uri": format!("{}/keys", issuer.url) }),
        json!({ "issuer": issuer.url }),
        json!({ "issuer": issuer.url, "jwks_uri": format!("{}/absent", issuer.url) }),
        json!({ "issuer": issuer.url, "jwks_uri": "http://10.0.0.1/keys" }),
        json!({ "issuer": issuer.url, "jwks_uri": "http://shop.example/keys" }),
        json!({ "issuer": issuer.url, "jwks_uri": "file:///etc/passwd" }),
        json!({ "issuer": issuer.url, "jwks_uri": format!("{}/keys", issuer.url), "filler": filler }),
        json!([]),
    ] {
        issuer.says.lock().unwrap().document = wrong;
        let answer = world.get_as(&token, PAYMENTS, 503).await;
        assert_eq!((answer.code(), answer.header("retry-after")), ("unavailable", Some("2")));
        // What can be said without its keys is said.
        assert_eq!(refused(&world, "a.b.c").await, "token_invalid");
        world.get(PAYMENTS, 200).await;
        world.clock.advance_ms(5_000);
    }
    issuer.says.lock().unwrap().document = good;
    for wrong in [json!({ "keys": [key.public], "filler": filler }), json!({}), json!({ "keys": 7 })] {
        issuer.says.lock().unwrap().set = wrong;
        assert_eq!(world.get_as(&token, PAYMENTS, 503).await.code(), "unavailable");
        let asked = issuer.asked();
        assert_eq!(world.get_as(&token, PAYMENTS, 503).await.code(), "unavailable");
        assert_eq!(issuer.asked(), asked, "it is left alone for a moment");
        world.clock.advance_ms(5_000);
    }
    issuer.publish(&[&key]);
    world.get_as(&token, PAYMENTS, 200).await;
}

#[tokio::test]
async fn an_issuer_without_tls_is_not_asked() {
    let key = Key::new(Algorithm::EdDSA, "one");
    let issuer = Issuer::start(&[&key]).await;
    let settings = Settings { issuer: "http://issuer.example".to_owned(), ..issuer.settings() };
    let world = World::with_issuer(settings).await;
    let token = key.sign(&issuer.claims_with("iss", json!("http://issuer.example")));
    assert_eq!(world.get_as(&token, PAYMENTS, 503).await.code(), "unavailable");
}

#[tokio::test]
async fn without_an_issuer_no_other_tokens_are_known() {
    let key = Key::new(Algorithm::EdDSA, "one");
    let issuer = Issuer::start(&[&key]).await;
    let world = World::start().await;
    world.merchants.put_merchant(&build::merchant("shop")).await.unwrap();
    assert_eq!(refused(&world, &key.sign(&issuer.claims())).await, "token_invalid");
    assert_eq!(issuer.asked(), 0);
}
