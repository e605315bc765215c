//! The payment saga: a pure reducer from (payment, what happened) to (payment, what to do next).
//!
//! The driver in `functions/processor` claims a payment, runs the one outside step that this module names, and hands
//! the result back. How often a step is tried, and when the gateway is asked instead, is decided in [`crate::effect`].
//! What must hold, whatever crashes:
//!
//! - A payment never fails while it is unknown whether it was charged.
//! - What was done is undone in reverse order: a payment that was canceled while it was charged gives the money back
//!   and then fails; if that does not succeed it is stuck, and a person is called.
//! - Commands (cancel, hold, resume) are functions of the state; the one conditional write that stores their result
//!   decides a race.

use crate::{
    effect::{self, CHARGE, COMPENSATE, Effect, LEASE_MS, StepResult, Verdict},
    journal::{Failure, JournalEntry, Step, StepOutcome},
    money::AMOUNT_MAX_MINOR_UNITS,
    mutation::{Mutation, mutated},
    payment::{Payment, PaymentView, Status},
    time::Timestamp,
};

/// How often a payment may be held.
pub const HOLDS_MAX: usize = 10;
/// How often an operator may have a stuck payment or refund tried again.
pub const OPERATOR_RETRIES_MAX: usize = 3;

/// The failure code of a payment that was canceled while it was processed.
pub const CODE_CANCELED: &str = "canceled";
/// Why a payment or refund is stuck: nobody answers whether the money moved.
pub const CODE_UNANSWERED: &str = "outcome_unknown";
/// Why a payment is stuck: it was canceled, charged all the same, and the money could not be given back.
pub const CODE_NOT_COMPENSATED: &str = "compensation_failed";

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It has ended: publish that.
    Ended,
    /// Its next step stands in the journal: take it now.
    Run,
    /// It is due again in so many milliseconds.
    Again {
        /// The wait.
        wait_ms: i64,
    },
    /// Nothing more can be done without a person.
    Stuck,
}

/// What a processor that was handed a payment or refund may do with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// Claim it and run this step.
    Run(Step),
    /// It was canceled before anything happened at the gateway: end it.
    Withdraw,
    /// Its questions are used up, and whoever asked the last one died: call a person.
    GiveUp,
    /// Somebody else has it, or it is not due yet.
    Wait {
        /// Milliseconds until it is.
        wait_ms: i64,
    },
    /// It has ended: publish that again.
    Ended,
    /// Nothing to do now: held or stuck.
    Parked,
}

/// Decides what a processor may do with the payment at `now`.
pub fn turn(payment: &Payment, now: Timestamp) -> Turn {
    match payment.status {
        Status::Completed | Status::Failed | Status::Canceled => return Turn::Ended,
        Status::OnHold => return Turn::Parked,
        Status::Processing if payment.stuck.is_some() => return Turn::Parked,
        Status::Scheduled | Status::Pending | Status::Processing => {}
    }
    let process_at = payment.process_at.filter(|_| payment.status != Status::Processing);
    match [payment.lease_until, process_at].into_iter().flatten().max() {
        Some(until) if until > now => Turn::Wait { wait_ms: until.ms_since(now) },
        _ => next_turn(payment, now),
    }
}

fn next_turn(payment: &Payment, now: Timestamp) -> Turn {
    let journal = &payment.journal;
    if is_charged(payment) {
        return effect_turn(journal, COMPENSATE, effect::next(journal, COMPENSATE, now), now);
    }
    if !payment.is_cancel_requested() {
        return effect_turn(journal, CHARGE, effect::next(journal, CHARGE, now), now);
    }
    if effect::may_have_happened(journal, CHARGE) {
        return effect_turn(journal, CHARGE, Step::Reconcile, now);
    }
    Turn::Withdraw
}

/// The turn for a step of an effect: the gateway is not asked before it can know, nor more often than it may be.
pub(crate) fn effect_turn(journal: &[JournalEntry], effect: Effect, step: Step, now: Timestamp) -> Turn {
    if step != Step::Reconcile {
        return Turn::Run(step);
    }
    if effect::is_asked_out(journal, effect) {
        return Turn::GiveUp;
    }
    match effect::askable_at(journal, effect).ms_since(now) {
        wait_ms if wait_ms > 0 => Turn::Wait { wait_ms },
        _ => Turn::Run(step),
    }
}

