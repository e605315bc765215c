//! One outside effect (a charge, its compensation, a refund), tried until its outcome is known. Pure.
//!
//! What must hold, whatever crashes:
//!
//! - Every try has the same key, so trying again can never act twice.
//! - While it is unknown whether the effect happened, nothing is decided: after the last try the gateway is *asked*
//!   (`reconcile`), and only its answer counts.
//! - A try that the gateway never got, or made while the circuit breaker is open, says nothing about the effect: it
//!   does not use up the tries, only a larger number of its own.
//! - Everything has a last attempt; after the last unanswered question a person is called.
//!
//! The journal alone decides: there is no other counter that could disagree with it.

use crate::{
    journal::{Failure, JournalEntry, Step, StepOutcome},
    time::{MS_PER_HOUR, Timestamp, doubled_ms},
};

/// For how long the gateway surely knows a key, from the first try under it. Stripe forgets keys after 24 h, and an
/// effect under a forgotten key is a second effect.
pub const KEY_LIFETIME_MS: i64 = 20 * MS_PER_HOUR;
/// Questions to the gateway about an effect of unknown outcome.
pub const RECONCILE_TRIES_MAX: u32 = 8;
/// Wait before the first question. A request that was under way when its caller gave up has ended by then.
pub const RECONCILE_WAIT_BASE_MS: i64 = 10_000;
/// Tries that found the gateway away, before they count like any other.
pub const AWAY_TRIES_MAX: u32 = 12;
/// Wait after the first try that found the gateway away; it doubles with every further one.
pub const AWAY_WAIT_BASE_MS: i64 = 2_000;
/// No wait for a gateway that is away is longer.
pub const AWAY_WAIT_MAX_MS: i64 = 30_000;
/// No wait is longer.
pub const WAIT_MAX_MS: i64 = 15 * 60 * 1_000;
/// Rounds of tries: a second one begins when the gateway has said that the effect did not happen.
pub const ROUNDS_MAX: u32 = 2;
/// For how long a claim is exclusive. Longer than the processor's time-out (10 s), after which it is certainly dead.
pub const LEASE_MS: i64 = 12_000;

/// The error code of a try that the gateway refused before anything happened.
pub const CODE_UNAVAILABLE: &str = "gateway_error";
/// The error code of a try whose outcome is unknown.
pub const CODE_UNKNOWN: &str = "gateway_timeout";
/// The error code of a try while the gateway is away: nothing happened, and the try does not count.
pub const CODE_AWAY: &str = "gateway_away";
/// The error code of a try while the gateway is away whose outcome is unknown; it does not count either.
pub const CODE_SILENT: &str = "gateway_silent";
/// The error code of a try whose function died; its outcome is unknown too.
pub const CODE_INTERRUPTED: &str = "interrupted";

/// How often an effect is tried, and how long it waits in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effect {
    /// Its step in the journal.
    pub step: Step,
    /// Tries that the gateway answered or may have got.
    pub tries_max: u32,
    /// Wait after the first of them; it doubles with every further one, up to `WAIT_MAX_MS`.
    pub wait_base_ms: i64,
}

/// Taking the money. Somebody waits for the outcome, so it comes soon.
pub const CHARGE: Effect = Effect { step: Step::Charge, tries_max: 3, wait_base_ms: 1_000 };
/// Giving back what was charged although the payment had been canceled.
pub const COMPENSATE: Effect = Effect { step: Step::Compensate, tries_max: 8, wait_base_ms: 2_000 };
/// Giving money back.
pub const REFUND: Effect = Effect { step: Step::Refund, tries_max: 8, wait_base_ms: 2_000 };
/// Asking about any of them.
const RECONCILE: Effect =
    Effect { step: Step::Reconcile, tries_max: RECONCILE_TRIES_MAX, wait_base_ms: RECONCILE_WAIT_BASE_MS };

/// What came of one try, or of one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepResult {
    /// It happened, now or by an earlier try under the same key.
    Done {
        /// The gateway's name for it.
        reference: String,
    },
    /// The gateway refused for good.
    Refused {
        /// Why.
        failure: Failure,
        /// The gateway's name for the attempt.
        reference: Option<String>,
    },
    /// The gateway was asked and knows of no such effect.
    NotDone,
    /// The gateway answered that it did nothing; it may be tried again.
    Unavailable {
        /// For the journal.
        message: String,
    },
    /// The gateway did not get the request.
    Unreachable {
        /// For the journal.
        message: String,
    },
    /// It is unknown whether it happened.
    Unknown {
        /// For the journal.
        message: String,
    },
}

