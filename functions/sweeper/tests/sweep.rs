//! The sweeper against an embedded DynamoDB.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::sync::Arc;

use florin_domain::{event::EventType, journal::Step, payment::Payment, saga};
use florin_platform::clock::Clock;
use florin_store::payments::{DUE_AFTER_MS, Payments};
use florin_sweeper::{Sweeper, Swept};
use florin_testing::{build, dynamo::Dynamo, fakes::RecordingPublisher};

struct World {
    payments: Payments,
    publisher: Arc<RecordingPublisher>,
    clock: Clock,
    sweeper: Sweeper,
}

impl World {
    async fn start() -> Self {
        let payments = Payments::new(Dynamo::start().await.client, "payments");
        let publisher = Arc::<RecordingPublisher>::default();
        let clock = Clock::set_to(build::START);
        let sweeper = Sweeper::new(payments.clone(), publisher.clone(), clock.clone());
        Self { payments, publisher, clock, sweeper }
    }

    async fn create(&self, key: &str) -> Payment {
        let payment = build::payment(&build::merchant("shop").id, key);
        self.payments.create(&payment).await.unwrap();
        payment
    }

    async fn run(&self) -> Swept {
        self.sweeper.run().await.unwrap()
    }
}

#[tokio::test]
async fn lost_events_are_published_again_and_only_when_they_are_due() {
    let world = World::start().await;
    for n in 0..20 {
        world.create(&format!("k{n}")).await;
    }
    assert_eq!(world.run().await, Swept::default());
    world.clock.advance_ms(DUE_AFTER_MS);
    assert_eq!(world.run().await, Swept { redriven: 20, ..Swept::default() });
    assert!(world.publisher.events().iter().all(|event| event.event_type == EventType::PaymentInitiated));
    assert_eq!(world.run().await, Swept::default(), "not due again yet");
    world.clock.advance_ms(DUE_AFTER_MS);
    assert_eq!(world.run().await.redriven, 20, "but until it ends, again and again");
}

#[tokio::test]
async fn a_payment_that_a_processor_has_is_left_alone_until_its_lease_ends() {
    let world = World::start().await;
    let payment = world.create("k").await;
    world.clock.advance_ms(DUE_AFTER_MS);
    let claimed = saga::claim(&payment, Step::Charge, None, world.clock.now());
    world.payments.save(&payment, &claimed).await.unwrap();
    assert_eq!(world.run().await, Swept { under_way: 1, ..Swept::default() });
    world.clock.advance_ms(saga::LEASE_MS + DUE_AFTER_MS);
    assert_eq!(world.run().await, Swept { redriven: 1, ..Swept::default() });
}

#[tokio::test]
async fn a_payment_that_has_ended_is_due_no_more() {
    let world = World::start().await;
    let payment = world.create("k").await;
    world.payments.save(&payment, &build::completed(&payment, 100)).await.unwrap();
    world.clock.advance_ms(DUE_AFTER_MS);
    assert_eq!(world.run().await, Swept::default());
    assert!(world.publisher.events().is_empty());
}

#[tokio::test]
async fn a_stuck_payment_is_reported_and_not_driven() {
    let world = World::start().await;
    let payment = world.create("k").await;
    let mut stuck = saga::claim(&payment, Step::Charge, None, build::START);
    stuck.stuck = true;
    stuck.lease_until = None;
    world.payments.save(&payment, &stuck).await.unwrap();
    world.clock.advance_ms(DUE_AFTER_MS);
    assert_eq!(world.run().await, Swept { stuck: 1, ..Swept::default() });
    assert!(world.publisher.events().is_empty());
}

#[tokio::test]
async fn a_publish_that_fails_leaves_the_payment_due() {
    let world = World::start().await;
    world.create("k").await;
    world.clock.advance_ms(DUE_AFTER_MS);
    world.publisher.fail_next(1);
    assert_eq!(world.run().await, Swept { failed: 1, ..Swept::default() });
    assert_eq!(world.run().await, Swept { redriven: 1, ..Swept::default() });
}

#[tokio::test]
async fn two_sweepers_at_once_do_no_harm() {
    let world = World::start().await;
    world.create("k").await;
    world.clock.advance_ms(DUE_AFTER_MS);
    let (one, other) = tokio::join!(world.run(), world.run());
    assert!(one.redriven + other.redriven >= 1);
    let ids: std::collections::HashSet<_> = world.publisher.events().into_iter().map(|event| event.id).collect();
    assert_eq!(ids.len(), 1);
}