/// Whether the money was taken from a payment that is still processed: all that is left is to give it back.
pub fn is_charged(payment: &Payment) -> bool {
    payment.status == Status::Processing && payment.gateway_reference.is_some()
}

/// The rules of step `validate`, which need only what the message carries and the merchant's state.
pub fn validate(payment: &PaymentView, merchant_active: bool, now: Timestamp) -> Result<(), Failure> {
    if !merchant_active {
        return Err(Failure::new("merchant_inactive", "The merchant is not active."));
    }
    if !(1..=AMOUNT_MAX_MINOR_UNITS).contains(&payment.amount) {
        return Err(Failure::new("amount_out_of_range", "The amount is out of range."));
    }
    if crate::card::Expiry::parse(payment.source.expiry()).is_none_or(|expiry| expiry.is_past(now)) {
        return Err(Failure::new("expired_card", "The card has expired."));
    }
    Ok(())
}

/// The payment, claimed for `step`: the intent stands in the journal before the step is tried.
///
/// `invalid` is what `validate` found; such a payment is claimed too and then fails without an outside step.
/// A scheduled payment whose moment has come passes through pending in the same write.
pub fn claim(payment: &Payment, step: Step, invalid: Option<Failure>, now: Timestamp) -> Payment {
    let mut claimed = payment.clone();
    claimed.status = Status::Processing;
    claimed.version += 1;
    claimed.updated_at = now;
    claimed.lease_until = Some(now.plus_ms(LEASE_MS));
    effect::close_interrupted(&mut claimed.journal, now);
    if payment.status == Status::Scheduled {
        claimed.journal.push(JournalEntry::at_once(Step::Schedule, StepOutcome::Succeeded, now, None));
    }
    if !claimed.journal.iter().any(|entry| entry.step == Step::Validate) {
        claimed.journal.extend(first_journal(invalid, now));
    } else if self::invalid(&claimed).is_none() {
        claimed.journal.push(JournalEntry::intent(step, effect::next_attempt(&claimed.journal, step), now));
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
///
/// `jitter` is a random number from 0 to 99; `away` says that the circuit breaker is not closed.
pub fn apply(claimed: &Payment, result: StepResult, now: Timestamp, jitter: u8, away: bool) -> (Payment, Next) {
    let mut next = changed(claimed, now);
    let charged = is_charged(claimed);
    let effect = if charged { COMPENSATE } else { CHARGE };
    let verdict = effect::settle(&mut next.journal, effect, result, now, jitter, away);
    match verdict {
        Verdict::Again { wait_ms } => {
            next.lease_until = Some(now.plus_ms(wait_ms));
            (next, Next::Again { wait_ms })
        }
        Verdict::Unanswered => (stuck(next, unanswered()), Next::Stuck),
        Verdict::Done { .. } if charged => (withdrawn(next, now), Next::Ended),
        Verdict::Refused { failure, .. } if charged => {
            (stuck(next, Failure::new(CODE_NOT_COMPENSATED, &failure.message)), Next::Stuck)
        }
        Verdict::NotDone if charged => {
            (stuck(next, Failure::new(CODE_NOT_COMPENSATED, "The money could not be given back.")), Next::Stuck)
        }
        Verdict::Done { reference } => {
            next.gateway_reference = Some(reference);
            if next.is_cancel_requested() && mutated(Mutation::CancelIgnoresCharge) {
                return (withdrawn(next, now), Next::Ended);
            }
            if next.is_cancel_requested() {
                next.lease_until = Some(now.plus_ms(LEASE_MS));
                next.journal.push(JournalEntry::intent(Step::Compensate, 1, now));
                return (next, Next::Run);
            }
            next.journal.push(JournalEntry::at_once(Step::Settle, StepOutcome::Succeeded, now, None));
            next.status = Status::Completed;
            (next, Next::Ended)
        }
        Verdict::Refused { failure, reference } => {
            next.gateway_reference = reference;
            (fail(next, failure), Next::Ended)
        }
        Verdict::NotDone if next.is_cancel_requested() => (withdrawn(next, now), Next::Ended),
        // What the gateway said stands in the journal; the merchant is told what it comes to.
        Verdict::NotDone => {
            let failure =
                Failure::new(effect::CODE_UNAVAILABLE, "The gateway could not be reached; nothing was charged.");
            (fail(next, failure), Next::Ended)
        }
    }
}

/// The claimed payment whose validation failed, ended.
pub fn fail_invalid(claimed: &Payment, failure: Failure, now: Timestamp) -> Payment {
    fail(changed(claimed, now), failure)
}

/// The payment that was canceled while it was processed and from which nothing was taken, ended.
pub fn withdraw(payment: &Payment, now: Timestamp) -> Payment {
    withdrawn(changed(payment, now), now)
}

/// The payment whose questions are used up, for a person to look at.
pub fn give_up(payment: &Payment, now: Timestamp) -> Payment {
    let mut next = changed(payment, now);
    effect::close_interrupted(&mut next.journal, now);
    stuck(next, unanswered())
}

pub(crate) fn unanswered() -> Failure {
    Failure::new(CODE_UNANSWERED, "The gateway does not say whether the money moved.")
}

fn changed(payment: &Payment, now: Timestamp) -> Payment {
    let mut next = payment.clone();
    next.version += 1;
    next.updated_at = now;
    next.lease_until = None;
    next
}

fn withdrawn(mut payment: Payment, now: Timestamp) -> Payment {
    payment.journal.push(JournalEntry::at_once(Step::Cancel, StepOutcome::Succeeded, now, None));
    fail(payment, Failure::new(CODE_CANCELED, "The payment was canceled while it was processed."))
}

fn fail(mut payment: Payment, failure: Failure) -> Payment {
    payment.status = Status::Failed;
    payment.failure = Some(failure);
    payment
}

fn stuck(mut payment: Payment, reason: Failure) -> Payment {
    payment.stuck = Some(reason);
    payment
}

/// What a merchant's command comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Store this state, if the payment has not changed since.
    Store(Payment),
    /// A processor has it: ask it to give back what it takes, by a flag that does not move the version.
    Ask,
    /// It is so already.
    Already,
    /// The payment's status does not allow it.
    Refused,
}

/// Withdraws a payment: at once before it is processed, by compensation while it is.
pub fn cancel(payment: &Payment, now: Timestamp) -> Command {
    match payment.status {
        Status::Scheduled | Status::Pending | Status::OnHold => {
            let mut next = changed(payment, now);
            next.status = Status::Canceled;
            next.journal.push(JournalEntry::at_once(Step::Cancel, StepOutcome::Succeeded, now, None));
            Command::Store(next)
        }
        Status::Processing if payment.is_cancel_requested() => Command::Already,
        Status::Processing => Command::Ask,
        Status::Canceled => Command::Already,
        Status::Failed if payment.is_cancel_requested() => Command::Already,
        Status::Completed | Status::Failed => Command::Refused,
    }
}

/// Keeps a payment from being processed.
pub fn hold(payment: &Payment, now: Timestamp) -> Command {
    let holds = payment.journal.iter().filter(|entry| entry.step == Step::Hold).count();
    match payment.status {
        Status::Scheduled | Status::Pending if holds < HOLDS_MAX => {
            let mut next = changed(payment, now);
            next.status = Status::OnHold;
            next.journal.push(command_entry(payment, Step::Hold, now));
            Command::Store(next)
        }
        Status::OnHold => Command::Already,
        _ => Command::Refused,
    }
}

/// Lets a held payment go on: at once, or at the moment for which it was scheduled.
pub fn resume(payment: &Payment, now: Timestamp) -> Command {
    let was_resumed = payment.journal.last().is_some_and(|entry| entry.step == Step::Resume);
    match payment.status {
        Status::OnHold => {
            let mut next = changed(payment, now);
            let waits = payment.process_at.is_some_and(|at| at > now);
            next.status = if waits { Status::Scheduled } else { Status::Pending };
            next.journal.push(command_entry(payment, Step::Resume, now));
            Command::Store(next)
        }
        Status::Scheduled | Status::Pending if was_resumed => Command::Already,
        _ => Command::Refused,
    }
}

fn command_entry(payment: &Payment, step: Step, now: Timestamp) -> JournalEntry {
    let attempt = effect::next_attempt(&payment.journal, step);
    JournalEntry { attempt, ..JournalEntry::at_once(step, StepOutcome::Succeeded, now, None) }
}

/// How an operator ends a stuck payment by hand, after finding out at the gateway what happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// The money was taken.
    Completed {
        /// The gateway's name for the charge.
        reference: String,
    },
    /// The money was not taken, or was given back.
    Failed {
        /// Why.
        failure: Failure,
    },
}

