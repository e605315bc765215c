//! Payment methods, and payments that are paid with them.
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
use common::{Answer, CARD_NUMBER, KEY, LIVE_KEY, OTHER_KEY, World, body as payment_body, request};
use florin_domain::{card::Mode, payment::StoredCard};
use florin_testing::fakes::Script;
use serde_json::{Value, json};

const ROUTE: &str = "/v1/payment_methods";

fn body() -> Value {
    json!({
        "card": { "number": CARD_NUMBER, "expiry": "12/30", "cvv": "987", "holder_name": "Ada Obi" },
        "customer": "cust-7", "metadata": { "note": "first" }
    })
}

fn body_with(pointer: &str, value: Value) -> Value {
    let mut body = body();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    body.pointer_mut(parent).unwrap().as_object_mut().unwrap().insert(name.to_owned(), value);
    body
}

async fn store(world: &World, key: &str, body: &Value, expected: u16) -> Answer {
    world.post_to(ROUTE, key, body.to_string(), expected).await
}

/// A new payment method's id.
async fn stored(world: &World, key: &str) -> String {
    store(world, key, &body(), 201).await.body["id"].as_str().unwrap().to_owned()
}

fn paid_with(id: &str) -> Value {
    let mut body = payment_body();
    body["source"] = json!({ "type": "payment_method", "id": id });
    body
}

#[tokio::test]
async fn a_payment_method_is_stored_in_one_write() {
    let world = World::start().await;
    world.get(ROUTE, 200).await;
    world.dynamo.meter.reset();
    let answer = store(&world, "k", &body(), 201).await;
    let counts = world.dynamo.meter.counts();
    let calls: Vec<_> = counts.calls.into_iter().collect();
    assert_eq!(calls, [("GetItem".to_owned(), 1), ("PutItem".to_owned(), 1)]);

    let id = answer.body["id"].as_str().unwrap().to_owned();
    let fingerprint = answer.body["card"]["fingerprint"].as_str().unwrap().to_owned();
    assert!(fingerprint.starts_with("print_"), "the gateway's");
    let expected = json!({
        "id": id, "object": "payment_method", "type": "card",
        "card": { "brand": "visa", "last4": "4242", "expiry": "12/30", "holder_name": "Ada Obi",
                  "fingerprint": fingerprint },
        "customer": "cust-7", "metadata": { "note": "first" }, "created_at": "2026-11-21T09:00:00.000Z"
    });
    assert!(id.starts_with("pm_"));
    assert_eq!(answer.body, expected);
    let path = format!("{ROUTE}/{id}");
    assert_eq!(answer.header("location"), Some(path.as_str()));
    assert_eq!(world.get(&path, 200).await.body, expected);
    assert_eq!(world.get_as_other(&path, 404).await.code(), "payment_method_not_found");
    assert_eq!(world.get_as_other(ROUTE, 200).await.body["data"], json!([]));
    world.get(&format!("{ROUTE}/pm_nonsense"), 404).await;
    assert_eq!(world.gateway.attached().len(), 1);
}

#[tokio::test]
async fn the_same_request_is_answered_the_same_and_keeps_no_second_card() {
    let world = World::start().await;
    let first = store(&world, "k", &body(), 201).await;
    assert_eq!(first.header("idempotent-replayed"), None);
    world.clock.advance_ms(1);
    for _ in 0..2 {
        let again = store(&world, "k", &body(), 201).await;
        assert_eq!((again.header("idempotent-replayed"), &again.body), (Some("true"), &first.body));
        world.gateway.away(true);
    }
    world.gateway.away(false);
    assert_eq!(world.gateway.attached().len(), 1);
    // The card may have expired since.
    world.clock.advance_ms(5 * 366 * 24 * 3_600_000);
    store(&world, "k", &body(), 201).await;
    assert_eq!(store(&world, "later", &body(), 422).await.errors(), [("/card/expiry", "card_expired")]);

    for (pointer, value) in [
        // Told apart by the gateway's fingerprint alone.
        ("/card/number", json!("4000 0000 0000 4242")),
        ("/card/number", json!("5555555555554444")),
        ("/card/expiry", json!("11/30")),
        ("/card/holder_name", json!("Eve")),
        ("/customer", json!(null)),
        ("/metadata", json!({})),
    ] {
        let answer = store(&world, "k", &body_with(pointer, value), 422).await;
        assert_eq!(answer.errors(), [(pointer, "idempotency_key_reused")]);
    }
    assert_eq!(world.gateway.attached().len(), 1);
}

