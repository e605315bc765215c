//! What operators see and do.

use utoipa::ToSchema;

use super::{
    Failure, ListObject, Moment,
    payments::{Payment, PaymentId, PaymentObject, PaymentStatus},
    refunds::{Refund, RefundId, RefundObject, RefundStatus},
};

/// The id of a merchant.
#[derive(ToSchema)]
#[schema(pattern = "^mer_[0-7][0-9a-hjkmnp-tv-z]{25}$", example = "mer_0a1b2c3d4e5f6g7h8j9k0m1n2p")]
pub struct MerchantId(pub String);

/// Who acts: printable characters, not only spaces, no card number.
#[derive(ToSchema)]
#[schema(
    max_length = 100,
    pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$",
    example = "ada@example.com"
)]
pub struct ActorName(pub String);

/// Why: printable characters, not only spaces, no card number.
#[derive(ToSchema)]
#[schema(
    max_length = 200,
    pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$",
    example = "The gateway is back."
)]
pub struct Note(pub String);

/// A part of a reason, or a type: printable characters, not only spaces, no card number.
#[derive(ToSchema)]
#[schema(max_length = 100, pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$")]
pub struct Term(pub String);

/// A payment that waits for a person.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StuckPayment {
    /// Always `payment`.
    #[schema(inline)]
    pub object: PaymentObject,
    /// Its id.
    pub id: PaymentId,
    /// Whose it is.
    pub merchant_id: MerchantId,
    /// Where it stands.
    pub status: PaymentStatus,
    /// `outcome_unknown` or `compensation_failed`.
    pub reason: Failure,
    /// Since when.
    pub since: Moment,
}

/// A refund that waits for a person.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StuckRefund {
    /// Always `refund`.
    #[schema(inline)]
    pub object: RefundObject,
    /// Its id.
    pub id: RefundId,
    /// The payment that is given back.
    pub payment_id: PaymentId,
    /// Whose it is.
    pub merchant_id: MerchantId,
    /// Where it stands.
    pub status: RefundStatus,
    /// `outcome_unknown`.
    pub reason: Failure,
    /// Since when.
    pub since: Moment,
}

/// A payment or a refund that waits for a person.
#[derive(ToSchema)]
#[serde(untagged)]
pub enum Stuck {
    /// A payment.
    Payment(StuckPayment),
    /// A refund.
    Refund(StuckRefund),
}

/// What waits for a person.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StuckList {
    /// Always `list`.
    #[schema(inline)]
    pub object: ListObject,
    /// Payments and refunds of all merchants.
    #[schema(max_items = 100)]
    pub data: Vec<Stuck>,
    /// There are more, or there may be: more is overdue than is looked through.
    pub has_more: bool,
}

/// A payment or a refund, as its merchant sees it.
#[derive(ToSchema)]
#[serde(untagged)]
pub enum PaymentOrRefund {
    /// A payment.
    Payment(Payment),
    /// A refund.
    Refund(Refund),
}

/// Lets the processor go on.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// Who decides.
    pub actor: ActorName,
    /// Why; the merchant reads it in the timeline.
    pub note: Note,
}

/// Always `completed`.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeCompleted {
    /// The money has moved.
    Completed,
}

/// Always `failed`.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeFailed {
    /// It has not.
    Failed,
}

/// The money has moved.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SettledAsCompleted {
    /// Who decides.
    pub actor: ActorName,
    /// Why; the merchant reads it in the timeline.
    pub note: Note,
    /// Always `completed`.
    #[schema(inline)]
    pub outcome: OutcomeCompleted,
    /// The gateway's name for the charge or refund.
    #[schema(
        max_length = 100,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$",
        example = "pi_3QK"
    )]
    pub reference: String,
}

/// The money has not moved.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SettledAsFailed {
    /// Who decides.
    pub actor: ActorName,
    /// Why; the merchant reads it in the timeline.
    pub note: Note,
    /// Always `failed`.
    #[schema(inline)]
    pub outcome: OutcomeFailed,
    /// Becomes `failure.code`.
    #[schema(pattern = "^[a-z0-9_]{1,60}$", example = "not_charged")]
    pub code: String,
}

/// The end as it was found at the gateway.
#[derive(ToSchema)]
#[serde(untagged)]
pub enum Settlement {
    /// The money has moved.
    Completed(SettledAsCompleted),
    /// It has not.
    Failed(SettledAsFailed),
}

/// Whose queue it is.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "they are names")]
pub enum Consumer {
    Processing,
    Webhook,
    Analytics,
}

/// Always `queue`.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum QueueObject {
    /// A queue.
    Queue,
}

/// A consumer's queue. SQS counts approximately.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Queue {
    /// Always `queue`.
    #[schema(inline)]
    pub object: QueueObject,
    /// Whose it is.
    pub consumer: Consumer,
    /// Messages that can be received.
    #[schema(minimum = 0)]
    pub waiting: i64,
    /// Messages that somebody works on.
    #[schema(minimum = 0)]
    pub in_flight: i64,
    /// Messages whose time has not come.
    #[schema(minimum = 0)]
    pub delayed: i64,
    /// Dead letters, hidden ones included.
    #[schema(minimum = 0)]
    pub dead_letters: i64,
    /// Dead letters that somebody looks at just now.
    #[schema(minimum = 0)]
    pub dead_letters_hidden: i64,
}

/// Every consumer's queue.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct QueueList {
    /// Always `list`.
    #[schema(inline)]
    pub object: ListObject,
    /// The queues.
    pub data: Vec<Queue>,
    /// Always `false`.
    pub has_more: bool,
}

/// Always `dead_letter`.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeadLetterObject {
    /// A dead letter.
    DeadLetter,
}