/// What follows for the effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It happened.
    Done {
        /// The gateway's name for it.
        reference: String,
    },
    /// It will not happen, for this reason.
    Refused {
        /// Why.
        failure: Failure,
        /// The gateway's name for the attempt.
        reference: Option<String>,
    },
    /// It did not happen, and the tries are used up.
    NotDone,
    /// It is tried, or asked about, again after so many milliseconds.
    Again {
        /// The wait.
        wait_ms: i64,
    },
    /// Nobody answers whether it happened: a person has to find out.
    Unanswered,
}

/// The step that is to be taken next for the effect.
pub fn next(journal: &[JournalEntry], effect: Effect, now: Timestamp) -> Step {
    let journal = since_first(journal, effect);
    let forgotten = journal.first().is_some_and(|first| now.ms_since(first.started_at) > KEY_LIFETIME_MS);
    if is_unknown(journal, effect) && (forgotten || tried_out(journal, effect)) { Step::Reconcile } else { effect.step }
}

/// When the gateway may be asked about the effect: a request that was under way when its caller gave up, or died, has
/// ended by then, and cannot turn up after the answer.
pub fn askable_at(journal: &[JournalEntry], effect: Effect) -> Timestamp {
    let tries = journal.iter().filter(|entry| entry.step == effect.step);
    let ended = tries.map(|entry| entry.ended_at.unwrap_or_else(|| entry.started_at.plus_ms(LEASE_MS)));
    ended.max().map_or(Timestamp::MIN, |at| at.plus_ms(RECONCILE_WAIT_BASE_MS))
}

/// Whether the questions are used up. Those whose function died never came to `settle`, which would have said so.
pub fn is_asked_out(journal: &[JournalEntry], effect: Effect) -> bool {
    tries(since_first(journal, effect), Step::Reconcile).0 >= RECONCILE_TRIES_MAX
}

/// Whether the effect may have happened without our knowing.
pub fn may_have_happened(journal: &[JournalEntry], effect: Effect) -> bool {
    is_unknown(since_first(journal, effect), effect)
}

/// The number of the next attempt at a step.
pub fn next_attempt(journal: &[JournalEntry], step: Step) -> u32 {
    journal.iter().filter(|entry| entry.step == step).map(|entry| entry.attempt).max().unwrap_or(0).saturating_add(1)
}

/// Closes what a function that died has left open: it could not write what came of it.
pub fn close_interrupted(journal: &mut [JournalEntry], now: Timestamp) {
    for entry in journal.iter_mut().filter(|entry| entry.outcome.is_none()) {
        entry.outcome = Some(StepOutcome::Retrying);
        entry.ended_at = Some(now);
        entry.error = Some(Failure::new(CODE_INTERRUPTED, "The function ended before the outcome was known."));
    }
}

/// Writes what came of the last entry's try, and says what follows.
///
/// `away` says that the circuit breaker is not closed; `jitter` is a random number from 0 to 99.
pub fn settle(
    journal: &mut [JournalEntry],
    effect: Effect,
    result: StepResult,
    now: Timestamp,
    jitter: u8,
    away: bool,
) -> Verdict {
    let error = match result {
        StepResult::Done { reference } => {
            close(journal, StepOutcome::Succeeded, None, None, now);
            return Verdict::Done { reference };
        }
        StepResult::Refused { failure, reference } => {
            close(journal, StepOutcome::Failed, Some(failure.clone()), None, now);
            return Verdict::Refused { failure, reference };
        }
        StepResult::NotDone => {
            close(journal, StepOutcome::Succeeded, None, None, now);
            let rounds = since_first(journal, effect).iter().filter(|entry| said_not_done(entry)).count();
            let again = u32::try_from(rounds).is_ok_and(|rounds| rounds < ROUNDS_MAX);
            return if again { Verdict::Again { wait_ms: effect.wait_base_ms } } else { Verdict::NotDone };
        }
        StepResult::Unavailable { message } => Failure::new(if away { CODE_AWAY } else { CODE_UNAVAILABLE }, &message),
        StepResult::Unreachable { message } => Failure::new(CODE_AWAY, &message),
        StepResult::Unknown { message } => Failure::new(if away { CODE_SILENT } else { CODE_UNKNOWN }, &message),
    };
    retry(journal, effect, error, now, jitter)
}

