//! Creating, reading and listing payments.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    unreachable_pub,
    missing_docs,
    reason = "a test stops at the first surprise"
)]

mod common;

use axum::body::Body;
use common::{KEY, World, body, body_with, request};
use florin_domain::{event::EventType, payment::Status};
use florin_testing::{build, fakes::Script};
use serde_json::{Value, json};

#[tokio::test]
async fn a_payment_is_created_in_one_write_and_announced() {
    let world = World::start().await;
    world.get("/v1/payments", 200).await;
    world.dynamo.meter.reset();
    let answer = world.post("7f0c", &body(), 201).await;
    let counts = world.dynamo.meter.counts();
    assert_eq!(counts.calls.into_iter().collect::<Vec<_>>(), [("PutItem".to_owned(), 1)]);
    assert!(counts.write_units["payments"] <= 3.0, "the item and its two indexes: {:?}", counts.write_units);

    let id = answer.body["id"].as_str().unwrap().to_owned();
    let expected = json!({
        "id": id, "object": "payment", "status": "pending", "amount": 10000, "currency": "NGN", "amount_refunded": 0,
        "source": { "type": "card", "brand": "visa", "last4": "4242", "expiry": "12/30", "holder_name": "Ada Obi" },
        "customer": null, "description": "Order 17", "metadata": { "order_id": "17" }, "webhook_url": "https://shop.example/hooks",
        "failure": null, "gateway_reference": null, "process_at": null,
        "cancel_requested": false, "stuck": false,
        "created_at": "2026-11-21T09:00:00.000Z", "updated_at": "2026-11-21T09:00:00.000Z", "version": 1
    });
    assert_eq!(answer.body, expected);
    assert_eq!(answer.header("location"), Some(format!("/v1/payments/{id}").as_str()));
    assert_eq!(world.get(&format!("/v1/payments/{id}"), 200).await.body, expected);
    assert_eq!(
        world.get(&format!("/v1/payments/{id}/timeline"), 200).await.body,
        json!({ "object": "list", "data": [] })
    );

    let events = world.publisher.events();
    assert_eq!((events.len(), events[0].event_type, events[0].sequence), (1, EventType::PaymentInitiated, 1));
    assert_eq!(serde_json::to_value(&events[0].data).unwrap(), expected);
}

#[tokio::test]
async fn the_same_request_is_answered_the_same_whatever_has_become_of_the_payment() {
    let world = World::start().await;
    let first = world.post("k", &body(), 201).await;
    assert_eq!(first.header("idempotent-replayed"), None);
    // Within the same millisecond the write could be our own, tried again by the SDK.
    world.clock.advance_ms(1);
    let again = world.post("\"k\"", &body(), 201).await;
    assert_eq!((again.header("idempotent-replayed"), &again.body), (Some("true"), &first.body));
    assert_eq!(world.publisher.events().len(), 2, "a payment that still waits may have lost its event");
    assert_eq!(world.publisher.events()[0].id, world.publisher.events()[1].id);

    let id = first.body["id"].as_str().unwrap().parse().unwrap();
    let payment = world.payments.get_of_any_merchant(&id).await.unwrap().unwrap();
    let completed = build::completed(&payment, 100);
    let claimed_version = completed.version;
    // Straight to its end: the saga's own steps are the processor's tests.
    world.payments.save(&payment, &completed).await.unwrap();
    world.clock.advance_ms(3_600_000);
    let late = world.post("k", &body(), 201).await;
    assert_eq!((late.header("idempotent-replayed"), &late.body), (Some("true"), &first.body));
    assert_eq!(world.publisher.events().len(), 2, "a payment that has ended is not announced again");
    let current = world.get(&format!("/v1/payments/{id}"), 200).await;
    assert_eq!(
        (current.body["status"].as_str(), current.body["version"].as_i64()),
        (Some("completed"), Some(claimed_version))
    );
    assert_eq!(world.stored().await, 1);
}

