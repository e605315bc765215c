//! Refunds: money given back for a payment, in part or whole, and their saga.
//!
//! A refund reserves its amount on the payment when it is created, so that the sum of all refunds never exceeds what
//! was captured, whatever happens at the same time. It releases the amount only when it is certain that no money moved.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    effect::{self, LEASE_MS, REFUND, StepResult, Verdict},
    ids::{MerchantId, PaymentId, RefundId},
    journal::{Failure, JournalEntry, Step},
    money::{Currency, Money},
    mutation::{Mutation, mutated},
    payment::Payment,
    saga::{self, Next, Settlement, Turn},
    time::Timestamp,
};

/// Longest reason, in characters.
pub const REASON_CHARACTERS_MAX: usize = 500;

/// Where a refund stands. `Completed` and `Failed` are terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefundStatus {
    /// Waits for the processor.
    Pending,
    /// The processor has claimed it.
    Processing,
    /// The money was given back.
    Completed,
    /// It ended without giving money back.
    Failed,
}

impl RefundStatus {
    /// Every status.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Processing, Self::Completed, Self::Failed];

    /// The status' name in the API and in the tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Processing => "processing",
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }

    /// The status by its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }

    /// No transition leaves a terminal status.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed)
    }
}

/// What a merchant asks for. Together with the merchant and the `Idempotency-Key` it makes a refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRefund {
    /// Minor units; nothing for all that is left.
    pub amount: Option<i64>,
    /// For people.
    pub reason: Option<String>,
    /// For the merchant's programs.
    pub metadata: BTreeMap<String, String>,
}

/// Money given back for a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refund {
    /// Derived from merchant, payment, operation and `Idempotency-Key`.
    pub id: RefundId,
    /// The payment that is given back.
    pub payment_id: PaymentId,
    /// Whose refund it is.
    pub merchant_id: MerchantId,
    /// Where it stands.
    pub status: RefundStatus,
    /// Counts transitions and journal writes; every write is conditional on it.
    pub version: i64,
    /// How much.
    pub money: Money,
    /// All that was left was asked for, rather than an amount.
    pub is_rest: bool,
    /// For people.
    pub reason: Option<String>,
    /// For the merchant's programs.
    pub metadata: BTreeMap<String, String>,
    /// The gateway's name for the charge.
    pub charge_reference: String,
    /// The gateway's name for the refund.
    pub gateway_reference: Option<String>,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// Why a person must look at it.
    pub stuck: Option<Failure>,
    /// When everything that tells of a person was erased.
    pub erased_at: Option<Timestamp>,
    /// The `X-Correlation-Id` of the request that created it, which its events have when no request causes them.
    pub correlation_id: Option<String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// What has been tried.
    pub journal: Vec<JournalEntry>,
    /// Until when the processor that claimed it has it for itself, or when the next attempt is due.
    pub lease_until: Option<Timestamp>,
}

/// A refund as the API, the events and the webhooks show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundView {
    /// `re_…`
    pub id: RefundId,
    /// `refund`
    pub object: RefundObject,
    /// The payment that is given back.
    pub payment_id: PaymentId,
    /// Where it stands.
    pub status: RefundStatus,
    /// Minor units.
    pub amount: i64,
    /// ISO 4217.
    pub currency: Currency,
    /// For people.
    pub reason: Option<String>,
    /// For the merchant's programs.
    pub metadata: BTreeMap<String, String>,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// The gateway's name for the refund.
    pub gateway_reference: Option<String>,
    /// A person must look at it.
    pub stuck: bool,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Counts changes.
    pub version: i64,
}

/// The constant `refund` in the field `object`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefundObject {
    /// `refund`
    Refund,
}

/// Why a payment cannot be refunded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotRefundable {
    /// It has taken no money.
    NotCompleted,
    /// More is asked for than is left; what is left, in minor units.
    TooMuch {
        /// Minor units.
        left: i64,
    },
    /// It has as many refunds as it may have.
    TooMany,
}

impl Refund {
    /// The operation's name inside derived ids.
    pub const CREATE: &'static str = "refunds.create";

