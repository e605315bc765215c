//! The sweeper against an embedded DynamoDB: what it does about everything that can stand in the due index.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use std::{collections::BTreeSet, sync::Arc};

use florin_domain::{
    breaker::FAILURES_MAX,
    effect::{CODE_AWAY, LEASE_MS, StepResult},
    event::EventType,
    ids::RefundId,
    journal::{Failure, Step},
    payment::{NewPayment, Payment, When},
    refund::{NewRefund, Refund},
    saga::{self, CODE_UNANSWERED, Command},
    time::{MS_PER_HOUR, Timestamp},
};
use florin_platform::clock::Clock;
use florin_store::{
    breaker::{READ_EVERY_MS, SharedBreaker},
    payments::{
        DUE_AFTER_MS, DUE_SHARDS, Due, HANDOVER_MS, HELD_REVIEW_MS, Payments, RefundWritten, Reserved, STUCK_REPORT_MS,
        Written,
    },
};
use florin_sweeper::{ITEMS_PER_SHARD_MAX, Sweeper, Swept};
use florin_testing::{build, dynamo::Dynamo, fakes::RecordingPublisher};

const DAY_MS: i64 = 24 * MS_PER_HOUR;

struct World {
    dynamo: Dynamo,
    payments: Payments,
    publisher: Arc<RecordingPublisher>,
    clock: Clock,
    sweeper: Sweeper,
}

impl World {
    async fn start() -> Self {
        let dynamo = Dynamo::start().await;
        let payments = Payments::new(dynamo.client.clone(), "payments");
        let publisher = Arc::<RecordingPublisher>::default();
        let clock = Clock::set_to(build::START);
        let breaker = SharedBreaker::new(dynamo.client.clone(), "payments");
        let sweeper = Sweeper::new(payments.clone(), breaker, publisher.clone(), clock.clone());
        Self { dynamo, payments, publisher, clock, sweeper }
    }

    async fn create(&self, key: &str) -> Payment {
        self.store(build::payment(&build::merchant("shop").id, key)).await
    }

    /// A payment that is to be processed so many milliseconds after it was created.
    async fn create_after(&self, key: &str, ms: i64) -> Payment {
        let payment = build::payment(&build::merchant("shop").id, key);
        let new = NewPayment {
            money: payment.money,
            source: payment.source,
            customer: None,
            description: None,
            metadata: payment.metadata,
            webhook_url: None,
            when: When::At(build::START.plus_ms(ms)),
        };
        self.store(Payment::create(payment.id, payment.merchant_id, new, build::START)).await
    }

    async fn store(&self, payment: Payment) -> Payment {
        self.payments.create(&payment).await.unwrap();
        payment
    }

    /// Stores a merchant's command.
    async fn command(&self, payment: &Payment, command: fn(&Payment, Timestamp) -> Command) -> Payment {
        let now = self.clock.now();
        let Command::Store(to) = command(payment, now) else { panic!("refused") };
        assert!(matches!(self.payments.command(payment, &to, now).await.unwrap(), Some(Written::Done(_))));
        to
    }

    /// A refund of everything, of a payment that has completed.
    async fn refund(&self, key: &str) -> Refund {
        let payment = self.create(key).await;
        let completed = build::completed(&payment, 100);
        self.payments.save(&payment, &completed).await.unwrap();
        let all = NewRefund { amount: None, reason: None, metadata: completed.metadata.clone() };
        let refund = Refund::create(RefundId::derive(&[key]), &completed, all, self.clock.now()).unwrap();
        assert!(matches!(self.payments.create_refund(&completed, &refund).await.unwrap(), Reserved::Done(_)));
        refund
    }

    async fn save_refund(&self, from: &Refund, to: &Refund) {
        assert!(matches!(self.payments.save_refund(from, to).await.unwrap(), Some(RefundWritten::Done(_))));
    }

