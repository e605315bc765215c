//! The rate limit of a caller, and the headers of answers.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    unreachable_pub,
    missing_docs,
    reason = "a test stops at the first surprise"
)]

mod common;

use axum::body::Body;
use common::{KEY, OTHER_KEY, World, request};
use florin_domain::rate::{CREDIT_REQUESTS_MAX, Rate};

const PATH: &str = "/v1/payments?limit=1";

fn settlements(world: &World) -> u64 {
    world.dynamo.meter.counts().calls.get("UpdateItem").copied().unwrap_or_default()
}

#[tokio::test]
async fn a_caller_above_its_rate_is_told_when_to_come_back() {
    let world = World::with_rate(Rate::new(5, 20).unwrap()).await;
    let first = world.get(PATH, 200).await;
    assert_eq!(first.header("ratelimit-policy"), Some("\"requests\";q=20;w=4"));
    assert_eq!(first.header("ratelimit"), Some("\"requests\";r=19;t=1"));
    // The burst, and what an instance serves on credit.
    for _ in 1..20 + CREDIT_REQUESTS_MAX {
        world.get(PATH, 200).await;
    }

    let refused = world.get(PATH, 429).await;
    assert_eq!(refused.code(), "rate_limited");
    assert_eq!(refused.header("retry-after"), Some("2"));
    assert_eq!(refused.header("ratelimit"), Some("\"requests\";r=0;t=2"), "the same moment as Retry-After");
    assert_eq!(refused.header("cache-control"), Some("no-store"));

    let written = settlements(&world);
    for _ in 0..50 {
        world.get(PATH, 429).await;
    }
    assert_eq!(settlements(&world), written, "refusals are not written");
    world.get_as_other(PATH, 200).await;
    world.get("/health", 200).await;

    world.clock.advance_ms(2_000);
    world.get(PATH, 200).await;
}

#[tokio::test]
async fn ten_requests_cost_one_write() {
    let world = World::start().await;
    for _ in 0..100 {
        world.get(PATH, 200).await;
    }
    assert_eq!(settlements(&world), 9, "the last ten are still owed");
}

#[tokio::test]
async fn what_a_caller_may_not_do_counts_too() {
    let world = World::with_rate(Rate::new(1, 1).unwrap()).await;
    world.get("/v1/payments/pay_nothing", 404).await;
    world.get("/v1/payments/pay_nothing", 404).await;
    world.get("/v1/payments/pay_nothing", 429).await;
}

#[tokio::test]
async fn requests_without_a_caller_have_no_rate() {
    let world = World::with_rate(Rate::new(1, 1).unwrap()).await;
    for _ in 0..3 {
        let wrong = request("GET", PATH).header("x-api-key", "sk_test_wrong").body(Body::empty()).unwrap();
        let answer = world.send(wrong, 401).await;
        assert_eq!(answer.header("ratelimit"), None);
        world.look("stuck", 200).await;
    }
}

#[tokio::test]
async fn a_limiter_whose_table_is_away_lets_everybody_through() {
    let world = World::with_rate(Rate::new(1, 10).unwrap()).await;
    // The key is remembered, so that nothing else needs the table.
    world.get(PATH, 200).await;
    world.dynamo.client.delete_table().table_name("merchants").send().await.unwrap();
    for _ in 0..50 {
        world.get(PATH, 200).await;
    }
}

#[tokio::test]
async fn every_answer_is_protected() {
    let world = World::start().await;
    for (path, status) in [("/health", 200), (PATH, 401), ("/nowhere", 404)] {
        let get = || request("GET", path);
        let answer = world.send(get().header("x-forwarded-proto", "https").body(Body::empty()).unwrap(), status).await;
        for (name, value) in [
            ("strict-transport-security", "max-age=31536000"),
            ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
            ("x-frame-options", "DENY"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path}: {name}");
        }
        assert!(answer.header("permissions-policy").is_some());
        let plain = world.send(get().header("x-forwarded-proto", "http").body(Body::empty()).unwrap(), status).await;
        assert_eq!(plain.header("strict-transport-security"), None);
    }
}

#[tokio::test]
async fn the_request_id_is_ours_whatever_the_client_calls_it() {
    let world = World::start().await;
    for (sent, key) in [("mine-7", KEY), ("4242424242424242", OTHER_KEY)] {
        let get = request("GET", PATH).header("x-api-key", key).header("x-request-id", sent);
        let answer = world.send(get.body(Body::empty()).unwrap(), 200).await;
        assert!(answer.header("x-request-id").unwrap().starts_with("req_"));
        assert_eq!(answer.header("x-correlation-id"), None);
    }
}
