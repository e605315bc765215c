//! The webhooks table: every condition, on an embedded DynamoDB.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, reason = "a test may stop at the first surprise")]

use florin_domain::{
    event::Event,
    ids::WebhookEndpointId,
    webhook::{
        ATTEMPTS_MAX, AttemptResult, Delivery, DeliveryStatus, ENDPOINTS_PER_MERCHANT_MAX, Target, WebhookEndpoint,
        after_attempt,
    },
};
use florin_store::{
    StoreError,
    webhooks::{Attempt, Webhooks},
};
use florin_testing::{build, dynamo::Dynamo};

const OK: AttemptResult = AttemptResult::Answered(200);
const ERROR: AttemptResult = AttemptResult::Answered(500);

struct World {
    dynamo: Dynamo,
    webhooks: Webhooks,
}

impl World {
    async fn start() -> Self {
        let dynamo = Dynamo::start().await;
        Self { webhooks: Webhooks::new(dynamo.client.clone(), "webhooks"), dynamo }
    }

    /// Records the attempt that follows `before` others, and returns what stands.
    async fn record(&self, event: &Event, target: &Target, before: u32, result: AttemptResult) -> Delivery {
        let delivery = after_attempt(target.delivery_id(event), before, &result, build::START, 0);
        let attempt = Attempt { started_at: build::START, duration_ms: 12, result };
        self.webhooks.record(event, target, &delivery, &attempt).await.unwrap()
    }

    async fn read(&self, event: &Event, target: &Target) -> Option<Delivery> {
        self.webhooks.deliveries(&[(event, target)]).await.unwrap().remove(&target.delivery_id(event))
    }

    /// The recorded results, in order.
    async fn results(&self) -> Vec<String> {
        let items = self.dynamo.client.scan().table_name("webhooks").send().await.unwrap().items.unwrap();
        assert_eq!(items.len(), 1);
        let attempts = items[0]["a"].as_l().unwrap();
        attempts.iter().map(|attempt| attempt.as_m().unwrap()["r"].as_s().unwrap().clone()).collect()
    }
}

fn event(key: &str) -> Event {
    build::ended(&build::completed(&build::payment(&build::merchant("shop").id, key), 100))
}

fn own_url() -> Target {
    Target::PaymentUrl("https://shop.example/own".to_owned())
}

fn endpoint(name: &str, merchant: &str) -> WebhookEndpoint {
    WebhookEndpoint {
        id: WebhookEndpointId::derive(&[name]),
        merchant_id: build::merchant(merchant).id,
        url: format!("https://shop.example/{name}"),
        secret_generation: 3,
        enabled: true,
    }
}

#[tokio::test]
async fn a_merchant_has_its_own_endpoints_and_no_others() {
    let World { webhooks, .. } = World::start().await;
    let disabled = WebhookEndpoint { enabled: false, ..endpoint("b", "shop") };
    for endpoint in [&endpoint("a", "shop"), &disabled, &endpoint("c", "other shop")] {
        webhooks.put_endpoint(endpoint).await.unwrap();
    }
    let mut expected = vec![endpoint("a", "shop"), disabled];
    expected.sort_by_key(|endpoint| endpoint.id.clone());
    assert_eq!(webhooks.endpoints(&build::merchant("shop").id).await.unwrap(), expected);
    assert_eq!(webhooks.endpoints(&build::merchant("nobody").id).await.unwrap(), []);
}

#[tokio::test]
async fn endpoints_are_bounded() {
    let World { webhooks, .. } = World::start().await;
    for place in 0..=ENDPOINTS_PER_MERCHANT_MAX {
        webhooks.put_endpoint(&endpoint(&place.to_string(), "shop")).await.unwrap();
    }
    assert_eq!(webhooks.endpoints(&build::merchant("shop").id).await.unwrap().len(), ENDPOINTS_PER_MERCHANT_MAX);
}

#[tokio::test]
async fn an_attempt_is_read_back() {
    let world = World::start().await;
    let event = event("1");
    for target in [own_url(), Target::Endpoint(endpoint("a", "shop"))] {
        assert_eq!(world.read(&event, &target).await, None);
        let recorded = world.record(&event, &target, 0, ERROR).await;
        assert_eq!((recorded.status, recorded.attempts), (DeliveryStatus::Retrying, 1));
        assert_eq!(recorded.next_due, Some(build::START.plus_ms(5_000)));
        assert_eq!(world.read(&event, &target).await, Some(recorded));
    }
}

#[tokio::test]
async fn a_delivery_ends_and_keeps_every_attempt() {
    let world = World::start().await;
    let (event, target) = (event("1"), own_url());
    for before in 0..ATTEMPTS_MAX {
        world.record(&event, &target, before, AttemptResult::Unanswered("timeout")).await;
    }
    let ended = world.read(&event, &target).await.unwrap();
    assert_eq!((ended.status, ended.attempts, ended.next_due), (DeliveryStatus::Failed, ATTEMPTS_MAX, None));
    assert_eq!(world.results().await, ["timeout"; 7]);
}

#[tokio::test]
async fn attempts_never_go_back() {
    let world = World::start().await;
    let (event, target) = (event("1"), own_url());
    world.record(&event, &target, 0, ERROR).await;
    let second = world.record(&event, &target, 1, ERROR).await;
    // Another process was slow: it records its first attempt only now, and its second.
    for before in [0, 1] {
        assert_eq!(world.record(&event, &target, before, AttemptResult::Answered(503)).await, second);
        assert_eq!(world.read(&event, &target).await, Some(second.clone()));
    }
    // Its success came before what is known, too.
    assert_eq!(world.record(&event, &target, 0, OK).await, second);
    assert_eq!(world.results().await, ["500", "500"]);
}