    /// Opens the breaker, as another instance does.
    async fn gateway_goes_away(&self) {
        let breaker = SharedBreaker::new(self.dynamo.client.clone(), "payments");
        for _ in 0..FAILURES_MAX {
            breaker.failed(self.clock.now()).await.unwrap();
        }
        self.clock.advance_ms(READ_EVERY_MS);
    }

    async fn gateway_comes_back(&self) {
        let breaker = SharedBreaker::new(self.dynamo.client.clone(), "payments");
        breaker.succeeded(self.clock.now()).await.unwrap();
        self.clock.advance_ms(READ_EVERY_MS);
    }

    /// Takes the status out of an item: it can no longer be read.
    async fn break_item(&self, id: &str) {
        let id = aws_sdk_dynamodb::types::AttributeValue::S(id.to_owned());
        let update = self.dynamo.client.update_item().table_name("payments").key("pk", id);
        update.update_expression("REMOVE st").send().await.unwrap();
    }

    async fn run(&self) -> Swept {
        self.sweeper.run().await.unwrap()
    }

    /// What has been published so far.
    fn published(&self) -> Vec<EventType> {
        self.publisher.events().iter().map(|event| event.event_type).collect()
    }

    /// How much of the due index is due by then.
    async fn due_by(&self, until: Timestamp) -> usize {
        let mut due = 0;
        for shard in 0..DUE_SHARDS {
            due += self.payments.due(shard, until, ITEMS_PER_SHARD_MAX).await.unwrap().0.len();
        }
        due
    }
}

const REDRIVEN: Swept = Swept { redriven: 1, under_way: 0, announced: 0, stuck: 0, left: 0, failed: 0 };
const UNDER_WAY: Swept = Swept { redriven: 0, under_way: 1, ..REDRIVEN };
const ANNOUNCED: Swept = Swept { redriven: 0, announced: 1, ..REDRIVEN };
const STUCK: Swept = Swept { redriven: 0, stuck: 1, ..REDRIVEN };
const FAILED: Swept = Swept { redriven: 0, failed: 1, ..REDRIVEN };
const NOTHING: Swept = Swept { redriven: 0, ..REDRIVEN };

#[tokio::test]
async fn lost_events_are_published_again_and_only_when_they_are_due() {
    let world = World::start().await;
    for n in 0..20 {
        world.create(&format!("k{n}")).await;
    }
    assert_eq!(world.run().await, NOTHING);
    world.clock.advance_ms(DUE_AFTER_MS);
    assert_eq!(world.run().await, Swept { redriven: 20, ..NOTHING });
    assert!(world.published().iter().all(|event| *event == EventType::PaymentInitiated));
    assert_eq!(world.run().await, NOTHING, "not due again yet");
    world.clock.advance_ms(DUE_AFTER_MS);
    assert_eq!(world.run().await.redriven, 20, "but until it ends, again and again");
}

#[tokio::test]
async fn what_is_published_again_carries_what_the_client_called_its_request() {
    let world = World::start().await;
    let payment = build::payment(&build::merchant("shop").id, "k");
    let payment = Payment { correlation_id: Some("order-17".to_owned()), ..payment };
    world.store(payment).await;
    let refund = world.refund("r").await;
    world.clock.advance_ms(DUE_AFTER_MS);
    assert_eq!(world.run().await.redriven, 2);
    let events = world.publisher.events();
    let of = |kind: EventType| events.iter().find(|event| event.event_type == kind).unwrap().correlationid.as_str();
    assert_eq!(of(EventType::PaymentInitiated), "order-17");
    assert_eq!(of(EventType::RefundInitiated), refund.id.as_str(), "it was called nothing");
}

#[tokio::test]
async fn a_payment_that_a_processor_has_is_left_alone_until_its_lease_ends() {
    let world = World::start().await;
    let payment = world.create("k").await;
    world.clock.advance_ms(DUE_AFTER_MS);
    let claimed = saga::claim(&payment, Step::Charge, None, world.clock.now());
    world.payments.save(&payment, &claimed).await.unwrap();
    assert_eq!(world.run().await, UNDER_WAY);
    world.clock.advance_ms(LEASE_MS + DUE_AFTER_MS);
    assert_eq!(world.run().await, REDRIVEN);
}

