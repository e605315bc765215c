//! The payment saga: a pure reducer from (payment, what happened) to (payment, what to do next).
//!
//! The driver in `functions/processor` claims a payment, runs the one outside step that this module names, and hands
//! the result back. What must hold, whatever crashes:
//!
//! - The charge is always tried under the same key, so trying again can never charge twice.
//! - A payment never fails while it is unknown whether it was charged: after the last try the gateway is *asked*
//!   (`reconcile`), and only its answer ends the payment.
//! - Everything retryable has a last attempt; after the last `reconcile` the payment is stuck and a person is called.

use crate::{
    journal::{Failure, JournalEntry, Step, StepOutcome},
    money::AMOUNT_MAX_MINOR_UNITS,
    payment::{Payment, PaymentView, SourceView, Status},
    time::{MS_PER_HOUR, Timestamp},
};

/// For how long the gateway surely knows a key, from the first charge under it. Stripe forgets keys after 24 h, and a
/// charge under a forgotten key is a second charge.
pub const CHARGE_KEY_LIFETIME_MS: i64 = 20 * MS_PER_HOUR;
/// Tries of the charge.
pub const CHARGE_ATTEMPTS_MAX: u32 = 3;
/// Questions to the gateway about a charge of unknown outcome.
pub const RECONCILE_ATTEMPTS_MAX: u32 = 8;
/// Wait after the first failed charge; it doubles with every further one.
pub const CHARGE_WAIT_BASE_MS: i64 = 1_000;
/// Wait before the first question. A request that was under way when its caller gave up has ended by then.
pub const RECONCILE_WAIT_BASE_MS: i64 = 10_000;
/// No wait is longer.
pub const WAIT_MAX_MS: i64 = 15 * 60 * 1_000;
/// For how long a claim is exclusive. Longer than the processor's time-out (10 s), after which it is certainly dead.
pub const LEASE_MS: i64 = 12_000;

/// The error code of an attempt that the gateway refused before anything happened.
pub const CODE_UNAVAILABLE: &str = "gateway_error";
/// The error code of an attempt whose outcome is unknown.
pub const CODE_UNKNOWN: &str = "gateway_timeout";
/// The error code of an attempt whose function died; its outcome is unknown too.
pub const CODE_INTERRUPTED: &str = "interrupted";

/// What came of an outside step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepResult {
    /// The money was taken, now or by an earlier attempt under the same key.
    Charged {
        /// The gateway's name for the charge.
        reference: String,
    },
    /// The gateway refused for good.
    Declined {
        /// Why.
        failure: Failure,
        /// The gateway's name for the attempt.
        reference: Option<String>,
    },
    /// Nothing happened; it may be tried again.
    Unavailable {
        /// For the journal.
        message: String,
    },
    /// It is unknown whether the money was taken.
    Unknown {
        /// For the journal.
        message: String,
    },
    /// The gateway was asked and knows no charge for this payment.
    NotCharged,
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The payment has ended: publish that.
    Ended,
    /// The same payment is due again in so many milliseconds.
    Again {
        /// The wait.
        wait_ms: i64,
    },
    /// Nothing more can be done without a person.
    Stuck,
}

/// What a processor that was handed a payment may do with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// Claim it and run this step.
    Run(Step),
    /// Somebody else has it, or its next attempt is not due yet.
    Wait {
        /// Milliseconds until the lease ends.
        wait_ms: i64,
    },
    /// It has ended: publish that again.
    Ended,
    /// Nothing to do now: held, scheduled or stuck.
    Parked,
}

/// Decides what a processor may do with the payment at `now`.
pub fn turn(payment: &Payment, now: Timestamp) -> Turn {
    match payment.status {
        Status::Completed | Status::Failed | Status::Canceled => Turn::Ended,
        Status::Scheduled | Status::OnHold => Turn::Parked,
        Status::Processing if payment.stuck => Turn::Parked,
        Status::Pending | Status::Processing => match payment.lease_until {
            Some(until) if until > now => Turn::Wait { wait_ms: until.ms_since(now) },
            _ => Turn::Run(next_step(&payment.journal, now)),
        },
    }
}

