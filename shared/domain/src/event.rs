//! Events: CloudEvents 1.0 in JSON (<https://github.com/cloudevents/spec>), the body of every SNS and SQS message.

use serde::{Deserialize, Serialize};

use crate::{
    ids::{EventId, MerchantId},
    payment::{Payment, PaymentView, Status},
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
}

impl EventType {
    /// The name in `type`, in the message attribute of the same name and in webhooks.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PaymentInitiated => "payment.initiated",
            Self::PaymentCompleted => "payment.completed",
            Self::PaymentFailed => "payment.failed",
            Self::PaymentCanceled => "payment.canceled",
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

/// What ties everything together that one request set off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Correlation {
    /// The client's `X-Correlation-Id`, or the payment's id.
    pub id: String,
    /// W3C Trace Context.
    pub traceparent: Option<String>,
}

/// A fact about a payment. The same fact always has the same id, time and sequence, so publishing it twice is harmless.
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
    /// The payment's id.
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
    /// The payment's version: sorts the events of one payment.
    pub sequence: i64,
    /// The payment at that moment.
    pub data: PaymentView,
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
        Self::new(EventType::PaymentInitiated, &payment.as_created(), correlation)
    }

    /// The event that announces the payment's end, if it has ended.
    pub fn ended(payment: &Payment, correlation: &Correlation) -> Option<Self> {
        EventType::of_terminal(payment.status).map(|event_type| Self::new(event_type, payment, correlation))
    }

    fn new(event_type: EventType, payment: &Payment, correlation: &Correlation) -> Self {
        Self {
            id: EventId::derive(&[payment.id.as_str(), &payment.version.to_string()]),
            source: SOURCE.to_owned(),
            specversion: SpecVersion::V1,
            event_type,
            subject: payment.id.to_string(),
            time: payment.updated_at,
            datacontenttype: "application/json".to_owned(),
            merchantid: payment.merchant_id.clone(),
            correlationid: correlation.id.clone(),
            traceparent: correlation.traceparent.clone(),
            sequence: payment.version,
            data: payment.view(),
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
