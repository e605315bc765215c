//! Signing up, the profile, API keys.
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
use serde_json::{Value, json};

use crate::common::{
    World,
    people::{PASSWORD, sign_up_body, unique},
    request,
};

#[tokio::test]
async fn who_signs_up_can_be_paid_at_once() {
    let world = World::start().await;
    let shop = world.sign_up("shop").await;

    let body = common::body();
    world.call("POST", "/v1/payments", &shop.key, Some(&body), 201).await;
    let me = world.call("GET", "/v1/merchants/me", &shop.key, None, 200).await.body;
    assert_eq!((me["id"].as_str(), me["mode"].as_str()), (Some(shop.merchant_id.as_str()), Some("test")));

    let token = world.token(&shop.email).await;
    let body = json!({ "name": "Another name" });
    let changed = world.call("PATCH", "/v1/merchants/me", &token, Some(&body), 200).await.body;
    assert_eq!(changed["name"], "Another name");
    let log = world.call("GET", "/v1/audit_log", &token, None, 200).await.body;
    let actions: Vec<_> =
        log["data"].as_array().unwrap().iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    assert_eq!(actions.len(), 2);
    assert!(actions.contains(&"merchant.change") && actions.contains(&"merchant.sign_up"));
    assert_eq!(log["data"][0]["actor"], shop.owner_id);
}

#[tokio::test]
async fn signing_up_twice_is_as_good_as_once() {
    let world = World::start().await;
    let body = sign_up_body("shop", "ada@shop.example");
    let first = world.call_with("POST", "/v1/merchants", ("", "k"), Some(&body), 201).await;
    let again = world.call_with("POST", "/v1/merchants", ("", "k"), Some(&body), 201).await;
    assert_eq!(first.body, again.body);
    assert_eq!((first.header("idempotent-replayed"), again.header("idempotent-replayed")), (None, Some("true")));

    // The same key does not show another one's key.
    let mut other = body.clone();
    other["owner"]["password"] = json!("another fine password");
    let refused = world.call_with("POST", "/v1/merchants", ("", "k"), Some(&other), 422).await;
    assert_eq!(refused.code(), "idempotency_key_reused");
    assert!(!refused.body.to_string().contains("sk_test_"));
    let mut other = body.clone();
    other["name"] = json!("other");
    world.call_with("POST", "/v1/merchants", ("", "k"), Some(&other), 422).await;
    // An address has one user.
    let taken = world.call_with("POST", "/v1/merchants", ("", "other key"), Some(&body), 400).await;
    assert_eq!(taken.code(), "idempotency_key_invalid");
    let taken = world.call_with("POST", "/v1/merchants", ("", "k2"), Some(&body), 409).await;
    assert_eq!(taken.code(), "email_taken");
}

#[tokio::test]
async fn what_is_wrong_with_a_sign_up_is_named() {
    let world = World::start().await;
    let cases = [
        (json!({}), vec![("/name", "name_missing"), ("/owner", "owner_missing")]),
        (json!({ "name": "a", "owner": "Ada" }), vec![("/owner", "owner_invalid")]),
        (
            json!({ "name": "a", "owner": { "name": "", "email": "ada", "password": "short", "x": 1 } }),
            vec![
                ("/owner/name", "name_invalid"),
                ("/owner/email", "email_invalid"),
                ("/owner/password", "password_invalid"),
                ("/owner/x", "field_unknown"),
            ],
        ),
    ];
    for (body, errors) in cases {
        let answer = world.call("POST", "/v1/merchants", "", Some(&body), 422).await;
        assert_eq!(answer.errors(), errors);
        assert!(!answer.body.to_string().contains("short"));
    }
    let without_key = request("POST", "/v1/merchants").header("content-type", "application/json");
    let answer = world.send(without_key.body(Body::from("{}")).unwrap(), 400).await;
    assert_eq!(answer.code(), "idempotency_key_missing");
}

#[tokio::test]
async fn keys_are_shown_once_rotated_and_revoked() {
    let world = World::start().await;
    let shop = world.sign_up("shop").await;
    let token = world.token(&shop.email).await;
    let body = json!({ "name": "till" });
    let old = world.call_with("POST", "/v1/api_keys", (&token, "one"), Some(&body), 201).await;
    let replayed = world.call_with("POST", "/v1/api_keys", (&token, "one"), Some(&body), 201).await;
    assert_eq!(old.body, replayed.body);
    let new = world.call("POST", "/v1/api_keys", &token, Some(&body), 201).await.body;
    let third = world.call("POST", "/v1/api_keys", &token, Some(&body), 409).await;
    assert_eq!(third.code(), "api_keys_too_many");

    let secret = |key: &Value| key["secret"].as_str().unwrap().to_owned();
    let (old_secret, new_secret) = (secret(&old.body), secret(&new));
    for key in [&old_secret, &new_secret] {
        world.call("GET", "/v1/payments", key, None, 200).await;
    }
    // The list tells keys apart and shows none of them.
    let listed = world.call("GET", "/v1/api_keys", &token, None, 200).await.body;
    let text = listed.to_string();
    assert!(!text.contains(&old_secret) && !text.contains(&new_secret) && !text.contains(&shop.key));
    assert_eq!(listed["data"].as_array().unwrap().len(), 3);
    assert_eq!(listed["data"][0]["last4"], new_secret[new_secret.len() - 4..]);
    assert_eq!(listed["data"][0]["last_used_at"], "2026-11-21T09:00:00.000Z");

    let path = format!("/v1/api_keys/{}", old.body["id"].as_str().unwrap());
    for _ in 0..2 {
        let revoked = world.call("DELETE", &path, &token, None, 200).await.body;
        assert_eq!(revoked["revoked_at"], "2026-11-21T09:00:00.000Z");
    }
    let refused = world.call("GET", "/v1/payments", &old_secret, None, 401).await;
    assert_eq!(refused.code(), "api_key_invalid");
    world.call("GET", "/v1/payments", &new_secret, None, 200).await;
    let replayed = world.call_with("POST", "/v1/api_keys", (&token, "one"), Some(&body), 409).await;
    assert_eq!(replayed.code(), "api_key_revoked");
    // There is room for the next one of this name.
    world.call("POST", "/v1/api_keys", &token, Some(&body), 201).await;
}

