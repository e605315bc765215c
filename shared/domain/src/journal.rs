//! The journal: the append-only record of the steps inside a payment, and the timeline that people read.

use serde::Serialize;
use serde_json::{Value, json};

use crate::{payment::Payment, time::Timestamp};

/// Entries that a payment's journal may hold. Every policy in `saga` together stays far below it.
pub const JOURNAL_ENTRIES_MAX: usize = 40;
/// Characters kept of an error message from outside.
pub const ERROR_MESSAGE_CHARACTERS_MAX: usize = 120;

/// A step of the processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Merchant active, method usable, amount within limits, currency supported.
    Validate,
    /// A pending debit on the wallet; skipped for cards.
    Reserve,
    /// The gateway call.
    Charge,
    /// Asking the gateway whether a charge of unknown outcome was taken.
    Reconcile,
    /// The payment is marked completed.
    Settle,
    /// What was done is undone, in reverse order.
    Compensate,
}

impl Step {
    const ALL: [Self; 6] =
        [Self::Validate, Self::Reserve, Self::Charge, Self::Reconcile, Self::Settle, Self::Compensate];

    /// The step's name in the timeline and behind the slash of an outside idempotency key.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Validate => "validate",
            Self::Reserve => "reserve",
            Self::Charge => "charge",
            Self::Reconcile => "reconcile",
            Self::Settle => "settle",
            Self::Compensate => "compensate",
        }
    }

    /// The step by its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.as_str() == name)
    }
}

/// How an attempt at a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepOutcome {
    /// Done.
    Succeeded,
    /// Over, without success.
    Failed,
    /// This attempt failed; another one is due.
    Retrying,
    /// Not needed for this payment.
    Skipped,
}

impl StepOutcome {
    const ALL: [Self; 4] = [Self::Succeeded, Self::Failed, Self::Retrying, Self::Skipped];

    /// The outcome's name in the timeline.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Retrying => "retrying",
            Self::Skipped => "skipped",
        }
    }

    /// The outcome by its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == name)
    }
}

/// Why something failed: a stable code and a sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Failure {
    /// Stable code, such as `insufficient_funds`.
    pub code: String,
    /// For a person.
    pub message: String,
}

impl Failure {
    /// A failure; the message is cut to `ERROR_MESSAGE_CHARACTERS_MAX`.
    pub fn new(code: &str, message: &str) -> Self {
        Self { code: code.to_owned(), message: message.chars().take(ERROR_MESSAGE_CHARACTERS_MAX).collect() }
    }
}

/// One attempt at one step. It is written before the attempt (invariant 5) and completed after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalEntry {
    /// Which step.
    pub step: Step,
    /// 1 for the first attempt at this step.
    pub attempt: u32,
    /// `None` while the attempt is under way, or if its function died.
    pub outcome: Option<StepOutcome>,
    /// When the attempt was written down.
    pub started_at: Timestamp,
    /// When its outcome was known.
    pub ended_at: Option<Timestamp>,
    /// What went wrong.
    pub error: Option<Failure>,
    /// When the next attempt is due.
    pub next_due: Option<Timestamp>,
}

impl JournalEntry {
    /// An attempt that is about to be made.
    pub const fn intent(step: Step, attempt: u32, now: Timestamp) -> Self {
        Self { step, attempt, outcome: None, started_at: now, ended_at: None, error: None, next_due: None }
    }

    /// A step that took no time: it was decided in memory.
    pub fn at_once(step: Step, outcome: StepOutcome, now: Timestamp, error: Option<Failure>) -> Self {
        Self { outcome: Some(outcome), ended_at: Some(now), error, ..Self::intent(step, 1, now) }
    }
}

/// An entry of `GET /v1/payments/{id}/timeline`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TimelineEntry {
    /// 1 for the first entry; without gaps.
    pub sequence: usize,
    /// Which step.
    pub step: Step,
    /// 1 for the first attempt at this step.
    pub attempt: u32,
    /// `null` while the attempt is under way.
    pub outcome: Option<StepOutcome>,
    /// What the step was given.
    pub input: Value,
    /// What it yielded.
    pub output: Value,
    /// What went wrong.
    pub error: Option<Failure>,
    /// When the attempt began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// When the next attempt is due.
    pub next_due: Option<Timestamp>,
}

/// The payment's journal as people read it. Input and output are derived from the payment, not stored again.
pub fn timeline(payment: &Payment) -> Vec<TimelineEntry> {
    payment.journal.iter().zip(1..).map(|(entry, sequence)| timeline_entry(payment, entry, sequence)).collect()
}

fn timeline_entry(payment: &Payment, entry: &JournalEntry, sequence: usize) -> TimelineEntry {
    let succeeded = entry.outcome == Some(StepOutcome::Succeeded);
    let money = json!({ "amount": payment.money.amount(), "currency": payment.money.currency() });
    let input = match entry.step {
        Step::Charge => json!({
            "amount": payment.money.amount(),
            "currency": payment.money.currency(),
            "idempotency_key": payment.step_key(Step::Charge),
        }),
        Step::Reconcile => json!({ "idempotency_key": payment.step_key(Step::Charge) }),
        Step::Validate => json!({
            "amount": payment.money.amount(),
            "currency": payment.money.currency(),
            "source": payment.source,
        }),
        Step::Reserve | Step::Settle | Step::Compensate => money,
    };
    let output = match (entry.step, &payment.gateway_reference) {
        (Step::Charge | Step::Reconcile, Some(reference)) if succeeded => json!({ "gateway_reference": reference }),
        (Step::Settle, _) if succeeded => json!({ "status": payment.status }),
        _ => json!({}),
    };
    TimelineEntry {
        sequence,
        step: entry.step,
        attempt: entry.attempt,
        outcome: entry.outcome,
        input,
        output,
        error: entry.error.clone(),
        started_at: entry.started_at,
        ended_at: entry.ended_at,
        next_due: entry.next_due,
    }
}