/// Charge until the tries are used up, then ask. Ask too, rather than charge again, once the gateway may have forgotten
/// the key under which the money may have been taken.
fn next_step(journal: &[JournalEntry], now: Timestamp) -> Step {
    let first = journal.iter().find(|entry| entry.step == Step::Charge);
    let forgotten = first.is_some_and(|entry| now.ms_since(entry.started_at) > CHARGE_KEY_LIFETIME_MS);
    if attempts(journal, Step::Charge) >= CHARGE_ATTEMPTS_MAX || (forgotten && may_have_charged(journal)) {
        Step::Reconcile
    } else {
        Step::Charge
    }
}

fn attempts(journal: &[JournalEntry], step: Step) -> u32 {
    journal.iter().filter(|entry| entry.step == step).map(|entry| entry.attempt).max().unwrap_or(0)
}

/// Whether an attempt at the charge may have taken the money without our knowing.
fn may_have_charged(journal: &[JournalEntry]) -> bool {
    journal.iter().filter(|entry| entry.step == Step::Charge).any(|entry| match (&entry.outcome, &entry.error) {
        (None, _) => true,
        (Some(_), Some(error)) => error.code != CODE_UNAVAILABLE,
        (Some(_), None) => false,
    })
}

/// The rules of step `validate`, which need only what the message carries and the merchant's state.
pub fn validate(payment: &PaymentView, merchant_active: bool, now: Timestamp) -> Result<(), Failure> {
    let SourceView::Card { expiry, .. } = &payment.source;
    if !merchant_active {
        return Err(Failure::new("merchant_inactive", "The merchant is not active."));
    }
    if !(1..=AMOUNT_MAX_MINOR_UNITS).contains(&payment.amount) {
        return Err(Failure::new("amount_out_of_range", "The amount is out of range."));
    }
    if crate::card::Expiry::parse(expiry).is_none_or(|expiry| expiry.is_past(now)) {
        return Err(Failure::new("expired_card", "The card has expired."));
    }
    Ok(())
}

/// The payment, claimed for `step`: the intent stands in the journal before the step is tried.
///
/// `invalid` is what `validate` found; such a payment is claimed too and then fails without an outside step.
pub fn claim(payment: &Payment, step: Step, invalid: Option<Failure>, now: Timestamp) -> Payment {
    let mut claimed = payment.clone();
    claimed.status = Status::Processing;
    claimed.version += 1;
    claimed.updated_at = now;
    claimed.lease_until = Some(now.plus_ms(LEASE_MS));
    for entry in &mut claimed.journal {
        // The function that wrote this intent died before it could write what came of it.
        if entry.outcome.is_none() {
            entry.outcome = Some(StepOutcome::Retrying);
            entry.ended_at = Some(now);
            entry.error = Some(Failure::new(CODE_INTERRUPTED, "The function ended before the outcome was known."));
        }
    }
    if claimed.journal.is_empty() {
        claimed.journal = first_journal(invalid, now);
    } else if self::invalid(&claimed).is_none() {
        let attempt = attempts(&claimed.journal, step) + 1;
        claimed.journal.push(JournalEntry::intent(step, attempt, now));
    }
    claimed
}

/// The journal with which a pending payment is claimed: what was decided in memory, then the intent to charge.
pub fn first_journal(invalid: Option<Failure>, now: Timestamp) -> Vec<JournalEntry> {
    match invalid {
        Some(failure) => {
            vec![JournalEntry::at_once(Step::Validate, StepOutcome::Failed, now, Some(failure))]
        }
        None => vec![
            JournalEntry::at_once(Step::Validate, StepOutcome::Succeeded, now, None),
            JournalEntry::at_once(Step::Reserve, StepOutcome::Skipped, now, None),
            JournalEntry::intent(Step::Charge, 1, now),
        ],
    }
}

/// Why a claimed payment fails without an outside step: its validation failed.
pub fn invalid(payment: &Payment) -> Option<&Failure> {
    payment
        .journal
        .iter()
        .find(|entry| entry.step == Step::Validate && entry.outcome == Some(StepOutcome::Failed))
        .and_then(|entry| entry.error.as_ref())
}