    /// The id that this merchant's `Idempotency-Key` always yields for this payment.
    pub fn id_for(merchant: &MerchantId, payment: &PaymentId, idempotency_key: &str) -> RefundId {
        RefundId::derive(&[merchant.as_str(), Self::CREATE, payment.as_str(), idempotency_key])
    }

    /// A refund that waits for the processor, if the payment has enough left.
    pub fn create(id: RefundId, payment: &Payment, new: NewRefund, now: Timestamp) -> Result<Self, NotRefundable> {
        let charge_reference = payment
            .gateway_reference
            .clone()
            .filter(|_| payment.status == crate::payment::Status::Completed)
            .ok_or(NotRefundable::NotCompleted)?;
        let left = payment.refundable();
        let amount = new.amount.unwrap_or(left);
        if (amount > left || amount < 1) && !mutated(Mutation::RefundWithoutLimit) {
            return Err(NotRefundable::TooMuch { left });
        }
        if payment.refunds.len() >= crate::payment::REFUNDS_PER_PAYMENT_MAX {
            return Err(NotRefundable::TooMany);
        }
        Ok(Self {
            id,
            payment_id: payment.id.clone(),
            merchant_id: payment.merchant_id.clone(),
            status: RefundStatus::Pending,
            version: 1,
            money: Money::new(amount, payment.money.currency()),
            is_rest: new.amount.is_none(),
            reason: new.reason,
            metadata: new.metadata,
            charge_reference,
            gateway_reference: None,
            failure: None,
            stuck: None,
            erased_at: None,
            correlation_id: None,
            created_at: now,
            updated_at: now,
            journal: Vec::new(),
            lease_until: None,
        })
    }

    /// The refund as it was when it was created: what a replayed request is answered with.
    pub fn as_created(&self) -> Self {
        Self {
            status: RefundStatus::Pending,
            version: 1,
            gateway_reference: None,
            failure: None,
            stuck: None,
            updated_at: self.created_at,
            journal: Vec::new(),
            lease_until: None,
            ..self.clone()
        }
    }

