//! What must hold once a run is quiet, whatever crashed on the way: the invariants of ARCHITECTURE.md.

use std::collections::{BTreeMap, BTreeSet};

use florin_domain::{
    event::{Event, EventType},
    journal::{Step, StepOutcome, TimelineEntry, timeline},
    merchant::MERCHANT_SECRET_GENERATION,
    payment::{Payment, Status},
    refund::RefundStatus,
    webhook::{DeliveryStatus, Target},
};
use florin_store::{payment_methods::Kept, payments::DUE_SHARDS};
use florin_testing::{build::correlation, bus::POISON};

use crate::{
    gateway::Made,
    template::{ANALYTICS, PROCESSING, WEBHOOK},
    world::{CARD_PREFIX, ENDPOINT_PATH, End, Order, World},
};

/// The events that announce an end.
const ENDS: [EventType; 5] = [
    EventType::PaymentCompleted,
    EventType::PaymentFailed,
    EventType::PaymentCanceled,
    EventType::RefundCompleted,
    EventType::RefundFailed,
];
/// No run lasts longer than this, in milliseconds of its own time: 40 days.
const FAR_FUTURE_MS: i64 = 40 * 24 * 60 * 60 * 1_000;

/// Everything that does not hold.
pub(crate) async fn violations(world: &mut World) -> Vec<String> {
    // From here on only the test calls.
    world.faults.plan(florin_testing::faults::Plan::Calm);
    let mut wrong = Vec::new();
    let mut payments = Vec::new();
    for order in world.orders.clone() {
        let Some(payment) = world.payment(&order).await else {
            wrong.push(format!("{}: there is no such payment", order.key));
            continue;
        };
        let mut note = |what: String| wrong.push(format!("{} {}: {what}", order.key, order.id));
        ended_as_it_may(&order, &payment).into_iter().for_each(&mut note);
        charged_once(world, &order, &payment).into_iter().for_each(&mut note);
        journal_without_gaps(&payment).into_iter().for_each(&mut note);
        announced(world, payment.id.as_str(), Event::ended(&payment, &correlation())).into_iter().for_each(&mut note);
        webhooks_delivered(world, &order, &payment).await.into_iter().for_each(&mut note);
        answered_again(world, &order).await.into_iter().for_each(&mut note);
        payments.push(payment);
    }
    wrong.extend(cards_kept_or_forgotten(world).await);
    wrong.extend(refunded_once(world).await);
    wrong.extend(one_fact_for_one_event(world));
    wrong.extend(counted_exactly(world, &payments).await);
    wrong.extend(only_poison_is_dead(world));
    wrong.extend(nothing_is_due(world, &payments).await);
    wrong.extend(no_card_number_anywhere(world).await);
    wrong
}

fn ended_as_it_may(order: &Order, payment: &Payment) -> Option<String> {
    let end = match payment.status {
        Status::Completed => Some(End::Completed),
        Status::Failed => Some(End::Failed),
        Status::Canceled => Some(End::Canceled),
        _ => payment.stuck.is_some().then_some(End::Stuck),
    };
    let may = end.is_some_and(|end| order.may_end.contains(&end));
    (!may).then(|| format!("ended {:?} (stuck: {:?}), not {:?}", payment.status, payment.stuck, order.may_end))
}

/// One charge for a completed payment; of a payment that ended otherwise nothing is left at the gateway.
fn charged_once(world: &World, order: &Order, payment: &Payment) -> Option<String> {
    let charged = world.gateway.charged(payment.id.as_str());
    let refunded: Vec<Made> = charged.iter().flat_map(|charge| world.gateway.refunded(&charge.reference)).collect();
    let back: i64 = refunded.iter().map(|refund| refund.amount).sum();
    let right = match (payment.status, charged.as_slice()) {
        (Status::Completed, [charge]) => {
            charge.amount == order.amount
                && Some(&charge.reference) == payment.gateway_reference.as_ref()
                && back == payment.amount_refunded
                && back <= payment.amount_reserved
                && payment.amount_reserved <= order.amount
        }
        (Status::Failed | Status::Canceled, [charge]) => back == charge.amount,
        (Status::Processing, [_]) => payment.stuck.is_some(),
        (Status::Completed, _) => false,
        (_, charged) => charged.is_empty(),
    };
    (!right).then(|| format!("{:?}, and the gateway has {charged:?} and {refunded:?}", payment.status))
}