/// The reducer: the claimed payment and what came of its step yield the next state and what follows.
/// `jitter` is a random number from 0 to 99.
pub fn apply(claimed: &Payment, result: StepResult, now: Timestamp, jitter: u8) -> (Payment, Next) {
    let mut next = claimed.clone();
    next.version += 1;
    next.updated_at = now;
    next.lease_until = None;
    match result {
        StepResult::Charged { reference } => {
            close(&mut next, StepOutcome::Succeeded, None, None, now);
            next.journal.push(JournalEntry::at_once(Step::Settle, StepOutcome::Succeeded, now, None));
            next.status = Status::Completed;
            next.gateway_reference = Some(reference);
            (next, Next::Ended)
        }
        StepResult::Declined { failure, reference } => {
            close(&mut next, StepOutcome::Failed, Some(failure.clone()), None, now);
            next.gateway_reference = reference;
            (fail(next, failure), Next::Ended)
        }
        StepResult::NotCharged => {
            close(&mut next, StepOutcome::Succeeded, None, None, now);
            (fail(next, not_charged()), Next::Ended)
        }
        StepResult::Unavailable { message } => retry(next, Failure::new(CODE_UNAVAILABLE, &message), now, jitter),
        StepResult::Unknown { message } => retry(next, Failure::new(CODE_UNKNOWN, &message), now, jitter),
    }
}

/// The claimed payment whose validation failed, ended.
pub fn fail_invalid(claimed: &Payment, failure: Failure, now: Timestamp) -> Payment {
    let mut next = claimed.clone();
    next.version += 1;
    next.updated_at = now;
    next.lease_until = None;
    fail(next, failure)
}

fn fail(mut payment: Payment, failure: Failure) -> Payment {
    payment.status = Status::Failed;
    payment.failure = Some(failure);
    payment
}

/// An attempt failed retryably: another one, a question, the end, or a person.
fn retry(mut next: Payment, error: Failure, now: Timestamp, jitter: u8) -> (Payment, Next) {
    let step = next.journal.last().map_or(Step::Charge, |entry| entry.step);
    let attempt = attempts(&next.journal, step);
    let (tries, base) = match step {
        Step::Reconcile => (RECONCILE_ATTEMPTS_MAX, RECONCILE_WAIT_BASE_MS),
        _ => (CHARGE_ATTEMPTS_MAX, CHARGE_WAIT_BASE_MS),
    };
    if attempt < tries {
        let wait_ms = wait_ms(base, attempt, jitter);
        close(&mut next, StepOutcome::Retrying, Some(error), Some(now.plus_ms(wait_ms)), now);
        next.lease_until = Some(now.plus_ms(wait_ms));
        return (next, Next::Again { wait_ms });
    }
    close(&mut next, StepOutcome::Failed, Some(error), None, now);
    match step {
        Step::Reconcile => {
            next.stuck = true;
            (next, Next::Stuck)
        }
        _ if may_have_charged(&next.journal) => {
            let wait_ms = RECONCILE_WAIT_BASE_MS;
            next.lease_until = Some(now.plus_ms(wait_ms));
            (next, Next::Again { wait_ms })
        }
        // What the gateway said stands in the journal; the merchant is told what it comes to.
        _ => (fail(next, not_charged()), Next::Ended),
    }
}

fn not_charged() -> Failure {
    Failure::new(CODE_UNAVAILABLE, "The gateway could not be reached; nothing was charged.")
}

/// Writes what came of the last attempt.
fn close(
    payment: &mut Payment,
    outcome: StepOutcome,
    error: Option<Failure>,
    next_due: Option<Timestamp>,
    now: Timestamp,
) {
    if let Some(entry) = payment.journal.last_mut() {
        entry.outcome = Some(outcome);
        entry.ended_at = Some(now);
        entry.error = error;
        entry.next_due = next_due;
    }
}

