//! The simulator's routes over an embedded DynamoDB.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test stops at the first surprise"
)]

mod common;

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use common::{API_KEY, Answer, Gateway, NOW_MS};
use http::StatusCode;
use serde_json::{Value, json};

const OK: StatusCode = StatusCode::OK;
const BAD_REQUEST: StatusCode = StatusCode::BAD_REQUEST;
const CONFLICT: StatusCode = StatusCode::CONFLICT;
const PAYMENT_REQUIRED: StatusCode = StatusCode::PAYMENT_REQUIRED;
const UNAVAILABLE: StatusCode = StatusCode::SERVICE_UNAVAILABLE;

fn is_replay(answer: &Answer) -> bool {
    answer.headers.get("idempotent-replayed").is_some_and(|value| value == "true")
}

#[tokio::test]
async fn an_approved_card_is_charged() {
    let gateway = Gateway::start().await;
    let method = gateway.card("4242 4242 4242 4242").await;
    let answer = gateway.charge(&method, "pay_1", Some("k")).await.expect(OK);
    let intent = &answer.json;
    assert!(intent["id"].as_str().unwrap().starts_with("pi_"));
    assert_eq!(intent["object"], "payment_intent");
    assert_eq!(intent["status"], "succeeded");
    assert_eq!((&intent["amount"], &intent["amount_received"]), (&json!(10_000), &json!(10_000)));
    assert_eq!(intent["currency"], "ngn");
    assert_eq!(intent["metadata"], json!({ "payment_id": "pay_1" }));
    assert_eq!(intent["created"], NOW_MS / 1_000);
    assert!(!is_replay(&answer) && answer.headers.contains_key("request-id"));
    let path = format!("/v1/payment_intents/{}", intent["id"].as_str().unwrap());
    assert_eq!(&gateway.get(&path).await.expect(OK).json, intent);
}

#[tokio::test]
async fn a_card_shows_brand_and_last_four_and_its_number_is_nowhere() {
    let gateway = Gateway::start().await;
    for (number, brand, last4) in [
        ("4242424242424242", "visa", "4242"),
        ("5555-5555-5555-4444", "mastercard", "4444"),
        ("3782 822463 10005", "amex", "0005"),
        ("4242424242424241", "visa", "4241"),
    ] {
        let answer = gateway.tokenise(number, None).await.expect(OK);
        let card = &answer.json["card"];
        assert_eq!((&card["brand"], &card["last4"]), (&json!(brand), &json!(last4)), "{number}");
        assert_eq!((&card["exp_month"], &card["exp_year"]), (&json!(12), &json!(2030)));
        assert_eq!(answer.json["billing_details"]["name"], "Ada Obi");
        let path = format!("/v1/payment_methods/{}", answer.json["id"].as_str().unwrap());
        assert_eq!(gateway.get(&path).await.expect(OK).json, answer.json);
        let shown = format!("{} {}", answer.text, gateway.dump().await).replace([' ', '-'], "");
        let digits = number.replace([' ', '-'], "");
        assert!(!shown.contains(&digits) && !shown.contains("5937"), "{shown}");
    }
    let listed = gateway.get("/v1/payment_methods?limit=3").await.expect(OK);
    assert_eq!(listed.json["data"].as_array().unwrap().len(), 3);
    assert_eq!(listed.json["has_more"], true);
}

#[tokio::test]
async fn declined_cards_leave_a_payment_intent_and_the_answer_is_kept() {
    let gateway = Gateway::start().await;
    for (number, code, decline_code) in [
        ("4000000000000000", "card_declined", json!("insufficient_funds")),
        ("4000000000001111", "incorrect_number", Value::Null),
    ] {
        let method = gateway.card(number).await;
        let answer = gateway.charge(&method, "pay_1", Some(number)).await.expect(PAYMENT_REQUIRED);
        let error = &answer.json["error"];
        assert_eq!((&error["type"], &error["code"]), (&json!("card_error"), &json!(code)));
        assert_eq!(error.get("decline_code").unwrap_or(&Value::Null), &decline_code);
        assert!(!error["message"].as_str().unwrap().is_empty());
        let intent = &error["payment_intent"];
        assert_eq!(intent["status"], "requires_payment_method");
        assert_eq!((&intent["amount_received"], &intent["last_payment_error"]["code"]), (&json!(0), &json!(code)));
        let again = gateway.charge(&method, "pay_1", Some(number)).await.expect(PAYMENT_REQUIRED);
        assert!(is_replay(&again));
        assert_eq!(again.text, answer.text);
    }
    assert_eq!(gateway.intents().await.len(), 2);
}

#[tokio::test]
async fn an_unavailable_card_leaves_nothing() {
    let gateway = Gateway::start().await;
    let method = gateway.card("4000000000009999").await;
    for _ in 0..3 {
        let answer = gateway.charge(&method, "pay_1", Some("k")).await.expect(UNAVAILABLE);
        assert_eq!(answer.json["error"]["type"], "api_error");
        assert!(!is_replay(&answer));
    }
    assert!(gateway.intents().await.is_empty());
}

