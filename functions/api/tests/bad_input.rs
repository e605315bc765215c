//! Every wrong field, header, method, type and size has its own stable code; nothing panics, nothing is half stored.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    unreachable_pub,
    missing_docs,
    reason = "a test stops at the first surprise"
)]

mod common;

use axum::body::Body;
use common::{KEY, OTHER_KEY, World, api_key, body, body_with, request};
use florin_api::{BODY_BYTES_MAX, KEY_AGE_MS_MAX};
use florin_domain::breaker::FAILURES_MAX;
use florin_store::breaker::{READ_EVERY_MS, SharedBreaker};
use proptest::{
    collection::{btree_map, vec},
    prelude::*,
    test_runner::TestRunner,
};
use serde_json::{Value, json};

#[tokio::test]
async fn every_wrong_field_has_its_code_and_pointer() {
    let world = World::start().await;
    let long = |n| json!("x".repeat(n));
    let many: serde_json::Map<_, _> = (0..21).map(|n| (format!("k{n}"), json!("v"))).collect();
    for (pointer, value, at, code) in [
        ("/amount", json!(null), "/amount", "amount_missing"),
        ("/amount", json!("100"), "/amount", "amount_invalid"),
        ("/amount", json!(10.5), "/amount", "amount_invalid"),
        ("/amount", json!(1e3), "/amount", "amount_invalid"),
        ("/amount", json!(true), "/amount", "amount_invalid"),
        ("/amount", json!(0), "/amount", "amount_out_of_range"),
        ("/amount", json!(-1), "/amount", "amount_out_of_range"),
        ("/amount", json!(1_000_000_000_000_i64), "/amount", "amount_out_of_range"),
        ("/amount", json!(u64::MAX), "/amount", "amount_out_of_range"),
        ("/currency", json!(null), "/currency", "currency_missing"),
        ("/currency", json!("ngn"), "/currency", "currency_invalid"),
        ("/currency", json!("ZZZ"), "/currency", "currency_invalid"),
        ("/currency", json!(566), "/currency", "currency_invalid"),
        ("/source", json!(null), "/source", "source_missing"),
        ("/source", json!("4242424242424242"), "/source", "source_invalid"),
        ("/source/type", json!(null), "/source/type", "source_type_missing"),
        ("/source/type", json!("cash"), "/source/type", "source_type_unsupported"),
        ("/source/type", json!(1), "/source/type", "source_type_unsupported"),
        ("/source/number", json!(null), "/source/number", "card_number_missing"),
        ("/source/number", json!("4242"), "/source/number", "card_number_invalid"),
        ("/source/number", json!(4_242_424_242_424_242_i64), "/source/number", "card_number_invalid"),
        ("/source/expiry", json!(null), "/source/expiry", "expiry_missing"),
        ("/source/expiry", json!("2030-12"), "/source/expiry", "expiry_invalid"),
        ("/source/expiry", json!("00/30"), "/source/expiry", "expiry_invalid"),
        ("/source/expiry", json!("10/26"), "/source/expiry", "card_expired"),
        ("/source/cvv", json!(null), "/source/cvv", "cvv_missing"),
        ("/source/cvv", json!("12"), "/source/cvv", "cvv_invalid"),
        ("/source/cvv", json!(123), "/source/cvv", "cvv_invalid"),
        ("/source/holder_name", json!(null), "/source/holder_name", "holder_name_missing"),
        ("/source/holder_name", json!(" "), "/source/holder_name", "holder_name_invalid"),
        ("/source/holder_name", json!("4242424242424242"), "/source/holder_name", "card_number_in_text"),
        ("/source/token", json!("tok_1"), "/source/token", "field_unknown"),
        ("/customer", json!(7), "/customer", "customer_invalid"),
        ("/customer", json!("Ada Obi"), "/customer", "customer_invalid"),
        ("/customer", long(65), "/customer", "customer_invalid"),
        ("/customer", json!("4242424242424242"), "/customer", "card_number_in_text"),
        ("/description", json!(1), "/description", "description_invalid"),
        ("/description", long(501), "/description", "description_too_long"),
        ("/description", json!("card 4242-4242-4242-4242"), "/description", "card_number_in_text"),
        ("/metadata", json!([]), "/metadata", "metadata_invalid"),
        ("/metadata", json!(many), "/metadata", "metadata_too_many_entries"),
        ("/metadata", json!({ "": "v" }), "/metadata", "metadata_key_invalid"),
        ("/metadata", json!({ "x".repeat(41): "v" }), "/metadata", "metadata_key_invalid"),
        ("/metadata", json!({ "a/b~c": 1 }), "/metadata/a~1b~0c", "metadata_value_invalid"),
        ("/metadata", json!({ "a": "x".repeat(501) }), "/metadata/a", "metadata_value_too_long"),
        ("/metadata", json!({ "a": "4242424242424242" }), "/metadata/a", "card_number_in_text"),
        ("/webhook_url", json!(1), "/webhook_url", "url_invalid"),
        ("/webhook_url", json!("shop"), "/webhook_url", "url_invalid"),
        ("/webhook_url", json!("ftp://shop.example"), "/webhook_url", "url_scheme_forbidden"),
        ("/webhook_url", json!("http://shop.example"), "/webhook_url", "url_scheme_forbidden"),
        ("/webhook_url", json!("https://a:b@shop.example"), "/webhook_url", "url_userinfo_forbidden"),
        ("/webhook_url", json!("https://169.254.169.254/"), "/webhook_url", "url_address_forbidden"),
        ("/webhook_url", json!("https://[::ffff:10.0.0.1]/"), "/webhook_url", "url_address_forbidden"),
        ("/webhook_url", json!(format!("https://shop.example/{}", "x".repeat(2_000))), "/webhook_url", "url_too_long"),
        ("/delay_seconds", json!(-1), "/delay_seconds", "delay_out_of_range"),
        ("/delay_seconds", json!(366 * 86_400 + 1), "/delay_seconds", "delay_out_of_range"),
        ("/delay_seconds", json!(1.5), "/delay_seconds", "delay_out_of_range"),
        ("/delay_seconds", json!("0"), "/delay_seconds", "delay_out_of_range"),
        ("/process_at", json!("2027-01-01T00:00:00Z"), "/process_at", "process_at_with_delay"),
        ("/colour", json!("blue"), "/colour", "field_unknown"),
    ] {
        let answer = world.post("k", &body_with(pointer, value.clone()), 422).await;
        assert_eq!(answer.errors(), [(at, code)], "{pointer} = {value}");
        assert_eq!(answer.code(), code);
    }
    assert_eq!((world.stored().await, world.publisher.events().len()), (0, 0));
    assert!(world.gateway.calls().is_empty());
}