/// Each refund that is completed was made once, each that failed was not, and both are announced.
async fn refunded_once(world: &World) -> Vec<String> {
    let mut wrong = Vec::new();
    for order in &world.refunds {
        let Some(refund) = world.payments().refund_of_any_merchant(&order.id).await.unwrap() else {
            wrong.push(format!("there is no refund {}", order.id));
            continue;
        };
        let made = world.gateway.refunded(&refund.charge_reference);
        let made: Vec<i64> = made.iter().filter(|m| m.ours == refund.id.as_str()).map(|made| made.amount).collect();
        let expected = match refund.status {
            RefundStatus::Completed => vec![refund.money.amount()],
            _ => Vec::new(),
        };
        if made != expected || refund.payment_id != order.payment_id {
            wrong.push(format!("{}: {:?}, and the gateway has {made:?}", refund.id, refund.status));
        }
        if refund.journal.iter().zip(1..).any(|(entry, place)| entry.outcome.is_none() || entry.attempt > place) {
            wrong.push(format!("{}: its journal has a gap: {:?}", refund.id, refund.journal));
        }
        wrong.extend(announced(world, refund.id.as_str(), Event::refund_ended(&refund, &correlation())));
    }
    if world.gateway.asked_for_too_much() > 0 {
        wrong.push("the gateway was asked to give back more than it had taken".to_owned());
    }
    wrong
}

/// A stored card is attached at the gateway and answered again; of a deleted one nothing is left there or here.
async fn cards_kept_or_forgotten(world: &mut World) -> Vec<String> {
    let mut wrong = Vec::new();
    for card in world.cards.clone() {
        let attached = world.gateway.customer_of(&card.token);
        let is_right = match world.kept_card(&card.id).await {
            Some(Kept::Live(method)) => !card.is_deleted && attached == Some(method.at_gateway.customer),
            Some(Kept::Deleted(left)) => card.is_deleted && left.is_none() && attached.is_none(),
            None => false,
        };
        let (status, _, answer) = world.post("/v1/payment_methods", &card.key, &card.body).await;
        let is_same = if card.is_deleted { status == 409 } else { (status, &answer) == (201, &card.answer) };
        if !is_right || !is_same {
            wrong.push(format!("{} {}: kept wrongly, or answered {status} {answer}", card.key, card.id));
        }
    }
    wrong
}

fn journal_without_gaps(payment: &Payment) -> Option<String> {
    let entries = timeline(payment, &[]);
    let mut attempts: BTreeMap<&str, u32> = BTreeMap::new();
    let mut wrong = entries.is_empty();
    for (entry, place) in entries.iter().zip(1..) {
        let attempt = attempts.entry(entry.step.as_str()).or_default();
        *attempt += 1;
        wrong |= entry.sequence != place || entry.attempt != *attempt || entry.outcome.is_none();
        wrong |= entry.ended_at.is_none_or(|ended| ended < entry.started_at);
    }
    wrong |= entries.iter().zip(entries.iter().skip(1)).any(|(one, next)| next.started_at < one.started_at);
    let settled = |entry: &TimelineEntry| (entry.step, entry.outcome) == (Step::Settle, Some(StepOutcome::Succeeded));
    wrong |= (payment.status == Status::Completed) != entries.last().is_some_and(settled);
    wrong |= entries.iter().any(|entry| entry.step == Step::Charge && entry.started_at < entries[0].started_at);
    wrong.then(|| format!("its timeline has a gap: {}", story(&entries)))
}

fn story(entries: &[TimelineEntry]) -> String {
    let text = |entry: &TimelineEntry| {
        format!("{} {} {}", entry.step.as_str(), entry.attempt, entry.outcome.map_or("open", StepOutcome::as_str))
    };
    entries.iter().map(text).collect::<Vec<_>>().join(", ")
}

/// The end is published, as one event however often.
fn announced(world: &World, subject: &str, expected: Option<Event>) -> Option<String> {
    let published = world.bus.published();
    let ends: BTreeSet<_> = published
        .iter()
        .filter(|event| event.subject == subject && ENDS.contains(&event.event_type))
        .map(|event| (event.id.as_str(), event.event_type.as_str()))
        .collect();
    let expected: BTreeSet<_> = expected.iter().map(|event| (event.id.as_str(), event.event_type.as_str())).collect();
    (ends != expected).then(|| format!("{subject} is announced as {ends:?}, not {expected:?}"))
}

/// Events of one id say the same.
fn one_fact_for_one_event(world: &World) -> Option<String> {
    let mut facts = BTreeMap::new();
    let published = world.bus.published();
    let differs = published.iter().find(|event| {
        let fact = (event.event_type, event.time, event.sequence, &event.data);
        *facts.entry(event.id.as_str()).or_insert(fact) != fact
    });
    differs.map(|event| format!("event {} says different things", event.id))
}