#[tokio::test]
async fn the_nasty_card_is_charged_before_its_client_gives_up() {
    let gateway = Gateway::start().await;
    let method = gateway.card("4000000000000119").await;
    let first = {
        let (gateway, method) = (gateway.clone(), method.clone());
        tokio::spawn(async move { gateway.charge(&method, "pay_1", Some("k")).await })
    };
    let started = Instant::now();
    // The charge is there while the first request still waits.
    while gateway.intents().await.is_empty() {
        assert!(started.elapsed() < common::SIMULATED_TIMEOUT, "the charge is taken first");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let retry = gateway.charge(&method, "pay_1", Some("k")).await.expect(OK);
    assert!(started.elapsed() < common::SIMULATED_TIMEOUT, "a retry is answered at once");
    assert!(is_replay(&retry) && retry.json["status"] == "succeeded");
    let first = first.await.unwrap().expect(OK);
    assert!(started.elapsed() >= common::SIMULATED_TIMEOUT, "the first answer is held back");
    assert_eq!(first.text, retry.text);
    assert_eq!(gateway.intents().await.len(), 1);
}

#[tokio::test]
async fn a_key_answers_the_same_for_a_day_and_refuses_another_request() {
    let gateway = Gateway::start().await;
    let method = gateway.reusable_card("4242424242424242").await;
    let first = gateway.charge(&method, "pay_1", Some("k")).await.expect(OK);
    gateway.clock.advance_ms(24 * 3_600_000 - 1_000);
    let replay = gateway.charge(&method, "pay_1", Some("k")).await.expect(OK);
    assert!(is_replay(&replay));
    assert_eq!(replay.text, first.text);
    for (path, form) in [
        ("/v1/payment_intents", format!("amount=10001&currency=ngn&confirm=true&payment_method={method}")),
        ("/v1/refunds", "payment_intent=pi_1".to_owned()),
    ] {
        let refused = gateway.post(path, Some("k"), &form).await.expect(BAD_REQUEST);
        assert_eq!(refused.json["error"]["type"], "idempotency_error", "{path}");
    }
    gateway.clock.advance_ms(2_000);
    let second = gateway.charge(&method, "pay_1", Some("k")).await.expect(OK);
    assert!(!is_replay(&second) && second.json["id"] != first.json["id"]);
    assert_eq!(gateway.intents().await.len(), 2);
}

#[tokio::test]
async fn a_refused_request_does_not_use_its_key_up() {
    let gateway = Gateway::start().await;
    let method = gateway.card("4242424242424242").await;
    let refused = gateway.post("/v1/payment_intents", Some("k"), "currency=ngn").await.expect(BAD_REQUEST);
    assert_eq!(refused.json["error"]["param"], "amount");
    gateway.charge(&method, "pay_1", Some("k")).await.expect(OK);
}

#[tokio::test]
async fn tokenising_is_idempotent_too() {
    let gateway = Gateway::start().await;
    let first = gateway.tokenise("4242424242424242", Some("t")).await.expect(OK);
    let again = gateway.tokenise("4242424242424242", Some("t")).await.expect(OK);
    assert!(is_replay(&again) && again.text == first.text);
    let other = gateway.tokenise("4242424242420000", Some("t")).await.expect(BAD_REQUEST);
    assert_eq!(other.json["error"]["type"], "idempotency_error");
}

#[tokio::test]
async fn a_fingerprint_is_the_numbers_and_takes_the_key_to_make() {
    let gateway = Gateway::start().await;
    let print = async |gateway: &Gateway, number: &str| {
        let answer = gateway.tokenise(number, None).await.expect(OK);
        answer.json["card"]["fingerprint"].as_str().unwrap().to_owned()
    };
    let first = print(&gateway, "4242 4242 4242 4242").await;
    assert_eq!(first.len(), 15);
    assert_eq!(print(&gateway, "4242-424242424242").await, first, "the digits count");
    assert_eq!(print(&gateway.another_instance(), "4242424242424242").await, first);
    assert_ne!(print(&gateway, "4242424242424241").await, first);
    assert_ne!(print(&gateway, "4000000000004242").await, first, "last four digits alone make no fingerprint");
    let other = gateway.with_key("sk_test_another_simulator");
    assert_ne!(print(&other, "4242424242424242").await, first);
}

#[tokio::test]
async fn a_card_without_a_customer_is_charged_once() {
    let gateway = Gateway::start().await;
    for (number, first) in [("4242424242424242", OK), ("4000000000000000", PAYMENT_REQUIRED)] {
        let method = gateway.card(number).await;
        gateway.charge(&method, "pay_1", Some(&format!("{method}/1"))).await.expect(first);
        let again = gateway.charge(&method, "pay_2", Some(&format!("{method}/2"))).await.expect(BAD_REQUEST);
        assert!(again.json["error"]["message"].as_str().unwrap().contains("may not be used again"), "{}", again.text);
        let attached = gateway.post("/v1/customers", None, &format!("payment_method={method}")).await;
        attached.expect(BAD_REQUEST);
        // The first request's answer stays.
        assert!(is_replay(&gateway.charge(&method, "pay_1", Some(&format!("{method}/1"))).await.expect(first)));
    }
    // One that nothing happened to is as good as new.
    let method = gateway.card("4000000000009999").await;
    gateway.charge(&method, "pay_1", None).await.expect(UNAVAILABLE);
    gateway.post("/v1/customers", None, &format!("payment_method={method}")).await.expect(OK);
    assert_eq!(gateway.get("/v1/customers").await.expect(OK).json["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_stored_card_is_charged_with_its_customer_only_and_not_once_it_is_detached() {
    let gateway = Gateway::start().await;
    let (method, customer) = gateway.stored_card("4242424242424242").await;
    let (_, other) = gateway.stored_card("5555555555554444").await;
    let path = format!("/v1/payment_methods/{method}");
    assert_eq!(gateway.get(&path).await.expect(OK).json["customer"], json!(customer));
    let shown = gateway.get(&format!("/v1/customers/{customer}")).await.expect(OK);
    assert_eq!(shown.json["metadata"], json!({ "payment_method_id": "pm_ours" }));

    for payment in ["pay_1", "pay_2"] {
        let paid = gateway.charge(&format!("{method}&customer={customer}&off_session=true"), payment, None).await;
        assert_eq!(paid.expect(OK).json["customer"], json!(customer));
    }
    gateway.charge(&method, "pay_3", None).await.expect(BAD_REQUEST);
    gateway.charge(&format!("{method}&customer={other}"), "pay_3", None).await.expect(BAD_REQUEST);
    let nobody = gateway.charge(&format!("{method}&customer=cus_nobody"), "pay_3", None).await.expect(BAD_REQUEST);
    assert_eq!(nobody.json["error"]["param"], "customer");
    let free = gateway.card("4242424242424242").await;
    gateway.charge(&format!("{free}&customer={customer}"), "pay_3", None).await.expect(BAD_REQUEST);
    let attach = async |to: &str| gateway.post(&format!("{path}/attach"), None, &format!("customer={to}")).await;
    attach(&customer).await.expect(OK);
    attach(&other).await.expect(BAD_REQUEST);

    let detach = async |key: Option<&str>| gateway.post(&format!("{path}/detach"), key, "").await;
    assert_eq!(detach(Some("d")).await.expect(OK).json["customer"], Value::Null);
    assert!(is_replay(&detach(Some("d")).await.expect(OK)));
    detach(None).await.expect(BAD_REQUEST);
    attach(&customer).await.expect(BAD_REQUEST);
    for form in [method.clone(), format!("{method}&customer={customer}")] {
        gateway.charge(&form, "pay_4", None).await.expect(BAD_REQUEST);
    }
    assert_eq!(gateway.intents().await.len(), 2);
    gateway.post("/v1/payment_methods/pm_none/detach", None, "").await.expect(StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn racing_charges_of_a_card_without_a_customer_take_it_once() {
    let gateway = Gateway::start().await;
    let method = gateway.card("4242424242424242").await;
    let running: Vec<_> = (0..10)
        .map(|n| {
            let (gateway, method) = (gateway.clone(), method.clone());
            tokio::spawn(async move { gateway.charge(&method, &format!("pay_{n}"), None).await })
        })
        .collect();
    let mut taken = 0;
    for answer in running {
        taken += usize::from(answer.await.unwrap().status == OK);
    }
    assert_eq!((taken, gateway.intents().await.len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_requests_with_one_key_make_one_charge() {
    let gateway = Gateway::start().await;
    let method = gateway.card("4242424242424242").await;
    let mut running = Vec::new();
    for _ in 0..20 {
        let (gateway, method) = (gateway.clone(), method.clone());
        running.push(tokio::spawn(async move { gateway.charge(&method, "pay_1", Some("k")).await }));
    }
    let mut ids = BTreeSet::new();
    let mut originals = 0;
    for answer in running {
        let answer = answer.await.unwrap();
        match answer.status {
            OK => {
                originals += usize::from(!is_replay(&answer));
                ids.insert(answer.id());
            }
            CONFLICT => assert_eq!(answer.json["error"]["code"], "idempotency_key_in_use"),
            other => panic!("{other}: {}", answer.text),
        }
    }
    assert_eq!((originals, ids.len()), (1, 1));
    assert_eq!(gateway.intents().await.len(), 1);
    assert!(is_replay(&gateway.charge(&method, "pay_1", Some("k")).await.expect(OK)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_killed_at_any_point_is_repeated_without_a_second_charge() {
    let gateway = Gateway::start().await;
    let method = gateway.reusable_card("4242424242424242").await;
    for step in 0..40 {
        let payment = format!("pay_{step}");
        let request = {
            let (gateway, method, payment) = (gateway.clone(), method.clone(), payment.clone());
            tokio::spawn(async move { gateway.charge(&method, &payment, Some(&payment)).await })
        };
        tokio::time::sleep(Duration::from_micros(300 * step)).await;
        request.abort();
        // What the request held has lapsed by then.
        gateway.clock.advance_ms(3_000);
        let answer = gateway.charge(&method, &payment, Some(&payment)).await;
        assert_eq!(answer.status, OK, "{payment}: {}", answer.text);
    }
    let intents = gateway.intents().await;
    let payments: BTreeSet<_> = intents.iter().map(|intent| intent["metadata"]["payment_id"].to_string()).collect();
    assert_eq!((intents.len(), payments.len()), (40, 40));
}

#[tokio::test]
async fn a_key_whose_request_runs_is_in_use_and_a_request_that_lost_its_claim_does_nothing() {
    let gateway = Gateway::start().await;
    let method = gateway.card("4242424242424242").await;
    gateway.behave("mode=slow&delay_ms=1500&for_seconds=60").await;
    let charge = || {
        let (gateway, method) = (gateway.clone(), method.clone());
        tokio::spawn(async move { gateway.charge(&method, "pay_1", Some("k")).await })
    };
    let first = charge();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let meanwhile = gateway.charge(&method, "pay_1", Some("k")).await.expect(CONFLICT);
    assert_eq!(meanwhile.json["error"]["code"], "idempotency_key_in_use");
    // As if the first had hung: its claim lapses, another takes over, and the first comes to nothing.
    gateway.clock.advance_ms(5_000);
    let second = charge();
    let first = first.await.unwrap();
    assert_eq!(first.status, CONFLICT, "{}", first.text);
    second.await.unwrap().expect(OK);
    assert_eq!(gateway.intents().await.len(), 1);
}

#[tokio::test]
async fn listings_are_complete_and_ordered() {
    let gateway = Gateway::start().await;
    let method = gateway.reusable_card("4242424242424242").await;
    let mut ids = Vec::new();
    for number in 0..25 {
        gateway.clock.advance_ms(700);
        let answer = gateway.charge(&method, &format!("pay_{number}"), None).await.expect(OK);
        ids.insert(0, answer.json["id"].as_str().unwrap().to_owned());
    }
    let page = async |query: &str| {
        let answer = gateway.get(&format!("/v1/payment_intents?{query}")).await.expect(OK);
        assert_eq!((&answer.json["object"], &answer.json["url"]), (&json!("list"), &json!("/v1/payment_intents")));
        let data = answer.json["data"].as_array().unwrap();
        let found: Vec<_> = data.iter().map(|intent| intent["id"].as_str().unwrap().to_owned()).collect();
        (found, answer.json["has_more"].as_bool().unwrap())
    };
    assert_eq!(page("").await, (ids[..10].to_vec(), true), "ten by default");
    assert_eq!(page("limit=100").await, (ids.clone(), false));
    assert_eq!(page("limit=25").await, (ids.clone(), false));
    assert_eq!(page("limit=24").await, (ids[..24].to_vec(), true));
    assert_eq!(page(&format!("limit=10&starting_after={}", ids[9])).await, (ids[10..20].to_vec(), true));
    assert_eq!(page(&format!("limit=10&starting_after={}", ids[19])).await, (ids[20..].to_vec(), false));
    assert_eq!(page(&format!("starting_after={}", ids[24])).await, (Vec::new(), false));
    assert_eq!(page(&format!("limit=5&ending_before={}", ids[9])).await, (ids[4..9].to_vec(), true));
    assert_eq!(page(&format!("limit=9&ending_before={}", ids[9])).await, (ids[..9].to_vec(), false));
    // Charge n was created at 0.7 (n + 1) seconds; ids[0] is charge 24.
    let second = |offset: i64| NOW_MS / 1_000 + offset;
    let created = |from: i64, to: i64| -> Vec<String> {
        let is_in = |n: &i64| (from..=to).contains(&(7 * (n + 1) / 10));
        (0..25).rev().filter(is_in).map(|n| ids[24 - usize::try_from(n).unwrap()].clone()).collect()
    };
    assert_eq!(page(&format!("limit=100&created[gte]={}", second(5))).await.0, created(5, 99));
    assert_eq!(page(&format!("limit=100&created[gt]={}", second(5))).await.0, created(6, 99));
    assert_eq!(page(&format!("limit=100&created[lte]={}", second(5))).await.0, created(0, 5));
    assert_eq!(page(&format!("limit=100&created[lt]={}", second(5))).await.0, created(0, 4));
    assert_eq!(page(&format!("limit=100&created={}", second(5))).await.0, created(5, 5));
    assert_eq!(page(&format!("created[gte]={}&created[lt]={}", second(3), second(3))).await.0, Vec::<String>::new());
    assert_eq!(page(&format!("created%5Bgte%5D={}", second(17))).await.0, created(17, 99));
    for query in [
        "limit=0",
        "limit=101",
        "limit=x",
        "starting_after=pi_unknown",
        "ending_before=re_1",
        "colour=red",
        "created[gte]=-1",
    ] {
        gateway.get(&format!("/v1/payment_intents?{query}")).await.expect(BAD_REQUEST);
    }
    let both = format!("/v1/payment_intents?starting_after={}&ending_before={}", ids[0], ids[1]);
    gateway.get(&both).await.expect(BAD_REQUEST);
}

#[tokio::test]
async fn refunds_never_exceed_the_charge() {
    let gateway = Gateway::start().await;
    let method = gateway.reusable_card("4242424242424242").await;
    let intent = gateway.charge(&method, "pay_1", None).await.expect(OK).id();
    let refund =
        async |form: &str, key| gateway.post("/v1/refunds", key, &format!("payment_intent={intent}{form}")).await;
    let first = refund("&amount=4000&reason=requested_by_customer", Some("r")).await.expect(OK);
    assert_eq!((&first.json["amount"], &first.json["status"]), (&json!(4_000), &json!("succeeded")));
    assert_eq!((&first.json["payment_intent"], &first.json["object"]), (&json!(intent), &json!("refund")));
    assert!(is_replay(&refund("&amount=4000&reason=requested_by_customer", Some("r")).await.expect(OK)));
    let too_much = refund("&amount=6001", None).await.expect(BAD_REQUEST);
    assert_eq!(too_much.json["error"]["param"], "amount");
    assert!(too_much.json["error"]["message"].as_str().unwrap().starts_with("Refund amount (6001) is greater than"));
    let rest = refund("", None).await.expect(OK);
    assert_eq!(rest.json["amount"], 6_000);
    let nothing_left = refund("&amount=1", None).await.expect(BAD_REQUEST);
    assert_eq!(nothing_left.json["error"]["code"], "charge_already_refunded");
    assert_eq!(gateway.get(&format!("/v1/refunds/{}", rest.id())).await.expect(OK).json, rest.json);
    for form in [
        "payment_intent=pi_none",
        "charge=ch_none",
        "",
        "payment_intent=pi_1&charge=ch_1",
        "payment_intent=pi_1&amount=0",
    ] {
        gateway.post("/v1/refunds", None, form).await.expect(BAD_REQUEST);
    }
    let declined = gateway.reusable_card("4000000000000000").await;
    gateway.charge(&declined, "pay_2", None).await.expect(PAYMENT_REQUIRED);
    let declined = gateway.intents().await[0]["id"].as_str().unwrap().to_owned();
    gateway.post("/v1/refunds", None, &format!("payment_intent={declined}")).await.expect(BAD_REQUEST);
    // Another charge's refunds are left out of the first one's list.
    gateway.clock.advance_ms(1_000);
    let other = gateway.charge(&method, "pay_3", None).await.expect(OK);
    let charge = other.json["latest_charge"].as_str().unwrap();
    gateway.post("/v1/refunds", None, &format!("charge={charge}&amount=1")).await.expect(OK);
    let amounts = async |query: &str| {
        let listed = gateway.get(&format!("/v1/refunds?{query}")).await.expect(OK).json;
        let data = listed["data"].as_array().unwrap().clone();
        data.iter().map(|refund| refund["amount"].as_i64().unwrap()).collect::<BTreeSet<_>>()
    };
    assert_eq!(amounts("limit=100").await, BTreeSet::from([1, 4_000, 6_000]));
    assert_eq!(amounts(&format!("payment_intent={intent}")).await, BTreeSet::from([4_000, 6_000]));
    assert_eq!(amounts(&format!("charge={charge}")).await, BTreeSet::from([1]));
}

#[tokio::test]
async fn a_refund_carries_its_metadata_and_is_listed_with_it() {
    let gateway = Gateway::start().await;
    let method = gateway.card("4242424242424242").await;
    let intent = gateway.charge(&method, "pay_1", None).await.expect(OK).id();
    for number in 0..3 {
        let form = format!("payment_intent={intent}&amount=10&metadata[refund_id]=re_{number}");
        let refund = gateway.post("/v1/refunds", Some(&format!("r{number}")), &form).await.expect(OK);
        assert_eq!(refund.json["metadata"], json!({ "refund_id": format!("re_{number}") }));
    }
    let listed = gateway.get(&format!("/v1/refunds?payment_intent={intent}&limit=100")).await.expect(OK);
    let listed = listed.json["data"].as_array().unwrap().clone();
    let ours: BTreeSet<_> = listed.iter().map(|refund| refund["metadata"]["refund_id"].as_str().unwrap()).collect();
    assert_eq!(ours, BTreeSet::from(["re_0", "re_1", "re_2"]));
}

#[tokio::test]
async fn some_cards_refunds_fail_or_take_a_while() {
    let gateway = Gateway::start().await;
    let refund = async |number: &str, amount: i64, key: &str| {
        let method = gateway.card(number).await;
        let intent = gateway.charge(&method, key, Some(key)).await.expect(OK).id();
        let form = format!("payment_intent={intent}&amount={amount}");
        (intent, gateway.post("/v1/refunds", Some(&format!("{key}/refund")), &form).await.expect(OK))
    };
    // Given a card whose issuer takes no refund, when one is made, then it has failed and the money is still there.
    let (intent, failed) = refund("4000000000005126", 10_000, "pay_1").await;
    assert_eq!(failed.json["status"], "failed");
    assert_eq!(failed.json["failure_reason"], "expired_or_canceled_card");
    let form = format!("payment_intent={intent}&amount=10000");
    let again = gateway.post("/v1/refunds", Some("pay_1/refund"), &form).await.expect(OK);
    assert!(is_replay(&again) && again.text == failed.text);
    let other = gateway.post("/v1/refunds", Some("other"), &form).await.expect(OK);
    assert_eq!(other.json["status"], "failed", "it failed, and not because nothing was left");
    let listed = gateway.get(&format!("/v1/refunds?payment_intent={intent}")).await.expect(OK);
    let listed = listed.json["data"].as_array().unwrap().clone();
    assert!(listed.len() == 2 && listed.iter().all(|refund| refund["status"] == "failed"), "{listed:?}");
    // Given one whose refunds take a while, then they are pending first, and count at once.
    let (intent, pending) = refund("4000000000007726", 10_000, "pay_2").await;
    assert_eq!((&pending.json["status"], &pending.json["failure_reason"]), (&json!("pending"), &Value::Null));
    let form = format!("payment_intent={intent}&amount=1");
    let nothing_left = gateway.post("/v1/refunds", None, &form).await.expect(BAD_REQUEST);
    assert_eq!(nothing_left.json["error"]["code"], "charge_already_refunded");
    gateway.clock.advance_ms(5_000);
    let path = format!("/v1/refunds/{}", pending.id());
    assert_eq!(gateway.get(&path).await.expect(OK).json["status"], "succeeded");
}

#[tokio::test]
async fn a_refund_whose_answer_is_held_back_is_made_once() {
    let gateway = Gateway::start().await;
    let method = gateway.card("4000000000005134").await;
    let started = Instant::now();
    let intent = gateway.charge(&method, "pay_1", None).await.expect(OK).id();
    assert!(started.elapsed() < common::SIMULATED_TIMEOUT, "the charge is answered at once");
    let refund = {
        let (gateway, form) = (gateway.clone(), format!("payment_intent={intent}&amount=4000"));
        async move || gateway.post("/v1/refunds", Some("r"), &form).await
    };
    let refunds = async || {
        let listed = gateway.get(&format!("/v1/refunds?payment_intent={intent}")).await.expect(OK);
        listed.json["data"].as_array().unwrap().len()
    };
    let started = Instant::now();
    let first = tokio::spawn({
        let refund = refund.clone();
        async move { refund().await }
    });
    while refunds().await == 0 {
        assert!(started.elapsed() < common::SIMULATED_TIMEOUT, "the refund is made first");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let retry = refund().await.expect(OK);
    assert!(is_replay(&retry) && started.elapsed() < common::SIMULATED_TIMEOUT, "a retry is answered at once");
    assert_eq!(first.await.unwrap().expect(OK).text, retry.text);
    assert!(started.elapsed() >= common::SIMULATED_TIMEOUT, "the first answer is held back");
    assert_eq!(refunds().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn racing_refunds_never_exceed_the_charge() {
    let gateway = Gateway::start().await;
    let method = gateway.card("4242424242424242").await;
    let intent = gateway.charge(&method, "pay_1", None).await.expect(OK).id();
    let mut running = Vec::new();
    for number in 0..8 {
        let (gateway, form) = (gateway.clone(), format!("payment_intent={intent}&amount=3000"));
        running
            .push(tokio::spawn(async move { gateway.post("/v1/refunds", Some(&format!("r{number}")), &form).await }));
    }
    let mut refunded = 0;
    for answer in running {
        let answer = answer.await.unwrap();
        match answer.status {
            OK => refunded += 3_000,
            BAD_REQUEST => assert_eq!(answer.json["error"]["param"], "amount"),
            other => panic!("{other}: {}", answer.text),
        }
    }
    assert_eq!(refunded, 9_000);
    let listed = gateway.get(&format!("/v1/refunds?payment_intent={intent}")).await.expect(OK);
    assert_eq!(listed.json["data"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_payment_intent_can_be_confirmed_later_or_canceled() {
    let gateway = Gateway::start().await;
    let (good, bad) = (gateway.card("4242424242424242").await, gateway.card("4000000000000000").await);
    let blank = gateway.post("/v1/payment_intents", None, "amount=500&currency=USD&description=x").await.expect(OK);
    assert_eq!((&blank.json["status"], &blank.json["amount_received"]), (&json!("requires_payment_method"), &json!(0)));
    let confirm = format!("/v1/payment_intents/{}/confirm", blank.id());
    let refused = gateway.post(&confirm, None, "").await.expect(BAD_REQUEST);
    assert_eq!(refused.json["error"]["code"], "payment_intent_unexpected_state");
    gateway.post(&confirm, None, "payment_method=pm_none").await.expect(BAD_REQUEST);
    gateway.post(&confirm, Some("c1"), &format!("payment_method={bad}")).await.expect(PAYMENT_REQUIRED);
    let paid = gateway.post(&confirm, Some("c2"), &format!("payment_method={good}")).await.expect(OK);
    assert_eq!((&paid.json["status"], &paid.json["amount_received"]), (&json!("succeeded"), &json!(500)));
    assert_eq!(paid.json["last_payment_error"], Value::Null);
    for verb in ["confirm", "cancel"] {
        let path = format!("/v1/payment_intents/{}/{verb}", blank.id());
        let refused = gateway.post(&path, None, "").await.expect(BAD_REQUEST);
        assert_eq!(refused.json["error"]["code"], "payment_intent_unexpected_state");
    }
    let form = format!("amount=500&currency=usd&payment_method={good}");
    let waiting = gateway.post("/v1/payment_intents", None, &form).await.expect(OK);
    assert_eq!(waiting.json["status"], "requires_confirmation");
    let cancel = format!("/v1/payment_intents/{}/cancel", waiting.id());
    let canceled = gateway.post(&cancel, Some("x"), "").await.expect(OK);
    assert_eq!((&canceled.json["status"], &canceled.json["amount_received"]), (&json!("canceled"), &json!(0)));
    assert!(is_replay(&gateway.post(&cancel, Some("x"), "").await.expect(OK)));
    let confirm = format!("/v1/payment_intents/{}/confirm", waiting.id());
    gateway.post(&confirm, None, "").await.expect(BAD_REQUEST);
    for path in ["/v1/payment_intents/pi_none/confirm", "/v1/payment_intents/pi_none/cancel"] {
        gateway.post(path, None, "").await.expect(StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn nobody_gets_in_without_the_key() {
    let gateway = Gateway::start().await;
    for authorization in ["", "Bearer sk_test_wrong", "Bearer", "Basic !!!", "Basic c2s=", "Digest x"] {
        for path in ["/v1/payment_intents", "/_simulator/behaviour", "/v1/nothing"] {
            let answer = gateway.send("GET", path, &[("authorization", authorization)], Vec::new()).await;
            let answer = answer.expect(StatusCode::UNAUTHORIZED);
            assert_eq!(answer.json["error"]["type"], "invalid_request_error");
            assert!(!answer.text.contains("sk_test"), "{}", answer.text);
        }
    }
    let basic = common::basic(API_KEY);
    gateway.send("GET", "/v1/payment_intents", &[("authorization", &basic)], Vec::new()).await.expect(OK);
}

#[tokio::test]
async fn bad_requests_get_stripes_shape_and_leave_nothing() {
    let gateway = Gateway::start().await;
    let method = gateway.card("4242424242424242").await;
    let long = "x".repeat(1_001);
    for (form, code, param) in [
        ("currency=ngn".to_owned(), "parameter_missing", "amount"),
        ("amount=1".to_owned(), "parameter_missing", "currency"),
        ("amount=0&currency=ngn".to_owned(), "parameter_invalid_integer", "amount"),
        ("amount=-1&currency=ngn".to_owned(), "parameter_invalid_integer", "amount"),
        ("amount=1.5&currency=ngn".to_owned(), "parameter_invalid_integer", "amount"),
        ("amount=99999999999999999999999&currency=ngn".to_owned(), "parameter_invalid_integer", "amount"),
        ("amount=1000000000000&currency=ngn".to_owned(), "parameter_out_of_range", "amount"),
        ("amount=1&currency=naira".to_owned(), "parameter_invalid", "currency"),
        ("amount=1&currency=ngn&confirm=yes".to_owned(), "parameter_invalid_boolean", "confirm"),
        ("amount=1&currency=ngn&payment_method=pm_none".to_owned(), "resource_missing", "payment_method"),
        ("amount=1&currency=ngn&payment_method=../x".to_owned(), "resource_missing", "payment_method"),
        (format!("amount=1&currency=ngn&description={long}"), "parameter_invalid_string_length", "description"),
        (format!("amount=1&currency=ngn&metadata[a]={long}"), "parameter_invalid", "metadata"),
        (format!("amount=1&currency=ngn&metadata[{long}]=a"), "parameter_invalid", "metadata"),
    ] {
        let form = if form.contains("confirm") { format!("{form}&payment_method={method}") } else { form };
        let answer = gateway.post("/v1/payment_intents", Some("k"), &form).await.expect(BAD_REQUEST);
        assert_eq!(
            (&answer.json["error"]["code"], &answer.json["error"]["param"]),
            (&json!(code), &json!(param)),
            "{form}"
        );
    }
    let unknown = gateway.post("/v1/payment_intents", None, "amount=1&currency=ngn&4242424242424242=1").await;
    let unknown = unknown.expect(BAD_REQUEST);
    assert_eq!(unknown.json["error"]["code"], "parameter_unknown");
    assert!(!unknown.text.contains("4242"));
    assert!(gateway.intents().await.is_empty());
    for (card, code) in [
        ("card[number]=42&card[exp_month]=12&card[exp_year]=2030&card[cvc]=593", "incorrect_number"),
        ("card[number]=4242424242424242&card[exp_month]=10&card[exp_year]=2026&card[cvc]=593", "invalid_expiry_year"),
        ("card[number]=4242424242424242&card[exp_month]=10&card[exp_year]=1999&card[cvc]=593", "invalid_expiry_year"),
        ("card[number]=4242424242424242&card[exp_month]=12&card[exp_year]=2030&card[cvc]=59", "invalid_cvc"),
    ] {
        let answer = gateway.post("/v1/payment_methods", None, &format!("type=card&{card}")).await;
        let answer = answer.expect(PAYMENT_REQUIRED);
        assert_eq!(
            (&answer.json["error"]["type"], &answer.json["error"]["code"]),
            (&json!("card_error"), &json!(code))
        );
    }
    for form in ["", "type=sepa_debit", "type=card", "type=card&card[number]=4242424242424242&card[exp_month]=13"] {
        gateway.post("/v1/payment_methods", None, form).await.expect(BAD_REQUEST);
    }
}

#[tokio::test]
async fn strange_requests_are_refused_in_stripes_shape() {
    let gateway = Gateway::start().await;
    let bearer = format!("Bearer {API_KEY}");
    let send = async |method: &str, path: &str, headers: &[(&str, &str)], body: Vec<u8>| {
        let headers: Vec<_> = headers.iter().copied().chain([("authorization", bearer.as_str())]).collect();
        let answer = gateway.send(method, path, &headers, body).await;
        assert!(answer.json["error"]["message"].is_string(), "{}", answer.text);
        answer.status
    };
    let form = ("content-type", "application/x-www-form-urlencoded");
    assert_eq!(send("GET", "/v1/nothing", &[], vec![]).await, StatusCode::NOT_FOUND);
    assert_eq!(send("DELETE", "/v1/refunds", &[], vec![]).await, StatusCode::NOT_FOUND);
    assert_eq!(send("GET", "/v1/payment_intents/pi_none", &[], vec![]).await, StatusCode::NOT_FOUND);
    assert_eq!(send("GET", "/v1/payment_methods/%00%ff", &[], vec![]).await, StatusCode::NOT_FOUND);
    assert_eq!(send("GET", "/v1/refunds/..%2f..", &[], vec![]).await, StatusCode::NOT_FOUND);
    let json = ("content-type", "application/json");
    assert_eq!(send("POST", "/v1/refunds", &[json], b"{}".to_vec()).await, BAD_REQUEST);
    assert_eq!(send("POST", "/v1/refunds", &[form], vec![b'a'; 200_000]).await, StatusCode::PAYLOAD_TOO_LARGE);
    let many = (0..101).map(|n| format!("a{n}=1&")).collect::<String>();
    assert_eq!(send("POST", "/v1/refunds", &[form], many.into_bytes()).await, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(send("POST", "/v1/refunds", &[form], vec![0xff, 0xfe, b'=', 0x80, b'%', b'z']).await, BAD_REQUEST);
    for key in ["", &"k".repeat(256), "with space"] {
        assert_eq!(send("POST", "/v1/refunds", &[form, ("idempotency-key", key)], vec![]).await, BAD_REQUEST);
    }
}

#[tokio::test]
async fn the_switch_breaks_every_instance_for_a_while() {
    let gateway = Gateway::start().await;
    let other = gateway.another_instance();
    let method = gateway.reusable_card("4242424242424242").await;
    assert!(other.intents().await.is_empty());
    for (mode, status) in [("unavailable", UNAVAILABLE), ("error", StatusCode::INTERNAL_SERVER_ERROR)] {
        gateway.behave(&format!("mode={mode}&for_seconds=60")).await;
        assert_eq!(gateway.get("/_simulator/behaviour").await.expect(OK).json["mode"], mode);
        gateway.charge(&method, "pay_1", Some(mode)).await.expect(status);
        // The other instance reads the switch at most once a second.
        gateway.clock.advance_ms(1_000);
        other.charge(&method, "pay_1", Some(mode)).await.expect(status);
        other.get("/v1/payment_intents").await.expect(status);
    }
    gateway.clock.advance_ms(60_000);
    assert!(gateway.intents().await.is_empty(), "and it ends by itself");
    gateway.charge(&method, "pay_1", Some("unavailable")).await.expect(OK);
    gateway.behave("mode=slow&delay_ms=700").await;
    let started = Instant::now();
    gateway.charge(&method, "pay_2", Some("slow")).await.expect(OK);
    gateway.get("/v1/payment_intents").await.expect(OK);
    assert!(started.elapsed() >= Duration::from_millis(1_400));
    gateway.behave("mode=normal").await;
    let started = Instant::now();
    gateway.get("/v1/payment_intents").await.expect(OK);
    assert!(started.elapsed() < Duration::from_millis(700));
    for form in ["", "mode=fast", "mode=slow&delay_ms=10001", "mode=error&for_seconds=3601", "mode=error&x=1"] {
        gateway.post("/_simulator/behaviour", None, form).await.expect(BAD_REQUEST);
    }
}

/// Parts of which requests are made up at random: good ones, wrong ones, and nonsense.
const PARTS: &[&str] = &[
    "amount=1",
    "amount=-1",
    "amount=",
    "currency=ngn",
    "currency=\u{e9}",
    "confirm=true",
    "confirm=%",
    "payment_method=pm_1",
    "payment_method=%ff%00",
    "metadata[a]=b",
    "metadata[=b",
    "metadata[]=1",
    "type=card",
    "card[number]=4242424242424242",
    "card[number]=%C3%A9%C3%A9%C3%A9%C3%A9%C3%A9",
    "card[exp_month]=12",
    "card[exp_month]=99999999999999999999",
    "card[exp_year]=30",
    "card[cvc]=123",
    "limit=1",
    "limit=0",
    "starting_after=pi_~",
    "created[gte]=32503680000",
    "created[lt]=0",
    "payment_intent=pi_1",
    "charge=ch_ch_",
    "mode=slow",
    "delay_ms=0",
    "for_seconds=1",
    "=",
    "&&",
    "a",
    "%",
    "[]",
    "description=\u{1f600}",
    "+",
];

#[tokio::test]
async fn random_requests_are_never_the_gateways_fault() {
    let gateway = Gateway::start().await;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % 1_000_003).unwrap() % below
    };
    let paths = [
        "/v1/payment_methods",
        "/v1/payment_intents",
        "/v1/payment_intents/pi_1/confirm",
        "/v1/payment_intents/pi_1/cancel",
        "/v1/refunds",
        "/_simulator/behaviour",
    ];
    let mut seen = BTreeSet::new();
    for round in 0..600 {
        let form = (0..draw(8)).map(|_| PARTS[draw(PARTS.len())]).collect::<Vec<_>>().join("&");
        let path = paths[draw(paths.len())];
        let query: String = form.chars().filter(char::is_ascii).collect();
        let key = format!("k{}", draw(50));
        let answer = match round % 3 {
            0 => gateway.get(&format!("{path}?{query}")).await,
            _ => gateway.post(path, Some(&key), &form).await,
        };
        assert!(!answer.status.is_server_error(), "{path} {form}: {}", answer.text);
        assert!(answer.json.is_object(), "{path} {form}: {}", answer.text);
        seen.insert(answer.status.as_u16());
    }
    assert!(seen.contains(&200) && seen.contains(&400) && seen.contains(&404), "{seen:?}");
}