#[tokio::test]
async fn all_wrong_fields_are_named_and_the_first_gives_the_code() {
    let world = World::start().await;
    let answer = world.post("k", &json!({ "zzz": 1, "webhook_url": 1, "currency": "x" }), 422).await;
    assert_eq!(
        answer.errors(),
        [
            ("/amount", "amount_missing"),
            ("/currency", "currency_invalid"),
            ("/source", "source_missing"),
            ("/webhook_url", "url_invalid"),
            ("/zzz", "field_unknown"),
        ]
    );
    assert_eq!(answer.code(), "amount_missing");
}

#[tokio::test]
async fn headers_methods_types_and_sizes() {
    let world = World::start().await;
    let post = |headers: &[(&str, &str)], body: String| {
        let mut builder = request("POST", "/v1/payments");
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        builder.body(Body::from(body)).unwrap()
    };
    let bearer = format!("Bearer {KEY}");
    let auth = ("authorization", bearer.as_str());
    let json_type = ("content-type", "application/json");
    let key = ("idempotency-key", "k");
    let good = body().to_string();
    for (headers, body, status, code) in [
        (vec![], good.clone(), 401, "api_key_missing"),
        (vec![("authorization", "Basic abc")], good.clone(), 401, "api_key_invalid"),
        (vec![("authorization", "Bearer sk_test_wrong")], good.clone(), 401, "api_key_invalid"),
        (vec![("x-api-key", "sk_live_wrong")], good.clone(), 401, "api_key_invalid"),
        (vec![auth], good.clone(), 415, "content_type_unsupported"),
        (vec![auth, ("content-type", "text/plain")], good.clone(), 415, "content_type_unsupported"),
        (vec![auth, json_type], good.clone(), 400, "idempotency_key_missing"),
        (vec![auth, json_type, ("idempotency-key", "a b")], good.clone(), 400, "idempotency_key_invalid"),
        (vec![auth, json_type, key, ("idempotency-key", "b")], good.clone(), 400, "idempotency_key_invalid"),
        (vec![auth, json_type, key], " ".repeat(BODY_BYTES_MAX + 1), 413, "body_too_large"),
        (vec![auth, json_type, key, ("content-length", "99999999")], good.clone(), 413, "body_too_large"),
        (vec![auth, json_type, key], String::new(), 400, "json_invalid"),
        (vec![auth, json_type, key], "{\"amount\":".to_owned(), 400, "json_invalid"),
        (vec![auth, json_type, key], "[]".to_owned(), 400, "json_invalid"),
        (vec![auth, json_type, key], format!("{}1", "[".repeat(10_000)), 400, "json_invalid"),
    ] {
        let answer = world.send(post(&headers, body), status).await;
        assert_eq!(answer.code(), code, "{headers:?}");
        assert_eq!(answer.header("www-authenticate").is_some(), status == 401);
    }
    let charset = ("content-type", "Application/JSON; charset=utf-8");
    world.send(post(&[auth, charset, key], good), 201).await;

    let put = request("PUT", "/v1/payments").body(Body::empty()).unwrap();
    let answer = world.send(put, 405).await;
    assert_eq!((answer.code(), answer.header("allow")), ("method_not_allowed", Some("GET,HEAD,POST")));
    assert_eq!(world.get("/v2/payments", 404).await.code(), "route_not_found");
    for id in ["pay_x", "evt_00000000000000000000000001", "pay_00000000000000000000000001", "%00", "%F0%9F%92%B8"] {
        assert_eq!(world.get(&format!("/v1/payments/{id}"), 404).await.code(), "payment_not_found");
    }
}

