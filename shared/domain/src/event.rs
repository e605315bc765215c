//! Events: CloudEvents 1.0 in JSON (<https://github.com/cloudevents/spec>), the body of every SNS and SQS message.

use serde::{Deserialize, Serialize};

use crate::{
    ids::{EventId, MerchantId},
    payment::{Payment, PaymentView, Status},
    refund::{Refund, RefundStatus, RefundView},
    time::Timestamp,
};

/// Longest event in bytes: SNS and SQS take 256 KiB, a payment at its limits has far less.
pub const EVENT_BYTES_MAX: usize = 128 * 1024;
/// Longest correlation id, in characters.
pub const CORRELATION_ID_CHARACTERS_MAX: usize = 64;
/// The `source` of every event.
pub const SOURCE: &str = "/florin/payments";

/// The facts that Florin announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EventType {
    /// A payment was created.
    #[serde(rename = "payment.initiated")]
    PaymentInitiated,
    /// The money has moved.
    #[serde(rename = "payment.completed")]
    PaymentCompleted,
    /// The payment ended without moving money.
    #[serde(rename = "payment.failed")]
    PaymentFailed,
    /// The payment was withdrawn.
    #[serde(rename = "payment.canceled")]
    PaymentCanceled,
    /// The payment is kept from being processed.
    #[serde(rename = "payment.held")]
    PaymentHeld,
    /// The payment goes on.
    #[serde(rename = "payment.resumed")]
    PaymentResumed,
    /// A refund was created.
    #[serde(rename = "refund.initiated")]
    RefundInitiated,
    /// The money was given back.
    #[serde(rename = "refund.completed")]
    RefundCompleted,
    /// The refund ended without giving money back.
    #[serde(rename = "refund.failed")]
    RefundFailed,
}

impl EventType {
    /// The name in `type`, in the message attribute of the same name and in webhooks.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PaymentInitiated => "payment.initiated",
            Self::PaymentCompleted => "payment.completed",
            Self::PaymentFailed => "payment.failed",
            Self::PaymentCanceled => "payment.canceled",
            Self::PaymentHeld => "payment.held",
            Self::PaymentResumed => "payment.resumed",
            Self::RefundInitiated => "refund.initiated",
            Self::RefundCompleted => "refund.completed",
            Self::RefundFailed => "refund.failed",
        }
    }

    /// The event that announces a terminal status.
    pub const fn of_terminal(status: Status) -> Option<Self> {
        match status {
            Status::Completed => Some(Self::PaymentCompleted),
            Status::Failed => Some(Self::PaymentFailed),
            Status::Canceled => Some(Self::PaymentCanceled),
            Status::Scheduled | Status::Pending | Status::OnHold | Status::Processing => None,
        }
    }
}

/// The resource that an event is about, as it was at that moment. Its field `object` says which it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum EventData {
    /// A payment.
    Payment(PaymentView),
    /// A refund.
    Refund(RefundView),
}

impl EventData {
    /// The resource's id.
    pub fn id(&self) -> &str {
        match self {
            Self::Payment(payment) => payment.id.as_str(),
            Self::Refund(refund) => refund.id.as_str(),
        }
    }

    /// The payment, if it is one.
    pub const fn payment(&self) -> Option<&PaymentView> {
        match self {
            Self::Payment(payment) => Some(payment),
            Self::Refund(_) => None,
        }
    }
}

/// What ties everything together that one request set off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Correlation {
    /// The client's `X-Correlation-Id`, or the id of the payment or refund.
    pub id: String,
    /// W3C Trace Context.
    pub traceparent: Option<String>,
}

impl Correlation {
    /// What the creation of this payment set off. Its trace is not kept.
    pub fn of_payment(payment: &Payment) -> Self {
        Self::stored(payment.correlation_id.as_deref(), payment.id.as_str())
    }

    /// What the creation of this refund set off. Its trace is not kept.
    pub fn of_refund(refund: &Refund) -> Self {
        Self::stored(refund.correlation_id.as_deref(), refund.id.as_str())
    }

    fn stored(given: Option<&str>, id: &str) -> Self {
        Self { id: given.unwrap_or(id).to_owned(), traceparent: None }
    }
}