/// A stuck payment, to be tried again; `None` if it is not stuck or was tried again too often.
pub fn try_again(payment: &Payment, note: &str, now: Timestamp) -> Option<Payment> {
    payment.stuck.as_ref()?;
    let entry = resolve_entry(&payment.journal, note, now)?;
    let mut next = changed(payment, now);
    next.stuck = None;
    next.journal.push(entry);
    Some(next)
}

/// A stuck payment, ended by an operator's word; `None` if it is not stuck.
pub fn settle_by_hand(payment: &Payment, settlement: Settlement, note: &str, now: Timestamp) -> Option<Payment> {
    payment.stuck.as_ref()?;
    let attempt = effect::next_attempt(&payment.journal, Step::Resolve);
    let mut next = changed(payment, now);
    next.stuck = None;
    next.journal.push(JournalEntry::noted(Step::Resolve, attempt, note, now));
    Some(match settlement {
        Settlement::Completed { reference } => {
            next.gateway_reference = Some(reference);
            next.status = Status::Completed;
            next.journal.push(JournalEntry::at_once(Step::Settle, StepOutcome::Succeeded, now, None));
            next
        }
        Settlement::Failed { failure } => fail(next, failure),
    })
}

/// The entry of an operator's decision to try again, if there have not been too many.
pub(crate) fn resolve_entry(journal: &[JournalEntry], note: &str, now: Timestamp) -> Option<JournalEntry> {
    let attempt = effect::next_attempt(journal, Step::Resolve);
    let retries = usize::try_from(attempt).unwrap_or(usize::MAX);
    (retries <= OPERATOR_RETRIES_MAX).then(|| JournalEntry::noted(Step::Resolve, attempt, note, now))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        card::{Brand, Expiry},
        effect::{AWAY_TRIES_MAX, CODE_INTERRUPTED, KEY_LIFETIME_MS, RECONCILE_TRIES_MAX, RECONCILE_WAIT_BASE_MS},
        effect::{ROUNDS_MAX, WAIT_MAX_MS},
        ids::{MerchantId, PaymentId},
        journal::{JOURNAL_ENTRIES_MAX, timeline},
        money::{Currency, Money},
        payment::{CardSource, NewPayment, When},
    };

    const START: Timestamp = Timestamp::from_ms(1_795_251_600_000);

    fn payment_at(when: When) -> Payment {
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
            when,
        };
        Payment::create(PaymentId::derive(&["p"]), MerchantId::derive(&["m"]), new, START)
    }

    fn payment() -> Payment {
        payment_at(When::Now)
    }

    fn story(payment: &Payment) -> Vec<String> {
        timeline(payment, &[])
            .into_iter()
            .map(|e| format!("{} {} {}", e.step.as_str(), e.attempt, e.outcome.map_or("open", StepOutcome::as_str)))
            .collect()
    }

    /// Goes on with the saga: every scripted result is one turn (`None`: the function dies during the step).
    fn go_on(payment: Payment, from: Timestamp, script: &[Option<StepResult>]) -> (Payment, Option<Next>, Timestamp) {
        let (mut payment, mut now, mut last) = (payment, from, None);
        for result in script {
            if let Turn::Wait { wait_ms } = turn(&payment, now) {
                now = now.plus_ms(wait_ms);
            }
            let step = match turn(&payment, now) {
                Turn::Run(step) => step,
                other => panic!("{other:?} at {}", story(&payment).join(", ")),
            };
            let claimed = claim(&payment, step, None, now);
            now = now.plus_ms(100);
            match result {
                Some(result) => {
                    let (next, what) = apply(&claimed, result.clone(), now, 50, false);
                    if let Next::Again { wait_ms } = what {
                        assert!(matches!(turn(&next, now), Turn::Wait { .. }));
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
        (payment, last, now)
    }

    fn run(script: &[Option<StepResult>]) -> (Payment, Option<Next>) {
        let (payment, next, _) = go_on(payment(), START, script);
        (payment, next)
    }

    fn done() -> Option<StepResult> {
        Some(StepResult::Done { reference: "pi_1".into() })
    }
    fn unavailable() -> Option<StepResult> {
        Some(StepResult::Unavailable { message: "503".into() })
    }
    fn unreachable() -> Option<StepResult> {
        Some(StepResult::Unreachable { message: "refused".into() })
    }
    fn unknown() -> Option<StepResult> {
        Some(StepResult::Unknown { message: "timed out".into() })
    }
    fn refused() -> Option<StepResult> {
        Some(StepResult::Refused { failure: Failure::new("insufficient_funds", "no"), reference: None })
    }

    #[test]
    fn an_approved_charge_completes() {
        let (payment, next) = run(&[done()]);
        assert_eq!((payment.status, payment.version, next), (Status::Completed, 3, Some(Next::Ended)));
        assert_eq!(
            story(&payment),
            ["validate 1 succeeded", "reserve 1 skipped", "charge 1 succeeded", "settle 1 succeeded"]
        );
        assert_eq!(turn(&payment, START), Turn::Ended);
    }

    #[test]
    fn a_decline_is_not_retried() {
        let (payment, next) = run(&[refused()]);
        assert_eq!((payment.status, next), (Status::Failed, Some(Next::Ended)));
        assert_eq!(payment.failure.unwrap().code, "insufficient_funds");
    }

    #[test]
    fn a_gateway_that_answers_that_it_is_unavailable_is_tried_three_times() {
        let (payment, next) = run(&[unavailable(), unavailable(), unavailable()]);
        assert_eq!((payment.status, next), (Status::Failed, Some(Next::Ended)));
        assert_eq!(payment.failure.as_ref().unwrap().code, "gateway_error");
        assert_eq!(story(&payment)[2..], ["charge 1 retrying", "charge 2 retrying", "charge 3 failed"]);
    }

    #[test]
    fn a_gateway_that_is_away_uses_up_no_tries() {
        let outage = vec![unreachable(); 7];
        let (payment, next) = run(&outage);
        assert_eq!(payment.status, Status::Processing);
        assert!(matches!(next, Some(Next::Again { .. })));
        let (payment, _) = run(&[outage.clone(), vec![unavailable(), unavailable(), done()]].concat());
        assert_eq!(payment.status, Status::Completed);

        // While the breaker is open, whatever the gateway says is no word about this payment.
        let claimed = claim(&self::payment(), Step::Charge, None, START);
        let (waiting, _) = apply(&claimed, unavailable().unwrap(), START, 0, true);
        assert_eq!(waiting.journal.last().unwrap().error.as_ref().unwrap().code, effect::CODE_AWAY);
        let (waiting, _) = apply(&claimed, unknown().unwrap(), START, 0, true);
        assert!(effect::may_have_happened(&waiting.journal, CHARGE));

        // But not for ever.
        let (payment, next) = run(&vec![unreachable(); usize::try_from(AWAY_TRIES_MAX).unwrap()]);
        assert_eq!((payment.status, next), (Status::Failed, Some(Next::Ended)));
    }

    #[test]
    fn a_payment_never_fails_while_the_charge_may_have_been_taken() {
        for script in [
            vec![unknown(), unavailable(), unavailable()],
            vec![unavailable(), unavailable(), unknown()],
            vec![unavailable(), None, unavailable()],
        ] {
            let (payment, next) = run(&script);
            assert_eq!(
                (payment.status, next),
                (Status::Processing, Some(Next::Again { wait_ms: RECONCILE_WAIT_BASE_MS }))
            );
            let then = |answers: &[Option<StepResult>]| run(&[script.as_slice(), answers].concat()).0;
            assert_eq!(then(&[done()]).status, Status::Completed);
            assert_eq!(then(&[unknown()]).status, Status::Processing);
            let not_done = Some(StepResult::NotDone);
            let again = then(std::slice::from_ref(&not_done));
            assert_eq!(again.status, Status::Processing, "the gateway is back: the charge is tried anew");
            assert_eq!(then(&[not_done.clone(), done()]).status, Status::Completed);
            let twice = [vec![not_done.clone()], script.clone(), vec![not_done]].concat();
            assert_eq!(ROUNDS_MAX, 2);
            assert_eq!(then(&twice).status, Status::Failed);
        }
    }

    #[test]
    fn a_crash_during_the_last_charge_is_reconciled() {
        let (payment, _) = run(&[None, None, None, done()]);
        assert_eq!(payment.status, Status::Completed);
        assert_eq!(story(&payment)[5..], ["reconcile 1 succeeded", "settle 1 succeeded"]);
        assert_eq!(payment.journal[4].error.as_ref().unwrap().code, CODE_INTERRUPTED);
    }

    #[test]
    fn a_key_that_the_gateway_may_have_forgotten_is_not_charged_again() {
        let late = START.plus_ms(KEY_LIFETIME_MS + 1_000);
        let (stalled, _) = run(&[unknown()]);
        assert_eq!(turn(&stalled, START.plus_ms(WAIT_MAX_MS)), Turn::Run(Step::Charge));
        assert_eq!(turn(&stalled, late), Turn::Run(Step::Reconcile));
        let (crashed, _) = run(&[None]);
        assert_eq!(turn(&crashed, late), Turn::Run(Step::Reconcile));
        let (refused, _) = run(&[unavailable()]);
        assert_eq!(turn(&refused, late), Turn::Run(Step::Charge), "nothing was taken, whatever was forgotten");
        let (ended, _) = apply(&claim(&stalled, Step::Reconcile, None, late), done().unwrap(), late, 0, false);
        assert_eq!(ended.status, Status::Completed);
    }

    fn unanswered() -> Payment {
        let tries = usize::try_from(CHARGE.tries_max + RECONCILE_TRIES_MAX).unwrap();
        let (payment, next) = run(&vec![unknown(); tries]);
        assert_eq!((payment.status, next), (Status::Processing, Some(Next::Stuck)));
        payment
    }

    #[test]
    fn the_gateway_is_not_asked_while_a_request_may_be_under_way() {
        let late = START.plus_ms(KEY_LIFETIME_MS + 1_000);
        let (lost, _) = run(&[unknown()]);
        let asked = claim(&lost, Step::Reconcile, None, late);
        let (again, _) = apply(&asked, StepResult::NotDone, late, 0, false);
        let then = again.lease_until.unwrap();
        let charging = claim(&again, Step::Charge, None, then);
        let (lost_again, _) = apply(&charging, unknown().unwrap(), then, 0, false);
        let next = lost_again.lease_until.unwrap();
        assert_eq!(
            turn(&lost_again, next),
            Turn::Wait { wait_ms: 9_000 },
            "its key is forgotten, so it is asked about"
        );
        assert_eq!(turn(&lost_again, then.plus_ms(RECONCILE_WAIT_BASE_MS)), Turn::Run(Step::Reconcile));
    }

    #[test]
    fn questions_whose_function_dies_come_to_an_end() {
        let died = [vec![unknown(); 3], vec![None; usize::try_from(RECONCILE_TRIES_MAX).unwrap()]].concat();
        let (payment, _, now) = go_on(payment(), START, &died);
        assert_eq!(turn(&payment, now.plus_ms(WAIT_MAX_MS)), Turn::GiveUp);
        let stuck = give_up(&payment, now);
        assert_eq!((stuck.stuck.unwrap().code.as_str(), stuck.status), (CODE_UNANSWERED, Status::Processing));
        assert!(stuck.journal.iter().all(|entry| entry.outcome.is_some()));
    }

    #[test]
    fn an_unanswered_question_calls_a_person_who_has_it_tried_again_or_settles_it() {
        let stuck = unanswered();
        assert_eq!(stuck.stuck.as_ref().unwrap().code, CODE_UNANSWERED);
        assert_eq!(turn(&stuck, Timestamp::MAX), Turn::Parked);

        let retried = try_again(&stuck, "the gateway is back", START).unwrap();
        assert_eq!((retried.stuck.clone(), turn(&retried, START)), (None, Turn::Run(Step::Charge)));
        assert_eq!(timeline(&retried, &[]).last().unwrap().output["note"], "the gateway is back");
        assert_eq!(go_on(retried, START, &[done()]).0.status, Status::Completed);
        assert_eq!(try_again(&payment(), "", START), None, "only what is stuck");

        let completed = Settlement::Completed { reference: "pi_9".into() };
        let settled = settle_by_hand(&stuck, completed, "seen in the dashboard", START).unwrap();
        assert_eq!((settled.status, settled.stuck.is_none()), (Status::Completed, true));
        let failed = Settlement::Failed { failure: Failure::new("not_charged", "no") };
        assert_eq!(settle_by_hand(&stuck, failed, "", START).unwrap().status, Status::Failed);
    }

    #[test]
    fn an_operator_cannot_try_for_ever() {
        let mut stuck = unanswered();
        for _ in 0..OPERATOR_RETRIES_MAX {
            let mut retried = try_again(&stuck, "", START).unwrap();
            retried.stuck.clone_from(&stuck.stuck);
            stuck = retried;
        }
        assert_eq!(try_again(&stuck, "", START), None);
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

    #[test]
    fn a_scheduled_payment_waits_for_its_moment() {
        let scheduled = payment_at(When::After(600));
        assert_eq!(scheduled.status, Status::Scheduled);
        assert_eq!(turn(&scheduled, START), Turn::Wait { wait_ms: 600_000 });
        let (completed, ..) = go_on(scheduled, START.plus_ms(600_000), &[done()]);
        assert_eq!(completed.status, Status::Completed);
        assert_eq!(story(&completed)[0], "schedule 1 succeeded");
    }

    fn stored(command: Command) -> Payment {
        match command {
            Command::Store(payment) => payment,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn commands_follow_the_diagram() {
        let now = START.plus_ms(1_000);
        let held = stored(hold(&payment(), now));
        assert_eq!((held.status, turn(&held, Timestamp::MAX)), (Status::OnHold, Turn::Parked));
        assert_eq!(hold(&held, now), Command::Already);
        let resumed = stored(resume(&held, now));
        assert_eq!((resumed.status, resume(&resumed, now)), (Status::Pending, Command::Already));
        assert_eq!(resume(&payment(), now), Command::Refused);
        let (completed, ..) = go_on(resumed, now, &[done()]);
        assert_eq!(story(&completed)[..3], ["hold 1 succeeded", "resume 1 succeeded", "validate 1 succeeded"]);
        for command in [hold, resume, cancel] {
            assert_eq!(command(&completed, now), Command::Refused);
        }
        let later = stored(resume(&stored(hold(&payment_at(When::After(600)), now)), now));
        assert_eq!((later.status, turn(&later, now)), (Status::Scheduled, Turn::Wait { wait_ms: 599_000 }));
        let canceled = stored(cancel(&held, now));
        assert_eq!((canceled.status, cancel(&canceled, now)), (Status::Canceled, Command::Already));
        assert_eq!(cancel(&claim(&payment(), Step::Charge, None, now), now), Command::Ask);
    }

    #[test]
    fn a_payment_cannot_be_held_for_ever() {
        let held = (0..HOLDS_MAX).fold(payment(), |p, _| stored(resume(&stored(hold(&p, START)), START)));
        assert_eq!(hold(&held, START), Command::Refused);
    }

    /// Claimed and charged with this result, while its withdrawal was asked for.
    fn canceled_during(result: StepResult) -> (Payment, Next) {
        let mut claimed = claim(&payment(), Step::Charge, None, START);
        claimed.cancel_requested_at = Some(START);
        apply(&claimed, result, START, 0, false)
    }

    #[test]
    fn a_cancel_during_the_charge_gives_the_money_back() {
        let (charged, next) = canceled_during(done().unwrap());
        assert_eq!((charged.status, next), (Status::Processing, Next::Run));
        let (failed, next) = apply(&charged, done().unwrap(), START, 0, false);
        assert_eq!((failed.status, next), (Status::Failed, Next::Ended));
        assert_eq!(failed.failure.as_ref().unwrap().code, CODE_CANCELED);
        assert_eq!(story(&failed)[2..], ["charge 1 succeeded", "compensate 1 succeeded", "cancel 1 succeeded"]);
        assert_eq!(cancel(&failed, START), Command::Already);
    }

    #[test]
    fn a_cancel_before_the_money_moved_ends_it_without_a_refund() {
        let (waiting, _) = canceled_during(unavailable().unwrap());
        assert_eq!(turn(&waiting, waiting.lease_until.unwrap()), Turn::Withdraw);
        assert_eq!(withdraw(&waiting, START).failure.unwrap().code, CODE_CANCELED);

        let (unclear, _) = canceled_during(unknown().unwrap());
        let retry_at = unclear.lease_until.unwrap();
        assert_eq!(turn(&unclear, retry_at), Turn::Wait { wait_ms: 9_000 }, "the lost request may still be under way");
        let asked_at = START.plus_ms(RECONCILE_WAIT_BASE_MS);
        assert_eq!(turn(&unclear, asked_at), Turn::Run(Step::Reconcile));
        let asked = claim(&unclear, Step::Reconcile, None, asked_at);
        let (again, _) = apply(&asked, StepResult::NotDone, asked_at, 0, false);
        assert_eq!(turn(&again, Timestamp::MAX), Turn::Withdraw);
        let (charged, next) = apply(&asked, done().unwrap(), asked_at, 0, false);
        assert_eq!((charged.status, next), (Status::Processing, Next::Run));
    }

    #[test]
    fn a_compensation_that_does_not_succeed_calls_a_person() {
        let (charged, _) = canceled_during(done().unwrap());
        let (stuck, next) = apply(&charged, refused().unwrap(), START, 0, false);
        assert_eq!((stuck.status, next), (Status::Processing, Next::Stuck));
        assert_eq!(stuck.stuck.as_ref().unwrap().code, CODE_NOT_COMPENSATED);
        let retried = try_again(&stuck, "", START).unwrap();
        assert_eq!(turn(&retried, START), Turn::Run(Step::Compensate));

        let mut open = START.plus_ms(LEASE_MS);
        let mut unclear = charged;
        for _ in 1..COMPENSATE.tries_max {
            assert_eq!(turn(&unclear, open), Turn::Run(Step::Compensate));
            let claimed = claim(&unclear, Step::Compensate, None, open);
            unclear = apply(&claimed, unknown().unwrap(), open, 0, false).0;
            open = unclear.lease_until.unwrap();
        }
        assert_eq!(turn(&unclear, open), Turn::Run(Step::Reconcile), "whether the money went back is asked, too");
    }

    proptest! {
        /// Whatever happens in whatever order: the diagram holds, versions count, the journal has no gap, waits are
        /// bounded, and the payment fails only where no charge can be outstanding.
        #[test]
        fn the_saga_keeps_its_promises(
            script in proptest::collection::vec((0..8_u8, 0..100_u8, any::<bool>()), 1..60),
            cancel_at in 0..40_usize,
        ) {
            let (mut payment, mut now) = (payment(), START);
            for (place, (what, jitter, away)) in script.into_iter().enumerate() {
                if place == cancel_at && payment.status == Status::Processing {
                    payment.cancel_requested_at = Some(now);
                }
                let step = match turn(&payment, now) {
                    Turn::Run(step) => step,
                    Turn::Wait { wait_ms } => {
                        prop_assert!((1..=WAIT_MAX_MS).contains(&wait_ms));
                        now = now.plus_ms(wait_ms);
                        continue;
                    }
                    Turn::GiveUp => {
                        payment = give_up(&payment, now);
                        continue;
                    }
                    Turn::Withdraw => {
                        prop_assert!(!effect::may_have_happened(&payment.journal, CHARGE));
                        payment = withdraw(&payment, now);
                        continue;
                    }
                    Turn::Ended | Turn::Parked => {
                        prop_assert!(payment.status.is_terminal() || payment.stuck.is_some());
                        break;
                    }
                };
                let claimed = claim(&payment, step, None, now);
                prop_assert!(payment.status == Status::Processing || payment.status.may_become(claimed.status));
                prop_assert_eq!(claimed.version, payment.version + 1);
                let result = match (what, step) {
                    (0, _) => StepResult::Done { reference: "pi_1".into() },
                    (1, Step::Charge) => refused().unwrap(),
                    (2, _) => StepResult::Unavailable { message: "503".into() },
                    (3, _) => StepResult::Unknown { message: "lost".into() },
                    (4, Step::Reconcile) => StepResult::NotDone,
                    (5, _) => StepResult::Unreachable { message: "refused".into() },
                    _ => { payment = claimed; now = now.plus_ms(LEASE_MS); continue; }
                };
                let (next, follows) = apply(&claimed, result.clone(), now, jitter, away);
                prop_assert!(next.status == claimed.status || claimed.status.may_become(next.status));
                prop_assert_eq!(next.version, claimed.version + 1);
                if next.status == Status::Failed {
                    let definite = matches!(result, StepResult::Refused { .. } | StepResult::NotDone);
                    prop_assert!(definite || !effect::may_have_happened(&next.journal, CHARGE));
                    let given_back = next.journal.iter().any(|entry| {
                        entry.step == Step::Compensate || entry.step == Step::Reconcile
                    });
                    prop_assert!(!is_charged(&claimed) || given_back);
                }
                if next.status == Status::Completed {
                    prop_assert!(!next.is_cancel_requested(), "a canceled payment keeps no money");
                }
                payment = next;
                if follows == Next::Run {
                    now = now.plus_ms(LEASE_MS);
                }
            }
            prop_assert!(payment.journal.len() <= JOURNAL_ENTRIES_MAX);
            for (entry, number) in timeline(&payment, &[]).iter().zip(1..) {
                prop_assert_eq!(entry.sequence, number);
            }
        }
    }
}