#[tokio::test]
async fn a_key_used_for_another_request_names_the_first_field_that_differs() {
    let world = World::start().await;
    world.post("k", &body(), 201).await;
    for (pointer, value) in [
        ("/amount", json!(10_001)),
        ("/currency", json!("USD")),
        ("/source/number", json!("5555555555554444")),
        ("/source/expiry", json!("11/30")),
        ("/source/holder_name", json!("Eve")),
        ("/customer", json!("c-1")),
        ("/description", json!(null)),
        ("/metadata", json!({})),
        ("/webhook_url", json!("https://shop.example/other")),
    ] {
        let answer = world.post("k", &body_with(pointer, value), 422).await;
        assert_eq!(answer.errors(), [(pointer, "idempotency_key_reused")]);
        assert_eq!(answer.code(), "idempotency_key_reused");
    }
    assert_eq!((world.stored().await, world.publisher.events().len()), (1, 1));
}

#[tokio::test]
async fn fifty_copies_of_a_request_at_once_make_one_payment() {
    let world = World::start().await;
    let answers = futures_join((0..50).map(|_| async {
        let request = request("POST", "/v1/payments")
            .header("x-api-key", KEY)
            .header("content-type", "application/json")
            .header("idempotency-key", "k");
        world.send(request.body(Body::from(body().to_string())).unwrap(), 201).await.body
    }))
    .await;
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(world.stored().await, 1);
}