#[tokio::test]
async fn query_parameters() {
    let world = World::start().await;
    for (query, parameter, code) in [
        ("limit=0", "limit", "limit_out_of_range"),
        ("limit=101", "limit", "limit_out_of_range"),
        ("limit=ten", "limit", "limit_out_of_range"),
        ("cursor=abc", "cursor", "cursor_invalid"),
        (
            "cursor=MS4wLnBheV8wMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMA&created_from=2026-01-01T00:00:00Z",
            "cursor",
            "cursor_invalid",
        ),
        ("cursor=Mi4wLnBheV8wMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMQ", "cursor", "cursor_invalid"),
        ("status=paid", "status", "status_invalid"),
        ("currency=ngn", "currency", "currency_invalid"),
        ("created_from=yesterday", "created_from", "created_from_invalid"),
        ("created_to=2026-11-21", "created_to", "created_to_invalid"),
        ("created_from=2026-11-22T00:00:00Z&created_to=2026-11-21T00:00:00Z", "created_from", "range_invalid"),
        ("limit=1&limit=2", "limit", "parameter_repeated"),
        ("colour=blue", "colour", "parameter_unknown"),
    ] {
        let answer = world.get(&format!("/v1/payments?{query}"), 400).await;
        assert_eq!((answer.errors(), answer.code()), (vec![(parameter, code)], code), "{query}");
    }
    for (query, code) in [
        ("granularity=week", "granularity_invalid"),
        ("from=2026-01-01T00:00:00Z&to=2026-03-01T00:00:00Z", "range_too_long"),
        ("from=2026-03-01T00:00:00Z&to=2026-01-01T00:00:00Z", "range_invalid"),
        ("from=x", "from_invalid"),
        ("to=x", "to_invalid"),
    ] {
        assert_eq!(world.get(&format!("/v1/analytics/payments?{query}"), 400).await.code(), code);
    }
}

#[tokio::test]
async fn a_revoked_key_is_refused_within_the_cache_time() {
    let world = World::start().await;
    world.get_as_other("/v1/payments", 200).await;
    let mut record = api_key(&world.root_key, "other", OTHER_KEY);
    record.revoked = true;
    world.merchants.put_api_key(&record).await.unwrap();
    world.clock.advance_ms(KEY_AGE_MS_MAX);
    assert_eq!(world.get_as_other("/v1/payments", 401).await.code(), "api_key_invalid");
}

