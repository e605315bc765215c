//! The processor against an embedded DynamoDB and a gateway that charges once per key.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use std::{sync::Arc, time::Duration};

use florin_domain::{
    breaker::{BreakerState, FAILURES_MAX, OPEN_MS_BASE, OPEN_MS_MAX},
    effect::LEASE_MS,
    event::{Event, EventType},
    ids::RefundId,
    journal::{StepOutcome, timeline},
    payment::{NewPayment, Payment, Status, StoredCard, When},
    refund::{NewRefund, Refund, RefundStatus},
    saga::{self, Command},
    time::Timestamp,
};
use florin_platform::clock::Clock;
use florin_processor::{Gate, Processor};
use florin_store::{
    breaker::SharedBreaker,
    merchants::Merchants,
    payments::{DUE_AFTER_MS, DUE_SHARDS, HANDOVER_MS, Payments, Reserved, Written},
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
            Gate::new(self.gateway.clone(), self.breaker(), self.clock.clone()),
            self.publisher.clone(),
            queue(&self.visibility, &self.failures),
            self.clock.clone(),
        )
    }

    fn breaker(&self) -> SharedBreaker {
        SharedBreaker::new(self.dynamo.client.clone(), "payments")
    }

    async fn breaker_state(&self) -> BreakerState {
        self.breaker().current(self.clock.now()).await.unwrap().state
    }

    async fn create(&self, key: &str) -> Payment {
        self.store(build::payment(&build::merchant("shop").id, key)).await
    }

    async fn store(&self, payment: Payment) -> Payment {
        assert_eq!(self.payments.create(&payment).await.unwrap(), Written::Done(payment.clone()));
        payment
    }

    /// Delivers the payment's message once; whether it was acknowledged.
    async fn deliver(&self, payment: &Payment) -> bool {
        let batch = build::batch([build::body(&Event::initiated(payment, &build::correlation()))]);
        self.processor().handle(batch, None).await.unwrap().batch_item_failures.is_empty()
    }

    /// Delivers the message, or its newest copy, again and again, after the waits that it asks for.
    async fn drain(&self, payment: &Payment) -> Payment {
        for _ in 0..60 {
            let (changes, copies) = (self.visibility.changes().len(), self.visibility.copies().len());
            let acknowledged = self.deliver(payment).await;
            let copy = self.visibility.copies().get(copies).map(|copy| copy.seconds);
            if acknowledged && copy.is_none() {
                break;
            }
            let wait = copy.or(self.visibility.changes().get(changes).map(|(_, seconds)| *seconds)).unwrap_or(60);
            self.clock.advance_ms(i64::from(wait) * 1_000);
        }
        self.read(payment).await
    }

    /// Stores what the command makes of the payment.
    async fn command(&self, payment: &Payment, command: fn(&Payment, Timestamp) -> Command) -> Payment {
        let current = self.read(payment).await;
        match command(&current, self.clock.now()) {
            Command::Store(to) => match self.payments.command(&current, &to, self.clock.now()).await.unwrap() {
                Some(Written::Done(payment)) => payment,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    /// A refund of a payment that has completed, and what its message is answered with.
    async fn refund(&self, payment: &Payment, amount: Option<i64>, key: &str) -> Refund {
        let new = NewRefund { amount, reason: None, metadata: Default::default() };
        let payment = self.read(payment).await;
        let refund = Refund::create(RefundId::derive(&[key]), &payment, new, self.clock.now()).unwrap();
        assert_eq!(self.payments.create_refund(&payment, &refund).await.unwrap(), Reserved::Done(refund.clone()));
        refund
    }

    async fn deliver_refund(&self, refund: &Refund) -> bool {
        let batch = build::batch([build::body(&Event::refund_initiated(refund, &build::correlation()))]);
        self.processor().handle(batch, None).await.unwrap().batch_item_failures.is_empty()
    }

    async fn read_refund(&self, refund: &Refund) -> Refund {
        self.payments.refund_of_any_merchant(&refund.id).await.unwrap().unwrap()
    }

    async fn due(&self) -> usize {
        let shards = (0..DUE_SHARDS).map(|shard| self.payments.due(shard, Timestamp::MAX, 100));
        futures::future::try_join_all(shards).await.unwrap().iter().map(|(due, _)| due.len()).sum()
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
    timeline(payment, &[]).iter().map(|e| format!("{} {} {}", e.step.as_str(), e.attempt, outcome(e.outcome))).collect()
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
    assert_eq!(
        (event.event_type, event.sequence, event.data.payment()),
        (EventType::PaymentCompleted, 3, Some(&ended.view()))
    );
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
    let lost = [Script::Lost, Script::Unavailable, Script::Lost];
    for (script, status, charges) in [
        (vec![Script::Lost, Script::Unavailable, Script::TakenThenLost], Status::Completed, 1),
        (lost.to_vec(), Status::Completed, 1),
        ([lost.clone(), lost].concat(), Status::Failed, 0),
    ] {
        let world = World::start().await;
        world.gateway.script(script);
        let payment = world.create("a").await;
        let ended = world.drain(&payment).await;
        assert_eq!((ended.status, world.gateway.charges()), (status, charges), "{:?}", story(&ended));
        assert!(story(&ended).contains(&"reconcile 1 succeeded".to_owned()));
        assert_eq!(world.gateway.calls().iter().collect::<std::collections::HashSet<_>>().len(), 1, "one key");
    }
}

#[tokio::test]
async fn a_question_that_is_never_answered_leaves_the_payment_stuck_and_says_so() {
    let world = World::start().await;
    world.gateway.fail_look_ups(true);
    world.gateway.script([Script::Lost, Script::Lost, Script::TakenThenLost]);
    let payment = world.create("a").await;
    let ended = world.drain(&payment).await;
    assert_eq!((ended.status, ended.stuck.is_some()), (Status::Processing, true));
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

#[tokio::test]
async fn a_scheduled_payment_is_handed_to_sqs_with_the_exact_rest_of_its_wait() {
    let world = World::start().await;
    let base = build::payment(&build::merchant("shop").id, "later");
    let new = NewPayment {
        money: base.money,
        source: base.source.clone(),
        customer: None,
        description: None,
        metadata: Default::default(),
        webhook_url: None,
        when: When::After(500),
    };
    let payment = world.store(Payment::create(base.id, base.merchant_id, new, build::START)).await;
    world.clock.advance_ms(100_500);
    assert!(world.deliver(&payment).await, "its message is done with: a copy waits");
    assert_eq!(
        world.visibility.copies().iter().map(|copy| copy.seconds).collect::<Vec<_>>(),
        [400],
        "399.5 s are left"
    );
    assert_eq!((world.read(&payment).await.status, world.gateway.calls().len()), (Status::Scheduled, 0));
    world.clock.advance_ms(400_000);
    assert!(world.deliver(&payment).await);
    let ended = world.read(&payment).await;
    assert_eq!((ended.status, story(&ended)[0].as_str()), (Status::Completed, "schedule 1 succeeded"));
}

#[tokio::test]
async fn a_wait_that_is_longer_than_a_queue_can_keep_is_left_to_the_due_index() {
    let world = World::start().await;
    let mut payment = build::payment(&build::merchant("shop").id, "later");
    payment.process_at = Some(build::START.plus_ms(HANDOVER_MS + 10 * DUE_AFTER_MS));
    payment.status = Status::Scheduled;
    let payment = world.store(payment).await;
    assert!(world.deliver(&payment).await);
    assert!(world.visibility.copies().is_empty());
    assert_eq!(world.due().await, 1);
}

#[tokio::test]
async fn a_held_payment_is_not_charged_until_it_is_resumed() {
    let world = World::start().await;
    let payment = world.create("a").await;
    world.command(&payment, saga::hold).await;
    assert!(world.deliver(&payment).await);
    assert_eq!((world.read(&payment).await.status, world.gateway.calls().len()), (Status::OnHold, 0));
    world.command(&payment, saga::resume).await;
    assert!(world.deliver(&payment).await);
    let ended = world.read(&payment).await;
    assert_eq!(
        story(&ended),
        [
            "hold 1 succeeded",
            "resume 1 succeeded",
            "validate 1 succeeded",
            "reserve 1 skipped",
            "charge 1 succeeded",
            "settle 1 succeeded"
        ]
    );
}

#[tokio::test]
async fn a_canceled_payment_is_never_charged_and_its_message_announces_it() {
    let world = World::start().await;
    let payment = world.create("a").await;
    world.command(&payment, saga::cancel).await;
    assert_eq!(world.due().await, 1, "until its event is published");
    assert!(world.deliver(&payment).await);
    assert_eq!((world.gateway.calls().len(), world.published()), (0, vec![EventType::PaymentCanceled]));
}

#[tokio::test]
async fn a_cancel_during_the_charge_gives_the_money_back() {
    for script in [vec![], vec![Script::Lost], vec![Script::TakenThenLost, Script::Unavailable]] {
        let world = World::start().await;
        world.gateway.script_refunds(script);
        let payment = world.create("a").await;
        // The cancel comes in between the claim and the write that would complete it.
        let claimed = saga::claim(&payment, florin_domain::journal::Step::Charge, None, world.clock.now());
        world.payments.save(&payment, &claimed).await.unwrap();
        let asked = world.payments.request_cancel(&claimed, world.clock.now()).await.unwrap();
        assert!(matches!(asked, Some(Written::Done(asked)) if asked.is_cancel_requested()));
        let charged = saga::apply(
            &claimed,
            florin_domain::effect::StepResult::Done { reference: "pi_0".to_owned() },
            world.clock.now(),
            0,
            false,
        );
        let lost = world.payments.save(&claimed, &charged.0).await.unwrap();
        assert!(matches!(lost, Some(Written::Lost(winner)) if winner.version == claimed.version), "it cannot complete");

        // The processor that charged died; the next one charges under the same key, and gives it back.
        world.clock.advance_ms(LEASE_MS + 10_000);
        let key = payment.step_key(florin_domain::journal::Step::Charge);
        let request = florin_gateway::ChargeRequest {
            payment_id: payment.id.as_str(),
            token: &payment.source.token,
            customer: None,
            amount: 10_000,
            currency: "NGN",
            description: payment.description.as_deref(),
            key: &key,
        };
        florin_gateway::Gateway::charge(&*world.gateway, &request).await.unwrap();
        let ended = world.drain(&payment).await;
        assert_eq!((ended.status, ended.failure.as_ref().unwrap().code.as_str()), (Status::Failed, "canceled"));
        assert_eq!(world.gateway.refunds_of(payment.id.as_str()), [(payment.id.to_string(), 10_000)]);
        assert_eq!(story(&ended).last().unwrap(), "cancel 1 succeeded");
        assert_eq!(world.published(), [EventType::PaymentFailed]);
    }
}

#[tokio::test]
async fn a_stored_card_is_charged_with_its_customer_and_not_once_it_is_detached() {
    let world = World::start().await;
    let gateway: &dyn florin_gateway::Gateway = &*world.gateway;
    let paid_with = async |key: &str, token: &str, gateway_customer: &str| {
        let mut payment = build::payment(&build::merchant("shop").id, key);
        payment.source.token = token.to_owned();
        let id = florin_domain::ids::PaymentMethodId::derive(&[key]);
        payment.source.stored = Some(StoredCard { id, gateway_customer: gateway_customer.to_owned() });
        world.store(payment).await
    };
    let customer = gateway.attach("pm_card", "pm_ours", "k").await.unwrap();
    for key in ["a", "b"] {
        let payment = paid_with(key, "pm_card", &customer).await;
        assert_eq!(world.drain(&payment).await.status, Status::Completed);
    }
    let waiting = paid_with("c", "pm_card", &customer).await;
    gateway.detach("pm_card", "d").await.unwrap();
    let ended = world.drain(&waiting).await;
    let failure = ended.failure.as_ref().unwrap();
    assert_eq!((ended.status, failure.code.as_str()), (Status::Failed, "payment_method_deleted"));
    assert_eq!((world.gateway.charges(), world.breaker_state().await), (2, BreakerState::Closed));
}

#[tokio::test]
async fn a_cancel_between_two_tries_ends_it_without_a_charge() {
    let world = World::start().await;
    let payment = world.create("a").await;
    world.gateway.script([Script::Unavailable]);
    assert!(!world.deliver(&payment).await);
    world.payments.request_cancel(&world.read(&payment).await, world.clock.now()).await.unwrap();
    let ended = world.drain(&payment).await;
    assert_eq!((ended.failure.unwrap().code.as_str(), world.gateway.charges()), ("canceled", 0));
}

#[tokio::test]
async fn a_refund_gives_back_once_and_changes_its_payment_in_the_same_write() {
    let world = World::start().await;
    let payment = world.create("a").await;
    world.drain(&payment).await;
    let refund = world.refund(&payment, Some(4_000), "part").await;
    world.gateway.script_refunds([Script::TakenThenLost]);
    assert!(!world.deliver_refund(&refund).await);
    world.clock.advance_ms(5_000);
    for _ in 0..3 {
        assert!(world.deliver_refund(&refund).await);
    }
    assert_eq!(world.read_refund(&refund).await.status, RefundStatus::Completed);
    assert_eq!(world.gateway.refunds_of(payment.id.as_str()), [(refund.id.to_string(), 4_000)]);
    let refunded = world.read(&payment).await;
    assert_eq!((refunded.amount_refunded, refunded.amount_reserved, refunded.refundable()), (4_000, 4_000, 6_000));
    assert_eq!((refunded.version, refunded.view().version), (3, 4), "only what people see counts refunds");
    assert_eq!(world.due().await, 0, "its end is announced");

    // What comes again tells of the payment as it ended.
    world.publisher.events().clear();
    assert!(world.deliver(&payment).await);
    let told: std::collections::HashSet<_> = world
        .publisher
        .events()
        .into_iter()
        .filter(|event| event.event_type == EventType::PaymentCompleted)
        .map(|event| (event.id.to_string(), serde_json::to_string(&event).unwrap()))
        .collect();
    assert_eq!(told.len(), 1, "the same event, byte for byte: {told:?}");
}

#[tokio::test]
async fn a_refused_refund_fails_and_releases_its_amount() {
    let world = World::start().await;
    let payment = world.create("a").await;
    world.drain(&payment).await;
    let refund = world.refund(&payment, None, "all").await;
    assert_eq!(world.read(&payment).await.refundable(), 0);
    world.gateway.script_refunds([Script::Decline("refund_failed")]);
    assert!(world.deliver_refund(&refund).await);
    let failed = world.read_refund(&refund).await;
    assert_eq!((failed.status, failed.failure.unwrap().code.as_str()), (RefundStatus::Failed, "refund_failed"));
    assert_eq!((world.read(&payment).await.refundable(), world.read(&payment).await.amount_refunded), (10_000, 0));
    assert!(world.published().contains(&EventType::RefundFailed));
}

#[tokio::test]
async fn an_outage_opens_the_breaker_and_fails_no_payment() {
    let world = World::start().await;
    world.gateway.away(true);
    let payments: Vec<Payment> =
        futures::future::join_all(["a", "b", "c", "d", "e", "f", "g"].map(|key| world.create(key))).await;
    for payment in &payments {
        world.deliver(payment).await;
    }
    assert_eq!(world.breaker_state().await, BreakerState::Open);
    let calls = world.gateway.calls().len();
    assert_eq!(calls, usize::try_from(FAILURES_MAX).unwrap());
    assert_eq!(world.visibility.copies().len(), payments.len() - calls, "the others wait without having been tried");
    assert!(world.deliver(&payments[6]).await);
    assert_eq!(world.gateway.calls().len(), calls, "nobody calls");

    // One probe at a time, for two minutes.
    let end = world.clock.now().plus_ms(120_000);
    while world.clock.now() < end {
        world.clock.advance_ms(OPEN_MS_BASE);
        for payment in &payments {
            world.deliver(payment).await;
        }
    }
    assert!(world.gateway.calls().len() - calls <= 12, "{}", world.gateway.calls().len());
    for payment in &payments {
        assert!(!world.read(payment).await.status.is_terminal());
    }

    world.gateway.away(false);
    world.clock.advance_ms(OPEN_MS_MAX);
    for payment in &payments {
        assert_eq!(world.drain(payment).await.status, Status::Completed);
    }
    assert_eq!((world.breaker_state().await, world.gateway.charges()), (BreakerState::Closed, payments.len()));
}

#[tokio::test]
async fn a_probe_that_comes_to_no_call_is_given_back() {
    let world = World::start().await;
    let ended = world.create("ended").await;
    world.drain(&ended).await;
    world.gateway.away(true);
    for n in 0..FAILURES_MAX {
        world.deliver(&world.create(&n.to_string()).await).await;
    }
    world.gateway.away(false);
    world.clock.advance_ms(OPEN_MS_BASE);
    assert!(world.deliver(&ended).await, "it only announces");
    assert_eq!(world.breaker_state().await, BreakerState::Open);
    let next = world.create("next").await;
    assert!(world.deliver(&next).await);
    assert_eq!(
        (world.read(&next).await.status, world.breaker_state().await),
        (Status::Completed, BreakerState::Closed)
    );
}
