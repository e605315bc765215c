//! Ready-made values.

use std::collections::BTreeMap;

use aws_lambda_events::sqs::{SqsEvent, SqsMessage};
use florin_domain::{
    card::{Brand, Expiry},
    effect::StepResult,
    event::{Correlation, Event},
    ids::{MerchantId, PaymentId},
    journal::{Failure, Step},
    merchant::Merchant,
    money::{Currency, Money},
    payment::{CardSource, NewPayment, Payment, When},
    saga,
    time::Timestamp,
};

/// The moment at which tests begin: 2026-11-21T09:00:00Z.
pub const START: Timestamp = Timestamp::from_ms(1_795_251_600_000);

/// An active merchant.
pub fn merchant(name: &str) -> Merchant {
    Merchant::new(MerchantId::derive(&[name]), name.to_owned(), START)
}

/// A pending payment of 100.00 NGN on a Visa card; `key` makes it unique.
pub fn payment(merchant: &MerchantId, key: &str) -> Payment {
    let new = NewPayment {
        money: Money::new(10_000, Currency::parse("NGN").unwrap()),
        source: CardSource {
            brand: Brand::Visa,
            last4: "4242".to_owned(),
            expiry: Expiry { year: 2030, month: 12 },
            holder_name: "Ada Obi".to_owned(),
            token: format!("pm_{key}"),
            stored: None,
        },
        customer: None,
        description: Some("Order 17".to_owned()),
        metadata: BTreeMap::from([("order_id".to_owned(), "17".to_owned())]),
        webhook_url: None,
        when: When::Now,
    };
    Payment::create(Payment::id_for(merchant, key), merchant.clone(), new, START)
}

/// The payment, completed `latency_ms` after it was created.
pub fn completed(payment: &Payment, latency_ms: i64) -> Payment {
    let charged = StepResult::Done { reference: "pi_1".to_owned() };
    let claimed = saga::claim(payment, Step::Charge, None, payment.created_at);
    saga::apply(&claimed, charged, payment.created_at.plus_ms(latency_ms), 0, false).0
}

/// The payment, declined `latency_ms` after it was created.
pub fn declined(payment: &Payment, code: &str, latency_ms: i64) -> Payment {
    let declined = StepResult::Refused { failure: Failure::new(code, "Declined."), reference: None };
    let claimed = saga::claim(payment, Step::Charge, None, payment.created_at);
    saga::apply(&claimed, declined, payment.created_at.plus_ms(latency_ms), 0, false).0
}

/// A correlation.
pub fn correlation() -> Correlation {
    Correlation { id: "test".to_owned(), traceparent: None }
}

/// The event of a payment that has ended.
pub fn ended(payment: &Payment) -> Event {
    Event::ended(payment, &correlation()).expect("the payment has ended")
}

/// A batch of messages with these bodies, ids `m0`, `m1`, … and receipt handles `r0`, `r1`, …
pub fn batch(bodies: impl IntoIterator<Item = String>) -> SqsEvent {
    let mut event = SqsEvent::default();
    event.records = bodies
        .into_iter()
        .enumerate()
        .map(|(place, body)| {
            let mut message = SqsMessage::default();
            message.message_id = Some(format!("m{place}"));
            message.receipt_handle = Some(format!("r{place}"));
            message.body = Some(body);
            message.attributes.insert("ApproximateReceiveCount".to_owned(), "1".to_owned());
            message
        })
        .collect();
    event
}

/// The body of a message that carries the event.
pub fn body(event: &Event) -> String {
    serde_json::to_string(event).unwrap()
}

/// The id that no payment has.
pub fn unknown_payment() -> PaymentId {
    PaymentId::derive(&["unknown"])
}
