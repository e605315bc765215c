//! A client's secret for an access token, and what the token is good for.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    unreachable_pub,
    missing_docs,
    reason = "a test stops at the first surprise"
)]

mod common;

use axum::body::Body;
use florin_api::KEY_AGE_MS_MAX;
use florin_domain::{
    card::Mode,
    ids::ApiKeyId,
    merchant::{ApiKeyRecord, KeyKind},
    permission::Permissions,
};
use florin_platform::{
    secrets::RootKey,
    tokens::{Grant, Subject},
};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::common::{Answer, KEY, OTHER_KEY, World, api_key, request};

const SCOPES: &str = "payments:read payments:write analytics:read";

/// A client of this merchant, with its secret.
struct Client {
    record: ApiKeyRecord,
    secret: String,
}

impl Client {
    async fn of(world: &World, merchant: &str) -> Self {
        let id = ApiKeyId::derive(&[merchant, "client"]);
        let secret = world.root_key.api_key_text(&id, Mode::Test).expose_secret().to_owned();
        let scopes = Permissions::from_scopes(SCOPES).unwrap();
        let record = ApiKeyRecord { id, kind: KeyKind::Client, scopes, ..api_key(&world.root_key, merchant, &secret) };
        world.merchants.put_api_key(&record).await.unwrap();
        Self { record, secret }
    }

    fn form(&self, more: &str) -> String {
        format!("grant_type=client_credentials&client_id={}&client_secret={}{more}", self.record.id, self.secret)
    }

    async fn revoke(&self, world: &World) {
        let revoked = ApiKeyRecord { revoked: true, ..self.record.clone() };
        world.merchants.put_api_key(&revoked).await.unwrap();
    }

    async fn token(&self, world: &World) -> String {
        let answer = ask(world, &self.form(""), None, 200).await;
        answer.body["access_token"].as_str().unwrap().to_owned()
    }
}

async fn ask(world: &World, form: &str, authorization: Option<&str>, expected: u16) -> Answer {
    let mut asked = request("POST", "/oauth/token").header("content-type", "application/x-www-form-urlencoded");
    if let Some(authorization) = authorization {
        asked = asked.header("authorization", authorization);
    }
    let (status, answer) = world.raw(asked.body(Body::from(form.to_owned())).unwrap()).await;
    assert_eq!(status, expected, "{:#}", answer.body);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    answer
}

fn basic(id: &str, secret: &str) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))
}

#[tokio::test]
async fn a_client_gets_a_token_and_acts_with_it() {
    let world = World::start().await;
    let client = Client::of(&world, "shop").await;
    let mine = world.payment("1", &common::body()).await;

    let basic = basic(client.record.id.as_str(), &client.secret);
    for (form, authorization) in
        [(client.form(""), None), ("grant_type=client_credentials".to_owned(), Some(basic.as_str()))]
    {
        let answer = ask(&world, &form, authorization, 200).await;
        let names: Vec<&str> = answer.body.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, ["access_token", "expires_in", "scope", "token_type"]);
        assert_eq!((&answer.body["token_type"], &answer.body["expires_in"]), (&json!("Bearer"), &json!(900)));
        assert_eq!(answer.body["scope"], SCOPES);
        let token = answer.body["access_token"].as_str().unwrap();
        assert_eq!(world.get_as(token, "/v1/payments", 200).await.body["data"][0]["id"], mine.id.as_str());
        assert_eq!(world.get_as(token, "/v1/api_keys", 403).await.code(), "permission_missing");
    }

    let other = Client::of(&world, "other").await.token(&world).await;
    assert_eq!(world.get_as(&other, &format!("/v1/payments/{}", mine.id), 404).await.code(), "payment_not_found");
    assert_eq!(world.get_as(&other, "/v1/payments", 200).await.body["data"], json!([]));
}

