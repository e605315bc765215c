//! The circuit breaker around the gateway: a pure state machine, shared by all instances through one item.
//!
//! Closed, it lets every call pass and counts failures in a row. After `FAILURES_MAX` of them it opens: nobody calls
//! the gateway, and payments wait. When its wait is over one caller, and only one, may probe (half-open): the write
//! that claims the probe is conditional on the version. A success closes it, a failure opens it for longer.

use crate::time::{Timestamp, doubled_ms};

/// Failures in a row after which the breaker opens.
pub const FAILURES_MAX: u32 = 5;
/// Failures further apart than this are not in a row, in milliseconds.
pub const FAILURES_WINDOW_MS: i64 = 30_000;
/// For how long it stays open the first time; twice as long with every failed probe.
pub const OPEN_MS_BASE: i64 = 2_000;
/// It never stays open for longer without a probe.
pub const OPEN_MS_MAX: i64 = 20_000;
/// For how long a probe is exclusive. Longer than the processor's time-out (10 s), after which it is certainly dead.
pub const PROBE_MS: i64 = 12_000;

/// Where the breaker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// Calls pass.
    Closed,
    /// Nobody calls.
    Open,
    /// One caller probes.
    HalfOpen,
}

impl BreakerState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Closed, Self::Open, Self::HalfOpen];

    /// The state's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }

    /// The state by its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

/// The breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Breaker {
    /// Where it stands.
    pub state: BreakerState,
    /// Failures in a row while it is closed.
    pub failures: u32,
    /// Openings since it was last closed.
    pub openings: u32,
    /// When the first of the failures happened, or when the state last changed.
    pub since: Timestamp,
    /// When it is open: the moment of the next probe. When it is half-open: until when the probe is exclusive.
    pub retry_at: Timestamp,
    /// Counts writes; each is conditional on it.
    pub version: i64,
}

/// What a caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Call.
    Pass,
    /// Store this state, if nobody was first; then call, alone.
    Probe(Breaker),
    /// Do not call for so many milliseconds.
    Wait {
        /// The wait.
        wait_ms: i64,
    },
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            state: BreakerState::Closed,
            failures: 0,
            openings: 0,
            since: Timestamp::MIN,
            retry_at: Timestamp::MIN,
            version: 0,
        }
    }
}

impl Breaker {
    /// Whether calls pass.
    pub const fn is_closed(&self) -> bool {
        matches!(self.state, BreakerState::Closed)
    }

    /// Whether it is not closed and something waits that will probe. Without messages, as after a purge, nobody does,
    /// and it would stay open for ever: once its probe is long overdue what is due has to be set going again.
    pub const fn will_be_probed(&self, now: Timestamp) -> bool {
        !self.is_closed() && now.ms_since(self.retry_at).abs() <= OPEN_MS_MAX
    }

    /// What a caller may do at `now`.
    pub fn admit(&self, now: Timestamp) -> Admission {
        if self.is_closed() {
            return Admission::Pass;
        }
        match self.retry_at.ms_since(now) {
            // A longer wait was written by a clock that is wrong.
            wait_ms @ 1..=OPEN_MS_MAX => Admission::Wait { wait_ms },
            _ => Admission::Probe(Self {
                state: BreakerState::HalfOpen,
                retry_at: now.plus_ms(PROBE_MS),
                version: self.version + 1,
                ..*self
            }),
        }
    }

    /// The breaker after a call that failed; `None` if nothing changes.
    pub fn failed(&self, now: Timestamp) -> Option<Self> {
        match self.state {
            // A call that began before it opened says nothing new.
            BreakerState::Open => None,
            BreakerState::HalfOpen => Some(self.open(now)),
            BreakerState::Closed => {
                let in_a_row = self.failures > 0 && now.ms_since(self.since) <= FAILURES_WINDOW_MS;
                let (failures, since) = if in_a_row { (self.failures + 1, self.since) } else { (1, now) };
                let counted = Self { failures, since, ..*self };
                Some(if failures >= FAILURES_MAX {
                    counted.open(now)
                } else {
                    Self { version: self.version + 1, ..counted }
                })
            }
        }
    }