#[tokio::test]
async fn another_instance_believes_a_revoked_key_for_a_minute_at_most() {
    let world = World::start().await;
    let shop = world.sign_up("shop").await;
    let token = world.token(&shop.email).await;
    let other = world.another_instance().await;
    assert_eq!(other("/v1/payments", &shop.key).await, 200);
    world.call("DELETE", &format!("/v1/api_keys/{}", shop.key_id), &token, None, 200).await;
    world.clock.advance_ms(KEY_AGE_MS_MAX);
    assert_eq!(other("/v1/payments", &shop.key).await, 401);
}

#[tokio::test]
async fn a_secret_is_shown_for_a_day() {
    let world = World::start().await;
    let shop = world.sign_up("shop").await;
    let body = json!({ "name": "till" });
    let token = world.token(&shop.email).await;
    world.call_with("POST", "/v1/api_keys", (&token, "one"), Some(&body), 201).await;
    world.clock.advance_ms(24 * 60 * 60 * 1000);
    let token = world.token(&shop.email).await;
    let late = world.call_with("POST", "/v1/api_keys", (&token, "one"), Some(&body), 201).await.body;
    assert_eq!(late["secret"], Value::Null);
}

#[tokio::test]
async fn a_key_may_do_what_it_is_for_and_no_more_than_its_maker() {
    let world = World::start().await;
    let shop = world.sign_up("shop").await;
    let owner = world.token(&shop.email).await;
    let body = json!({ "name": "reports", "scopes": ["payments:read"] });
    let key = world.call("POST", "/v1/api_keys", &owner, Some(&body), 201).await.body;
    assert_eq!(key["scopes"], json!(["payments:read"]));
    let key = key["secret"].as_str().unwrap();
    world.call("GET", "/v1/payments", key, None, 200).await;
    let refused = world.call("POST", "/v1/payments", key, Some(&common::body()), 403).await;
    assert_eq!(refused.code(), "permission_missing");

    let (_, _, developer) = world.person(&owner, "developer").await;
    let body = json!({ "name": "refunds", "scopes": ["refunds:write"] });
    let refused = world.call("POST", "/v1/api_keys", &developer, Some(&body), 422).await;
    assert_eq!(refused.errors(), [("/scopes", "scopes_exceed_yours")]);
    let body = json!({ "name": "mine" });
    let all = world.call("POST", "/v1/api_keys", &developer, Some(&body), 201).await.body;
    assert!(!all["scopes"].to_string().contains("refunds:write"));
    for scopes in [json!([]), json!(["keys:write"]), json!(["payments:read", "payments:read"]), json!("payments:read")]
    {
        let body = json!({ "name": "x", "scopes": scopes });
        let refused = world.call("POST", "/v1/api_keys", &owner, Some(&body), 422).await;
        assert_eq!(refused.errors(), [("/scopes", "scopes_invalid")]);
    }
}

#[tokio::test]
async fn a_client_key_is_no_key_for_requests() {
    let world = World::start().await;
    let shop = world.sign_up("shop").await;
    let owner = world.token(&shop.email).await;
    let body = json!({ "name": "partner", "kind": "client" });
    let key = world.call("POST", "/v1/api_keys", &owner, Some(&body), 201).await.body;
    let refused = world.call("GET", "/v1/payments", key["secret"].as_str().unwrap(), None, 401).await;
    assert_eq!(refused.code(), "api_key_invalid");
}

/// Nothing that somebody could sign in or pay with is in a table.
#[tokio::test]
async fn no_table_holds_a_secret() {
    let world = World::start().await;
    let shop = world.sign_up(&unique("shop")).await;
    let session = world.login(&shop.email).await;
    let token = session["access_token"].as_str().unwrap();
    let body = json!({ "email": "bo@shop.example", "name": "Bo", "role": "viewer" });
    let invited = world.call("POST", "/v1/users", token, Some(&body), 201).await.body;
    let client = json!({ "name": "partner", "kind": "client" });
    let client = world.call("POST", "/v1/api_keys", token, Some(&client), 201).await.body;
    world.call("POST", "/v1/payments", &shop.key, Some(&common::body()), 201).await;
    let secrets = [
        PASSWORD,
        &shop.key,
        token,
        session["refresh_token"].as_str().unwrap(),
        invited["invitation_token"].as_str().unwrap(),
        client["secret"].as_str().unwrap(),
    ];
    let mut items = 0;
    for table in ["merchants", "payments", "audit", "idempotency"] {
        let scan = world.dynamo.client.scan().table_name(table).send().await.unwrap();
        for item in scan.items() {
            items += 1;
            let text = format!("{item:?}");
            for secret in secrets {
                assert!(!text.contains(secret), "{table}");
                // Nor what stands behind the prefix.
                assert!(!text.contains(secret.rsplit(['_', '.']).next().unwrap()), "{table}");
            }
        }
    }
    assert!(items > 8, "{items}");
}