#[tokio::test]
async fn scopes_can_be_fewer_and_never_more() {
    let world = World::start().await;
    let client = Client::of(&world, "shop").await;
    let fewer = ask(&world, &client.form("&scope=payments%3Aread"), None, 200).await;
    assert_eq!(fewer.body["scope"], "payments:read");
    let token = fewer.body["access_token"].as_str().unwrap();
    world.get_as(token, "/v1/payments", 200).await;
    world.get_as(token, "/v1/analytics/payments", 403).await;
    assert_eq!(ask(&world, &client.form("&scope="), None, 200).await.body["scope"], SCOPES);
    for scope in ["refunds:write", "payments:read+refunds:write", "payments:fly", "keys:write"] {
        let refused = ask(&world, &client.form(&format!("&scope={scope}")), None, 400).await;
        assert_eq!(refused.body["error"], "invalid_scope", "{scope}");
    }
    // What the client may do now is what counts, and not what it could when the token was made.
    let record = ApiKeyRecord { scopes: Permissions::from_scopes("analytics:read").unwrap(), ..client.record.clone() };
    let before = client.token(&world).await;
    world.merchants.put_api_key(&record).await.unwrap();
    world.clock.advance_ms(KEY_AGE_MS_MAX);
    world.get_as(&before, "/v1/payments", 403).await;
}

#[tokio::test]
async fn whatever_is_wrong_with_a_client_is_answered_alike() {
    let world = World::start().await;
    let client = Client::of(&world, "shop").await;
    let other = Client::of(&world, "other").await;
    let (id, secret) = (client.record.id.as_str(), client.secret.as_str());
    let absent = ApiKeyId::derive(&["nobody"]);
    let secret_key = ApiKeyId::derive(&[KEY]);
    let mut answers = Vec::new();
    for (id, secret) in [
        (id, other.secret.as_str()),
        (id, "sk_test_00000000000000000000000000000000"),
        (id, "nonsense"),
        (other.record.id.as_str(), secret),
        (absent.as_str(), secret),
        ("nonsense", secret),
        // A key that is used directly is no client.
        (secret_key.as_str(), KEY),
    ] {
        let form = format!("grant_type=client_credentials&client_id={id}&client_secret={secret}");
        answers.push(ask(&world, &form, None, 401).await);
        answers.push(ask(&world, "grant_type=client_credentials", Some(&basic(id, secret)), 401).await);
    }
    client.revoke(&world).await;
    answers.push(ask(&world, &client.form(""), None, 401).await);
    for nobody in ["Basic", "Basic !", "Bearer x", &basic("", "")] {
        answers.push(ask(&world, "grant_type=client_credentials", Some(nobody), 401).await);
    }
    answers.push(ask(&world, "grant_type=client_credentials", None, 401).await);
    for answer in &answers {
        assert_eq!(answer.body, answers[0].body);
        assert_eq!(answer.header("www-authenticate"), Some("Basic realm=\"florin\""));
    }
    assert_eq!(answers[0].body["error"], "invalid_client");
}

#[tokio::test]
async fn what_is_wrong_with_the_form_is_named() {
    let world = World::start().await;
    let client = Client::of(&world, "shop").await;
    let basic = basic(client.record.id.as_str(), &client.secret);
    let error = async |form: &str, authorization: Option<&str>| -> Value {
        ask(&world, form, authorization, 400).await.body["error"].clone()
    };
    assert_eq!(error("", Some(&basic)).await, "invalid_request");
    assert_eq!(error("grant_type=", Some(&basic)).await, "invalid_request");
    for other in ["password", "authorization_code", "CLIENT_CREDENTIALS"] {
        assert_eq!(error(&format!("grant_type={other}"), Some(&basic)).await, "unsupported_grant_type");
    }
    assert_eq!(error(&client.form("&scope=payments:read&scope=payments:write"), None).await, "invalid_request");
    assert_eq!(error(&client.form(""), Some(&basic)).await, "invalid_request", "the secret is in both places");
    let otherwise = "grant_type=client_credentials&client_id=key_other";
    assert_eq!(error(otherwise, Some(&basic)).await, "invalid_request");
    let json = request("POST", "/oauth/token").header("content-type", "application/json");
    let (status, answer) = world.raw(json.body(Body::from("{}")).unwrap()).await;
    assert_eq!((status, &answer.body["error"]), (400, &json!("invalid_request")));
    let long = request("POST", "/oauth/token").header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(world.send(long.body(Body::from("a".repeat(100_000))).unwrap(), 413).await.code(), "body_too_large");
    // Parameters that we do not know are none of our business.
    ask(&world, &client.form("&resource=https%3A%2F%2Fapi.florin.example"), None, 200).await;
}