/// Exponential backoff with jitter: between 100 % and 150 % of `base · 2^(attempt − 1)`, at most `WAIT_MAX_MS`.
fn wait_ms(base: i64, attempt: u32, jitter: u8) -> i64 {
    let doubled =
        base.saturating_mul(1_i64.checked_shl(attempt.saturating_sub(1)).unwrap_or(i64::MAX)).min(WAIT_MAX_MS);
    (doubled + doubled / 2 * i64::from(jitter.min(99)) / 100).min(WAIT_MAX_MS)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        card::{Brand, Expiry},
        ids::{MerchantId, PaymentId},
        journal::{JOURNAL_ENTRIES_MAX, timeline},
        money::{Currency, Money},
        payment::{CardSource, NewPayment},
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
            },
            description: None,
            metadata: BTreeMap::new(),
            webhook_url: None,
        };
        Payment::create(PaymentId::derive(&["p"]), MerchantId::derive(&["m"]), new, START)
    }

    fn story(payment: &Payment) -> Vec<String> {
        timeline(payment)
            .into_iter()
            .map(|e| format!("{} {} {}", e.step.as_str(), e.attempt, e.outcome.map_or("open", StepOutcome::as_str)))
            .collect()
    }

    /// Runs the saga: every scripted result is one turn (`None`: the function dies during the step).
    fn run(script: &[Option<StepResult>]) -> (Payment, Option<Next>) {
        let (mut payment, mut now, mut last) = (payment(), START, None);
        for result in script {
            let step = match turn(&payment, now) {
                Turn::Run(step) => step,
                other => panic!("{other:?} at {}", story(&payment).join(", ")),
            };
            let claimed = claim(&payment, step, None, now);
            now = now.plus_ms(100);
            match result {
                Some(result) => {
                    let (next, what) = apply(&claimed, result.clone(), now, 50);
                    if let Next::Again { wait_ms } = what {
                        assert_eq!(turn(&next, now), Turn::Wait { wait_ms });
                        now = now.plus_ms(wait_ms);
                    }
                    (payment, last) = (next, Some(what));
                }
                None => {
                    payment = claimed;
                    now = now.plus_ms(LEASE_MS);
                }
            }
        }
        (payment, last)
    }

    fn charged() -> Option<StepResult> {
        Some(StepResult::Charged { reference: "pi_1".into() })
    }
    fn unavailable() -> Option<StepResult> {
        Some(StepResult::Unavailable { message: "503".into() })
    }
    fn unknown() -> Option<StepResult> {
        Some(StepResult::Unknown { message: "timed out".into() })
    }

    #[test]
    fn an_approved_charge_completes() {
        let (payment, next) = run(&[charged()]);
        assert_eq!((payment.status, payment.version, next), (Status::Completed, 3, Some(Next::Ended)));
        assert_eq!(
            story(&payment),
            ["validate 1 succeeded", "reserve 1 skipped", "charge 1 succeeded", "settle 1 succeeded"]
        );
        assert_eq!(turn(&payment, START), Turn::Ended);
    }

    #[test]
    fn a_decline_is_not_retried() {
        let declined = StepResult::Declined { failure: Failure::new("insufficient_funds", "no"), reference: None };
        let (payment, next) = run(&[Some(declined)]);
        assert_eq!((payment.status, next), (Status::Failed, Some(Next::Ended)));
        assert_eq!(payment.failure.unwrap().code, "insufficient_funds");
    }

    #[test]
    fn an_unavailable_gateway_is_tried_three_times() {
        let (payment, next) = run(&[unavailable(), unavailable(), unavailable()]);
        assert_eq!((payment.status, next), (Status::Failed, Some(Next::Ended)));
        assert_eq!(payment.failure.as_ref().unwrap().code, "gateway_error");
        assert_eq!(story(&payment)[2..], ["charge 1 retrying", "charge 2 retrying", "charge 3 failed"]);
    }

    #[test]
    fn a_payment_never_fails_while_the_charge_may_have_been_taken() {
        for script in [
            [unknown(), unavailable(), unavailable()],
            [unavailable(), unavailable(), unknown()],
            [unavailable(), None, unavailable()],
        ] {
            let (payment, next) = run(&script);
            assert_eq!(
                (payment.status, next),
                (Status::Processing, Some(Next::Again { wait_ms: RECONCILE_WAIT_BASE_MS }))
            );
            let asked = |answer| run(&[script.as_slice(), &[answer]].concat()).0;
            assert_eq!(asked(charged()).status, Status::Completed);
            assert_eq!(asked(Some(StepResult::NotCharged)).status, Status::Failed);
            assert_eq!(asked(unknown()).status, Status::Processing);
        }
    }

    #[test]
    fn a_crash_during_the_last_charge_is_reconciled() {
        let (payment, _) = run(&[None, None, None, charged()]);
        assert_eq!(payment.status, Status::Completed);
        assert_eq!(story(&payment)[5..], ["reconcile 1 succeeded", "settle 1 succeeded"]);
        assert_eq!(payment.journal[4].error.as_ref().unwrap().code, CODE_INTERRUPTED);
    }

    #[test]
    fn a_key_that_the_gateway_may_have_forgotten_is_not_charged_again() {
        let late = START.plus_ms(CHARGE_KEY_LIFETIME_MS + 1_000);
        let (stalled, _) = run(&[unknown()]);
        assert_eq!(turn(&stalled, START.plus_ms(WAIT_MAX_MS)), Turn::Run(Step::Charge));
        assert_eq!(turn(&stalled, late), Turn::Run(Step::Reconcile));
        let (crashed, _) = run(&[None]);
        assert_eq!(turn(&crashed, late), Turn::Run(Step::Reconcile));
        let (refused, _) = run(&[unavailable()]);
        assert_eq!(turn(&refused, late), Turn::Run(Step::Charge), "nothing was taken, whatever was forgotten");
        let (ended, _) = apply(&claim(&stalled, Step::Reconcile, None, late), charged().unwrap(), late, 0);
        assert_eq!(ended.status, Status::Completed);
    }

    #[test]
    fn an_unanswered_question_calls_a_person_in_the_end() {
        let tries = usize::try_from(CHARGE_ATTEMPTS_MAX + RECONCILE_ATTEMPTS_MAX).unwrap();
        let (payment, next) = run(&vec![unknown(); tries]);
        assert_eq!((payment.status, payment.stuck, next), (Status::Processing, true, Some(Next::Stuck)));
        assert_eq!(turn(&payment, Timestamp::MAX), Turn::Parked);
        assert!(payment.journal.len() <= JOURNAL_ENTRIES_MAX);
    }

    #[test]
    fn an_invalid_payment_fails_without_a_charge() {
        let failure = Failure::new("merchant_inactive", "no");
        let claimed = claim(&payment(), Step::Charge, Some(failure.clone()), START);
        assert_eq!(story(&claimed), ["validate 1 failed"]);
        assert_eq!(invalid(&claimed), Some(&failure));
        let claimed = claim(&claimed, Step::Charge, None, START.plus_ms(LEASE_MS));
        assert_eq!(story(&claimed), ["validate 1 failed"], "nor does the next processor charge it");
        let failed = fail_invalid(&claimed, failure, START);
        assert_eq!((failed.status, failed.version), (Status::Failed, 4));
    }

    #[test]
    fn validation_names_what_is_wrong() {
        let mut view = payment().view();
        assert_eq!(validate(&view, true, START), Ok(()));
        assert_eq!(validate(&view, false, START).unwrap_err().code, "merchant_inactive");
        assert_eq!(validate(&view, true, Timestamp::MAX).unwrap_err().code, "expired_card");
        view.amount = 0;
        assert_eq!(validate(&view, true, START).unwrap_err().code, "amount_out_of_range");
    }

    proptest! {
        /// Whatever happens in whatever order: the diagram holds, versions count, the journal has no gap, waits are
        /// bounded, and the payment fails only where no charge can be outstanding.
        #[test]
        fn the_saga_keeps_its_promises(script in proptest::collection::vec((0..6_u8, 0..100_u8), 1..30)) {
            let (mut payment, mut now) = (payment(), START);
            for (what, jitter) in script {
                let step = match turn(&payment, now) {
                    Turn::Run(step) => step,
                    Turn::Wait { wait_ms } => {
                        prop_assert!((1..=WAIT_MAX_MS).contains(&wait_ms));
                        now = now.plus_ms(wait_ms);
                        continue;
                    }
                    Turn::Ended | Turn::Parked => {
                        prop_assert!(payment.status.is_terminal() || payment.stuck);
                        break;
                    }
                };
                let claimed = claim(&payment, step, None, now);
                prop_assert!(payment.status == Status::Processing || payment.status.may_become(claimed.status));
                prop_assert_eq!(claimed.version, payment.version + 1);
                let result = match (what, step) {
                    (0, _) => StepResult::Charged { reference: "pi_1".into() },
                    (1, _) => StepResult::Declined { failure: Failure::new("card_declined", "no"), reference: None },
                    (2, _) => StepResult::Unavailable { message: "503".into() },
                    (3, _) => StepResult::Unknown { message: "lost".into() },
                    (4, Step::Reconcile) => StepResult::NotCharged,
                    _ => { payment = claimed; now = now.plus_ms(LEASE_MS); continue; }
                };
                let (next, _) = apply(&claimed, result.clone(), now, jitter);
                prop_assert!(next.status == claimed.status || claimed.status.may_become(next.status));
                prop_assert_eq!(next.version, claimed.version + 1);
                if next.status == Status::Failed {
                    let definite = matches!(result, StepResult::Declined { .. } | StepResult::NotCharged);
                    prop_assert!(definite || !may_have_charged(&next.journal));
                }
                payment = next;
            }
            prop_assert!(payment.journal.len() <= JOURNAL_ENTRIES_MAX);
            for (entry, number) in timeline(&payment).iter().zip(1..) {
                prop_assert_eq!(entry.sequence, number);
            }
        }
    }
}