#[tokio::test]
async fn copies_of_a_request_at_once_keep_one_card() {
    let world = World::start().await;
    let one = async || {
        let request = request("POST", ROUTE)
            .header("x-api-key", KEY)
            .header("content-type", "application/json")
            .header("idempotency-key", "k");
        world.send(request.body(Body::from(body().to_string())).unwrap(), 201).await.body
    };
    let answers = tokio::join!(one(), one(), one(), one(), one());
    for other in [&answers.1, &answers.2, &answers.3, &answers.4] {
        assert_eq!(*other, answers.0);
    }
    assert_eq!(world.gateway.attached().len(), 1, "whoever lost has the gateway drop its card");
}

#[tokio::test]
async fn wrong_fields_are_all_named_and_nothing_reaches_the_gateway() {
    let world = World::start().await;
    world.gateway.script([Script::Panic]);
    for (body, expected) in [
        (json!({}), vec![("/card", "card_missing")]),
        (json!({ "card": "4242" }), vec![("/card", "card_invalid")]),
        (
            json!({ "card": {}, "colour": "red" }),
            vec![
                ("/card/number", "card_number_missing"),
                ("/card/expiry", "expiry_missing"),
                ("/card/cvv", "cvv_missing"),
                ("/card/holder_name", "holder_name_missing"),
                ("/colour", "field_unknown"),
            ],
        ),
        (body_with("/card/number", json!("42")), vec![("/card/number", "card_number_invalid")]),
        (body_with("/card/pin", json!("1")), vec![("/card/pin", "field_unknown")]),
        (body_with("/card/holder_name", json!(CARD_NUMBER)), vec![("/card/holder_name", "card_number_in_text")]),
        (body_with("/card/expiry", json!("10/26")), vec![("/card/expiry", "card_expired")]),
        (body_with("/customer", json!("a b")), vec![("/customer", "customer_invalid")]),
        (body_with("/customer", json!(7)), vec![("/customer", "customer_invalid")]),
        (body_with("/customer", json!("c-4242424242424242")), vec![("/customer", "card_number_in_text")]),
        (body_with("/metadata", json!({ "n": CARD_NUMBER })), vec![("/metadata/n", "card_number_in_text")]),
    ] {
        assert_eq!(store(&world, "k", &body, 422).await.errors(), expected, "{body}");
    }
    let keyless = request("POST", ROUTE).header("x-api-key", KEY).header("content-type", "application/json");
    let answer = world.send(keyless.body(Body::from(body().to_string())).unwrap(), 400).await;
    assert_eq!(answer.code(), "idempotency_key_missing");
}

#[tokio::test]
async fn whatever_the_gateway_does_the_same_request_ends_with_one_card() {
    let world = World::start().await;
    world.gateway.script([Script::Decline("invalid_card"), Script::Unavailable, Script::Lost]);
    let refused = store(&world, "k", &body(), 402).await;
    assert_eq!((refused.code(), refused.errors()), ("invalid_card", vec![("/card", "card_refused")]));
    for _ in 0..2 {
        assert_eq!(store(&world, "k", &body(), 503).await.code(), "gateway_unavailable");
    }
    world.gateway.script_storing([Script::Decline("card_declined")]);
    assert_eq!(store(&world, "k", &body(), 402).await.errors(), [("/card", "card_refused")]);
    // Attached, but nobody heard.
    world.gateway.script_storing([Script::TakenThenLost]);
    assert_eq!(store(&world, "k", &body(), 503).await.code(), "gateway_unavailable");
    assert!(world.gateway.attached().is_empty(), "a card that nothing names is dropped");
    world.gateway.script_storing([Script::Lost, Script::Unavailable]);
    store(&world, "k", &body(), 503).await;
    assert_eq!(world.get(ROUTE, 200).await.body["data"], json!([]));
    store(&world, "k", &body(), 201).await;
    assert_eq!(world.gateway.attached().len(), 1);
}

#[tokio::test]
async fn a_deleted_payment_method_is_gone_for_everybody_and_at_the_gateway() {
    let world = World::start().await;
    let id = stored(&world, "k").await;
    let path = format!("{ROUTE}/{id}");
    let foreign = request("DELETE", &path).header("x-api-key", OTHER_KEY).body(Body::empty()).unwrap();
    assert_eq!(world.send(foreign, 404).await.code(), "payment_method_not_found");
    world.get(&path, 200).await;

    // Hidden at once, although the gateway does not answer; repeated until it has.
    world.gateway.script_storing([Script::Unavailable, Script::Lost, Script::TakenThenLost]);
    for _ in 0..3 {
        assert_eq!(world.delete(&path, 503).await.code(), "gateway_unavailable");
        assert_eq!(world.get(&path, 404).await.code(), "payment_method_not_found");
        assert_eq!(world.get(ROUTE, 200).await.body["data"], json!([]));
    }
    world.delete(&path, 204).await;
    assert!(world.gateway.attached().is_empty());
    // From now on the gateway is not asked.
    world.gateway.script_storing([Script::Panic]);
    world.delete(&path, 204).await;

    assert_eq!(store(&world, "k", &body(), 409).await.code(), "payment_method_deleted");
    let answer = world.post("p", &paid_with(&id), 422).await;
    assert_eq!(answer.errors(), [("/source/id", "payment_method_not_found")]);
    world.delete(&format!("{ROUTE}/pm_00000000000000000000000000"), 404).await;
    world.delete(&format!("{ROUTE}/nonsense"), 404).await;
}

