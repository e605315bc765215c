//! What a client calls its request is carried by everything that the request sets off.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    unreachable_pub,
    missing_docs,
    reason = "a test stops at the first surprise"
)]

mod common;

use common::{Answer, World, body};
use florin_domain::{event::Event, payment::Payment};
use florin_testing::build;
use serde_json::json;

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

async fn pay(world: &World, key: &str, headers: &[(&str, &str)]) -> (Answer, Payment) {
    let headers = [headers, &[("idempotency-key", key)]].concat();
    let answer = world.post_with("/v1/payments", &headers, body().to_string(), 201).await;
    let payment = world.payment_in(&answer).await;
    (answer, payment)
}

/// The correlation id and trace of the last event.
fn last(world: &World) -> (String, Option<String>) {
    let Event { correlationid, traceparent, .. } = world.publisher.events().last().unwrap().clone();
    (correlationid, traceparent)
}

#[tokio::test]
async fn a_payment_carries_it_in_its_answer_its_event_and_its_record() {
    let world = World::start().await;
    let headers = [("x-correlation-id", "order-17"), ("traceparent", TRACE)];
    let (answer, payment) = pay(&world, "k", &headers).await;
    assert_eq!(answer.header("x-correlation-id"), Some("order-17"));
    assert_eq!(last(&world), ("order-17".to_owned(), Some(TRACE.to_owned())));
    assert_eq!(payment.correlation_id.as_deref(), Some("order-17"));

    // Asked again without it, the same event is the same; a command may have one of its own.
    pay(&world, "k", &[]).await;
    assert_eq!(last(&world).0, "order-17");
    let hold = format!("/v1/payments/{}/hold", payment.id);
    world.post_with(&hold, &[("x-correlation-id", "review-3")], "{}".to_owned(), 200).await;
    assert_eq!(last(&world).0, "review-3");
    world.post_with(&format!("/v1/payments/{}/resume", payment.id), &[], "{}".to_owned(), 200).await;
    assert_eq!(last(&world).0, "order-17");
}

#[tokio::test]
async fn without_one_or_with_one_that_is_not_fit_it_is_the_payments_id() {
    let world = World::start().await;
    let long = "x".repeat(65);
    for (n, unfit) in ["", "with space", "4242424242424242", &long].into_iter().enumerate() {
        let headers = [("x-correlation-id", unfit), ("traceparent", "01-2-3-4")];
        let (answer, payment) = pay(&world, &format!("k{n}"), &headers).await;
        assert_eq!((answer.header("x-correlation-id"), payment.correlation_id), (None, None), "{unfit}");
        assert_eq!(last(&world), (payment.id.to_string(), None), "{unfit}");
    }
}

#[tokio::test]
async fn a_refund_carries_its_own() {
    let world = World::start().await;
    let payment = world.payment("k", &body()).await;
    world.payments.save(&payment, &build::completed(&payment, 100)).await.unwrap();
    let path = format!("/v1/payments/{}/refunds", payment.id);
    let headers = [("idempotency-key", "r"), ("x-correlation-id", "return-4")];
    let refund = json!({ "amount": 1 }).to_string();
    let answer = world.post_with(&path, &headers, refund.clone(), 201).await;
    assert_eq!(last(&world).0, "return-4");
    let id = answer.body["id"].as_str().unwrap().parse().unwrap();
    let stored = world.payments.refund(&payment.merchant_id, &id).await.unwrap().unwrap();
    assert_eq!(stored.correlation_id.as_deref(), Some("return-4"));
    world.post_to(&path, "r", refund, 201).await;
    assert_eq!(last(&world).0, "return-4");
}