    /// The pointer of the first field in which a request differs from the one that created this refund. What was erased
    /// cannot be compared.
    pub fn differs_from(&self, new: &NewRefund) -> Option<&'static str> {
        let left = self.erased_at.map(|_| new.erased());
        let new = left.as_ref().unwrap_or(new);
        let amount = (!self.is_rest).then_some(self.money.amount());
        [
            (amount != new.amount, "/amount"),
            (self.reason != new.reason, "/reason"),
            (self.metadata != new.metadata, "/metadata"),
        ]
        .into_iter()
        .find_map(|(differs, pointer)| differs.then_some(pointer))
    }

    /// The key under which the gateway is asked: the same for every attempt (invariant 5).
    pub fn key(&self) -> String {
        format!("{}/{}", self.id, Step::Refund.as_str())
    }

    /// The refund as the API shows it.
    pub fn view(&self) -> RefundView {
        RefundView {
            id: self.id.clone(),
            object: RefundObject::Refund,
            payment_id: self.payment_id.clone(),
            status: self.status,
            amount: self.money.amount(),
            currency: self.money.currency(),
            reason: self.reason.clone(),
            metadata: self.metadata.clone(),
            failure: self.failure.clone(),
            gateway_reference: self.gateway_reference.clone(),
            stuck: self.stuck.is_some(),
            created_at: self.created_at,
            updated_at: self.updated_at,
            version: self.version,
        }
    }

    /// Decides what a processor may do with the refund at `now`.
    pub fn turn(&self, now: Timestamp) -> Turn {
        match self.lease_until {
            _ if self.status.is_terminal() => Turn::Ended,
            _ if self.stuck.is_some() => Turn::Parked,
            Some(until) if until > now => Turn::Wait { wait_ms: until.ms_since(now) },
            _ => saga::effect_turn(&self.journal, REFUND, effect::next(&self.journal, REFUND, now), now),
        }
    }

    /// The refund, claimed for `step`: the intent stands in the journal before the step is tried.
    pub fn claim(&self, step: Step, now: Timestamp) -> Self {
        let mut claimed = self.changed(now);
        claimed.status = RefundStatus::Processing;
        claimed.lease_until = Some(now.plus_ms(LEASE_MS));
        effect::close_interrupted(&mut claimed.journal, now);
        claimed.journal.push(JournalEntry::intent(step, effect::next_attempt(&claimed.journal, step), now));
        claimed
    }

    /// The reducer: the claimed refund and what came of its step yield the next state and what follows.
    pub fn apply(&self, result: StepResult, now: Timestamp, jitter: u8, away: bool) -> (Self, Next) {
        let mut next = self.changed(now);
        match effect::settle(&mut next.journal, REFUND, result, now, jitter, away) {
            Verdict::Again { wait_ms } => {
                next.lease_until = Some(now.plus_ms(wait_ms));
                (next, Next::Again { wait_ms })
            }
            Verdict::Done { reference } => {
                next.gateway_reference = Some(reference);
                next.status = RefundStatus::Completed;
                (next, Next::Ended)
            }
            Verdict::Refused { failure, reference } => {
                next.gateway_reference = reference;
                (next.fail(failure), Next::Ended)
            }
            Verdict::NotDone => {
                let reason = "The gateway could not be reached; nothing was given back.";
                (next.fail(Failure::new(effect::CODE_UNAVAILABLE, reason)), Next::Ended)
            }
            Verdict::Unanswered => {
                next.stuck = Some(saga::unanswered());
                (next, Next::Stuck)
            }
        }
    }

    /// The refund whose questions are used up, for a person to look at.
    pub fn give_up(&self, now: Timestamp) -> Self {
        let mut next = self.changed(now);
        effect::close_interrupted(&mut next.journal, now);
        next.stuck = Some(saga::unanswered());
        next
    }

    /// A stuck refund, to be tried again; `None` if it is not stuck or was tried again too often.
    pub fn try_again(&self, note: &str, now: Timestamp) -> Option<Self> {
        self.stuck.as_ref()?;
        let entry = saga::resolve_entry(&self.journal, note, now)?;
        let mut next = self.changed(now);
        next.stuck = None;
        next.journal.push(entry);
        Some(next)
    }

    /// A stuck refund, ended by an operator's word; `None` if it is not stuck.
    pub fn settle_by_hand(&self, settlement: Settlement, note: &str, now: Timestamp) -> Option<Self> {
        self.stuck.as_ref()?;
        let attempt = effect::next_attempt(&self.journal, Step::Resolve);
        let mut next = self.changed(now);
        next.stuck = None;
        next.journal.push(JournalEntry::noted(Step::Resolve, attempt, note, now));
        Some(match settlement {
            Settlement::Completed { reference } => {
                next.gateway_reference = Some(reference);
                next.status = RefundStatus::Completed;
                next
            }
            Settlement::Failed { failure } => next.fail(failure),
        })
    }

    fn changed(&self, now: Timestamp) -> Self {
        Self { version: self.version + 1, updated_at: now, lease_until: None, ..self.clone() }
    }

    fn fail(mut self, failure: Failure) -> Self {
        self.status = RefundStatus::Failed;
        self.failure = Some(failure);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        card::{Brand, Expiry},
        effect::KEY_LIFETIME_MS,
        payment::{CardSource, NewPayment, Status, When},
    };

    const START: Timestamp = Timestamp::from_ms(1_795_251_600_000);

    fn payment() -> Payment {
        let new = NewPayment {
            money: Money::new(10_000, Currency::parse("NGN").unwrap()),
            source: CardSource {
                brand: Brand::Visa,
                last4: "4242".into(),
                expiry: Expiry { year: 2030, month: 12 },
                holder_name: "Ada Obi".into(),
                token: "pm_1".into(),
                stored: None,
            },
            customer: None,
            description: None,
            metadata: BTreeMap::new(),
            webhook_url: None,
            when: When::Now,
        };
        let payment = Payment::create(PaymentId::derive(&["p"]), MerchantId::derive(&["m"]), new, START);
        Payment { status: Status::Completed, gateway_reference: Some("pi_1".into()), ..payment }
    }

    fn new(amount: Option<i64>) -> NewRefund {
        NewRefund { amount, reason: None, metadata: BTreeMap::new() }
    }

    fn refund(payment: &Payment, amount: Option<i64>) -> Result<Refund, NotRefundable> {
        Refund::create(RefundId::derive(&["r"]), payment, new(amount), START)
    }

    #[test]
    fn no_more_is_refunded_than_was_captured() {
        let mut payment = payment();
        assert_eq!(refund(&payment, None).unwrap().money.amount(), 10_000);
        assert_eq!(refund(&payment, Some(10_001)), Err(NotRefundable::TooMuch { left: 10_000 }));
        payment.amount_reserved = 9_999;
        assert_eq!(refund(&payment, None).unwrap().money.amount(), 1);
        payment.amount_reserved = 10_000;
        assert_eq!(refund(&payment, None), Err(NotRefundable::TooMuch { left: 0 }));
        payment.status = Status::Processing;
        assert_eq!(refund(&payment, None), Err(NotRefundable::NotCompleted));
    }

    #[test]
    fn a_replay_is_told_apart_from_another_request() {
        let all = refund(&payment(), None).unwrap();
        assert_eq!(all.differs_from(&new(None)), None);
        assert_eq!(all.differs_from(&new(Some(10_000))), Some("/amount"), "all that is left is another request");
        let part = refund(&payment(), Some(500)).unwrap();
        assert_eq!(part.differs_from(&new(Some(500))), None);
        let reason = NewRefund { reason: Some("broken".into()), ..new(Some(500)) };
        assert_eq!(part.differs_from(&reason), Some("/reason"));
    }

    #[test]
    fn a_refund_is_asked_for_under_one_key_until_it_is_known_what_became_of_it() {
        let (mut refund, mut now) = (refund(&payment(), None).unwrap(), START);
        let key = refund.key();
        for _ in 0..REFUND.tries_max {
            assert_eq!(refund.turn(now), Turn::Run(Step::Refund));
            let unknown = StepResult::Unknown { message: "lost".into() };
            refund = refund.claim(Step::Refund, now).apply(unknown, now, 0, false).0;
            assert_eq!((refund.key(), refund.status), (key.clone(), RefundStatus::Processing));
            now = refund.lease_until.unwrap();
        }
        assert_eq!(refund.turn(now), Turn::Run(Step::Reconcile));
        let done = StepResult::Done { reference: "re_1".into() };
        let (completed, next) = refund.claim(Step::Reconcile, now).apply(done, now, 0, false);
        assert_eq!((completed.status, next, completed.turn(now)), (RefundStatus::Completed, Next::Ended, Turn::Ended));
        assert_eq!(completed.as_created().status, RefundStatus::Pending);
    }

    #[test]
    fn a_refused_refund_fails_and_a_forgotten_key_is_asked_about() {
        let refund = refund(&payment(), None).unwrap();
        let claimed = refund.claim(Step::Refund, START);
        let refused = StepResult::Refused { failure: Failure::new("already_refunded", "no"), reference: None };
        assert_eq!(claimed.apply(refused, START, 0, false).0.status, RefundStatus::Failed);
        assert_eq!(claimed.turn(START.plus_ms(KEY_LIFETIME_MS + 1)), Turn::Run(Step::Reconcile));
    }

    #[test]
    fn a_stuck_refund_waits_for_a_person() {
        let mut stuck = refund(&payment(), None).unwrap();
        stuck.stuck = Some(saga::unanswered());
        assert_eq!(stuck.turn(Timestamp::MAX), Turn::Parked);
        assert_eq!(stuck.try_again("", START).unwrap().turn(START), Turn::Run(Step::Refund));
        let failed = Settlement::Failed { failure: Failure::new("not_refunded", "no") };
        assert_eq!(stuck.settle_by_hand(failed, "", START).unwrap().status, RefundStatus::Failed);
    }
}