#[tokio::test]
async fn a_success_replaces_a_failure_of_the_same_number() {
    let world = World::start().await;
    let (event, target) = (event("1"), own_url());
    world.record(&event, &target, 0, ERROR).await;
    let delivered = world.record(&event, &target, 0, OK).await;
    assert_eq!((delivered.status, delivered.attempts, delivered.next_due), (DeliveryStatus::Delivered, 1, None));
    assert_eq!(world.read(&event, &target).await, Some(delivered));
    assert_eq!(world.results().await, ["500", "200"]);
}

#[tokio::test]
async fn nothing_replaces_an_end() {
    for end in [OK, AttemptResult::Refused("url_address_forbidden")] {
        let world = World::start().await;
        let (event, target) = (event("1"), own_url());
        let ended = world.record(&event, &target, 0, end).await;
        assert_ne!(ended.status, DeliveryStatus::Retrying);
        for (before, result) in [(0, ERROR), (0, OK), (1, ERROR), (5, OK), (6, ERROR)] {
            assert_eq!(world.record(&event, &target, before, result).await, ended);
        }
        assert_eq!(world.read(&event, &target).await, Some(ended));
        assert_eq!(world.results().await.len(), 1);
    }
}

#[tokio::test]
async fn deliveries_of_one_event_do_not_touch_each_other() {
    let world = World::start().await;
    let (event, other) = (event("1"), event("2"));
    let (a, b) = (Target::Endpoint(endpoint("a", "shop")), Target::Endpoint(endpoint("b", "shop")));
    world.record(&event, &a, 0, OK).await;
    world.record(&event, &own_url(), 0, ERROR).await;
    world.record(&other, &a, 0, AttemptResult::Refused("url_address_forbidden")).await;
    let own = own_url();
    // One read, in which every delivery may be asked for twice.
    let wanted = [(&event, &a), (&event, &b), (&event, &own), (&other, &a), (&event, &a), (&other, &a), (&other, &own)];
    world.dynamo.meter.reset();
    let found = world.webhooks.deliveries(&wanted).await.unwrap();
    assert_eq!(world.dynamo.meter.counts().calls.into_iter().collect::<Vec<_>>(), [("BatchGetItem".to_owned(), 1)]);
    let status = |event, target: &Target| found.get(&target.delivery_id(event)).map(|delivery| delivery.status);
    assert_eq!(status(&event, &a), Some(DeliveryStatus::Delivered));
    assert_eq!(status(&event, &b), None);
    assert_eq!(status(&event, &own), Some(DeliveryStatus::Retrying));
    assert_eq!(status(&other, &a), Some(DeliveryStatus::Failed));
    assert_eq!(status(&other, &own), None);
}

#[tokio::test]
async fn more_deliveries_than_one_read_takes_are_found() {
    let world = World::start().await;
    let event = event("1");
    let targets: Vec<Target> = (0..110).map(|n| Target::Endpoint(endpoint(&n.to_string(), "shop"))).collect();
    for target in &targets {
        world.record(&event, target, 0, OK).await;
    }
    let wanted: Vec<_> = targets.iter().map(|target| (&event, target)).collect();
    world.dynamo.meter.reset();
    assert_eq!(world.webhooks.deliveries(&wanted).await.unwrap().len(), 110);
    assert_eq!(world.dynamo.meter.counts().calls["BatchGetItem"], 2);
    assert!(world.webhooks.deliveries(&[]).await.unwrap().is_empty(), "nothing wanted, nothing asked");
    assert_eq!(world.dynamo.meter.counts().calls["BatchGetItem"], 2);
}

#[tokio::test]
async fn the_record_expires_after_its_event_and_every_attempt_costs_one_write_unit() {
    let world = World::start().await;
    let (event, target) = (event("1"), own_url());
    for before in 0..ATTEMPTS_MAX {
        world.dynamo.meter.reset();
        world.record(&event, &target, before, ERROR).await;
        let counts = world.dynamo.meter.counts();
        assert_eq!((counts.calls["UpdateItem"], counts.write_units["webhooks"]), (1, 1.0));
    }
    let item = &world.dynamo.client.scan().table_name("webhooks").send().await.unwrap().items.unwrap()[0];
    let expires: i64 = item["ttl"].as_n().unwrap().parse().unwrap();
    assert_eq!(expires - event.time.seconds(), 90 * 24 * 60 * 60);
    assert!(!format!("{item:?}").contains("shop.example"), "URLs may hold secrets: none is kept in a delivery");
}

#[tokio::test]
async fn an_item_that_is_not_ours_is_named_and_not_guessed_at() {
    let world = World::start().await;
    let (event, target) = (event("1"), own_url());
    world.record(&event, &target, 0, ERROR).await;
    let item = world.dynamo.client.scan().table_name("webhooks").send().await.unwrap().items.unwrap().remove(0);
    let set = world.dynamo.client.update_item().table_name("webhooks").key("pk", item["pk"].clone());
    let odd = aws_sdk_dynamodb::types::AttributeValue::S("odd".to_owned());
    let set = set.key("sk", item["sk"].clone()).update_expression("SET st = :odd");
    set.expression_attribute_values(":odd", odd).send().await.unwrap();
    let read = world.webhooks.deliveries(&[(&event, &target)]).await;
    assert!(matches!(read, Err(StoreError::Corrupt { attribute: "st" })), "{read:?}");
}