    /// The breaker after a call that the gateway answered; `None` if nothing changes.
    pub fn succeeded(&self, now: Timestamp) -> Option<Self> {
        let unchanged = self.is_closed() && self.failures == 0;
        (!unchanged).then(|| Self { since: now, version: self.version + 1, ..Self::default() })
    }

    /// The half-open breaker whose probe came to no call after all: the next caller may probe.
    pub fn release(&self, now: Timestamp) -> Self {
        Self { state: BreakerState::Open, retry_at: now, version: self.version + 1, ..*self }
    }

    fn open(&self, now: Timestamp) -> Self {
        Self {
            state: BreakerState::Open,
            openings: self.openings.saturating_add(1),
            since: now,
            retry_at: now.plus_ms(doubled_ms(OPEN_MS_BASE, self.openings, OPEN_MS_MAX)),
            version: self.version + 1,
            ..*self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_ms(1_795_251_600_000);

    fn opened() -> Breaker {
        (0..FAILURES_MAX).fold(Breaker::default(), |breaker, _| breaker.failed(START).unwrap())
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_them_does_not() {
        assert_eq!(opened().state, BreakerState::Open);
        let nearly = (1..FAILURES_MAX).fold(Breaker::default(), |breaker, _| breaker.failed(START).unwrap());
        assert_eq!(nearly.admit(START), Admission::Pass);
        let mended = nearly.succeeded(START).unwrap();
        assert_eq!((mended.state, mended.failures), (BreakerState::Closed, 0));
        assert_eq!(mended.succeeded(START), None, "a success in good times writes nothing");
        let late = nearly.failed(START.plus_ms(FAILURES_WINDOW_MS + 1)).unwrap();
        assert_eq!((late.state, late.failures), (BreakerState::Closed, 1), "old failures are forgotten");
    }

    #[test]
    fn it_waits_and_then_admits_one_probe() {
        let open = opened();
        assert_eq!(open.admit(START), Admission::Wait { wait_ms: OPEN_MS_BASE });
        let later = START.plus_ms(OPEN_MS_BASE);
        let Admission::Probe(probing) = open.admit(later) else { panic!("no probe") };
        assert_eq!(probing.version, open.version + 1);
        assert_eq!(probing.admit(later), Admission::Wait { wait_ms: PROBE_MS }, "the probe is exclusive");
        assert!(
            matches!(probing.admit(later.plus_ms(PROBE_MS)), Admission::Probe(_)),
            "a prober that died is replaced"
        );
        assert!(matches!(probing.release(later).admit(later), Admission::Probe(_)), "one that did not call, at once");
        assert!(matches!(open.admit(Timestamp::from_ms(0)), Admission::Probe(_)), "a clock that is wrong stops nobody");
    }

    #[test]
    fn a_failed_probe_opens_it_for_longer_and_a_good_one_closes_it() {
        let (mut breaker, mut now, mut waits) = (opened(), START, Vec::new());
        for _ in 0..100 {
            let Admission::Wait { wait_ms } = breaker.admit(now) else { panic!("no wait") };
            waits.push(wait_ms);
            now = now.plus_ms(wait_ms);
            let Admission::Probe(probing) = breaker.admit(now) else { panic!("no probe") };
            breaker = probing.failed(now).unwrap();
        }
        assert_eq!(waits[..5], [2_000, 4_000, 8_000, 16_000, OPEN_MS_MAX]);
        assert!(waits[4..].iter().all(|wait_ms| *wait_ms == OPEN_MS_MAX), "however long the outage lasts");
        assert_eq!(breaker.failed(now), None, "a late failure says nothing new");
        let closed = breaker.succeeded(now).unwrap();
        assert_eq!((closed.admit(now), closed.openings), (Admission::Pass, 0));
    }
}