#[tokio::test]
async fn a_clients_secret_is_no_key_and_a_key_is_no_token() {
    let world = World::start().await;
    let client = Client::of(&world, "shop").await;
    assert_eq!(world.get_as(&client.secret, "/v1/payments", 401).await.code(), "api_key_invalid");
    // Having been one in a token, it still is none directly.
    let token = client.token(&world).await;
    world.get_as(&token, "/v1/payments", 200).await;
    assert_eq!(world.get_as(&client.secret, "/v1/payments", 401).await.code(), "api_key_invalid");
    for wrong in ["a.b.c", "..", &token[..token.len() - 2], &format!("{token}.")] {
        assert_eq!(world.get_as(wrong, "/v1/payments", 401).await.code(), "token_invalid", "{wrong}");
    }
}

#[tokio::test]
async fn a_token_ends_after_a_quarter_of_an_hour() {
    let world = World::start().await;
    let token = Client::of(&world, "shop").await.token(&world).await;
    world.clock.advance_ms(900_000);
    world.get_as(&token, "/v1/payments", 200).await;
    world.clock.advance_ms(10_000);
    assert_eq!(world.get_as(&token, "/v1/payments", 401).await.code(), "token_expired");
}

#[tokio::test]
async fn a_revoked_clients_tokens_end_within_a_minute() {
    let world = World::start().await;
    let client = Client::of(&world, "shop").await;
    let token = client.token(&world).await;
    world.get_as(&token, "/v1/payments", 200).await;
    client.revoke(&world).await;
    assert_eq!(ask(&world, &client.form(""), None, 401).await.body["error"], "invalid_client", "at once");
    world.clock.advance_ms(KEY_AGE_MS_MAX);
    assert_eq!(world.get_as(&token, "/v1/payments", 401).await.code(), "token_invalid");
}

#[tokio::test]
async fn a_token_that_names_another_key_or_merchant_is_refused() {
    let world = World::start().await;
    let client = Client::of(&world, "shop").await;
    let scopes = client.record.scopes;
    let other = Client::of(&world, "other").await.record;
    let good = Grant {
        subject: Subject::Client { key_id: client.record.id.clone(), scopes },
        merchant_id: client.record.merchant_id.clone(),
    };
    let elsewhere = Grant { merchant_id: other.merchant_id, ..good.clone() };
    let nobody = Subject::Client { key_id: ApiKeyId::derive(&[OTHER_KEY]), scopes };
    let nobodys = Grant { subject: nobody, ..good.clone() };
    world.get_as(&world.tokens().issue(&good, world.clock.now()), "/v1/payments", 200).await;
    for grant in [elsewhere, nobodys] {
        let token = world.tokens().issue(&grant, world.clock.now());
        assert_eq!(world.get_as(&token, "/v1/payments", 401).await.code(), "token_invalid");
    }
    let other_root = RootKey::from_hex(&"5b".repeat(32)).unwrap();
    let forged = florin_platform::tokens::Tokens::new(&other_root, common::PUBLIC_URL.to_owned(), 1);
    let forged = forged.issue(&good, world.clock.now());
    assert_eq!(world.get_as(&forged, "/v1/payments", 401).await.code(), "token_invalid");
}