async fn webhooks_delivered(world: &World, order: &Order, payment: &Payment) -> Option<String> {
    let event = Event::ended(payment, &correlation())?;
    if world.purged.contains(&WEBHOOK) {
        return None;
    }
    let own = order.path.as_ref().map(|path| (path.as_str(), Target::PaymentUrl(world.receiver.url(path))));
    let endpoint = world.endpoint.clone().map(|endpoint| (ENDPOINT_PATH, Target::Endpoint(endpoint)));
    for (path, target) in own.into_iter().chain(endpoint) {
        let secret = match &target {
            Target::PaymentUrl(_) => world.root.webhook_secret(world.merchant.id.as_str(), MERCHANT_SECRET_GENERATION),
            Target::Endpoint(endpoint) => world.root.webhook_secret(endpoint.id.as_str(), endpoint.secret_generation),
        };
        let received = world.receiver.received();
        let told: Vec<_> =
            received.iter().filter(|received| received.path == path && received.id() == event.id.as_str()).collect();
        let data = serde_json::to_value(&event.data).unwrap();
        if told.is_empty() {
            return Some(format!("{path} was never told"));
        }
        if told.iter().any(|one| one.json()["data"] != data) {
            return Some(format!("{path} was told something else"));
        }
        if told.iter().any(|one| !one.is_signed_with(&secret)) {
            return Some(format!("{path} was told with a wrong signature"));
        }
        let recorded = world.webhooks().deliveries(&[(&event, &target)]).await.unwrap();
        let delivered =
            recorded.get(&target.delivery_id(&event)).is_some_and(|known| known.status == DeliveryStatus::Delivered);
        if !delivered {
            return Some(format!("the delivery to {path} is recorded as {recorded:?}"));
        }
    }
    None
}

/// The same request gets the same answer, to the byte.
async fn answered_again(world: &mut World, order: &Order) -> Option<String> {
    let (status, headers, answer) = world.post("/v1/payments", &order.key, &order.body).await;
    let same = (status, &answer) == (201, &order.answer) && headers.get("idempotent-replayed").is_some();
    (!same).then(|| format!("asked again the client is answered {status} {answer}, not {}", order.answer))
}

/// Counts and sums by final status.
async fn counted_exactly(world: &World, payments: &[Payment]) -> Option<String> {
    if world.purged.contains(&ANALYTICS) {
        return None;
    }
    let from = florin_testing::build::START.hour();
    let mut counted: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    for hour in world.analytics().hours(&world.merchant.id, from, from.plus_ms(FAR_FUTURE_MS)).await.unwrap() {
        for (status, count) in &hour.counters.count {
            let sum = counted.entry(status.clone()).or_default();
            *sum = (sum.0 + count, sum.1 + hour.counters.amount[status]);
        }
    }
    let mut expected: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    for payment in payments.iter().filter(|payment| payment.status.is_terminal()) {
        let sum = expected.entry(payment.status.as_str().to_owned()).or_default();
        *sum = (sum.0 + 1, sum.1 + payment.money.amount());
    }
    (counted != expected).then(|| format!("counted {counted:?}, not {expected:?}"))
}

fn only_poison_is_dead(world: &World) -> Vec<String> {
    let dead: Vec<String> = [PROCESSING, WEBHOOK, ANALYTICS].iter().flat_map(|queue| world.bus.dead(queue)).collect();
    let good = dead.iter().filter(|body| body.as_str() != POISON);
    let mut wrong: Vec<String> = good.map(|body| format!("a good message is dead: {body}")).collect();
    if world.purged.is_empty() && dead.len() != world.bus.poison_planted() {
        wrong.push(format!("of {} unreadable messages {} are dead letters", world.bus.poison_planted(), dead.len()));
    }
    wrong
}

/// What has ended has left the due index; what is stuck stays there.
async fn nothing_is_due(world: &World, payments: &[Payment]) -> Option<String> {
    let far = world.clock.now().plus_ms(FAR_FUTURE_MS);
    let mut due = BTreeSet::new();
    for shard in 0..DUE_SHARDS {
        due.extend(world.payments().due(shard, far, 100).await.unwrap().0.iter().map(|due| due.id().to_owned()));
    }
    let open: BTreeSet<String> =
        payments.iter().filter(|payment| !payment.status.is_terminal()).map(|payment| payment.id.to_string()).collect();
    (due != open).then(|| format!("due are {due:?}, not {open:?}"))
}

async fn no_card_number_anywhere(world: &World) -> Vec<String> {
    let mut wrong = Vec::new();
    for table in florin_store::schema::TABLES {
        let items = world.dynamo.test_client().scan().table_name(table.name).send().await.unwrap();
        if format!("{:?}", items.items()).contains(CARD_PREFIX) {
            wrong.push(format!("the table {} holds a card number", table.name));
        }
    }
    let events = serde_json::to_string(&world.bus.published()).unwrap();
    if events.contains(CARD_PREFIX) || world.receiver.received().iter().any(|one| one.body.contains(CARD_PREFIX)) {
        wrong.push("an event holds a card number".to_owned());
    }
    wrong
}