#[tokio::test]
async fn a_payment_that_has_ended_is_due_no_more() {
    let world = World::start().await;
    let payment = world.create("k").await;
    world.payments.save(&payment, &build::completed(&payment, 100)).await.unwrap();
    world.clock.advance_ms(DUE_AFTER_MS);
    assert_eq!(world.run().await, NOTHING);
    assert!(world.publisher.events().is_empty());
}

#[tokio::test]
async fn a_payment_scheduled_for_next_year_is_not_looked_at_before_its_moment_is_near() {
    let world = World::start().await;
    let wait_ms = 366 * DAY_MS;
    world.create_after("k", wait_ms).await;
    world.clock.advance_ms(wait_ms - HANDOVER_MS - 1);
    assert_eq!(world.run().await, NOTHING);
    world.clock.advance_ms(1);
    assert_eq!(world.run().await, REDRIVEN, "now SQS can keep the rest of the wait");
    assert_eq!(world.published(), [EventType::PaymentInitiated]);
    world.clock.advance_ms(HANDOVER_MS);
    assert_eq!(world.run().await, NOTHING, "the queue has it at its moment");
    world.clock.advance_ms(DUE_AFTER_MS);
    assert_eq!(world.run().await, REDRIVEN, "and if the queue lost it, it is set going a minute later");
}

#[tokio::test]
async fn a_payment_scheduled_for_soon_is_left_to_its_queue_until_a_minute_after_its_moment() {
    let world = World::start().await;
    world.create_after("k", 90_000).await;
    world.clock.advance_ms(90_000 + DUE_AFTER_MS - 1);
    assert_eq!(world.run().await, NOTHING);
    world.clock.advance_ms(1);
    assert_eq!(world.run().await, REDRIVEN);
}

#[tokio::test]
async fn a_scheduled_payment_that_is_due_too_early_is_put_back_to_its_handover() {
    let world = World::start().await;
    let payment = world.create_after("k", DAY_MS).await;
    world.payments.postpone_due(&Due::Payment(payment), build::START).await.unwrap();
    assert_eq!(world.run().await, UNDER_WAY);
    assert!(world.publisher.events().is_empty());
    assert_eq!(world.due_by(build::START.plus_ms(DAY_MS - HANDOVER_MS - 1)).await, 0);
    assert_eq!(world.due_by(build::START.plus_ms(DAY_MS - HANDOVER_MS)).await, 1);
}

#[tokio::test]
async fn a_held_payment_is_announced_once_more_and_then_looked_at_in_a_week() {
    let world = World::start().await;
    let payment = world.create("k").await;
    world.command(&payment, saga::hold).await;
    world.clock.advance_ms(DUE_AFTER_MS);
    assert_eq!(world.run().await, ANNOUNCED);
    assert_eq!(world.published(), [EventType::PaymentHeld]);
    world.clock.advance_ms(HELD_REVIEW_MS - 1);
    assert_eq!(world.run().await, NOTHING);
    world.clock.advance_ms(1);
    assert_eq!(world.run().await, ANNOUNCED, "it is still held");
}

#[tokio::test]
async fn a_resumed_payment_whose_events_were_lost_is_announced_and_set_going() {
    let world = World::start().await;
    let held = world.command(&world.create("k").await, saga::hold).await;
    world.command(&held, saga::resume).await;
    world.clock.advance_ms(DUE_AFTER_MS);
    assert_eq!(world.run().await, REDRIVEN);
    assert_eq!(world.published(), [EventType::PaymentResumed, EventType::PaymentInitiated]);
}

#[tokio::test]
async fn a_cancellation_whose_event_was_lost_is_announced_once_and_leaves_the_index() {
    let world = World::start().await;
    let payment = world.create("k").await;
    world.command(&payment, saga::cancel).await;
    world.clock.advance_ms(DUE_AFTER_MS);
    world.publisher.fail_next(1);
    assert_eq!(world.run().await, FAILED);
    assert_eq!(world.run().await, ANNOUNCED, "what could not be published is still due");
    assert_eq!(world.published(), [EventType::PaymentCanceled]);
    assert_eq!(world.due_by(Timestamp::MAX).await, 0);
}