fn retry(journal: &mut [JournalEntry], effect: Effect, error: Failure, now: Timestamp, jitter: u8) -> Verdict {
    let asking = journal.last().is_some_and(|entry| entry.step == Step::Reconcile);
    let policy = if asking { RECONCILE } else { effect };
    let was_away = !counts(&error);
    close(journal, StepOutcome::Retrying, Some(error.clone()), None, now);
    let (counted, away) = tries(since_first(journal, effect), policy.step);
    let wait_ms = if was_away {
        (away < AWAY_TRIES_MAX).then(|| wait_ms(AWAY_WAIT_BASE_MS, AWAY_WAIT_MAX_MS, away, jitter))
    } else {
        (counted < policy.tries_max).then(|| wait_ms(policy.wait_base_ms, WAIT_MAX_MS, counted, jitter))
    };
    if let Some(wait_ms) = wait_ms {
        close(journal, StepOutcome::Retrying, Some(error), Some(now.plus_ms(wait_ms)), now);
        return Verdict::Again { wait_ms };
    }
    close(journal, StepOutcome::Failed, Some(error), None, now);
    if asking {
        Verdict::Unanswered
    } else if may_have_happened(journal, effect) {
        Verdict::Again { wait_ms: RECONCILE_WAIT_BASE_MS }
    } else {
        Verdict::NotDone
    }
}

/// The journal from the effect's first try on.
fn since_first(journal: &[JournalEntry], effect: Effect) -> &[JournalEntry] {
    let first = journal.iter().position(|entry| entry.step == effect.step);
    first.and_then(|first| journal.get(first..)).unwrap_or_default()
}

fn said_not_done(entry: &JournalEntry) -> bool {
    entry.step == Step::Reconcile && entry.outcome == Some(StepOutcome::Succeeded)
}

fn is_unknown(journal: &[JournalEntry], effect: Effect) -> bool {
    let open = journal.iter().rev().take_while(|entry| !said_not_done(entry));
    open.filter(|entry| entry.step == effect.step).any(|entry| match (&entry.outcome, &entry.error) {
        (None, _) => true,
        (Some(_), Some(error)) => [CODE_UNKNOWN, CODE_SILENT, CODE_INTERRUPTED].contains(&error.code.as_str()),
        (Some(_), None) => false,
    })
}

fn tried_out(journal: &[JournalEntry], effect: Effect) -> bool {
    let (counted, away) = tries(journal, effect.step);
    counted >= effect.tries_max || away >= AWAY_TRIES_MAX
}

/// Tries of this round that count, and those that found the gateway away. An answer of the gateway and an operator's
/// decision begin a new round.
fn tries(journal: &[JournalEntry], step: Step) -> (u32, u32) {
    let round = journal.iter().rev().take_while(|entry| !said_not_done(entry) && entry.step != Step::Resolve);
    round.filter(|entry| entry.step == step).fold((0, 0), |(counted, away), entry| {
        if entry.error.as_ref().is_none_or(counts) { (counted + 1, away) } else { (counted, away + 1) }
    })
}

fn counts(error: &Failure) -> bool {
    ![CODE_AWAY, CODE_SILENT].contains(&error.code.as_str())
}

/// Writes what came of the last try.
fn close(
    journal: &mut [JournalEntry],
    outcome: StepOutcome,
    error: Option<Failure>,
    next_due: Option<Timestamp>,
    now: Timestamp,
) {
    if let Some(entry) = journal.last_mut() {
        entry.outcome = Some(outcome);
        entry.ended_at = Some(now);
        entry.error = error;
        entry.next_due = next_due;
    }
}

/// Exponential backoff with jitter: between 100 % and 150 % of `base · 2^(tries − 1)`, at most `max`.
fn wait_ms(base: i64, max: i64, tries: u32, jitter: u8) -> i64 {
    let doubled = doubled_ms(base, tries.saturating_sub(1), max);
    (doubled + doubled / 2 * i64::from(jitter.min(99)) / 100).min(max)
}