#[tokio::test]
async fn lists_page_and_filter() {
    let world = World::start().await;
    let mut ids = Vec::new();
    for n in 0..5 {
        let mut body = if n == 1 { body_with("/card/number", json!("5555555555554444")) } else { body() };
        body["customer"] = if n < 3 { json!("c1") } else { json!(null) };
        ids.insert(0, store(&world, &format!("k{n}"), &body, 201).await.body["id"].as_str().unwrap().to_owned());
        world.clock.advance_ms(1_000);
    }
    let pages = async |query: &str| {
        let (mut found, mut cursor) = (Vec::new(), String::new());
        for _ in 0..10 {
            let page = world.get(&format!("{ROUTE}?{query}{cursor}"), 200).await.body;
            let data = page["data"].as_array().unwrap().clone();
            found.extend(data.iter().map(|method| method["id"].as_str().unwrap().to_owned()));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return found,
            }
        }
        panic!("the list does not end")
    };
    assert_eq!(pages("limit=2").await, ids);
    assert_eq!(pages("limit=1&customer=c1").await, ids[2..]);
    assert_eq!(pages("customer=nobody").await, Vec::<String>::new());
    let shown = world.get(&format!("{ROUTE}/{}", ids[3]), 200).await.body;
    let fingerprint = shown["card"]["fingerprint"].as_str().unwrap().to_owned();
    assert_eq!(pages(&format!("fingerprint={fingerprint}")).await, [ids[3].clone()]);
    assert_eq!(pages(&format!("fingerprint={fingerprint}&customer=c1")).await, [ids[3].clone()]);
    for (query, error) in [
        ("limit=101", ("limit", "limit_out_of_range")),
        ("cursor=x", ("cursor", "cursor_invalid")),
        ("customer=a%20b", ("customer", "customer_invalid")),
        ("fingerprint=", ("fingerprint", "fingerprint_invalid")),
        ("status=live", ("status", "parameter_unknown")),
    ] {
        assert_eq!(world.get(&format!("{ROUTE}?{query}"), 400).await.errors(), [error]);
    }
}

#[tokio::test]
async fn a_payment_is_paid_with_it_at_the_cost_of_one_read() {
    let world = World::start().await;
    let id = stored(&world, "k").await;
    world.dynamo.meter.reset();
    let answer = world.post("p", &paid_with(&id), 201).await;
    let counts = world.dynamo.meter.counts();
    let calls: Vec<_> = counts.calls.into_iter().collect();
    assert_eq!(calls, [("GetItem".to_owned(), 1), ("PutItem".to_owned(), 1)]);
    assert!(counts.write_units["payments"] <= 4.0, "it has a customer, and so stands in one index more");
    let source = json!({
        "type": "payment_method", "id": id, "brand": "visa", "last4": "4242", "expiry": "12/30",
        "holder_name": "Ada Obi"
    });
    assert_eq!(answer.body["source"], source);
    let payment = world.stored_payment(&answer.body["id"].as_str().unwrap().parse().unwrap()).await;
    let attached = world.gateway.attached();
    assert_eq!(payment.source.token, attached[0]);
    let gateway_customer = format!("cus_of_{}", attached[0]);
    assert_eq!(payment.source.stored, Some(StoredCard { id: id.parse().unwrap(), gateway_customer }));
    assert_eq!(serde_json::to_value(&world.publisher.events()[0].data).unwrap()["source"], source);

    // A replay needs neither the gateway nor the payment method.
    world.gateway.away(true);
    world.clock.advance_ms(1);
    let again = world.post("p", &paid_with(&id), 201).await;
    assert_eq!((again.header("idempotent-replayed"), &again.body), (Some("true"), &answer.body));
    world.gateway.away(false);
    let other = stored(&world, "other").await;
    world.delete(&format!("{ROUTE}/{id}"), 204).await;
    assert_eq!(world.post("p", &paid_with(&id), 201).await.body, answer.body);
    for (body, pointer) in [(paid_with(&other), "/source/id"), (payment_body(), "/source/type")] {
        assert_eq!(world.post("p", &body, 422).await.errors(), [(pointer, "idempotency_key_reused")]);
    }
    world.post("card", &payment_body(), 201).await;
    let answer = world.post("card", &paid_with(&other), 422).await;
    assert_eq!(answer.errors(), [("/source/type", "idempotency_key_reused")]);
}

