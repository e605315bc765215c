//! The journal: the append-only record of the steps inside a payment, and the timeline that people read.

use serde::Serialize;
use serde_json::{Value, json};

use crate::{payment::Payment, refund::Refund, time::Timestamp};

/// Entries that a payment's journal may hold. Every policy in `effect` and `saga` together stays below it, and a
/// payment that nothing goes wrong with has four.
pub const JOURNAL_ENTRIES_MAX: usize = 700;
/// Characters kept of an error message from outside.
pub const ERROR_MESSAGE_CHARACTERS_MAX: usize = 120;
/// Characters of an operator's note.
pub const NOTE_CHARACTERS_MAX: usize = 200;

/// A step of the processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// The moment for which the payment was scheduled has come.
    Schedule,
    /// Merchant active, method usable, amount within limits, currency supported.
    Validate,
    /// A pending debit on the wallet; skipped for cards.
    Reserve,
    /// The gateway call.
    Charge,
    /// Asking the gateway whether a charge, compensation or refund of unknown outcome happened.
    Reconcile,
    /// The payment is marked completed.
    Settle,
    /// What was done is undone, in reverse order: the charge is given back.
    Compensate,
    /// The gateway call of a refund.
    Refund,
    /// The merchant held the payment.
    Hold,
    /// The merchant let it go on.
    Resume,
    /// The merchant withdrew it.
    Cancel,
    /// An operator decided what becomes of a stuck payment or refund.
    Resolve,
}

impl Step {
    const ALL: [Self; 12] = [
        Self::Schedule,
        Self::Validate,
        Self::Reserve,
        Self::Charge,
        Self::Reconcile,
        Self::Settle,
        Self::Compensate,
        Self::Refund,
        Self::Hold,
        Self::Resume,
        Self::Cancel,
        Self::Resolve,
    ];

    /// The step's name in the timeline and behind the slash of an outside idempotency key.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::Validate => "validate",
            Self::Reserve => "reserve",
            Self::Charge => "charge",
            Self::Reconcile => "reconcile",
            Self::Settle => "settle",
            Self::Compensate => "compensate",
            Self::Refund => "refund",
            Self::Hold => "hold",
            Self::Resume => "resume",
            Self::Cancel => "cancel",
            Self::Resolve => "resolve",
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
    /// What an operator wrote to it.
    pub note: Option<String>,
}

impl JournalEntry {
    /// An attempt that is about to be made.
    pub const fn intent(step: Step, attempt: u32, now: Timestamp) -> Self {
        Self { step, attempt, outcome: None, started_at: now, ended_at: None, error: None, next_due: None, note: None }
    }

    /// A step that took no time: it was decided in memory.
    pub fn at_once(step: Step, outcome: StepOutcome, now: Timestamp, error: Option<Failure>) -> Self {
        Self { outcome: Some(outcome), ended_at: Some(now), error, ..Self::intent(step, 1, now) }
    }

    /// A decision of a person, with what they wrote to it, cut to `NOTE_CHARACTERS_MAX`.
    pub fn noted(step: Step, attempt: u32, note: &str, now: Timestamp) -> Self {
        let note = Some(note.chars().take(NOTE_CHARACTERS_MAX).collect());
        Self { attempt, note, ..Self::at_once(step, StepOutcome::Succeeded, now, None) }
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

/// The payment's journal as people read it, and behind it those of its refunds, oldest first. Input and output are
/// derived, not stored again.
pub fn timeline(payment: &Payment, refunds: &[Refund]) -> Vec<TimelineEntry> {
    let own = payment.journal.iter().enumerate().map(|(place, entry)| payment_entry(payment, place, entry));
    let given_back = refunds.iter().flat_map(|refund| refund.journal.iter().map(|entry| refund_entry(refund, entry)));
    let all = own.chain(given_back).zip(1..);
    all.map(|(entry, sequence)| TimelineEntry { sequence, ..entry }).collect()
}

fn payment_entry(payment: &Payment, place: usize, entry: &JournalEntry) -> TimelineEntry {
    let succeeded = entry.outcome == Some(StepOutcome::Succeeded);
    let money = json!({ "amount": payment.money.amount(), "currency": payment.money.currency() });
    let under_key = |step| {
        json!({
            "amount": payment.money.amount(),
            "currency": payment.money.currency(),
            "idempotency_key": payment.step_key(step),
        })
    };
    let input = match entry.step {
        Step::Charge | Step::Compensate => under_key(entry.step),
        Step::Reconcile => {
            let before = payment.journal.get(..place).unwrap_or_default();
            let about =
                if before.iter().any(|entry| entry.step == Step::Compensate) { Step::Compensate } else { Step::Charge };
            json!({ "idempotency_key": payment.step_key(about) })
        }
        Step::Validate => json!({
            "amount": payment.money.amount(),
            "currency": payment.money.currency(),
            "source": payment.source,
        }),
        Step::Schedule => json!({ "process_at": payment.process_at }),
        Step::Reserve | Step::Settle => money,
        Step::Refund | Step::Hold | Step::Resume | Step::Cancel | Step::Resolve => json!({}),
    };
    let output = match (entry.step, &payment.gateway_reference) {
        (Step::Charge, Some(reference)) if succeeded => json!({ "gateway_reference": reference }),
        (Step::Reconcile, Some(reference)) if succeeded && tells_of_charge(payment, place) => {
            json!({ "gateway_reference": reference })
        }
        (Step::Settle, _) if succeeded => json!({ "status": payment.status }),
        _ => json!({}),
    };
    timeline_entry(entry, input, output)
}

/// Whether the question at this place was answered with the charge: what follows is its settlement or compensation.
fn tells_of_charge(payment: &Payment, place: usize) -> bool {
    let next = payment.journal.get(place.saturating_add(1));
    next.is_some_and(|entry| matches!(entry.step, Step::Settle | Step::Compensate))
}

fn refund_entry(refund: &Refund, entry: &JournalEntry) -> TimelineEntry {
    let input = match entry.step {
        Step::Refund | Step::Reconcile => json!({
            "refund_id": refund.id,
            "amount": refund.money.amount(),
            "currency": refund.money.currency(),
            "idempotency_key": refund.key(),
        }),
        _ => json!({ "refund_id": refund.id }),
    };
    let succeeded = entry.outcome == Some(StepOutcome::Succeeded);
    let output = match &refund.gateway_reference {
        Some(reference) if succeeded && entry.step == Step::Refund => json!({ "gateway_reference": reference }),
        _ => json!({}),
    };
    timeline_entry(entry, input, output)
}

fn timeline_entry(entry: &JournalEntry, input: Value, mut output: Value) -> TimelineEntry {
    if let (Some(note), Some(output)) = (&entry.note, output.as_object_mut()) {
        output.insert("note".to_owned(), json!(note));
    }
    TimelineEntry {
        sequence: 0,
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