#[tokio::test]
async fn the_breaker_can_be_seen_and_does_not_make_the_api_unready() {
    let world = World::start().await;
    let metrics = async || {
        let request = request("GET", "/metrics").body(Body::empty()).unwrap();
        let text = world.text(request).await;
        text.lines().filter(|line| line.starts_with("florin_gateway")).map(str::to_owned).collect::<Vec<_>>()
    };
    let gateway = async || {
        let request = request("GET", "/ready").body(Body::empty()).unwrap();
        world.send(request, 200).await.body["checks"]["gateway"].clone()
    };
    assert_eq!(gateway().await, "closed");
    let breaker = SharedBreaker::new(world.dynamo.client.clone(), "payments");
    for _ in 0..FAILURES_MAX {
        breaker.failed(world.clock.now()).await.unwrap();
    }
    assert_eq!(gateway().await, "closed", "it is read once a second");
    world.clock.advance_ms(READ_EVERY_MS);
    assert_eq!(gateway().await, "open");
    assert_eq!(
        metrics().await,
        [
            "florin_gateway_breaker_state{state=\"closed\"} 0",
            "florin_gateway_breaker_state{state=\"open\"} 1",
            "florin_gateway_breaker_state{state=\"half_open\"} 0",
            "florin_gateway_breaker_openings 1",
            "florin_gateway_failures_in_a_row 5",
        ]
    );
}

#[tokio::test]
async fn health_needs_no_key() {
    let world = World::start().await;
    for path in ["/health", "/live", "/ready"] {
        let answer = world.send(request("GET", path).body(Body::empty()).unwrap(), 200).await;
        assert_eq!(answer.body["status"], "ok");
        assert!(answer.header("x-request-id").is_some());
    }
}

/// Any JSON, with our field names among the keys so that it gets past the first check.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,40}".prop_map(Value::from),
        "[0-9 -]{0,24}".prop_map(Value::from),
        "(https?|ftp)://[a-z0-9.:@\\[\\]/#?-]{0,30}".prop_map(Value::from),
    ];
    let name = prop_oneof![
        Just("amount".to_owned()),
        Just("currency".to_owned()),
        Just("source".to_owned()),
        Just("type".to_owned()),
        Just("number".to_owned()),
        Just("expiry".to_owned()),
        Just("metadata".to_owned()),
        Just("webhook_url".to_owned()),
        ".{0,8}",
    ];
    leaf.prop_recursive(3, 24, 6, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map(name.clone(), inner, 0..8).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// A good request with one field replaced by anything.
fn one_field_wrong() -> impl Strategy<Value = Value> {
    let pointers = ["/amount", "/currency", "/source", "/source/number", "/source/expiry", "/source/cvv", "/metadata"];
    (proptest::sample::select(pointers.to_vec()), any_json()).prop_map(|(pointer, value)| body_with(pointer, value))
}

#[test]
fn no_body_panics_and_nothing_is_half_stored() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let world = runtime.block_on(World::start());
    let bodies = prop_oneof![
        any_json().prop_map(|value| value.to_string()),
        one_field_wrong().prop_map(|value| value.to_string()),
        ".{0,200}",
    ];
    let keys = std::cell::Cell::new(0);
    let outcome = TestRunner::new(ProptestConfig { cases: 1_500, failure_persistence: None, ..Default::default() })
        .run(&bodies, |text| {
            keys.set(keys.get() + 1);
            let (stored, published) = runtime.block_on(async {
                let before = world.stored().await;
                let request = request("POST", "/v1/payments")
                    .header("x-api-key", KEY)
                    .header("content-type", "application/json")
                    .header("idempotency-key", format!("k{}", keys.get()));
                let events = world.publisher.events().len();
                let status = world.raw_status(request.body(Body::from(text.clone())).unwrap()).await;
                assert!(matches!(status, 201 | 400 | 413 | 422), "{status} for {text}");
                let created = i32::from(status == 201);
                let published = world.publisher.events().len() - events;
                (world.stored().await - before - created, published == usize::from(status == 201))
            });
            prop_assert_eq!(stored, 0);
            prop_assert!(published);
            Ok(())
        });
    outcome.unwrap();
}