#[tokio::test]
async fn what_cannot_be_paid_with_is_refused() {
    let world = World::start().await;
    let id = stored(&world, "k").await;
    let foreign = request("POST", "/v1/payments")
        .header("x-api-key", OTHER_KEY)
        .header("content-type", "application/json")
        .header("idempotency-key", "p");
    let answer = world.send(foreign.body(Body::from(paid_with(&id).to_string())).unwrap(), 422).await;
    assert_eq!(answer.errors(), [("/source/id", "payment_method_not_found")]);
    for (source, error) in [
        (json!({ "type": "payment_method" }), ("/source/id", "payment_method_missing")),
        (json!({ "type": "payment_method", "id": 7 }), ("/source/id", "payment_method_not_found")),
        (json!({ "type": "payment_method", "id": "card" }), ("/source/id", "payment_method_not_found")),
        (json!({ "type": "payment_method", "id": id, "cvv": "123" }), ("/source/cvv", "field_unknown")),
        (json!({ "type": "cash", "id": id }), ("/source/type", "source_type_unsupported")),
    ] {
        let mut body = payment_body();
        body["source"] = source;
        assert_eq!(world.post("p", &body, 422).await.errors(), [error]);
    }
    world.clock.advance_ms(5 * 366 * 24 * 3_600_000);
    assert_eq!(world.post("p", &paid_with(&id), 422).await.errors(), [("/source/id", "card_expired")]);
    assert_eq!(world.stored().await, 0);
}

#[tokio::test]
async fn nothing_secret_is_stored_or_published() {
    let world = World::start().await;
    let id = stored(&world, "k").await;
    world.post("p", &paid_with(&id), 201).await;
    world.post("card", &payment_body(), 201).await;
    let mut kept = format!("{:?}", world.publisher.events());
    for table in florin_store::schema::TABLES {
        let items = world.dynamo.client.scan().table_name(table.name).send().await.unwrap();
        kept = format!("{kept} {:?}", items.items());
    }
    let kept = kept.replace([' ', '-'], "");
    assert!(kept.contains("AdaObi") && kept.contains("\"4242\""));
    for secret in ["4242424242424242", "42424242", "\"987\"", "\"123\"", KEY] {
        assert!(!kept.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn live_mode_takes_live_keys_and_real_cards_only() {
    let world = World::start_in(Mode::Live).await;
    let send = async |path: &str, key: &str, body: &Value, expected: u16| {
        let request = request("POST", path)
            .header("x-api-key", key)
            .header("content-type", "application/json")
            .header("idempotency-key", "k");
        world.send(request.body(Body::from(body.to_string())).unwrap(), expected).await
    };
    let real = "4000056655665556";
    let card = body_with("/card/number", json!(real));
    let mut payment = payment_body();
    payment["source"]["number"] = json!(real);
    for (path, body) in [(ROUTE, &card), ("/v1/payments", &payment)] {
        assert_eq!(send(path, KEY, body, 401).await.code(), "api_key_invalid");
    }
    assert_eq!(send(ROUTE, LIVE_KEY, &body(), 422).await.errors(), [("/card/number", "test_card_in_live_mode")]);
    let answer = send("/v1/payments", LIVE_KEY, &payment_body(), 422).await;
    assert_eq!(answer.errors(), [("/source/number", "test_card_in_live_mode")]);
    send(ROUTE, LIVE_KEY, &card, 201).await;
    send("/v1/payments", LIVE_KEY, &payment, 201).await;

    let test = World::start().await;
    let request = request("GET", ROUTE).header("x-api-key", LIVE_KEY).body(Body::empty()).unwrap();
    assert_eq!(test.send(request, 401).await.code(), "api_key_invalid");
}

#[tokio::test]
async fn a_payment_takes_its_payment_methods_customer_unless_it_names_one() {
    let world = World::start().await;
    let id = stored(&world, "k").await;
    let first = world.post("a", &paid_with(&id), 201).await.body;
    assert_eq!(first["customer"], "cust-7");
    let mut named = paid_with(&id);
    named["customer"] = json!("cust-8");
    assert_eq!(world.post("b", &named, 201).await.body["customer"], "cust-8");
    world.clock.advance_ms(1);
    assert_eq!(world.post("a", &paid_with(&id), 201).await.body, first, "whom it takes is no difference");
    assert_eq!(world.post("a", &named, 422).await.errors(), [("/customer", "idempotency_key_reused")]);
    // Even when nobody can say any more whose it was.
    world.delete(&format!("{ROUTE}/{id}"), 204).await;
    assert_eq!(world.post("a", &paid_with(&id), 201).await.body, first);
}
