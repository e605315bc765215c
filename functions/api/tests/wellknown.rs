//! What others read to check our tokens.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    unreachable_pub,
    missing_docs,
    reason = "a test stops at the first surprise"
)]

mod common;

use axum::body::Body;
use serde_json::{Value, json};

use crate::common::{Answer, PUBLIC_URL, World, request};

async fn open(world: &World, path: &str) -> Answer {
    world.send(request("GET", path).body(Body::empty()).unwrap(), 200).await
}

#[tokio::test]
async fn anybody_finds_the_keys_by_the_issuer() {
    let world = World::start().await;
    let document = open(&world, "/.well-known/openid-configuration").await;
    assert_eq!(document.body["issuer"], PUBLIC_URL);
    assert_eq!(document.body["id_token_signing_alg_values_supported"], json!(["EdDSA"]));
    for required in ["jwks_uri", "response_types_supported", "subject_types_supported"] {
        assert!(document.body.get(required).is_some(), "{required}");
    }
    let path = document.body["jwks_uri"].as_str().unwrap().strip_prefix(PUBLIC_URL).unwrap().to_owned();
    let keys = open(&world, &path).await;
    assert_eq!(keys.body, world.tokens().jwks());
    for key in keys.body["keys"].as_array().unwrap() {
        let names: Vec<&str> = key.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, ["alg", "crv", "kid", "kty", "use", "x"], "public parts only");
    }
    for answer in [document, keys] {
        assert_eq!(answer.header("cache-control"), Some("public, max-age=3600"));
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert!(answer.header("x-request-id").is_some());
    }
}

#[tokio::test]
async fn nothing_else_is_kept() {
    let world = World::start().await;
    assert_eq!(open(&world, "/health").await.header("cache-control"), Some("no-store"));
    let wrong = world.send(request("POST", "/.well-known/jwks.json").body(Body::empty()).unwrap(), 405).await;
    assert_eq!(
        (wrong.header("cache-control"), &wrong.body["code"]),
        (Some("no-store"), &Value::from("method_not_allowed"))
    );
}