async fn futures_join<F: Future<Output = Value>>(futures: impl Iterator<Item = F>) -> Vec<Value> {
    let mut futures: Vec<_> = futures.map(Box::pin).collect();
    let mut done = Vec::new();
    std::future::poll_fn(|context| {
        futures.retain_mut(|future| match future.as_mut().poll(context) {
            std::task::Poll::Ready(value) => {
                done.push(value);
                false
            }
            std::task::Poll::Pending => true,
        });
        if futures.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done
}

#[tokio::test]
async fn a_payment_is_accepted_although_its_event_could_not_be_published() {
    let world = World::start().await;
    world.publisher.fail_next(1);
    let answer = world.post("k", &body(), 201).await;
    assert_eq!(answer.body["status"], "pending");
    let due = world.due(build::START.plus_ms(florin_store::payments::DUE_AFTER_MS)).await;
    assert_eq!(due, [answer.body["id"].as_str().unwrap()], "the due index has it for the sweeper");
}

#[tokio::test]
async fn the_gateways_no_and_the_gateways_absence() {
    let world = World::start().await;
    world.gateway.script([Script::Decline("invalid_card"), Script::Unavailable, Script::Lost]);
    let refused = world.post("k", &body(), 402).await;
    assert_eq!((refused.code(), refused.errors()), ("invalid_card", vec![("/source", "card_refused")]));
    for _ in 0..2 {
        let absent = world.post("k", &body(), 503).await;
        assert_eq!((absent.code(), absent.header("retry-after")), ("gateway_unavailable", Some("2")));
    }
    assert_eq!(world.stored().await, 0);
    let first = world.post("k", &body(), 201).await;
    world.gateway.script([Script::Unavailable]);
    let replayed = world.post("k", &body(), 201).await;
    assert_eq!(replayed.body, first.body, "a replay does not need the gateway");
}

#[tokio::test]
async fn another_merchants_payment_is_no_payment() {
    let world = World::start().await;
    let id = world.post("k", &body(), 201).await.body["id"].as_str().unwrap().to_owned();
    for path in [format!("/v1/payments/{id}"), format!("/v1/payments/{id}/timeline")] {
        assert_eq!(world.get_as_other(&path, 404).await.code(), "payment_not_found");
        world.get(&path, 200).await;
    }
    assert_eq!(world.get_as_other("/v1/payments", 200).await.body["data"], json!([]));
}

#[tokio::test]
async fn lists_page_newest_first_and_filter() {
    let world = World::start().await;
    let mut ids = Vec::new();
    for n in 0..7 {
        let currency = if n % 2 == 0 { "NGN" } else { "KES" };
        let answer = world.post(&format!("k{n}"), &body_with("/currency", json!(currency)), 201).await;
        ids.insert(0, answer.body["id"].as_str().unwrap().to_owned());
        world.clock.advance_ms(if n == 3 { 0 } else { 1_000 });
    }
    // Two payments of the same millisecond have an order of their own, but both are there.
    let all = pages(&world, "limit=3").await;
    assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>(), ids.iter().collect());
    assert_eq!((all.len(), &all[0], &all[6]), (7, &ids[0], &ids[6]));
    assert_eq!(pages(&world, "currency=KES&limit=1").await.len(), 3);
    assert_eq!(pages(&world, "status=pending&limit=2").await.len(), 7);
    assert_eq!(pages(&world, "status=completed").await.len(), 0);
    let range = "created_from=2026-11-21T09:00:01Z&created_to=2026-11-21T09:00:02Z";
    assert_eq!(pages(&world, range).await.len(), 2);
    assert_eq!(world.get("/v1/payments?limit=7", 200).await.body["has_more"], false);

    let id = ids[2].parse().unwrap();
    let payment = world.payments.get_of_any_merchant(&id).await.unwrap().unwrap();
    let completed = build::completed(&payment, 100);
    assert_eq!(completed.status, Status::Completed);
    world.payments.save(&payment, &completed).await.unwrap();
    assert_eq!(pages(&world, "status=completed&limit=1").await, [ids[2].clone()]);

    let mut of_customer = Vec::new();
    for n in 0..3 {
        let payment = world.payment(&format!("c{n}"), &body_with("/customer", json!("c:1"))).await;
        assert_eq!(payment.customer.as_deref(), Some("c:1"));
        of_customer.insert(0, payment.id.to_string());
        world.clock.advance_ms(1_000);
    }
    assert_eq!(pages(&world, "customer=c:1&limit=2").await, of_customer);
    assert_eq!(pages(&world, "customer=c:1&currency=KES").await.len(), 0);
    assert_eq!(pages(&world, "customer=c:2").await.len(), 0);
    assert_eq!(world.get_as_other("/v1/payments?customer=c:1", 200).await.body["data"], json!([]));
    assert_eq!(world.get("/v1/payments?customer=Ada%20Obi", 400).await.errors(), [("customer", "customer_invalid")]);
    assert_eq!(world.get("/v1/refunds?customer=c:1", 400).await.errors(), [("customer", "parameter_unknown")]);
}

/// Follows the cursors to the end.
async fn pages(world: &World, query: &str) -> Vec<String> {
    let mut ids = Vec::new();
    let mut cursor = String::new();
    for _ in 0..20 {
        let page = world.get(&format!("/v1/payments?{query}{cursor}"), 200).await.body;
        let data = page["data"].as_array().unwrap();
        ids.extend(data.iter().map(|payment| payment["id"].as_str().unwrap().to_owned()));
        match page["next_cursor"].as_str() {
            None => {
                assert_eq!(page["has_more"], false);
                return ids;
            }
            Some(next) => {
                assert_eq!(page["has_more"], true);
                cursor = format!("&cursor={next}");
            }
        }
    }
    panic!("the list does not end");
}

#[tokio::test]
async fn nothing_secret_is_stored_or_published() {
    let world = World::start().await;
    world.post("k", &body_with("/source/cvv", json!("987")), 201).await;
    let items = world.dynamo.client.scan().table_name("payments").send().await.unwrap();
    let kept = format!("{:?} {:?}", items.items(), world.publisher.events()).replace(' ', "");
    for secret in ["4242424242424242", "42424242", "\"987\"", KEY] {
        assert!(!kept.contains(secret), "{secret}");
    }
}