/// A fact about a payment or a refund. The same fact always has the same id, time and sequence, so publishing it twice
/// is harmless.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Derived from the resource and the sequence.
    pub id: EventId,
    /// `/florin/payments`
    pub source: String,
    /// `1.0`
    pub specversion: SpecVersion,
    /// What happened.
    #[serde(rename = "type")]
    pub event_type: EventType,
    /// The resource's id.
    pub subject: String,
    /// When it happened: the moment stored with the state.
    pub time: Timestamp,
    /// `application/json`
    pub datacontenttype: String,
    /// Whose event it is.
    pub merchantid: MerchantId,
    /// Ties together what one request set off.
    pub correlationid: String,
    /// W3C Trace Context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// The resource's version: sorts the events of one resource.
    pub sequence: i64,
    /// The resource at that moment.
    pub data: EventData,
}

/// What names an event: the resource, and its version and moment.
struct Fact<'a> {
    subject: &'a str,
    merchant_id: &'a MerchantId,
    version: i64,
    time: Timestamp,
}

/// The constant `1.0` in `specversion`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SpecVersion {
    /// `1.0`
    #[serde(rename = "1.0")]
    V1,
}

impl Event {
    /// `payment.initiated`, whatever has become of the payment since.
    pub fn initiated(payment: &Payment, correlation: &Correlation) -> Self {
        Self::of_payment(EventType::PaymentInitiated, &payment.as_created(), correlation)
    }

    /// The event that announces the payment's end, if it has ended. Refunds do not change it.
    pub fn ended(payment: &Payment, correlation: &Correlation) -> Option<Self> {
        let event_type = EventType::of_terminal(payment.status)?;
        Some(Self::of_payment(event_type, &payment.before_refunds(), correlation))
    }

    /// `payment.held`, for a payment that is held.
    pub fn held(payment: &Payment, correlation: &Correlation) -> Self {
        Self::of_payment(EventType::PaymentHeld, payment, correlation)
    }

    /// `payment.resumed`, for a payment that has just been resumed.
    pub fn resumed(payment: &Payment, correlation: &Correlation) -> Self {
        Self::of_payment(EventType::PaymentResumed, payment, correlation)
    }

    /// `refund.initiated`, whatever has become of the refund since.
    pub fn refund_initiated(refund: &Refund, correlation: &Correlation) -> Self {
        Self::of_refund(EventType::RefundInitiated, &refund.as_created(), correlation)
    }

    /// The event that announces the refund's end, if it has ended.
    pub fn refund_ended(refund: &Refund, correlation: &Correlation) -> Option<Self> {
        let event_type = match refund.status {
            RefundStatus::Completed => EventType::RefundCompleted,
            RefundStatus::Failed => EventType::RefundFailed,
            RefundStatus::Pending | RefundStatus::Processing => return None,
        };
        Some(Self::of_refund(event_type, refund, correlation))
    }

    fn of_payment(event_type: EventType, payment: &Payment, correlation: &Correlation) -> Self {
        let fact = Fact {
            subject: payment.id.as_str(),
            merchant_id: &payment.merchant_id,
            version: payment.version,
            time: payment.updated_at,
        };
        Self::new(event_type, fact, EventData::Payment(payment.view()), correlation)
    }

    fn of_refund(event_type: EventType, refund: &Refund, correlation: &Correlation) -> Self {
        let fact = Fact {
            subject: refund.id.as_str(),
            merchant_id: &refund.merchant_id,
            version: refund.version,
            time: refund.updated_at,
        };
        Self::new(event_type, fact, EventData::Refund(refund.view()), correlation)
    }

    fn new(event_type: EventType, fact: Fact<'_>, data: EventData, correlation: &Correlation) -> Self {
        Self {
            id: EventId::derive(&[fact.subject, &fact.version.to_string()]),
            source: SOURCE.to_owned(),
            specversion: SpecVersion::V1,
            event_type,
            subject: fact.subject.to_owned(),
            time: fact.time,
            datacontenttype: "application/json".to_owned(),
            merchantid: fact.merchant_id.clone(),
            correlationid: correlation.id.clone(),
            traceparent: correlation.traceparent.clone(),
            sequence: fact.version,
            data,
        }
    }

    /// What the next event in this chain carries on.
    pub fn correlation(&self) -> Correlation {
        Correlation { id: self.correlationid.clone(), traceparent: self.traceparent.clone() }
    }

    /// Reads a message body.
    pub fn parse(body: &str) -> Result<Self, InvalidEvent> {
        if body.len() > EVENT_BYTES_MAX {
            return Err(InvalidEvent(format!("longer than {EVENT_BYTES_MAX} bytes")));
        }
        // serde_json quotes the offending value in some messages; line and column are enough to find it.
        serde_json::from_str(body).map_err(|error| {
            InvalidEvent(format!(
                "not an event: {:?} at line {} column {}",
                error.classify(),
                error.line(),
                error.column()
            ))
        })
    }
}

/// A message body that is no event of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidEvent(pub String);
