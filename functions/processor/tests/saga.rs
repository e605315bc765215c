//! The processor against an embedded DynamoDB and a gateway that charges once per key.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::{sync::Arc, time::Duration};

use florin_domain::{
    event::{Event, EventType},
    journal::{StepOutcome, timeline},
    payment::{Payment, Status},
    saga::LEASE_MS,
};
use florin_platform::clock::Clock;
use florin_processor::Processor;
use florin_store::{
    merchants::Merchants,
    payments::{Payments, Written},
};
use florin_testing::{
    build,
    dynamo::Dynamo,
    fakes::{FakeGateway, RecordingFailures, RecordingPublisher, RecordingVisibility, Script, queue},
};

struct World {
    payments: Payments,
    merchants: Merchants,
    gateway: Arc<FakeGateway>,
    publisher: Arc<RecordingPublisher>,
    visibility: Arc<RecordingVisibility>,
    failures: Arc<RecordingFailures>,
    clock: Clock,
    dynamo: Dynamo,
}

impl World {
    async fn start() -> Self {
        let dynamo = Dynamo::start().await;
        let merchants = Merchants::new(dynamo.client.clone(), "merchants");
        merchants.put_merchant(&build::merchant("shop")).await.unwrap();
        Self {
            payments: Payments::new(dynamo.client.clone(), "payments"),
            merchants,
            gateway: Arc::default(),
            publisher: Arc::default(),
            visibility: Arc::default(),
            failures: Arc::default(),
            clock: Clock::set_to(build::START),
            dynamo,
        }
    }

    /// A processor as a new execution environment has it: it remembers nothing.
    fn processor(&self) -> Processor {
        Processor::new(
            self.payments.clone(),
            self.merchants.clone(),
            self.gateway.clone(),
            self.publisher.clone(),
            queue(&self.visibility, &self.failures),
            self.clock.clone(),
        )
    }

    async fn create(&self, key: &str) -> Payment {
        let payment = build::payment(&build::merchant("shop").id, key);
        assert_eq!(self.payments.create(&payment).await.unwrap(), Written::Done(payment.clone()));
        payment
    }

    /// Delivers the payment's message once; whether it was acknowledged.
    async fn deliver(&self, payment: &Payment) -> bool {
        let batch = build::batch([build::body(&Event::initiated(payment, &build::correlation()))]);
        self.processor().handle(batch, None).await.unwrap().batch_item_failures.is_empty()
    }

    /// Delivers the message again and again, after the waits that it asks for.
    async fn drain(&self, payment: &Payment) -> Payment {
        for _ in 0..30 {
            if self.deliver(payment).await {
                break;
            }
            let wait = self.visibility.changes().last().map_or(60, |(_, seconds)| *seconds);
            self.clock.advance_ms(i64::from(wait) * 1_000);
        }
        self.read(payment).await
    }

    async fn read(&self, payment: &Payment) -> Payment {
        self.payments.get_of_any_merchant(&payment.id).await.unwrap().unwrap()
    }

    fn published(&self) -> Vec<EventType> {
        self.publisher.events().into_iter().map(|event| event.event_type).collect()
    }
}

fn story(payment: &Payment) -> Vec<String> {
    let outcome = |outcome: Option<StepOutcome>| outcome.map_or("open", StepOutcome::as_str);
    timeline(payment).iter().map(|e| format!("{} {} {}", e.step.as_str(), e.attempt, outcome(e.outcome))).collect()
}

#[tokio::test]
async fn an_approved_payment_costs_two_writes_and_one_event() {
    let world = World::start().await;
    let payment = world.create("a").await;
    world.dynamo.meter.reset();
    assert!(world.deliver(&payment).await);
    let ended = world.read(&payment).await;
    assert_eq!((ended.status, ended.version, ended.gateway_reference.as_deref()), (Status::Completed, 3, Some("pi_0")));
    assert_eq!(
        story(&ended),
        ["validate 1 succeeded", "reserve 1 skipped", "charge 1 succeeded", "settle 1 succeeded"]
    );
    let event = &world.publisher.events()[0];
    assert_eq!((event.event_type, event.sequence, &event.data), (EventType::PaymentCompleted, 3, &ended.view()));
    let counts = world.dynamo.meter.counts();
    assert_eq!(counts.calls["UpdateItem"], 2);
    // Claim and finish, and the payment's leaving of the due index.
    assert!(counts.write_units["payments"] <= 3.0, "{counts:?}");
}

#[tokio::test]
async fn a_declined_payment_fails_at_once() {
    let world = World::start().await;
    world.gateway.script([Script::Decline("insufficient_funds")]);
    let payment = world.create("a").await;
    assert!(world.deliver(&payment).await);
    let ended = world.read(&payment).await;
    assert_eq!((ended.status, ended.failure.unwrap().code.as_str()), (Status::Failed, "insufficient_funds"));
    assert_eq!(ended.gateway_reference.as_deref(), Some("pi_declined"));
    assert_eq!((world.gateway.charges(), world.published()), (0, vec![EventType::PaymentFailed]));
}

#[tokio::test]
async fn an_unavailable_gateway_is_tried_three_times_with_growing_waits() {
    let world = World::start().await;
    world.gateway.script([Script::Unavailable, Script::Unavailable, Script::Unavailable]);
    let payment = world.create("a").await;
    let ended = world.drain(&payment).await;
    assert_eq!((ended.status, ended.failure.as_ref().unwrap().code.as_str()), (Status::Failed, "gateway_error"));
    assert_eq!(story(&ended)[2..], ["charge 1 retrying", "charge 2 retrying", "charge 3 failed"]);
    let waits: Vec<i32> = world.visibility.changes().into_iter().map(|(_, seconds)| seconds).collect();
    assert!(matches!(waits[..], [1..=2, 2..=3]), "{waits:?}");
    assert_eq!(world.gateway.calls().len(), 3);
}