/// A message that a consumer could not handle. Its body is never shown.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeadLetter {
    /// Always `dead_letter`.
    #[schema(inline)]
    pub object: DeadLetterObject,
    /// SQS' name for it.
    pub message_id: String,
    /// The event's id, if it is an event.
    #[schema(required)]
    pub event_id: Option<String>,
    /// The event's type, as far as it can be shown.
    pub r#type: String,
    /// What the event is about.
    #[schema(required)]
    pub subject: Option<String>,
    /// Whose it is.
    #[schema(required)]
    pub merchant_id: Option<String>,
    /// When it was sent.
    #[schema(required)]
    pub sent_at: Option<Moment>,
    /// How often it was received.
    #[schema(minimum = 0)]
    pub receives: i64,
    /// Why it could not be handled.
    pub reason: String,
    /// When it last failed.
    #[schema(required)]
    pub failed_at: Option<Moment>,
}

/// What a consumer could not handle.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeadLetterList {
    /// Always `list`.
    #[schema(inline)]
    pub object: ListObject,
    /// The dead letters.
    #[schema(max_items = 50)]
    pub data: Vec<DeadLetter>,
    /// There may be more.
    pub has_more: bool,
}

/// Which dead letters are replayed or discarded, by whom and why.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeadLetterOrder {
    /// Who decides.
    pub actor: ActorName,
    /// Why.
    pub note: Option<Note>,
    /// Do it. Without it nothing is done, and the answer is what would be.
    pub confirm: Option<bool>,
    /// Only these.
    #[schema(min_items = 1, max_items = 50)]
    pub message_ids: Option<Vec<MessageId>>,
    /// Only those of this type.
    pub r#type: Option<Term>,
    /// Only those of this merchant.
    pub merchant: Option<MerchantId>,
    /// Only those with this in their reason.
    pub error: Option<Term>,
    /// Only those sent longer ago.
    #[schema(minimum = 1, maximum = 1_209_600)]
    pub older_than_seconds: Option<i64>,
    /// At most so many.
    #[schema(minimum = 1, maximum = 50)]
    pub limit: Option<i64>,
}

/// The id of a dead letter, as the list shows it.
#[derive(ToSchema)]
#[schema(format = "uuid", example = "522b1f4d-6f43-4c02-9d0e-0f2f9c6a1d77")]
pub struct MessageId(pub String);

/// Always `dead_letter_run`.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunObject {
    /// A run.
    DeadLetterRun,
}

/// What became, or would become, of a dead letter.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "docs/api.md explains them")]
pub enum Fate {
    WouldBeReplayed,
    WouldBeDiscarded,
    Replayed,
    ReplayedNotDeleted,
    Discarded,
    Failed,
}

/// A dead letter, and what became or would become of it.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeadLetterOutcome {
    /// Always `dead_letter`.
    #[schema(inline)]
    pub object: DeadLetterObject,
    /// SQS' name for it.
    pub message_id: String,
    /// The event's id, if it is an event.
    #[schema(required)]
    pub event_id: Option<String>,
    /// The event's type, as far as it can be shown.
    pub r#type: String,
    /// What the event is about.
    #[schema(required)]
    pub subject: Option<String>,
    /// Whose it is.
    #[schema(required)]
    pub merchant_id: Option<String>,
    /// When it was sent.
    #[schema(required)]
    pub sent_at: Option<Moment>,
    /// How often it was received.
    #[schema(minimum = 0)]
    pub receives: i64,
    /// Why it could not be handled.
    pub reason: String,
    /// When it last failed.
    #[schema(required)]
    pub failed_at: Option<Moment>,
    /// What became of it.
    pub outcome: Fate,
    /// Why that failed.
    #[schema(nullable = false)]
    pub error: Option<String>,
}

/// What would be done: `confirm` was not sent.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeadLetterRehearsal {
    /// Always `dead_letter_run`.
    #[schema(inline)]
    pub object: RunObject,
    /// Whose dead letters.
    pub consumer: Consumer,
    /// Always `false`.
    pub confirmed: bool,
    /// How many are meant.
    #[schema(minimum = 0)]
    pub meant: i64,
    /// How many were looked at.
    #[schema(minimum = 0)]
    pub examined: i64,
    /// There may be more.
    pub has_more: bool,
    /// Those that are meant.
    pub messages: Vec<DeadLetterOutcome>,
}

/// What was done.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeadLetterRun {
    /// Always `dead_letter_run`.
    #[schema(inline)]
    pub object: RunObject,
    /// Whose dead letters.
    pub consumer: Consumer,
    /// Always `true`.
    pub confirmed: bool,
    /// Its name in the audit.
    #[schema(pattern = "^[0-9a-f]{32}$")]
    pub run: String,
    /// Why it ended.
    pub end: String,
    /// Replayed or discarded.
    #[schema(minimum = 0)]
    pub done: i64,
    /// Replayed, and still a dead letter.
    #[schema(minimum = 0)]
    pub not_deleted: i64,
    /// Where they were.
    #[schema(minimum = 0)]
    pub failed: i64,
    /// Replayed, and dead again.
    #[schema(minimum = 0)]
    pub came_back: i64,
    /// Not meant.
    #[schema(minimum = 0)]
    pub passed_over: i64,
    /// Those that were meant.
    pub messages: Vec<DeadLetterOutcome>,
}

/// What was, or would be, done.
#[derive(ToSchema)]
#[serde(untagged)]
pub enum DeadLetterAnswer {
    /// Nothing was done.
    Rehearsal(DeadLetterRehearsal),
    /// Something was.
    Run(DeadLetterRun),
}