#[tokio::test]
async fn a_payment_canceled_while_its_processor_died_is_set_going_to_be_withdrawn() {
    let world = World::start().await;
    let payment = world.create("k").await;
    let claimed = saga::claim(&payment, Step::Charge, None, build::START);
    world.payments.save(&payment, &claimed).await.unwrap();
    world.payments.request_cancel(&claimed, build::START.plus_ms(1)).await.unwrap();
    world.clock.advance_ms(DUE_AFTER_MS);
    assert_eq!(world.run().await, REDRIVEN);
    assert_eq!(world.published(), [EventType::PaymentInitiated]);
}

#[tokio::test]
async fn a_stuck_payment_is_reported_every_hour_and_not_driven() {
    let world = World::start().await;
    let payment = world.create("k").await;
    let mut stuck = saga::claim(&payment, Step::Charge, None, build::START);
    stuck.stuck = Some(Failure::new(CODE_UNANSWERED, "Nobody knows."));
    stuck.lease_until = None;
    world.payments.save(&payment, &stuck).await.unwrap();
    world.clock.advance_ms(DUE_AFTER_MS);
    assert_eq!(world.run().await, STUCK);
    world.clock.advance_ms(STUCK_REPORT_MS - 1);
    assert_eq!(world.run().await, NOTHING);
    world.clock.advance_ms(1);
    assert_eq!(world.run().await, STUCK);
    assert!(world.publisher.events().is_empty());
}

#[tokio::test]
async fn a_lost_refund_is_published_again_and_one_under_way_is_left_alone() {
    let world = World::start().await;
    let refund = world.refund("k").await;
    world.clock.advance_ms(DUE_AFTER_MS);
    assert_eq!(world.run().await, REDRIVEN);
    assert_eq!(world.published(), [EventType::RefundInitiated]);
    world.clock.advance_ms(DUE_AFTER_MS);
    world.save_refund(&refund, &refund.claim(Step::Refund, world.clock.now())).await;
    assert_eq!(world.run().await, UNDER_WAY);
    world.clock.advance_ms(LEASE_MS + DUE_AFTER_MS);
    assert_eq!(world.run().await, REDRIVEN);
}

#[tokio::test]
async fn a_refund_that_ended_without_its_event_is_announced_once_and_leaves_the_index() {
    let world = World::start().await;
    for (key, result, told) in [
        ("done", StepResult::Done { reference: "re_1".to_owned() }, EventType::RefundCompleted),
        (
            "refused",
            StepResult::Refused { failure: Failure::new("charge_disputed", "No."), reference: None },
            EventType::RefundFailed,
        ),
    ] {
        let refund = world.refund(key).await;
        let claimed = refund.claim(Step::Refund, world.clock.now());
        world.save_refund(&refund, &claimed).await;
        world.save_refund(&claimed, &claimed.apply(result, world.clock.now(), 0, false).0).await;
        world.clock.advance_ms(DUE_AFTER_MS);
        assert_eq!(world.run().await, ANNOUNCED, "{key}");
        assert_eq!(world.published().last(), Some(&told));
        assert_eq!(world.due_by(Timestamp::MAX).await, 0);
    }
}

#[tokio::test]
async fn a_stuck_refund_is_reported_every_hour_and_not_driven() {
    let world = World::start().await;
    let refund = world.refund("k").await;
    let mut stuck = refund.claim(Step::Refund, build::START);
    stuck.stuck = Some(Failure::new(CODE_UNANSWERED, "Nobody knows."));
    stuck.lease_until = None;
    world.save_refund(&refund, &stuck).await;
    world.clock.advance_ms(DUE_AFTER_MS);
    assert_eq!(world.run().await, STUCK);
    world.clock.advance_ms(STUCK_REPORT_MS);
    assert_eq!(world.run().await, STUCK);
    assert!(world.publisher.events().is_empty());
}