#[tokio::test]
async fn a_charge_taken_but_not_answered_is_found_by_its_key() {
    let world = World::start().await;
    world.gateway.script([Script::TakenThenLost]);
    let payment = world.create("a").await;
    let ended = world.drain(&payment).await;
    assert_eq!((ended.status, world.gateway.charges()), (Status::Completed, 1));
    let key = format!("{}/charge", payment.id);
    assert_eq!(world.gateway.calls(), [key.clone(), key], "the key does not change between attempts");
}

#[tokio::test]
async fn the_gateway_is_asked_before_a_payment_of_unknown_outcome_ends() {
    for (last, status, charges) in [(Script::TakenThenLost, Status::Completed, 1), (Script::Lost, Status::Failed, 0)] {
        let world = World::start().await;
        world.gateway.script([Script::Lost, Script::Unavailable, last]);
        let payment = world.create("a").await;
        let ended = world.drain(&payment).await;
        assert_eq!((ended.status, world.gateway.charges()), (status, charges), "{:?}", story(&ended));
        assert!(story(&ended).contains(&"reconcile 1 succeeded".to_owned()));
    }
}

#[tokio::test]
async fn a_question_that_is_never_answered_leaves_the_payment_stuck_and_says_so() {
    let world = World::start().await;
    world.gateway.fail_look_ups(true);
    world.gateway.script([Script::Lost, Script::Lost, Script::TakenThenLost]);
    let payment = world.create("a").await;
    let ended = world.drain(&payment).await;
    assert_eq!((ended.status, ended.stuck), (Status::Processing, true));
    assert!(world.published().is_empty());
    assert!(world.deliver(&payment).await, "a stuck payment waits for a person, not for its message");
}

#[tokio::test]
async fn duplicates_change_nothing() {
    let world = World::start().await;
    let payment = world.create("a").await;
    for _ in 0..5 {
        assert!(world.deliver(&payment).await);
    }
    assert_eq!((world.gateway.charges(), world.gateway.calls().len()), (1, 1));
    let ids: std::collections::HashSet<_> = world.publisher.events().into_iter().map(|event| event.id).collect();
    assert_eq!(ids.len(), 1, "published again, but as the same event");
    assert_eq!(world.read(&payment).await.version, 3);
}

#[tokio::test]
async fn twenty_processors_at_once_charge_once() {
    let world = Arc::new(World::start().await);
    let payment = world.create("a").await;
    let deliveries = (0..20).map(|_| {
        let (world, payment) = (Arc::clone(&world), payment.clone());
        tokio::spawn(async move { world.deliver(&payment).await })
    });
    for delivery in deliveries.collect::<Vec<_>>() {
        delivery.await.unwrap();
    }
    world.clock.advance_ms(LEASE_MS);
    assert_eq!(world.drain(&payment).await.status, Status::Completed);
    assert_eq!((world.gateway.charges(), world.gateway.calls().len()), (1, 1));
}

#[tokio::test]
async fn a_processor_that_dies_during_the_charge_is_succeeded_by_another() {
    let world = World::start().await;
    let payment = world.create("a").await;
    world.gateway.script([Script::Panic]);
    assert!(!world.deliver(&payment).await);
    assert!(!world.deliver(&payment).await, "the lease keeps others away");
    world.clock.advance_ms(LEASE_MS);
    let ended = world.drain(&payment).await;
    assert_eq!((ended.status, world.gateway.charges()), (Status::Completed, 1));
    assert_eq!(ended.journal[2].error.as_ref().unwrap().code, "interrupted");
}

#[tokio::test]
async fn an_outcome_that_could_not_be_published_is_published_when_the_message_comes_again() {
    let world = World::start().await;
    let payment = world.create("a").await;
    world.publisher.fail_next(1);
    assert!(!world.deliver(&payment).await);
    assert_eq!(world.read(&payment).await.status, Status::Completed, "state first, then publish, then acknowledge");
    assert!(world.deliver(&payment).await);
    assert_eq!((world.published(), world.gateway.charges()), (vec![EventType::PaymentCompleted], 1));
}

#[tokio::test]
async fn an_inactive_merchants_payment_fails_without_a_charge() {
    let world = World::start().await;
    let mut merchant = build::merchant("shop");
    merchant.active = false;
    world.merchants.put_merchant(&merchant).await.unwrap();
    let payment = world.create("a").await;
    assert!(world.deliver(&payment).await);
    let ended = world.read(&payment).await;
    assert_eq!(ended.failure.as_ref().unwrap().code, "merchant_inactive");
    assert_eq!((story(&ended), world.gateway.calls().len()), (vec!["validate 1 failed".to_owned()], 0));
}

#[tokio::test]
async fn one_bad_message_does_not_hold_up_its_batch() {
    let world = World::start().await;
    let good = world.create("good").await;
    let unknown = build::payment(&build::merchant("shop").id, "never stored");
    let initiated = |payment| build::body(&Event::initiated(payment, &build::correlation()));
    let batch = build::batch(["{".to_owned(), initiated(&good), initiated(&unknown)]);
    let response = world.processor().handle(batch, Some(Duration::from_secs(10))).await.unwrap();
    let failed: Vec<_> = response.batch_item_failures.iter().map(|failure| failure.item_identifier.clone()).collect();
    assert_eq!(failed, ["m0", "m2"]);
    assert_eq!(world.visibility.changes(), [("r0".to_owned(), 0)], "poison goes on to the dead letters at once");
    assert_eq!(world.read(&good).await.status, Status::Completed);
}