#[tokio::test]
async fn while_the_gateway_is_away_nothing_is_added_to_what_waits_for_it() {
    let world = World::start().await;
    world.create("pending").await;
    let tried = world.create("tried").await;
    let claimed = saga::claim(&tried, Step::Charge, None, build::START);
    let away = StepResult::Unreachable { message: "no connection".to_owned() };
    let (waiting, _) = saga::apply(&claimed, away, build::START, 0, true);
    assert_eq!(waiting.journal.last().unwrap().error.as_ref().unwrap().code, CODE_AWAY);
    world.payments.save(&tried, &claimed).await.unwrap();
    world.payments.save(&claimed, &waiting).await.unwrap();
    world.refund("refunded").await;
    world.create_after("scheduled", 1).await;
    world.clock.advance_ms(DUE_AFTER_MS + 1);
    world.gateway_goes_away().await;
    assert_eq!(world.run().await, Swept { left: 4, ..NOTHING });
    assert!(world.publisher.events().is_empty());
    world.gateway_comes_back().await;
    world.clock.advance_ms(DUE_AFTER_MS);
    assert_eq!(world.run().await, Swept { redriven: 4, ..NOTHING });
}

#[tokio::test]
async fn what_needs_no_gateway_goes_on_while_it_is_away() {
    let world = World::start().await;
    let payment = world.create("canceled").await;
    world.command(&payment, saga::cancel).await;
    let payment = world.create("held").await;
    world.command(&payment, saga::hold).await;
    world.create_after("scheduled", HANDOVER_MS + 2 * DUE_AFTER_MS).await;
    world.create("pending").await;
    world.clock.advance_ms(2 * DUE_AFTER_MS);
    world.gateway_goes_away().await;
    assert_eq!(world.run().await, Swept { announced: 2, redriven: 1, left: 1, ..NOTHING });
    let told: BTreeSet<_> = world.published().into_iter().map(EventType::as_str).collect();
    assert_eq!(told, BTreeSet::from(["payment.canceled", "payment.held", "payment.initiated"]));
    assert_eq!(world.run().await, NOTHING, "no handover is repeated, and nobody stands before those who come later");
}

#[tokio::test]
async fn a_publish_that_fails_leaves_the_payment_due() {
    let world = World::start().await;
    world.create("k").await;
    world.clock.advance_ms(DUE_AFTER_MS);
    world.publisher.fail_next(1);
    assert_eq!(world.run().await, FAILED);
    assert_eq!(world.run().await, REDRIVEN);
}

#[tokio::test]
async fn two_sweepers_at_once_do_no_harm() {
    let world = World::start().await;
    let canceled = world.create("canceled").await;
    world.command(&canceled, saga::cancel).await;
    world.create("pending").await;
    world.refund("refund").await;
    world.clock.advance_ms(DUE_AFTER_MS);
    let breaker = SharedBreaker::new(world.dynamo.client.clone(), "payments");
    let twin = Sweeper::new(world.payments.clone(), breaker, world.publisher.clone(), world.clock.clone());
    let (one, other) = tokio::join!(world.run(), twin.run());
    let other = other.unwrap();
    assert!(one.redriven + other.redriven >= 2 && one.announced + other.announced >= 1);
    assert_eq!(one.failed + other.failed, 0);
    let ids: BTreeSet<_> = world.publisher.events().into_iter().map(|event| event.id.to_string()).collect();
    assert_eq!(ids.len(), 3, "what both have published is the same event");
    assert_eq!(world.run().await, NOTHING);
    assert_eq!(world.due_by(Timestamp::MAX).await, 2, "the canceled payment has left the index");
}

#[tokio::test]
async fn a_sweeper_that_comes_late_does_not_undo_what_has_happened_since() {
    let world = World::start().await;
    let payment = world.create("k").await;
    let seen = Due::Payment(payment.clone());
    world.command(&payment, saga::cancel).await;
    let late = build::START.plus_ms(DAY_MS);
    world.payments.postpone_due(&seen, late).await.unwrap();
    world.payments.leave_due(&seen).await.unwrap();
    assert_eq!(world.due_by(build::START.plus_ms(DUE_AFTER_MS)).await, 1, "its cancellation is still to be announced");
}

#[tokio::test]
async fn a_run_takes_a_hundred_of_a_shard_and_the_rest_stays_due() {
    let world = World::start().await;
    // As many payments of one shard as make it overflow.
    let mut of_shard = 0;
    for n in 0.. {
        let payment = build::payment(&build::merchant("shop").id, &format!("k{n}"));
        if payment.id.as_str().bytes().map(u32::from).sum::<u32>() % u32::from(DUE_SHARDS) == 0 {
            world.store(payment).await;
            of_shard += 1;
        }
        if of_shard > ITEMS_PER_SHARD_MAX {
            break;
        }
    }
    world.clock.advance_ms(DUE_AFTER_MS);
    assert_eq!(world.run().await, Swept { redriven: ITEMS_PER_SHARD_MAX, ..NOTHING });
    assert_eq!(world.run().await, Swept { redriven: 1, ..NOTHING }, "it was still due, and the others are not again");
    let subjects: BTreeSet<_> = world.publisher.events().into_iter().map(|event| event.subject).collect();
    assert_eq!(subjects.len(), ITEMS_PER_SHARD_MAX + 1);
}

#[tokio::test]
async fn what_cannot_be_read_keeps_nobody_from_the_others() {
    let world = World::start().await;
    for n in 0..20 {
        world.create(&format!("k{n}")).await;
    }
    let unreadable = world.create("k20").await;
    world.break_item(unreadable.id.as_str()).await;
    world.clock.advance_ms(DUE_AFTER_MS);
    assert!(world.sweeper.run().await.is_err(), "the run fails, so that the alarm does not stay silent");
    let redriven = world.publisher.events().len();
    assert_eq!(redriven, 20, "all others were set going all the same");
}

#[tokio::test]
async fn after_a_purge_of_every_queue_every_open_item_is_set_going_again() {
    let world = World::start().await;
    let mut open = BTreeSet::new();
    open.insert(world.create("pending").await.id.to_string());
    open.insert(world.create_after("soon", 30_000).await.id.to_string());
    open.insert(world.create_after("later", DAY_MS).await.id.to_string());
    let tried = world.create("tried").await;
    let claimed = saga::claim(&tried, Step::Charge, None, build::START);
    let unknown = StepResult::Unknown { message: "time-out".to_owned() };
    let (waiting, _) = saga::apply(&claimed, unknown, build::START, 0, false);
    world.payments.save(&tried, &claimed).await.unwrap();
    world.payments.save(&claimed, &waiting).await.unwrap();
    open.insert(tried.id.to_string());
    let died = world.create("died").await;
    world.payments.save(&died, &saga::claim(&died, Step::Charge, None, build::START)).await.unwrap();
    open.insert(died.id.to_string());
    let held = world.command(&world.create("resumed").await, saga::hold).await;
    open.insert(world.command(&held, saga::resume).await.id.to_string());
    open.insert(world.refund("refund").await.id.to_string());
    let begun = world.refund("begun").await;
    world.save_refund(&begun, &begun.claim(Step::Refund, build::START)).await;
    open.insert(begun.id.to_string());

    // No queue holds anything; only the clock goes on, a run a minute.
    let mut set_going = BTreeSet::new();
    while world.clock.now() < build::START.plus_ms(DAY_MS) {
        world.run().await;
        world.clock.advance_ms(if set_going.len() + 1 < open.len() { DUE_AFTER_MS } else { HANDOVER_MS });
        let going = [EventType::PaymentInitiated, EventType::RefundInitiated];
        let events = world.publisher.events().into_iter().filter(|event| going.contains(&event.event_type));
        set_going = events.map(|event| event.subject).collect();
    }
    assert_eq!(set_going, open);
}
